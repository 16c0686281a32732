"""Benchmark files of the official shape, written a part at a time: no test holds one in memory."""

import io
import itertools
import pickle
import pickletools
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from senas_bench.groundtruth import GroundTruth, Query
from senas_bench.groundtruth.archs import official_index
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
SEEDS = {12: (111, 777), 200: (777, 888, 999)}
WITHOUT_NONE = [name for name in official_index() if "none" not in name]
"""4,096 arch strings of the same length, in official order."""


def trial_state(model, seed, epochs, arch_str):
    """State of a `ResultsCount`, its 16 fields with something for every epoch."""

    def per_epoch():
        return {epoch: rng.random() * 50 for epoch in range(epochs)}

    def per_evaluation():
        return {f"{name}@{epoch}": rng.random() * 50 for name in SETS[model] for epoch in range(epochs)}

    rng = np.random.default_rng([len(model), seed, epochs])
    rng = type("Floats", (), {"random": staticmethod(iter(rng.random(10_000).tolist()).__next__)})
    return {
        "name": model,
        "train_acc1es": per_epoch(),
        "train_acc5es": per_epoch(),
        "train_losses": per_epoch(),
        "train_times": OrderedDict((epoch, 7.25) for epoch in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": arch_str, "class_num": 10},
        "params": np.float64(0.129306),
        "flop": 15.64737,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(0.0139)],
        "eval_names": list(SETS[model]),
        "eval_acc1es": per_evaluation(),
        "eval_times": per_evaluation(),
        "eval_losses": per_evaluation(),
        "net_state_dict": None,
    }


def arch_state(index, epochs, arch_str):
    """State of an `ArchResults`: every seed of every model."""
    runs = [(model, seed) for seed in SEEDS[epochs] for model in SETS]
    return {
        "arch_index": index,
        "arch_str": arch_str,
        "all_results": {run: trial_state(*run, epochs, arch_str) for run in runs},
        "dataset_seed": {model: list(SEEDS[epochs]) for model in SETS},
        "clear_net_done": True,
    }


def record(index, arch_str, lengths=("less", "full")):
    return {length: arch_state(index, epochs, arch_str) for length, epochs in zip(lengths, (12, 200), strict=True)}


def write_pth(path, count, *, legacy=False):
    """A file of `count` archs in torch's zip or legacy format.

    The record of one arch is pickled once and put in again and again, with another index and arch string; what it
    remembers is renumbered. All references have four bytes because 300 values were remembered before it.
    """
    first, names = official_index()[WITHOUT_NONE[0]], list(official_index())
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=2)
    pickler.dump([f"remembered {number}" for number in range(300)])
    buffer.seek(0)
    buffer.truncate()
    pickler.dump(record(first, WITHOUT_NONE[0]))
    body = np.frombuffer(buffer.getvalue()[2:-1], np.uint8).copy()
    operations = list(pickletools.genops(buffer.getvalue()))
    places = [at - 1 for op, _, at in operations if op.name in ("LONG_BINPUT", "LONG_BINGET")]
    assert not any(op.name in ("BINPUT", "BINGET") for op, _, _ in operations)
    places = np.array(places)[:, None] + np.arange(4)
    references = body[places].copy().view("<u4")[:, 0] - 301
    texts = [at + 3 for op, text, at in operations if text == WITHOUT_NONE[0] and "PUT" not in op.name]
    size = len(WITHOUT_NONE[0])
    evaluated = WITHOUT_NONE[:count]
    indices = [official_index()[name] for name in evaluated]

    def pickled():
        yield b"\x80\x02}(" + _bare("meta_archs") + _bare(names) + _bare("arch2infos") + b"}"
        remembered = 0
        for start in range(0, count, 1000):
            yield b"("
            for number, name in list(enumerate(evaluated))[start : start + 1000]:
                body[places] = (references + remembered).astype("<u4")[:, None].view(np.uint8)
                for at in texts:
                    body[at : at + size] = np.frombuffer(name.encode(), np.uint8)
                remembered += len(np.unique(references))
                yield _bare(indices[number]) + body.tobytes()
            yield b"u"
        yield _bare("evaluated_indexes") + _bare(indices) + b"u."

    if legacy:
        parts = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
        with open(path, "wb") as file:
            file.writelines(itertools.chain((pickle.dumps(part, 2) for part in parts), pickled()))
            file.write(pickle.dumps([], 2))
        return path
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as file:
            for part in pickled():
                file.write(part)
        archive.writestr("archive/version", "3\n")
    return path


def _bare(value):
    """The opcodes of a plain value alone."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=2)
    pickler.fast = True  # remembers nothing
    pickler.dump(value)
    return buffer.getvalue()[2:-1]


@pytest.fixture(scope="session")
def nats_folder(shared):
    """Three real records."""
    return shared / "nats_bench_simple" / "NATS-tss-v1_0-3ffb9-simple"


@pytest.fixture(scope="session")
def official_files():
    """`write_pth` and `record`."""
    return type("Files", (), {"write_pth": staticmethod(write_pth), "record": staticmethod(record)})


@pytest.fixture(scope="session")
def small():
    """`small(**changes)` is a table of 4 archs with a mean and a seed of CIFAR-10, and with the fields given."""
    columns = {
        Query("cifar10", "test", 200, "mean"): np.array([85.0, 93.0, 93.0, 10.0]),
        Query("cifar10", "test", 200, 777): np.array([85.5, np.nan, 92.0, 10.0]),
    }
    archs = tuple(arch_to_str(arch) for arch in official_archs()[:4])
    return lambda **changes: GroundTruth(**{"name": "small", "arch_strs": archs, "columns": columns} | changes)


@pytest.fixture(scope="session")
def with_costs(small):
    """`small` with two costs."""
    costs = {"cifar10-valid_train_s_per_epoch": [3.0, 4, 5, np.nan], "cifar10_edgetpu_latency": [1.0, -1, 2, 3]}
    return lambda: small(costs=costs)
