import json
import os
import platform
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from senas_bench import __version__
from senas_bench.experiments import provenance as module
from senas_bench.experiments.machine import jobs_of
from senas_bench.experiments.provenance import provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "senas_bench").mkdir()
    (tmp_path / "senas_bench" / "a.py").write_text("1")
    git(tmp_path, "init")
    monkeypatch.setattr(module, "SOURCE", tmp_path)
    return tmp_path


def test_fields_are_json():
    facts = provenance(["senas-bench"], "cpu")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["senas_bench"] == __version__
    assert facts["python"] == platform.python_version()
    assert facts["device"] == "cpu" and facts["cpu"] and facts["cores"] >= 1
    started = datetime.fromisoformat(facts["started"])
    assert started.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - started) < timedelta(minutes=1)


def test_nothing_personal():
    home = os.path.expanduser("~")
    command = [f"{home}/bin/senas-bench", "rank", "--data-dir", f"{home}/data/", "--out=/srv/a=b/s.parquet", "~/x.csv",
               "method=spos", "runs/a"]  # fmt: skip
    facts = provenance(command)
    assert facts["command"] == [
        "senas-bench",
        "rank",
        "--data-dir",
        "data",
        "--out=s.parquet",
        "x.csv",
        "method=spos",
        "runs/a",
    ]
    text = json.dumps({**facts, "command": ""})
    assert platform.node() not in text and str(module.SOURCE) not in text


def test_commit_and_dirty_flag(checkout):
    assert (provenance([])["commit"], provenance([])["dirty"]) == (None, None)  # no commit yet
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "x")
    clean = provenance([])
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (checkout / "results.csv").write_text("not code")
    assert provenance([])["dirty"] is False
    (checkout / "senas_bench" / "a.py").write_text("2")
    assert provenance([])["dirty"] is True


def test_installed_copy_inside_a_foreign_repository_has_no_commit(checkout, monkeypatch):
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "x")
    monkeypatch.setattr(module, "SOURCE", checkout / "senas_bench")
    assert provenance([])["commit"] is None


def test_no_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance([])["commit"] is None


@pytest.fixture
def groups(tmp_path):
    """Call with the lines of /proc/self/cgroup and the files under /sys/fs/cgroup: the quota."""

    def quota(lines: str, files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / "mounted" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        (tmp_path / "cgroup").write_text(lines)
        return module.cpu_quota(tmp_path / "cgroup", tmp_path / "mounted")

    return quota


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 50000"}, 4.0),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/of/the/host\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/../x\n", {"cpu.max": "200000 100000"}, 2.0),
        ("1:cpu,x:/d\n0::/d\n", {"cpu,x/cpu.cfs_quota_us": "50000", "cpu,x/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/d\n", {"cpu/d/cpu.cfs_quota_us": "200000", "cpu/d/cpu.cfs_period_us": "100000"}, 2.0),
        ("4:cpu:/d\n", {"cpu/d/cpu.cfs_quota_us": "-1", "cpu/d/cpu.cfs_period_us": "100000"}, None),
        ("4:cpuset:/d\n", {"cpuset/d/cpu.cfs_quota_us": "200000", "cpuset/d/cpu.cfs_period_us": "100000"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
        ("junk\n", {"cpu.max": "x"}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_container(groups, lines, files, expected):
    assert groups(lines, files) == expected


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.2, 1), (2.0, 2), (2.5, 3), (64.0, 8)])
def test_cores_are_those_that_the_quota_pays_for(monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(module, "cpu_quota", lambda: quota)
    assert module.cpu_cores() == cores and jobs_of(0, "cpu") == cores
    assert [jobs_of(0, "cpu", threads=threads) for threads in (2, 64)] == [max(1, cores // 2), max(1, cores // 64)]
    assert jobs_of(7, "cpu", threads=2) == 7 and jobs_of(0, "cuda", threads=2) == 1
