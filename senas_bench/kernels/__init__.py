"""Loops in C for one CPU thread, their build, the tape, and the door to them and to torch (`door.py`)."""

ENGINES = ("torch", "compiled")
"""Who computes, see `engines.py`."""
