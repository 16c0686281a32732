"""Tests of senas_bench.files."""

import errno
import os
import resource
import signal

import pytest

from senas_bench.files import atomic_file, atomic_write, cache_home, offline, prove_room, room_named


def test_cache_home_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("SENAS_HOME", raising=False)
    assert cache_home() == tmp_path / ".cache" / "senas-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_home() == tmp_path / "xdg" / "senas-bench"
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    assert cache_home() == tmp_path / "home"


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline(monkeypatch, value, expected):
    monkeypatch.setenv("SENAS_OFFLINE", value)
    assert offline() is expected


def test_atomic_file_keeps_the_old_content_when_the_block_fails(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, b"old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_proof_of_room_has_no_name_while_it_is_written(tmp_path, monkeypatch):
    """So a process that is killed meanwhile leaves nothing."""
    seen = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_size, os.listdir(tmp_path)))
    )
    prove_room(tmp_path)
    assert seen == [(4, [])]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_names_the_path_the_free_space_and_what_to_do(tmp_path, code):
    path = tmp_path / "missing" / "file"
    with pytest.raises(OSError) as error, room_named(path):
        raise OSError(code, "whatever the system says")
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize / 1e6
    said = str(error.value).split(", ")[1]
    assert said.endswith(" MB free; make room and run the same command again: " + repr(str(path)))
    assert float(said.partition(" ")[0]) == pytest.approx(free, rel=0.2)  # others write meanwhile
    assert (error.value.errno, error.value.filename) == (code, str(path))
    assert os.strerror(code) in str(error.value) and "\n" not in str(error.value)


def test_other_errors_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such file or directory: '.*tmp'$"):
        atomic_write(tmp_path / "missing" / "file", b"")
    with pytest.raises(OSError, match=r"^disk$"), room_named(tmp_path):
        raise OSError("disk")


def test_a_file_over_the_limit_of_the_system_leaves_the_old_one(tmp_path):
    """A write that the system itself refuses, through no stand-in."""
    path = tmp_path / "file"
    atomic_write(path, b"old")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large, .* MB free") as error:
            atomic_write(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.filename == str(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
