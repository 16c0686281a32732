"""What the documents show runs: their Python, their command lines against the real parser, their make targets."""

import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CLUSTER.md", "results/README.md", "benchmarks/peers.md", *DOCS)
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALL = r"(?:senas-bench|python -m senas_bench)(?= [a-z-])"
IN_SHELL = re.compile(rf"^(?:[^#\n]*?[\s/\"])?{CALL}((?:(?! && | \| |; )[^\n])*)", re.MULTILINE)
IN_WORDS = re.compile(rf"`{CALL}([^`\n]+)`")
ADDED = "docs/adding.md"
"""Its Python is run by `tests/additions`."""
SLOW = ("README.md", "docs/start.md")
"""They make tables and figures, and one trains."""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def python_of(page: str) -> list[str]:
    return [block for language, block in FENCE.findall(text_of(page)) if language == "python"]


def commands_of(text: str) -> Iterator[list[str]]:
    """The words behind `senas-bench` of every command line in a text: in its blocks, a line each; and in its prose."""
    blocks = [block for language, block in FENCE.findall(text) if language != "python"]
    shell = "\n".join(blocks).replace("\\\n", " ").replace(" && ", "\n")
    for found in [*IN_SHELL.finditer(shell), *IN_WORDS.finditer(FENCE.sub("", text))]:
        yield shlex.split(re.sub(r"\$\w+", "1", found[1]), comments=True)  # a variable of the shell holds something


@functools.cache
def command_line() -> Any:
    import typer

    from senas_bench.cli.app import app

    return typer.main.get_command(app)


def parsed(words: list[str]) -> dict[str, Any]:
    """What the real parser makes of a command line; nothing is run.

    Raises:
        Exception: It does not parse, as the command line would say.
    """
    command, rest = command_line(), list(words)
    if rest[:1] == ["--with"]:  # a file, before the command
        del rest[:2]
    while hasattr(command, "commands") and rest and rest[0] != "--help":
        name = rest.pop(0)
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
    if not rest or "--help" in rest or "..." in rest:  # it is named, not given
        known = {option for param in command.params for option in param.opts}
        assert {word for word in rest if word.startswith("--")} <= {*known, "--help"}
        return {}
    return command.make_context(command.name, rest).params


def unknown_names(params: dict[str, Any]) -> list[str]:
    """Presets, methods, artefacts and spaces of a parsed command line that do not exist."""
    from senas_bench import METHODS, SPACES
    from senas_bench.analysis.artefacts import named
    from senas_bench.experiments.presets import PRESETS

    methods = [params.get("method"), *(params.get("methods") or "").split(",")]
    wrong = [name for name in methods if name not in (None, "", "all", *METHODS)]
    wrong += [name for name in [params.get("preset")] if name not in (None, *PRESETS)]
    wrong += [name for name in [params.get("space")] if name not in (None, *SPACES)]
    for artefact in params.get("artefacts") or ():
        named(artefact)
    return wrong


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands_of(text_of(page)))])
def test_command_lines_parse(page):
    added = set(re.findall(r'METHODS\["([^"]+)"\] =', text_of(page)))  # by lines of the page, for --with
    for words in commands_of(text_of(page)):
        try:
            assert set(unknown_names(parsed(words))) <= (added if "--with" in words else set())
        except Exception as error:
            pytest.fail(f"senas-bench {shlex.join(words)}: {getattr(error, 'message', error)}")


def test_command_lines_are_found():
    text = """
In `senas-bench status` and
```
. .venv/bin/activate    # senas-bench is there
.venv/bin/senas-bench doctor           # senas-bench doctor
srun senas-bench reproduce table3 \\
  --seeds 0-9 && python -m senas_bench report
senas-bench
```
"""
    study = ["reproduce", "table3", "--seeds", "0-9"]
    assert list(commands_of(text)) == [["doctor"], study, ["report"], ["status"]]
    assert list(commands_of("`senas-bench --with mine.py status`")) == [["--with", "mine.py", "status"]]
    assert parsed(["--with", "mine.py", "status", "--results", "r"])["results"] == Path("r")


@pytest.mark.parametrize("line", ["reproduce table3 --sedes 0", "reprodce table3", "draw --out a.png", "rank --seed x"])
def test_a_command_line_that_does_not_parse(line):
    with pytest.raises(Exception, match=r"."):
        parsed(line.split())


@pytest.mark.parametrize("line", ["reproduce table3 --methods spos,spas", "reproduce table3 --preset cup"])
def test_a_name_that_does_not_exist(line):
    assert unknown_names(parsed(line.split()))


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)
    shown = {target for page in PAGES for target in named.findall(text_of(page))}
    assert shown <= targets and {"reproduce", "test", "docs", "lab"} <= shown


def test_readme_is_short_and_names_the_two_commands():
    text = text_of("README.md")
    assert len(text.splitlines()) <= 100
    assert "make reproduce" in text and "make test" in text and ". .venv/bin/activate" in text


WITH_PYTHON = [
    pytest.param(page, marks=pytest.mark.slow if page in SLOW else ())
    for page in PAGES
    if python_of(page) and page != ADDED
]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_runs(page, tmp_path, monkeypatch):
    """All blocks of a page in order, as somebody types them in one session."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in python_of(page):
        exec(compile(block, page, "exec"), namespace)


def test_methods_of_the_readme_exist():
    from senas_bench import METHODS

    text = text_of("README.md").partition("## Methods\n")[2].partition("\n`senas-bench methods`")[0]
    named = re.findall(r"`([^`]+)`", text)
    assert len(named) > 20 and not set(named) - set(METHODS)


def test_results_of_the_readme_are_those_of_the_folder_it_names():
    """Each row of its table, as the table of that folder has it."""
    import json

    text = text_of("README.md").partition("## One table of results")[2]
    folder = re.search(r"`(results/[\w-]+)`", text)[1]
    table = json.loads((ROOT / folder / "tables/table3.json").read_text(encoding="utf-8"))
    rows = {row["method"]: row for row in table["rows"]}

    def tau(value: float) -> str:
        return f"{value:.3f}".replace("0.", ".", 1)

    shown = re.findall(r"^\| `([^`]+)` \| (.+) \|$", text, re.MULTILINE)
    assert len(shown) > 5
    for method, cells in shown:
        row = rows[method]
        mean = [tau(row[f"tau_full_{what}"]) for what in ("mean", "std")]
        pick = [f"{row[f'cifar10_test_{what}']:.2f}" for what in ("mean", "std")]
        wanted = [str(row["n"]), " ± ".join(mean), " ± ".join(pick), f"{row['regret_mean']:.2f}"]
        assert cells.split(" | ") == wanted, method


def test_what_was_found_by_scale_is_what_the_tables_hold():
    """Each cell of the first table of the results: a mean paired difference over seeds, and Student's interval."""
    import json

    from senas_bench.analysis.metrics.statistics import over_seeds

    text = text_of("results/README.md").partition("## Folders")[0]
    shown = re.findall(r"^\| .+\(\[([\w-]+)\]\(#.+\)\) \| (.+) \|$", text, re.MULTILINE)
    assert len(shown) >= 5
    for folder, cells in shown:
        table = json.loads((ROOT / "results" / folder / "tables/table3.json").read_text(encoding="utf-8"))
        rows = {row["method"]: {run["seed"]: run for run in row["per_seed"]} for row in table["rows"]}
        wanted = []
        for ours, other in (("se-nas", "spos"), ("se-nas+", "spos+")):
            pairs = [(run, rows[other][seed]) for seed, run in rows.get(ours, {}).items() if seed in rows[other]]
            for key, digits in (("tau_full", 3), (table["column"], 2)):
                differences = [run[key] - one[key] for run, one in pairs]
                summary = over_seeds(differences) if differences else None  # no interval of one
                values = (summary.mean, *(summary.interval or ())) if summary else ()
                wanted += [[round(value, digits) for value in values]]
        count, *differences = cells.split(" | ")
        assert int(count) == len(rows["se-nas"])
        found = [[float(number) for number in re.findall(r"[-+]?[.\d]+", cell)] for cell in differences]
        assert found == wanted, folder
