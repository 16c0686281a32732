"""How well scores rank, and what chance alone gives."""
