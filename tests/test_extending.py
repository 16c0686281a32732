"""docs/extending.md says what a method, criterion or estimator is given, as the classes have it."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from senas_bench.proxies import Proxy
from senas_bench.proxies.alone import Alone
from senas_bench.spaces import SearchSpace
from senas_bench.tasks.method import Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable, Trained
from senas_bench.tasks.problem import Problem
from senas_bench.tasks.report import Report
from senas_bench.tasks.task import Task
from senas_bench.tasks.work import Work

PAGE = Path(__file__).parents[1] / "docs/extending.md"
CLASSES = (Task, Problem, Report, Work, Trained, SearchSpace, Method, MethodOutput, ScoreTable, Proxy, Alone)
SPECIAL = ("__contains__", "__iter__", "__call__")


def described(kind: type) -> dict[str, str]:
    """The attributes that a docstring describes."""
    section = re.search(r"^(?:Args|Attributes):\n((?:^(?: .*)?\n?)+)", inspect.getdoc(kind) or "", re.MULTILINE)
    found = re.findall(r"^    (\w+): ((?:.*\n?)(?:^ {5,}.*\n?)*)", section[1], re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def first_words(value: object) -> str:
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def call(name: str, function: object) -> str:
    """A method as it is called, without types."""
    parts = [part.replace(annotation=part.empty) for part in list(inspect.signature(function).parameters.values())[1:]]
    return f"{name}{inspect.Signature(parts)}"


def rows(kind: type) -> Iterator[tuple[str, str]]:
    """What a class offers, fields first; and what it says of each."""
    words = described(kind)
    own = [item.name for item in fields(kind)] if is_dataclass(kind) else list(words)
    yield from ((name, words[name]) for name in own)
    for name, value in vars(kind).items():
        if name in own or (name.startswith("_") and name not in SPECIAL):
            continue
        if isinstance(value, property) and name not in words:
            yield name, first_words(value)
        elif inspect.isfunction(value) and first_words(value):
            yield call(name, value), first_words(value)


def tables() -> str:
    """The tables of the page."""
    parts = []
    for kind in CLASSES:
        parts += [f"## {kind.__name__}", "", first_words(kind), "", "| | |", "|---|---|"]
        parts += [f"| `{name}` | {text.replace('|', '&#124;')} |" for name, text in rows(kind)]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def written() -> tuple[str, str]:
    """The page: what people wrote, and the tables."""
    text = PAGE.read_text(encoding="utf-8")
    head, mark, _ = text.partition(f"## {CLASSES[0].__name__}\n")
    return head, text[len(head) :] if mark else ""


def test_the_page_is_what_the_classes_say():
    assert written()[1] == tables(), "write it anew: python tests/test_extending.py"


@pytest.mark.parametrize("kind", CLASSES)
def test_everything_public_is_there_and_has_words(kind):
    found = {re.match(r"\w+", name)[0]: text for name, text in rows(kind)}
    public = {name for name in vars(kind) if not name.startswith("_")} | {
        item.name for item in (fields(kind) if is_dataclass(kind) else ()) if item.default is MISSING
    }
    assert public <= found.keys() and all(found.values())


if __name__ == "__main__":
    PAGE.write_text(written()[0] + tables(), encoding="utf-8")
