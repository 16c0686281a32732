"""What a clone brings for its host and for commits: it runs what the Makefile runs, and asks for what helps."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_workflow_runs_the_checks_of_this_repository():
    job = read(".github/workflows/ci.yml")["jobs"]["checks"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})] == [
        "3.11"
    ]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_hooks_of_commits_are_those_of_make_lint():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    lint = re.findall(r"\$\(BIN\)/(ruff \w+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert [" ".join(Path(entry.split()[0]).name.split() + entry.split()[1:2]) for entry in entries] == lint


def test_an_issue_holds_what_doctor_says():
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    asked = {part["id"]: part for part in form["body"]}
    assert "senas-bench doctor" in asked["doctor"]["attributes"]["label"] and asked["doctor"]["validations"]["required"]


def test_what_is_built_is_not_committed():
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: nobody can be asked what it ignores")
    built = ["build/site/index.html", "dist/senas_bench.whl", "runs/tables/table3.md"]
    done = subprocess.run(["git", "check-ignore", *built], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == built
