import errno
import fcntl
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from senas_bench import files as files_module
from senas_bench.errors import DataError
from senas_bench.experiments import store as store_module
from senas_bench.experiments.sealing import Newer
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore, scores_to_bytes
from senas_bench.files import atomic_write

RESULTS = Path(__file__).parents[2] / "results"
RECORDED = Path(__file__).parent / "recorded"


def a_spec(seed: int = 0) -> RunSpec:
    return RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1", settings={"lr": 0.1, "widths": [8, 16]})


def a_record(seed: int = 0) -> RunRecord:
    return RunRecord(a_spec(seed), "|a~0|", ({"epoch": 1},), {"epochs": {"search": 1}}, None, {"train": 0.5}, {})


def some_scores(n: int = 50) -> pd.DataFrame:
    archs = [f"a{i}" for i in range(n)]
    score = np.linspace(1, 0, n)
    return pd.DataFrame({"set": "full", "stage": 1, "epoch": 3, "arch_str": archs, "tier": 0, "score": score})


def start(code: str, root) -> subprocess.Popen:
    """A process that knows the names of this file, with warnings as errors."""
    prelude = f"import runpy, sys; globals().update(runpy.run_path({__file__!r})); warnings.simplefilter('error')\n"
    code = prelude + "store = RunStore(sys.argv[1])\n" + code
    return subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_save_and_load(tmp_path):
    store = RunStore(tmp_path)
    work = store.work_dir(a_spec())
    (work / "checkpoint").write_text("x")
    assert not store.has(a_spec())
    saved = store.save(a_record(), some_scores())
    assert store.load(a_spec()) == saved == replace(a_record(), scores_sha256=saved.scores_sha256)
    pd.testing.assert_frame_equal(store.scores(saved), some_scores(), check_dtype=False)
    assert store.scores(saved).dtypes.astype(str).to_dict() | {"set": "", "arch_str": ""} == {
        "set": "", "stage": "int8", "epoch": "int16", "arch_str": "", "tier": "int8", "score": "float32",
    }  # fmt: skip
    assert not work.exists()
    assert names(tmp_path / "runs") == [f"{a_spec().run_id}.json", f"{a_spec().run_id}.parquet"]


def test_missing_and_records(tmp_path):
    store = RunStore(tmp_path)
    assert store.records() == []
    for seed in (2, 0):
        store.save(a_record(seed), some_scores())
    assert store.missing([a_spec(seed) for seed in (3, 2, 1, 0)]) == [a_spec(3), a_spec(1)]
    assert [record.spec.seed for record in store.records()] == sorted([0, 2], key=lambda seed: a_spec(seed).run_id)
    with pytest.raises(FileNotFoundError, match=a_spec(1).run_id):
        store.load(a_spec(1))


def test_a_run_that_was_set_aside_is_not_unfinished(tmp_path):
    store = RunStore(tmp_path)
    work = store.work_dir(a_spec())
    assert store.unfinished() == [a_spec().run_id]
    store.set_aside(a_spec())
    assert not work.exists() and [path.name for path in work.parent.glob("*.old*")] == [f"{work.name}.old"]
    assert store.unfinished() == []


def test_tuples_in_settings_equal_the_lists_they_are_read_back_as(tmp_path):
    spec = replace(a_spec(), settings={"widths": (8, 16)})
    RunStore(tmp_path).save(replace(a_record(), spec=spec), None)
    assert RunStore(tmp_path).has(spec)


def test_a_run_without_scores(tmp_path):
    store = RunStore(tmp_path)
    saved = store.save(a_record(), None)
    assert store.load(a_spec()).scores_sha256 is None
    with pytest.raises(ValueError, match="no scores"):
        store.scores(saved)


def test_reading_creates_nothing(tmp_path):
    store = RunStore(tmp_path / "none")
    assert not store.has(a_spec()) and store.records() == []
    assert not store.root.exists()


def test_score_bytes_depend_on_values_only():
    scores = some_scores()
    shuffled_columns = scores[sorted(scores.columns)].set_index(pd.Index(range(100, 150)))
    shuffled_columns.attrs["note"] = "x"
    narrow = scores.astype({"score": np.float32, "stage": np.int8, "set": object})
    assert scores_to_bytes(scores) == scores_to_bytes(shuffled_columns) == scores_to_bytes(narrow)
    assert scores_to_bytes(scores) != scores_to_bytes(scores.assign(score=scores.score + 1e-3))


def test_score_bytes_are_the_same_in_another_process(tmp_path):
    done = start("print(store.save(a_record(), some_scores()).scores_sha256)", tmp_path)
    assert done.communicate()[0].strip() == RunStore(tmp_path / "b").save(a_record(), some_scores()).scores_sha256


@pytest.mark.parametrize(
    "scores",
    [
        some_scores().drop(columns="tier"),
        some_scores().assign(extra=1),
        some_scores().assign(score=np.nan),
        some_scores().assign(epoch=40_000),
        some_scores().assign(stage=1.5),
    ],
)
def test_malformed_scores_are_refused_and_nothing_is_written(tmp_path, scores):
    with pytest.raises(ValueError):
        RunStore(tmp_path).save(a_record(), scores)
    assert not RunStore(tmp_path).has(a_spec())


@pytest.mark.parametrize("suffix", ["json", "parquet"])
@pytest.mark.parametrize("damage", ["truncate", "empty", "edit"])
def test_damaged_run_is_missing_and_moved_aside_by_who_computes_it(tmp_path, suffix, damage):
    store = RunStore(tmp_path)
    saved = store.save(a_record(), some_scores())
    path = tmp_path / "runs" / f"{a_spec().run_id}.{suffix}"
    whole = path.read_bytes()
    edited = whole.replace(b'"seed": 0', b'"seed": 7') if suffix == "json" else whole[:50] + b"x" + whole[51:]
    damaged = {"truncate": whole[: len(whole) // 2], "empty": b"", "edit": edited}[damage]
    assert damaged != whole
    for attempt, aside in enumerate([".corrupt", ".corrupt2"]):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=f"{a_spec().run_id} is damaged .*; left in place"):
            assert not store.has(a_spec()) and store.records() == [], attempt
        assert path.read_bytes() == damaged
        with (
            pytest.warns(UserWarning, match=f"{a_spec().run_id} is damaged .*; moved to "),
            store.claim(a_spec()) as it,
        ):
            assert it is None
        assert path.with_name(path.name + aside).read_bytes() == damaged
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert store.missing([a_spec()]) == [a_spec()] and store.records() == []
        assert store.save(a_record(), some_scores()) == saved == store.load(a_spec())


def test_what_is_still_being_copied_is_there_once_it_is_whole(tmp_path):
    """A record before its scores, half a record, and what is no record: reading changes no file and makes none."""
    whole = RunStore(tmp_path / "whole")
    for seed in range(3):
        whole.save(a_record(seed), some_scores())
    (runs := tmp_path / "copy/runs").mkdir(parents=True)
    files = [tmp_path / "whole/runs" / f"{a_spec(seed).run_id}.json" for seed in range(3)]
    for path in files[:2]:
        shutil.copy(path, runs)
    (runs / files[2].name).write_bytes(files[2].read_bytes()[:200])
    (runs / "notes.json").write_text("{}")
    before = {path: path.read_bytes() for path in runs.iterdir()}
    store = RunStore(tmp_path / "copy")
    with pytest.warns(UserWarning) as caught:
        assert store.records() == [] and len(store.missing(map(a_spec, range(3)))) == 3
        assert store.finished([a_spec()]) == []
    lines = {str(warning.message) for warning in caught}
    assert len(lines) == 4 and all("counts as missing" in line and line.endswith("left in place") for line in lines)
    assert {path: path.read_bytes() for path in runs.iterdir()} == before and names(store.root) == ["runs"]
    shutil.copytree(tmp_path / "whole/runs", runs, dirs_exist_ok=True)
    (runs / "notes.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store.records()) == 3


def test_lost_scores_make_a_run_missing(tmp_path):
    store = RunStore(tmp_path)
    saved = store.save(a_record(), some_scores())
    (tmp_path / "runs" / f"{a_spec().run_id}.parquet").unlink()
    with pytest.raises(DataError, match="is missing"):
        store.scores(saved)
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.records() == []


def test_record_of_another_spec_with_the_same_id_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(RunSpec, "run_id", "same")
    store = RunStore(tmp_path)
    store.save(a_record(1), some_scores())
    assert store.has(a_spec(1))
    with pytest.warns(UserWarning, match="not the one that was asked"):
        assert not store.has(a_spec(2))


@pytest.mark.parametrize("method", ["prepare", "claim"])
def test_unwritable_root_fails_before_any_work_in_one_line(tmp_path, method):
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "file" / "results")
    with pytest.raises(ValueError, match=r"cannot write results in .*; name a writable folder") as caught:
        store.prepare() if method == "prepare" else store.claim(a_spec()).__enter__()
    assert "\n" not in str(caught.value)


def test_read_only_folder_is_seen_by_prepare(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("senas_bench.files.tempfile.TemporaryFile", refuse)
    with pytest.raises(ValueError, match="Permission denied"):
        RunStore(tmp_path).prepare()


def test_prepare_leaves_only_the_two_folders(tmp_path):
    RunStore(tmp_path / "new").prepare()
    assert [path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*")] in (
        ["runs", "work"],
        ["work", "runs"],
    )


def test_parquet_is_in_place_before_json(tmp_path, monkeypatch):
    order, real = [], os.replace

    def replace_file(source, target):
        order.append(str(target).rpartition(".")[2])
        real(source, target)

    monkeypatch.setattr(os, "replace", replace_file)
    RunStore(tmp_path).save(a_record(), some_scores())
    assert order == ["parquet", "json"]


class Crash(BaseException):
    pass


@pytest.mark.parametrize("call", range(1, 10))
def test_a_failure_at_any_system_call_leaves_all_or_nothing(tmp_path, monkeypatch, call):
    calls = 0

    def counted(real):
        def wrapper(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == call:
                raise Crash
            return real(*arguments, **options)

        return wrapper

    store = RunStore(tmp_path)
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(files_module, "open", counted(open), raising=False)
        if call == 9:
            store.save(a_record(), some_scores())
            assert calls == 8  # two files: open, fsync, replace, fsync of the folder
        else:
            with pytest.raises(Crash):
                store.save(a_record(), some_scores())
    assert not list((tmp_path / "runs").glob(".*")), "temporary files are left"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.has(a_spec()) == (call >= 8)
        assert store.save(a_record(), some_scores()) == store.load(a_spec())


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path, monkeypatch):
    atomic_write(tmp_path / "f", b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        atomic_write(tmp_path / "f", b"new")
    assert names(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.slow
def test_kill_in_the_middle_of_saving_leaves_a_whole_record_or_none(tmp_path):
    code = """
store.save(a_record(0), some_scores(5_000))
print('ready', flush=True)
for seed in range(1, 100_000):
    store.save(a_record(seed), some_scores(5_000))
"""
    rng = random.Random(0)
    processes = [start(code, tmp_path / str(i)) for i in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.1 * rng.random())
        process.kill()
    for i, process in enumerate(processes):
        process.wait()
        process.stdout.close()
        store = RunStore(tmp_path / str(i))
        started = {path.name.strip(".").partition(".")[0] for path in (store.root / "runs").iterdir()}
        assert started
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            whole = {record.spec.run_id: store.scores(record) for record in store.records()}
            assert all(len(scores) == 5_000 for scores in whole.values())
            seeds = range(len(started))
            assert {a_spec(seed).run_id for seed in seeds} == started
            unfinished = store.missing([a_spec(seed) for seed in seeds])
            assert {spec.run_id for spec in unfinished} == started - set(whole)
            assert unfinished in ([], [a_spec(len(started) - 1)])
            for spec in unfinished:
                store.save(a_record(spec.seed), some_scores())
                assert store.has(spec)
        assert not list((store.root / "runs").glob(".*")), "the killed writer's temporary files are left"


@pytest.mark.slow
def test_two_writers_of_one_run_and_a_reader(tmp_path):
    # Every other write has other scores, as on a device that is not deterministic: files of two writes must not mix.
    code = "for n in range(15): store.save(a_record(), some_scores(40 + n % 2))"
    RunStore(tmp_path).save(a_record(), some_scores(40))
    writers = [start(code, tmp_path) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while any(writer.poll() is None for writer in writers):
            assert RunStore(tmp_path).has(a_spec())
    for writer in writers:
        writer.stdout.close()
        assert writer.returncode == 0
    assert names(tmp_path / "runs") == [f"{a_spec().run_id}.json", f"{a_spec().run_id}.parquet"]


@pytest.mark.slow
def test_claimed_run_is_computed_once(tmp_path):
    code = """
with store.claim(a_spec()) as finished:
    if finished is None:
        print("computed", flush=True)
        time.sleep(0.5)
        store.save(a_record(), some_scores())
    else:
        print("found", finished.pick)
"""
    processes = [start(code, tmp_path) for _ in range(2)]
    assert sorted(process.communicate()[0].strip() for process in processes) == ["computed", "found |a~0|"]


def test_claims_of_different_runs_do_not_wait_and_a_failed_claim_is_free_again(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(Crash), store.claim(a_spec(0)), store.claim(a_spec(1)) as second:
        assert second is None
        raise Crash
    done = threading.Event()

    def claim_again():
        with store.claim(a_spec(0)):
            done.set()

    threading.Thread(target=claim_again, daemon=True).start()
    assert done.wait(5)


def test_a_claim_waits_for_as_long_as_a_run_may_take(tmp_path, monkeypatch):
    asked = []

    def free(path, patience):
        asked.append((path.name, patience))
        return nullcontext()

    monkeypatch.setattr(store_module, "held", free)
    with RunStore(tmp_path).claim(a_spec()):
        assert asked == [(f"{a_spec().run_id}.lock", store_module.RUN_PATIENCE)]


@pytest.mark.parametrize("code", [0, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_store_on_any_file_system_leaves_no_lock_behind(tmp_path, monkeypatch, code):
    """With and without `flock`, in a folder where earlier versions left their empty lock files."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    for name in ("flock", "lockf"):
        monkeypatch.setattr(fcntl, name, refuse if code else getattr(fcntl, name))
    store = RunStore(tmp_path)
    store.prepare()
    for name in ("save", "identity", a_spec().run_id):
        (tmp_path / "work" / f"{name}.lock").touch()
        os.utime(tmp_path / "work" / f"{name}.lock", (0, 0))
    identity = store.identity()
    with store.claim(a_spec()) as finished:
        assert finished is None
        store.save(a_record(), None)
    with store.claim(a_spec()) as finished:
        assert finished == store.load(a_spec())
    store.set_aside(a_spec())
    assert names(tmp_path / "work") == ["identity"] and store.identity() == identity


def test_a_damaged_run_whose_lock_stays_held_is_left_in_place(tmp_path, monkeypatch):
    path = a_file(tmp_path)
    path.write_text("{")
    monkeypatch.setattr(store_module, "PATIENCE", 0.0)
    holder = f"process {os.getpid()} on "
    with RunStore(tmp_path)._lock("save"), pytest.warns(UserWarning, match=f"left in place \\({holder}.*save.lock"):
        assert not RunStore(tmp_path).make_way(a_spec())
    assert path.read_text() == "{"


def a_file(root) -> Path:
    RunStore(root).save(a_record(), None)
    return root / "runs" / f"{a_spec().run_id}.json"


def test_a_folder_keeps_its_identity_and_no_other_has_it(tmp_path):
    a, b = RunStore(tmp_path / "a"), RunStore(tmp_path / "b")
    identity = a.identity()
    assert a.identity() == identity != b.identity()
    assert a.is_identical(identity) and not b.is_identical(identity)
    assert not RunStore(tmp_path / "nowhere").is_identical(identity) and not (tmp_path / "nowhere").exists()
    (tmp_path / "a/work/identity").write_bytes(b"\xff")
    (tmp_path / "file").write_text(identity)
    assert not a.is_identical(identity) and not RunStore(tmp_path / "file").is_identical(identity)


def test_a_stored_record_is_its_text_and_the_hash_of_it(tmp_path):
    raw = json.loads(a_file(tmp_path).read_text())
    assert raw["provenance"].pop("record_sha256") == hashlib.sha256(a_record().to_json().encode()).hexdigest()
    assert json.dumps(raw, sort_keys=True, indent=1) + "\n" == a_record().to_json()
    assert RunStore(tmp_path).load(a_spec()).provenance == {}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("|a~0|", "|b~0|", r"\.json has sha256 [0-9a-f]{64}, expected [0-9a-f]{64}; run it again"),
        ('"train": 0.5', '"train": 0.6', "has sha256"),
        ('"train": 0.5', '"train": 0.50', "has sha256"),
        ("record_sha256", "record_sha257", "under another name"),
        ('"schema": 1', '"schema": 3', "has sha256"),
        ("}\n", "}", "has sha256"),
    ],
)
def test_any_change_to_a_stored_record_is_seen(tmp_path, old, new, words):
    path = a_file(tmp_path)
    text = path.read_text()
    head, found, tail = text.rpartition(old)
    assert found
    path.write_text(head + new + tail)
    with pytest.warns(UserWarning, match=words):
        assert not RunStore(tmp_path).has(a_spec())


def test_a_record_from_before_records_were_sealed_loads(tmp_path):
    """One of `results/embedded`, as version 0.1 wrote it."""
    shutil.copytree(RECORDED, tmp_path / "runs")
    (path,) = RECORDED.glob("*.json")
    raw = json.loads(path.read_text())
    assert "record_sha256" not in raw["provenance"] and raw["schema"] == 1
    store = RunStore(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record = store.load(RunSpec(**raw["spec"]))
        assert [record] == store.records()
        assert record == RunRecord.from_json(path.read_text()) and record.pick == raw["pick"]
        scores = store.scores(record)
        assert len(scores) == 500 and scores.score.is_monotonic_decreasing
        saved = store.save(record, scores)
        assert store.load(record.spec) == saved == replace(record, scores_sha256=saved.scores_sha256)
    assert "record_sha256" in (tmp_path / "runs" / path.name).read_text()


@pytest.mark.parametrize("study", sorted(RESULTS.glob("*/runs")), ids=lambda path: path.parent.name)
def test_all_committed_records_load(tmp_path, study):
    shutil.copytree(study, tmp_path / "runs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(RunStore(tmp_path).records()) == len(list(study.glob("*.json"))) > 0


def test_a_record_of_a_newer_version_is_left_alone(tmp_path):
    path = a_file(tmp_path)
    raw = json.loads(path.read_text()) | {"schema": 2, "more": [1]}
    del raw["provenance"]["record_sha256"]
    text = json.dumps(raw, sort_keys=True, indent=1) + "\n"
    raw["provenance"]["record_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(raw, sort_keys=True, indent=1) + "\n")
    before = path.read_bytes()
    for ask in (RunStore.has, RunStore.load, lambda store, spec: store.missing([spec])):
        with pytest.raises(DataError, match="has schema 2, this version reads 1; update senas-bench, or name another"):
            ask(RunStore(tmp_path), a_spec())
    assert names(tmp_path / "runs") == [path.name] and path.read_bytes() == before


def test_a_record_of_a_newer_version_that_comes_while_one_reads_is_left_alone(tmp_path, monkeypatch):
    """The first read sees half a record, the second a whole newer one."""
    path, store, seen = a_file(tmp_path), RunStore(tmp_path), []

    def read(self, run_id, spec=None):
        seen.append(run_id)
        raise Newer("has schema 2") if len(seen) > 1 else ValueError("half a record")

    monkeypatch.setattr(RunStore, "_read", read)
    with pytest.raises(Newer, match="has schema 2"):
        store.make_way(a_spec())
    assert len(seen) == 2 and path.exists()


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "1", '{"provenance": 1}', '{"provenance": {}}', "\x00"])
def test_whatever_lies_in_place_of_a_record_is_reported_in_one_line(tmp_path, text):
    a_file(tmp_path).write_text(text)
    with pytest.warns(UserWarning, match="is damaged or incomplete and counts as missing") as caught:
        assert RunStore(tmp_path).records() == []
    assert "\n" not in str(caught[0].message) and len(str(caught[0].message)) < 500


@pytest.mark.parametrize("name", ["runs", "work", "tables", "figures"])
def test_every_output_is_tried_before_any_work(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"cannot write results in .*; name a writable folder"):
        RunStore(tmp_path).prepare()


@pytest.mark.parametrize("action", ["prepare", "save", "work_dir", "claim"])
def test_a_full_disk_names_path_and_free_space(tmp_path, monkeypatch, action):
    store = RunStore(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    if action in ("work_dir", "claim"):
        monkeypatch.setattr(os, "mkdir", full)
    calls = {
        "prepare": store.prepare,
        "save": lambda: store.save(a_record(), None),
        "work_dir": lambda: store.work_dir(a_spec()),
        "claim": lambda: store.claim(a_spec()).__enter__(),
    }
    with pytest.raises((OSError, ValueError), match=r"No space left on device, [0-9.]+ MB free") as error:
        calls[action]()
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_a_run_is_set_aside_with_its_scores(tmp_path):
    store = RunStore(tmp_path)
    store.save(a_record(), some_scores())
    store.set_aside(a_spec())
    run_id = a_spec().run_id
    assert names(tmp_path / "runs") == [f"{run_id}.json.old", f"{run_id}.parquet.old"]


def test_a_copy_of_a_record_counts_once(tmp_path):
    store = RunStore(tmp_path)
    store.save(a_record(), None)
    found = tmp_path / f"runs/{a_spec().run_id}.json"
    shutil.copy(found, found.with_stem(f"{found.stem}-copy"))
    with pytest.warns(UserWarning, match="is not the one"):
        assert len(store.records()) == 1
