"""What is measured, and against what. See peers.md."""
