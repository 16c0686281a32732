"""`python -m senas_bench.cli`."""

from senas_bench.cli.app import main

main()
