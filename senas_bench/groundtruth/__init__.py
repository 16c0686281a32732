"""Benchmark tables: the accuracy of archs trained from scratch. No method ever sees one."""

from senas_bench.groundtruth.answers import benchmark_info, benchmark_query
from senas_bench.groundtruth.importers import benchmark_verify, import_table, left_out, load_ground_truth
from senas_bench.groundtruth.query import Query, check_same_protocol
from senas_bench.groundtruth.reading import load_parquet
from senas_bench.groundtruth.table import GroundTruth

__all__ = [
    "GroundTruth",
    "Query",
    "benchmark_info",
    "benchmark_query",
    "benchmark_verify",
    "check_same_protocol",
    "import_table",
    "left_out",
    "load_ground_truth",
    "load_parquet",
]
