"""Files that were cut off or had a bit flipped: each is noticed, and costs at most the run that it belongs to."""

import random
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore
from senas_bench.training.checkpoint import read_arrays, read_checkpoint, write_arrays, write_checkpoint

DAMAGES = 100
"""Of the store, and as many of what unfinished runs keep."""
SPECS = [
    RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1", settings={"recipe": {"lr": 0.05, "widths": [8]}})
    for seed in range(3)
]


def a_record(spec: RunSpec) -> RunRecord:
    history = tuple({"stage": 1, "epoch": epoch, "loss": 2.302585 / epoch, "lr": 1e-05} for epoch in range(1, 4))
    provenance = {"commit": "0" * 40, "command": ["reproduce", "table3"], "cpu": "größte", "dirty": None}
    counters = {"search": {"images_trained": 1000}, "report": {"archs_scored": 50}}
    return RunRecord(spec, "|a~0|", history, counters, None, {"wall_seconds": 0.1 + 0.2}, provenance)


def scores() -> pd.DataFrame:
    archs = [f"a{i}" for i in range(50)]
    return pd.DataFrame({"set": "full", "stage": 1, "epoch": 3, "arch_str": archs, "tier": 0, "score": np.arange(50.0)})


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def flip(data: bytes, draw: random.Random) -> bytes:
    return flipped(data, draw.randrange(8 * len(data)))


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


@pytest.fixture
def store(tmp_path):
    store = RunStore(tmp_path)
    for spec in SPECS:
        store.save(a_record(spec), scores())
    return store


def runs_lost(store: RunStore) -> list[str]:
    """Run ids that opening the store reported and counts as missing; all others are whole."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = store.records()
        missing = [spec.run_id for spec in store.missing(SPECS)]
    for record in records:
        assert record == store.load(record.spec) and len(store.scores(record)) == 50
    assert len(records) + len(missing) == len(SPECS)
    lines = [str(warning.message) for warning in caught]
    assert [line.split()[1] for line in dict.fromkeys(lines)] == missing and not any("\n" in line for line in lines)
    return missing


@pytest.mark.slow
def test_damage_to_a_store_costs_the_run_that_was_hit_and_no_other(store):
    draw = random.Random(6)
    detected = 0
    for number in range(DAMAGES):
        spec, suffix = draw.choice(SPECS), draw.choice(("json", "parquet"))
        path = store.root / "runs" / f"{spec.run_id}.{suffix}"
        whole = path.read_bytes()
        damaged = (cut if number % 2 else flip)(whole, draw)
        path.write_bytes(damaged)
        lost = runs_lost(store)
        assert lost in ([], [spec.run_id]) and path.read_bytes() == damaged
        with pytest.warns(UserWarning, match="moved to"):
            assert store.make_way(spec) is None
        detected += lost == [spec.run_id] and damaged in [
            aside.read_bytes() for aside in path.parent.glob("*.corrupt*")
        ]
        store.save(a_record(spec), scores())
        assert path.read_bytes() == whole
    assert detected == DAMAGES


def test_every_bit_of_a_record_counts(store, full):
    path = store.root / "runs" / f"{SPECS[0].run_id}.json"
    whole = path.read_bytes()
    bits = range(0, 8 * len(whole), 1 if full else 97)
    for bit in bits:
        path.write_bytes(flipped(whole, bit))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert not store.has(SPECS[0]), bit
        for aside in path.parent.glob("*.corrupt*"):
            aside.unlink()
        store.save(a_record(SPECS[0]), scores())
    assert runs_lost(store) == []


def kept_by_a_run(folder) -> dict:
    """Files of an unfinished run: path and how it is read."""
    weights = torch.Generator().manual_seed(0)
    tensors = {f"network.{i}": torch.randn(4, 3, generator=weights) for i in range(4)}
    tensors["generator"] = weights.get_state()[:64]
    state = {"done": 3, "rng": np.random.default_rng(5).bit_generator.state, "history": [{"loss": 0.1 + 0.2}]}
    write_checkpoint(folder / "stage-1.safetensors", tensors, state)
    write_arrays(folder / "stage-1-ranking", {"scores": np.linspace(0, 1, 40), "archs_scored": np.array(40)})
    return {folder / "stage-1.safetensors": read_checkpoint, folder / "stage-1-ranking": read_arrays}


def test_damage_to_what_an_unfinished_run_keeps_is_noticed(tmp_path):
    draw = random.Random(7)
    outcomes: Counter[str] = Counter()
    files = kept_by_a_run(tmp_path)
    for number in range(DAMAGES):
        path, read = draw.choice(list(files.items()))
        whole = path.read_bytes()
        path.write_bytes((cut if number % 2 else flip)(whole, draw))
        with pytest.warns(UserWarning, match="is damaged") as caught:
            outcomes["none" if read(path) is None else "read"] += 1
        assert str(path) in str(caught[0].message) and "\n" not in str(caught[0].message)
        path.write_bytes(whole)
        assert read(path) is not None
    assert outcomes == {"none": DAMAGES}


@pytest.mark.filterwarnings("ignore:checkpoint")
def test_every_bit_of_a_checkpoint_counts(tmp_path, full):
    for path, read in kept_by_a_run(tmp_path).items():
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), 1 if full else 53):
            path.write_bytes(flipped(whole, bit))
            assert read(path) is None, (path.name, bit)
