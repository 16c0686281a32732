"""What finished runs show: correlations, statistics and tables. Never imports torch, never trains."""
