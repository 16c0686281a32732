"""The command line."""

from senas_bench.cli.app import main

__all__ = ["main"]
