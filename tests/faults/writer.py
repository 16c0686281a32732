"""Many writers of one store; a script. Each notes in a file of its own which runs it computed, once they are safe.

Arguments: results folder, folder for the notes, number of writers, number of runs. It prints `<writer> <process id>`
for each writer before any of them begins, and ends with the last of them.
"""

import os
import random
import sys
from pathlib import Path

import pandas as pd

from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore


def write(root: Path, note, name: str, runs: int) -> None:
    """Compute what is left of the runs, in an order of this writer's own."""
    order = list(range(runs))
    random.Random(name).shuffle(order)
    store = RunStore(root)
    for number in order:
        spec = RunSpec("spos", number, "embedded", "nasbench201", "digits", "d1")
        with store.claim(spec) as finished:
            if finished is None:
                archs = [f"{name} {i}" for i in range(200)]
                frame = {"set": "full", "stage": 1, "epoch": 1, "arch_str": archs, "tier": 0, "score": 0.5}
                store.save(RunRecord(spec, name, (), {}, None, {}, {}), pd.DataFrame(frame))
                note.write(f"{number}\n")
    note.write("end\n")


def main(root: Path, notes: Path, writers: int, runs: int) -> None:
    begin, go = os.pipe()
    children = {}
    for name in map(str, range(writers)):
        children[name] = os.fork()
        if children[name] == 0:
            os.close(go)
            os.read(begin, 1)  # until the parent has let go
            with open(notes / name, "w", buffering=1) as note:
                write(root, note, name, runs)
            os._exit(0)
    for name, child in children.items():
        print(name, child)
    print(flush=True)
    os.close(go)
    for child in children.values():
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
