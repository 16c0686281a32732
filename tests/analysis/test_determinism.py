"""Every artefact gives the same files in another process, with other hashes, another language and time zone."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS, named
from senas_bench.experiments.store import RunStore
from senas_bench.groundtruth import GroundTruth, Query, load_ground_truth
from senas_bench.methods import METHODS
from senas_bench.spaces.nasbench201 import NB201, arch_to_str

RENDER = """
import hashlib, sys
from pathlib import Path

import senas_bench.analysis.artefacts.fig6
import senas_bench.analysis.artefacts.ladder_references
from senas_bench.analysis.artefacts import ARTEFACTS, make, named
from senas_bench.analysis.output.figures import save
from senas_bench.analysis.output.formats import to_json, to_text, write

senas_bench.analysis.artefacts.fig6.DRAWS = 200
senas_bench.analysis.artefacts.ladder_references.TRAINED = (25,)
senas_bench.analysis.artefacts.ladder_references.DRAWS = 1
results, truth, folder = map(Path, sys.argv[1:])
for name, artefact in ((name, ARTEFACTS[name]) for name in named("nasbench201")):
    table = make(name, results, truth, no_timing=True)
    figure = artefact.figure(table)
    for path in [*write(table, folder), *(save(figure, folder, name) if figure else [])]:
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    print(name, hashlib.sha256((to_text(table) + to_json(table)).encode()).hexdigest())
"""
PLACES = (
    {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"},
)
SHRUNK = ([[0, 1, 2]] * 4 + [[0, 1, 2, 3]] * 2, [[1], [0]] + [[0, 1]] * 4)


@pytest.fixture(scope="module")
def results(tmp_path_factory, toy, benchmark_table):
    """A results folder with two runs of every method that an artefact names, and a truth with single seeds."""
    folder, made = tmp_path_factory.mktemp("results"), toy.Runs()
    for method in sorted({method for name in named("nasbench201") for method in ARTEFACTS[name].methods}):
        for seed in range(2):
            made.add(method, seed, toy.archs[seed], _scores(toy, method, seed), settings=_settings(method))
    store = RunStore(folder / "runs")
    for record in made.records:
        lines = [{"stage": 1, "epoch": 1, "loss": 2.0}]
        if METHODS[record.spec.method].shrinks_by:
            lines += [
                {"stage": stage, "epoch": 20 * stage, "candidates": alive, "dropped": [], "scores": {}}
                for stage, alive in enumerate(SHRUNK, 1)
            ]
        store.save(replace(record, history=tuple(lines)), made.scores(record))
    return folder / "runs", _truth(benchmark_table, folder / "truth.parquet")


def _settings(method):
    return {"recipe": {"stage_epochs": [5]}} if method == "stand-alone" else {}


def _scores(toy, method, seed):
    """Rankings of random scores: of archs trained alone; else of the toy archs, with the points of a curve."""
    rng = np.random.default_rng([seed, *method.encode()])
    if method == "stand-alone":
        return toy.score_rows("candidates", toy.archs[::2], rng.random(20))
    tables = [toy.score_rows("full", toy.archs, rng.random(40))]
    for epoch in (20, 40):
        tables.append(toy.score_rows("curve", toy.archs[:15], rng.random(15), epoch))
    if "se-nas" in method:
        tables += [toy.score_rows("curve-current", toy.archs[3:14], rng.random(11), 40, 2)]
        tables += [toy.score_rows("current", toy.archs[30:], rng.random(10))]
    return pd.concat(tables)


def _truth(benchmark_table, path):
    given = load_ground_truth(benchmark_table)
    test = given.columns[Query("cifar10", "test", 200, "mean")]
    rng = np.random.default_rng(0)
    columns = dict(given.columns) | {Query("cifar100", "test", 200, "mean"): test * 0.7 + rng.random(len(test))}
    few = np.arange(len(test)) < 500
    for seed in (777, 888, 999):
        columns[Query("cifar10", "val", 200, seed)] = np.where(few, test + rng.random(len(test)), np.nan)
    GroundTruth("made-up", tuple(map(arch_to_str, NB201)), columns).save(path)
    return path


@pytest.mark.slow
def test_every_artefact_is_the_same_everywhere(results, tmp_path):
    printed = []
    for number, place in enumerate(PLACES):
        process = subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-c", RENDER, *results, tmp_path / str(number)],
            env={**os.environ, "MPLBACKEND": "svg" if number else "agg", **place},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        printed.append(process.stdout.splitlines())
    assert printed[0] == printed[1]
    names = {line.split()[0] for line in printed[0]}
    for name, artefact in ((name, ARTEFACTS[name]) for name in named("nasbench201")):
        assert {name, *(f"{name}.{suffix}" for suffix in ("csv", "md", "tex", "json", "parquet"))} <= names
        assert ({f"{name}.png", f"{name}.svg"} <= names) == (artefact.draw is not None)
