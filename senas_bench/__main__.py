"""`python -m senas_bench`, the same as the command `senas-bench`."""

from senas_bench.cli import main

main()
