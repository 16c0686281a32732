"""Files that add methods: in this process, in workers, on the command line."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import senas_bench as sb
from senas_bench.cli.app import app
from senas_bench.experiments import additions
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.study import check_known_to_workers
from senas_bench.methods import METHODS, SHIPPED
from senas_bench.methods.baselines import LargestCost
from senas_bench.methods.training_free import ByProxy
from senas_bench.proxies import PROXIES
from senas_bench.ranking import partial
from senas_bench.ranking.training_free import TrainingFree

MINE = """
from senas_bench import METHODS
from senas_bench.methods.baselines import LargestCost

METHODS["mine"] = LargestCost("flops_m")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A file that adds the method `mine`; afterwards it is as if it had never been used."""
    monkeypatch.setattr(additions, "_USED", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (path := tmp_path / "mine_of_a_test.py").write_text(MINE)
    yield path
    METHODS.pop("mine", None)
    sys.modules.pop(path.stem, None)


def test_a_file_is_run_once_and_what_it_adds_is_known_to_workers(mine):
    specs = [make_spec("params", 0, "embedded")]
    sb.use(mine.name, str(mine))
    sha256 = hashlib.sha256(MINE.encode()).hexdigest()
    assert additions.used() == ((mine, sha256),) and set(additions.known_to_workers()) - set(SHIPPED) == {"mine"}
    METHODS["mine"] = first = METHODS["mine"]
    sb.use(mine)
    assert METHODS["mine"] is first
    check_known_to_workers([*specs, make_spec("mine", 0, "embedded")])
    assert additions.fingerprints() == {mine.name: sha256}


def test_the_checksum_is_of_what_was_run_and_a_worker_refuses_another(mine, monkeypatch, tmp_path):
    """The file is changed, then deleted, while the study goes on: no run here fails, and records have what was run."""
    sb.use(mine)
    known, spec = additions.used(), make_spec("mine", 0, "embedded")
    runner = Runner(tmp_path / "r", additions=known)
    mine.write_text(MINE + "# changed\n")
    assert additions.used() == known
    mine.unlink()
    assert runner(spec).provenance["additions"] == {mine.name: known[0][1]}
    monkeypatch.setattr(additions, "_USED", {})  # as in a worker that begins now
    METHODS.pop("mine")
    sys.modules.pop(mine.stem)
    mine.write_text(MINE + "# changed\n")
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=r"^mine_of_a_test.py holds something else .*; start the command again"):
        runner(replace(spec, seed=1))


def test_a_method_that_was_replaced_is_known_to_workers_only_where_a_file_replaced_it(mine, monkeypatch):
    spec = make_spec("random", 0, "embedded")
    monkeypatch.setitem(METHODS, "random", LargestCost("params"))
    with pytest.raises(ValueError, match=r"^random as it was replaced is known to this process alone.*--with FILE.py"):
        check_known_to_workers([spec])
    mine.write_text(MINE.replace('"mine"', '"random"'))
    sb.use(mine)
    assert METHODS["random"] == LargestCost("flops_m")
    check_known_to_workers([spec])
    METHODS["random"] = LargestCost("flops_m")  # an equal one is trusted no more than any other
    with pytest.raises(ValueError, match="random as it was replaced"):
        check_known_to_workers([spec])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent.py", None, "absent.py is no Python file"),
        ("mine.txt", "", "mine.txt is no Python file"),
        ("wrong_of_a_test.py", "\nx = 1 / 0\n", r"^wrong_of_a_test.py, line 2: ZeroDivisionError: division by zero$"),
        ("ends_of_a_test.py", "import sys\n\nsys.exit(0)\n", r"^ends_of_a_test.py, line 3: SystemExit: 0$"),
        (
            "capital_of_a_test.py",
            'from senas_bench import METHODS\n\nMETHODS["Mine"] = METHODS["random"]\n',
            "method 'Mine': a name is made of small letters",
        ),
        ("a.b.py", "", r"a\.b\.py: Python imports no name with a dot in it; call the file a_b\.py"),
        ("json.py", "", "a module json is there already"),
        ("math.py", "", "a module math is there already"),
    ],
)
def test_a_file_that_cannot_be_used(mine, name, text, said):
    if text is not None:
        (mine.parent / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        sb.use(name)
    assert additions.used() == () and "Mine" not in METHODS


def test_commands_know_what_a_file_adds_and_records_say_which(mine):
    words = ["--with", mine.name, "reproduce", "table3", "--methods", "mine", "--seeds", "0", "--rank-archs", "20"]
    done = CliRunner().invoke(app, [*words, "--jobs", "1", "--results", "r"])
    assert done.exit_code == 0 and "\nmine " in done.stdout
    record = json.loads(next((mine.parent / "r/runs").glob("mine-*.json")).read_text())
    assert record["provenance"]["additions"] == additions.fingerprints()


OWN = """
from dataclasses import dataclass

from senas_bench import METHODS
from senas_bench.methods.training_free import ByProxy
from senas_bench.proxies import PROXIES, Proxy
from senas_bench.ranking.training_free import TrainingFree


@dataclass(frozen=True)
class Own(Proxy):
    batch = 2

    def __call__(self, network, images, labels, generator):
        return float(network.weights[0].numel()) * FACTOR


FACTOR = 1.0
PROXIES["own"] = Own()
METHODS["mine"] = ByProxy(TrainingFree("own"))
"""


def forget(mine):
    """As in a process that begins now."""
    additions._USED.clear()
    METHODS.pop("mine", None)
    PROXIES.pop("own", None)
    sys.modules.pop(mine.stem, None)
    importlib.invalidate_caches()


def edited(mine, text):
    """The file holds something else, of another size: Python may take one of the same second for the old."""
    forget(mine)
    mine.write_text(text)
    sb.use(mine)


@pytest.fixture
def own(mine):
    mine.write_text(OWN)
    yield mine
    PROXIES.pop("own", None)


def test_what_a_file_decides(own):
    sb.use(own)
    sha256 = additions.fingerprints()
    assert additions.code_of(make_spec("mine", 0, "embedded")) == sha256
    assert additions.code_of(make_spec("params", 0, "embedded")) == {}
    METHODS["other"] = ByProxy(TrainingFree("own"))  # names a class of the file, and is none of it
    assert additions.code_of(make_spec("other", 0, "embedded")) == sha256
    del METHODS["other"]


def test_an_edit_of_a_file_is_said_of_the_runs_that_it_decides(own):
    """They are shown as they were made, which nobody would see."""
    words = ["--with", own.name, "reproduce", "table3", "--methods", "mine,params", "--seeds", "0", "--jobs", "1"]
    words += ["--rank-archs", "20", "--results", "r"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0 and "has changed" not in first.stderr
    forget(own)
    assert "has changed" not in CliRunner().invoke(app, words).stderr
    forget(own)
    own.write_text(OWN + "# another comment\n")
    again = CliRunner().invoke(app, words)
    (run_id,) = (path.stem for path in (own.parent / "r/runs").glob("mine-*.json"))
    said = f"{own.name} has changed since 1 of them was made, such as {run_id}; --fresh makes them anew"
    assert again.exit_code == 0 and [line for line in again.stderr.splitlines() if "changed" in line] == [said]
    forget(own)
    anew = CliRunner().invoke(app, [*words, "--fresh"])
    assert anew.exit_code == 0 and "changed" not in anew.stderr


def test_a_run_of_two_codes_begins_anew(own, tmp_path, monkeypatch):
    """A try that was cut goes on while the file is the same; its scores, and those that it left to others, are of the
    file as it was."""
    scored, made = [], TrainingFree._score

    def score(self, *given):
        if len(scored) == 5:
            raise KeyboardInterrupt
        scored.append(given[2])
        return made(self, *given)

    monkeypatch.setattr(TrainingFree, "_score", score)
    monkeypatch.setattr(partial, "SAVE_SECONDS", 0.0)
    sizes = replace(PRESETS["embedded"], channels=2, rank_archs=12, score_images=50, score_batch=50)

    def cut():
        scored.clear()
        with pytest.raises(KeyboardInterrupt):
            Runner(tmp_path / "r", progress="silent", share=True, additions=additions.used())(spec)

    sb.use(own)
    spec = make_spec("mine", 0, "embedded", sizes=sizes)
    cut()
    first = list(scored)
    forget(own)
    sb.use(own)
    cut()
    assert not set(first) & set(scored)
    edited(own, OWN.replace("FACTOR = 1.0", "FACTOR = 20.0"))
    with pytest.warns(UserWarning, match=rf"^run {spec.run_id} begins anew: {own.name} has changed .* is in .*\.old$"):
        cut()
    assert scored == first
    assert RunStore(tmp_path / "r").unfinished() == [spec.run_id]
    scored[:] = [None] * 6  # no more cuts
    runner = Runner(tmp_path / "r", progress="silent", share=True, additions=additions.used())
    record = runner(spec)
    forget(own)
    edited(own, OWN.replace("FACTOR = 1.0", "FACTOR = 20.0"))
    alone = Runner(tmp_path / "alone", progress="silent", additions=additions.used())(spec)
    assert RunStore(tmp_path / "r").scores(record).equals(RunStore(tmp_path / "alone").scores(alone))


def test_scores_that_runs_leave_for_each_other_are_of_one_state_of_a_file(own, tmp_path):
    """While a run of the folder is unfinished they stay, and `--fresh` sets the runs aside alone."""
    sizes = replace(PRESETS["embedded"], channels=2, rank_archs=12, score_images=50, score_batch=50)
    store, tables = RunStore(tmp_path / "r"), []
    for text in (OWN, OWN.replace("FACTOR = 1.0", "FACTOR = 20.0")):
        edited(own, text)
        spec = make_spec("mine", 0, "embedded", sizes=sizes)
        tables.append(store.scores(Runner(store.root, progress="silent", share=True, additions=additions.used())(spec)))
        store.set_aside(spec)
    first, second = (table["score"].to_numpy() for table in tables)
    np.testing.assert_array_equal(second, 20 * first)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["joblib", "ray"])
def test_workers_run_the_file_too(mine, executor):
    if executor == "ray":
        pytest.importorskip("ray")
    words = ["reproduce", "table3", "--methods", "mine,params", "--seeds", "0-1", "--rank-archs", "20", "--jobs", "2"]
    command = [sys.executable, "-m", "senas_bench", *words, "--executor", executor, "--results", "r"]
    environment = {**os.environ, "SENAS_BENCH_WITH": mine.name}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=mine.parent)
    assert done.returncode == 0, done.stderr
    assert len(list((mine.parent / "r/runs").glob("mine-*.json"))) == 2
