"""Write analysis/standing.csv, which `evaluate-ranking` shows, from results/: python benchmarks/standing.py"""

from pathlib import Path

import pandas as pd

from senas_bench.analysis.standing import FOLDERS, LADDER, folder_rows
from senas_bench.files import atomic_write
from senas_bench.groundtruth import load_ground_truth

RESULTS = Path(__file__).parents[1] / "results"

if __name__ == "__main__":
    table = pd.concat([folder_rows(RESULTS / folder, load_ground_truth()) for folder in FOLDERS])
    atomic_write(LADDER, table.to_csv(index=False, float_format="%.6f").encode())
    print(f"{len(table)} rows; written: {LADDER}")
