"""The systems that learn logits, run in the DARTS space."""

from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.place import Place
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.studies import preset_of
from senas_bench.methods import METHODS
from senas_bench.progress import SilentProgress
from senas_bench.spaces.darts import DARTS_SEPARATE, DartsSkeleton, arch_from_str, darts_cost
from senas_bench.tasks.method import CELLS
from senas_bench.training import loop

SYSTEMS = [name for name, method in METHODS.items() if method.spaces == CELLS]
BATCH = 48
"""Of 100 images, 50 in a half: a step an epoch."""

EPOCHS = {"p-darts": 3, "pc-darts": 3}
"""Of those that have stages or a warm-up."""


def a_run(name: str, folder, progress=None, limited: bool = False):
    sizes = preset_of("darts-separate", "embedded")
    own = METHODS[name].recipe
    epochs = EPOCHS.get(name, 1)
    recipes = {**sizes.recipes, own: replace(sizes.recipes[own], batch_size=BATCH, stage_epochs=(epochs,))}
    sizes = replace(sizes, rank_archs=10, recipes=recipes, held_out=1697, calibration_images=100)
    limit = limit_settings("flops", level=590) if limited else None
    spec = make_spec(name, 0, "embedded", sizes=sizes, space="darts-separate", limit=limit)
    return run(spec, Place(folder, progress=progress or SilentProgress()))


def mixture_of(operators: range, cells: int = 1, partial: int = 1) -> int:
    """Multiply-adds of a step of a mixture of these operators on all edges, forward and backward."""
    table = darts_cost(DartsSkeleton(8, 10, 1, 4, 3 * cells + 2, partial=partial), shared_cell=False)
    return 3 * BATCH * int(table.base[0] + table.per_edge[:, list(operators), 0].sum())


ALL = range(8)
PRICES = {
    "darts-v1": 2 * mixture_of(ALL),
    "darts-v2": 5 * mixture_of(ALL),
    "snas": 2 * mixture_of(ALL),  # two steps an epoch, of all images
    "fair-darts": 2 * mixture_of(range(1, 8)),
    "pc-darts": 5 * mixture_of(ALL, partial=4),  # in the first epoch the weights alone learn
}


def test_they_are_those_of_the_table():
    assert SYSTEMS == ["darts-v1", "darts-v2", "gdas", "snas", "p-darts", "fair-darts", "pc-darts"]
    assert all(METHODS[name].recipe in preset_of(space, "paper").recipes for name in SYSTEMS for space in CELLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_without_a_limit(name, tmp_path):
    """The pick is what the logits choose, and the multiply-adds are those of all that ran."""
    record, scores = a_run(name, tmp_path)
    pick = arch_from_str(record.pick)
    assert pick in DARTS_SEPARATE
    lines = [line for line in record.history if "probabilities" in line]
    table = np.array([list(row.values()) for row in lines[-1]["probabilities"].values()])
    assert len(table) == 28 and len(lines) == (3 if name == "p-darts" else 1)
    if name != "p-darts":
        assert lines[-1]["chosen"] == record.pick
        shares = table.sum(1)
        assert (np.abs(shares - 1) < 1e-4).all() == (name != "fair-darts")
    assert len(scores) == 10 and set(scores["set"]) == {"sample"} and scores.notna().all(axis=None)
    if name in PRICES:
        assert record.counters["search"]["multiply_adds"] == PRICES[name]


@pytest.mark.slow
def test_under_a_limit_a_resumed_run_picks_the_same_within_it(tmp_path, monkeypatch, through_interruptions):
    """P-DARTS, which trains three networks; the others are as on NAS-Bench-201, see `test_conformance.py`."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    folders = [tmp_path / part for part in ("whole", "cut")]
    for folder in folders:
        folder.mkdir()
    record, _ = a_run("p-darts", folders[0], limited=True)
    (again, _), _ = through_interruptions(
        lambda progress: a_run("p-darts", folders[1], progress, limited=True), most=100, every=6
    )
    assert (again.pick, again.history, again.counters) == (record.pick, record.history, record.counters)
    line = next(line for line in record.history if line.get("phase") == "pick")
    assert line["limit_low"] <= line["limited_cost"] <= line["limit_high"]
