"""Runs: what was asked, what came out, and where it is kept."""
