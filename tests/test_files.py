"""Tests of senas_bench.files."""

import os

import pytest

from senas_bench.files import atomic_file, atomic_write, cache_home, offline


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
