"""What is installed: the package with `analysis/` inside it, under a name that shadows nobody's own `analysis`."""

import ast
import configparser
import os
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


@pytest.mark.slow
def test_a_wheel_holds_what_the_repository_holds_and_works_alone(tmp_path):
    """Installed in a folder of its own, without this checkout and beside somebody's own `analysis`."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: its files cannot be compared")
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", ROOT, source], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
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


def test_this_checkout_is_what_is_tested(tmp_path):
    """An editable install finds both folders of this checkout, wherever Python starts."""
    code = "import senas_bench, senas_bench.analysis as a; print(senas_bench.__file__, a.__file__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(ROOT / "senas_bench" / "__init__.py"), str(ROOT / "analysis" / "__init__.py")]
