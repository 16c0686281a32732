"""What the tests of the command line share."""

import sys

import pytest


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
    from senas_bench.cli import main

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["senas-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory, home):
    """A results folder with a finished run of each of two methods that train nothing."""
    from senas_bench.cli import main

    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setenv("SENAS_HOME", str(home))
        patch.setattr(sys, "argv", ["senas-bench", "reproduce", *BOTH, "--results", str(folder)])
        main()
    assert stop.value.code == 0
    return folder


BOTH = ["table1", "table3", "--methods", "params,flops", "--seeds", "0-1", "--jobs", "1", "--no-timing"]
BOTH += ["--rank-archs", "60"]
