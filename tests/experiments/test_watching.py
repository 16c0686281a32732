"""How far a study is: the lines, and the display."""

import io
import json
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from senas_bench.experiments import watching
from senas_bench.experiments.active import active_runs, forget_status
from senas_bench.experiments.display import label_of
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.watching import LiveWatch, Watch
from senas_bench.locks import held

SPEC = make_spec("spos", 0, "embedded")
SPECS = [replace(SPEC, seed=seed, settings={**SPEC.settings}) for seed in range(4)]
"""Of settings that are equal, each its own."""


def finished(spec, seconds: float) -> RunRecord:
    return RunRecord(spec, "", (), {}, None, {"wall_seconds": seconds}, {})


@pytest.fixture
def at_work(tmp_path):
    """Let a run say what it is at, held by this process or by none."""
    work = tmp_path / "work"
    work.mkdir()
    locks = []

    def at_work(spec, began: float, *, alive: bool = True, **status):
        status = {"stage": "train", "done": 0, "total": 8, "numbers": {}, "words": [], "began": began, **status}
        (work / f"{spec.run_id}.progress").write_text(json.dumps(status))
        if alive:
            locks.append(held(work / f"{spec.run_id}.lock", 1.0))
            locks[-1].__enter__()

    yield at_work
    for lock in locks:
        lock.__exit__(None, None, None)


@pytest.fixture
def watch(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "core_seconds", lambda spec, known: (known.get(spec.seed), ""))
    monkeypatch.setattr(time, "time", lambda: 1000.0)

    def watch(known=None, jobs: int = 2, kind=Watch, specs=SPECS):
        return kind(RunStore(tmp_path), specs, jobs, known or {})

    return watch


def test_runs_of_the_folder_that_live_processes_compute(tmp_path, at_work):
    at_work(SPECS[1], 20.0)
    at_work(SPECS[0], 10.0, done=3)
    at_work(SPECS[2], 5.0, alive=False)
    assert list(active_runs(tmp_path)) == [SPECS[0].run_id, SPECS[1].run_id]
    assert active_runs(tmp_path)[SPECS[0].run_id]["done"] == 3
    forget_status(tmp_path)
    assert len(list((tmp_path / "work").glob("*.progress"))) == 2


def test_without_a_terminal_each_end_is_a_line_with_the_time(watch, capsys):
    seen = watch(dict.fromkeys(range(4), 60.0)).follow(
        [
            (SPECS[0], finished(SPECS[0], 30.0)),
            (SPECS[2], ValueError("no\n room")),
            (SPECS[1], finished(SPECS[1], 30.0)),
        ]
    )
    assert [failure.spec for failure in seen] == [SPECS[2]]
    lines = capsys.readouterr().err.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert [re.sub(f"^{stamp}", "", line) for line in lines] == [
        f"[1/4] {SPECS[0].run_id} done in 30.0 s, about 60 s left",  # half as long as expected: 3 x 30 s, two at a time
        f"[2/4] {SPECS[2].run_id} FAILED: no room, about 30 s left",
        f"[3/4] {SPECS[1].run_id} done in 30.0 s, about 30 s left",
        "1 runs not begun: the processes of torchrun are out of step",
    ]
    assert all(re.match(stamp, line) for line in lines[:3])


def test_the_time_left_counts_what_runs_at_work_have_done(watch, at_work):
    """Of 100 s each, the first began 40 s ago; the second, 300 s ago, has a tenth of that left: 30, 100 | 60, 100."""
    at_work(SPECS[0], 960.0)
    at_work(SPECS[1], 700.0)
    study = watch(dict.fromkeys(range(4), 100.0))
    assert study.seconds_left(study.active()) == pytest.approx(160.0)


def test_the_time_left_is_unknown_until_a_run_tells(watch):
    study = watch({0: 10.0}, jobs=1)
    assert study.seconds_left({}) is None
    study.follow([(SPECS[1], finished(SPECS[1], 20.0))])
    assert study.seconds_left({}) == 10.0 + 2 * 20.0


def test_runs_that_were_expected_to_take_no_time_tell_nothing_of_the_others(watch):
    study = watch({0: 0.0, 1: 100.0, 2: 100.0, 3: 100.0}, jobs=1)
    study.follow([(SPECS[0], finished(SPECS[0], 9.0))])
    assert study.seconds_left({}) == 300.0


def drawn(study, width: int) -> str:
    stream = io.StringIO()
    study.console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    study.console.print(study)
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_display_has_a_line_per_run_at_work_and_fits(watch, at_work, width):
    at_work(SPECS[0], 990.0, stage="stage-1", done=4, numbers={"epoch": 4, "loss": 0.123456})
    at_work(SPECS[3], 995.0, stage="", total=0)
    lines = drawn(watch(dict.fromkeys(range(4), 100.0), kind=LiveWatch), width).splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= width
    assert "spos s0" in lines[1] and "spos s3" in lines[2]
    if width >= 80:
        assert "0/4 runs; 0 s so far, about 3 min left" in lines[0]
        assert all(part in lines[1] for part in ("stage-1", "4/8", "epoch 4 loss 0.1235"))
        assert "starts" in lines[2] and "0/0" not in lines[2]


def test_what_workers_say_stands_above_the_display_once(watch, at_work, tmp_path):
    at_work(SPECS[0], 990.0, words=["waiting: [x]"])
    study = watch(kind=LiveWatch)
    assert f"{SPECS[0].run_id}: waiting: [x]\n" in drawn(study, 120)
    assert "waiting" not in drawn(study, 120)
    study.follow([(SPECS[0], finished(SPECS[0], 1.0))])
    assert not (tmp_path / f"work/{SPECS[0].run_id}.progress").exists()


def test_labels_tell_runs_apart():
    assert label_of(SPECS[3]) == "spos s3"
    limited = make_spec("spos", 0, "embedded", space="mobilenet", limit=limit_settings("flops", level=320))
    assert label_of(limited) == "spos s0 mobilenet flops 320"


@pytest.mark.parametrize(
    ("terminal", "term", "live"), [(True, "xterm", True), (True, "dumb", False), (False, "xterm", False)]
)
def test_the_display_is_for_terminals(monkeypatch, terminal, term, live):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    assert watching.is_live() is live
