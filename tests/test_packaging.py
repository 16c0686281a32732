"""What is installed: the package with `analysis/` inside it, under a name that shadows nobody's own `analysis`."""

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def packages(folder: str, name: str) -> set[str]:
    """The packages that lie in a folder which is imported as `name`."""
    found = (path.parent.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("__init__.py"))
    return {".".join([name, *path.parts]) for path in found}


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    assert listed == sorted(listed)
    assert set(listed) == packages("senas_bench", "senas_bench") | packages("analysis", "senas_bench.analysis")
    assert setup["options"]["package_dir"].split() == ["senas_bench.analysis", "=", "analysis"]


@pytest.mark.slow
def test_the_bare_name_is_imported_nowhere():
    found = []
    for path in (path for path in ROOT.rglob("*.py") if ".venv" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path, name) for name in names if name.split(".")[0] == "analysis"]
    assert not found


def python(code: str, cwd: Path, *paths: Path) -> str:
    """What a fresh interpreter prints, which knows the dependencies and `paths`, but not this checkout."""
    known = os.pathsep.join([*map(str, paths), sysconfig.get_path("purelib")])
    base = getattr(sys, "_base_executable", sys.executable)
    environment = {**os.environ, "PYTHONPATH": known}
    environment.pop("SENAS_WT", None)
    result = subprocess.run([base, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What is committed, in a clone of its own."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: its files cannot be compared")
    folder = tmp_path_factory.mktemp("wheel") / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    """As `make dist` builds it, with what this Python has installed."""
    (source / ".venv").mkdir()
    (source / ".venv/.installed").touch()
    command = ["make", "dist", f"BIN={Path(sys.executable).parent}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = source.glob("dist/*.whl")
    return built


@pytest.mark.slow
def test_a_wheel_holds_what_the_repository_holds_and_works_alone(source, wheel, tmp_path):
    """Unpacked in a folder of its own, without this checkout and beside somebody's own `analysis`."""
    listed = subprocess.run(["git", "ls-files", "senas_bench", "analysis"], cwd=source, capture_output=True, check=True)
    wanted = {
        f"senas_bench/{name}" if name.startswith("analysis/") else name for name in listed.stdout.decode().split()
    }
    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} == wanted

    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    work = tmp_path / "work"
    (work / "analysis").mkdir(parents=True)
    (work / "analysis" / "__init__.py").write_text("mine = True\n")
    code = (
        "import analysis, senas_bench.analysis.artefacts as ours, senas_bench.cli; print(analysis.mine, ours.__file__)"
    )
    assert python(code, work, tmp_path / "installed").split() == [
        "True",
        str(tmp_path / "installed" / "senas_bench" / "analysis" / "artefacts" / "__init__.py"),
    ]
    code = "import runpy, sys; sys.argv = ['', '--version']; runpy.run_module('senas_bench', run_name='__main__')"
    assert python(code, work, tmp_path / "installed").strip()


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of an empty environment that pip installed the wheel into; what it needs is that of this Python."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", folder / "bin/python"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [True, False], ids=["with a compiler", "without a compiler"])
def test_a_wheel_in_an_empty_environment_makes_table_3(installed, compiler, tmp_path):
    """The command of `make reproduce`, in small; with the loops in C where they can be compiled, else without."""
    if compiler and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler here")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SENAS_", "CC"))}
    found = os.pathsep.join([str(installed), os.environ["PATH"]]) if compiler else str(installed)
    small = ["--seeds", "0", "--stage-epochs", "1,1,1", "--rank-archs", "20", "--curve-points", "0", "--jobs", "1"]
    command = [installed / "senas-bench", "reproduce", "table3", "--methods", "params,spos", *small]
    environment = {**kept, "PATH": found, "SENAS_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/tables/table3.md").exists() and "spos " in done.stdout
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "runs/runs").glob("spos-*.json"))
    assert record["provenance"]["kernels"] == ("compiled" if compiler else "torch")
    assert ("no C compiler is found" in done.stderr) == (not compiler)


def test_this_checkout_is_what_is_tested(tmp_path):
    """An editable install finds both folders of this checkout, wherever Python starts."""
    code = "import senas_bench, senas_bench.analysis as a; print(senas_bench.__file__, a.__file__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(ROOT / "senas_bench" / "__init__.py"), str(ROOT / "analysis" / "__init__.py")]
