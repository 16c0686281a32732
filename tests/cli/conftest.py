"""Commands in this process, and folders of finished runs that took no computing."""

import contextlib
import io
import json
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.cli import main
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.store import RunStore
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

ARCHS = [arch_to_str(arch) for arch in official_archs()[:60]]


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def _call(*arguments) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["senas-bench", *map(str, arguments)])
        patch.delenv("SENAS_DEBUG", raising=False)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main()
    signal.signal(signal.SIGTERM, before)
    return Outcome(stop.value.code, out.getvalue(), err.getvalue())


def _done(*arguments) -> Outcome:
    outcome = _call(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.fixture
def cli(tmp_path, monkeypatch) -> SimpleNamespace:
    """`call(...)` and `done(...)`, which must succeed, with a cache and a working folder of the test's own."""
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(call=_call, done=_done)


@pytest.fixture
def plain_figures(monkeypatch) -> None:
    """Figures with nothing in them: no test here looks into one, and real ones take seconds."""

    def draw(_) -> Figure:
        return Figure(figsize=(1, 1))

    for name, artefact in ARTEFACTS.items():
        monkeypatch.setitem(ARTEFACTS, name, replace(artefact, draw=draw))


@pytest.fixture
def finish(tmp_path):
    """Save finished runs of methods and seeds in `runs`; scores are random, and none of `random`."""

    def finish(methods: str, seeds: int = 2, preset: str = "embedded", folder: Path = tmp_path / "runs", **options):
        sizes = {name: options.pop(name) for name in ("stage_epochs", "alone_epochs", "rank_archs") if name in options}
        options["sizes"] = resized(PRESETS[preset], **sizes)
        return [_save(folder, make_spec(m, s, preset, **options)) for s in range(seeds) for m in methods.split(",")]

    return finish


def _save(folder: Path, spec) -> RunRecord:
    rng = np.random.default_rng([spec.seed, len(spec.method)])
    scores = None
    if spec.method != "random":
        epoch = sum(spec.settings.get("recipe", {}).get("stage_epochs", ()))
        columns = {"set": "candidates" if spec.method == "stand-alone" else "sample", "stage": 1, "epoch": epoch}
        columns |= {"arch_str": ARCHS, "tier": 0, "score": rng.random(len(ARCHS))}
        scores = pd.DataFrame(columns)
    work = dict.fromkeys(("images_trained", "images_scored", "forward_paths", "backward_paths", "train_steps"), 5)
    counters = {"search": {**work, "archs_scored": 3}, "report": {**work, "archs_scored": 3}}
    timing = {"search_seconds": 1.0, "report_seconds": 1.0, "wall_seconds": 2.0}
    record = RunRecord(spec, ARCHS[spec.seed], (), counters, None, timing, {})
    return RunStore(folder).save(record, scores)


@pytest.fixture
def table(tmp_path):
    """A rendered table of `runs`, as JSON."""
    return lambda name: json.loads((tmp_path / f"runs/tables/{name}.json").read_text())


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def elsewhere(home, tmp_path, monkeypatch):
    """A cache and a working folder of the tests' own."""
    monkeypatch.setenv("SENAS_HOME", str(home))
    monkeypatch.delenv("SENAS_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def senas(monkeypatch, capsys):
    """Call with the arguments of `senas-bench`: exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["senas-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory, home):
    """A results folder with a finished run of each of two methods that train nothing."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setenv("SENAS_HOME", str(home))
        patch.setattr(sys, "argv", ["senas-bench", "reproduce", *BOTH, "--results", str(folder)])
        main()
    assert stop.value.code == 0
    return folder


BOTH = ["table1", "table3", "--methods", "params,flops", "--seeds", "0-1", "--jobs", "1", "--no-timing"]
BOTH += ["--rank-archs", "60"]
