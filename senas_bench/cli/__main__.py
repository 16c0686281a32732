"""`python -m senas_bench.cli`."""

from .app import main

main()
