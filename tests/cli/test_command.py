"""Values that every command refuses: empty ones, and numbers that are not finite."""

from typing import get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from senas_bench.cli.app import app
from senas_bench.cli.command import ORDER, OTHER, Command
from senas_bench.experiments.settings import make_spec


def commands(group=None, path=()):
    """Every command of the tree, as `(words, command)`."""
    group = TREE if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def floats():
    """The options of every command whose value is a number with decimals, as `(words, option)`."""
    groups = [((), app), *(((group.name,), group.typer_instance) for group in app.registered_groups)]
    for path, group in groups:
        for command in group.registered_commands:
            words = (*path, command.name or command.callback.__name__.replace("_", "-"))
            for name, hint in get_type_hints(command.callback).items():
                if float in (hint, *get_args(hint)):
                    yield words, f"--{name.replace('_', '-')}"


def takes_a_value(param) -> bool:
    return param.opts[0].startswith("--") and not param.is_flag


TREE = typer.main.get_command(app)
COMMANDS = dict(commands())
OPTIONS = [(words, p.opts[0]) for words, command in COMMANDS.items() for p in command.params if takes_a_value(p)]
ARGUMENTS = [
    (words, place)
    for words, command in COMMANDS.items()
    for place, p in enumerate(p for p in command.params if p.param_type_name == "argument")
]
FLOATS = list(floats())
"""Of each of the three: the words of the command, and the option or the place of the argument."""


def ids(cases):
    return [" ".join(map(str, (*words, name))) for words, name in cases]


def refusal(*arguments) -> str:
    """What a command line is refused with, before any command begins."""
    with pytest.raises(ValueError) as refused:
        TREE.main([*arguments], standalone_mode=False)
    return str(refused.value)


def arguments_of(words, number=None):
    """As many arguments as a command must have, the one at place `number` empty."""
    count = sum(p.param_type_name == "argument" for p in COMMANDS[words].params)
    return ["" if place == number else "x" for place in range(count)]


def test_the_tree_has_been_read():
    assert {("reproduce",), ("search",), ("benchmark", "import"), ("data", "verify")} <= COMMANDS.keys()
    assert {(("search",), "--dataset"), (("reproduce",), "--methods"), (("doctor",), "--results")} <= {*OPTIONS}
    assert {(("search",), "--max-flops"), (("reproduce",), "--gpus-per-run")} <= {*FLOATS}


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=ids(OPTIONS))
def test_no_option_takes_an_empty_value(words, option, tmp_path):
    for given in ([option, ""], [f"{option}="], [option, " "]):
        assert f"{option} '{given[-1].removeprefix(option).removeprefix('=')}' is empty; give a value" in refusal(
            *words, *arguments_of(words), *given
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "place"), ARGUMENTS, ids=ids(ARGUMENTS))
def test_no_argument_is_empty(words, place):
    assert "argument '' is empty; give a value" in refusal(*words, *arguments_of(words, place))


def test_an_empty_word_after_a_flag_is_an_argument():
    assert "argument '' is empty" in refusal("reproduce", "table3", "--fresh", "")
    assert "argument '' is empty" in refusal("compare", "--", "a", "")


NOT_FINITE = [*((*case, "nan") for case in FLOATS), *((*FLOATS[0], value) for value in ("inf", "-inf", "1e999"))]
"""Every option once, and one of them with all such values: they are refused in one place."""


@pytest.mark.parametrize(("words", "option", "value"), NOT_FINITE, ids=[" ".join((*a, b, c)) for a, b, c in NOT_FINITE])
def test_no_number_is_not_finite(words, option, value, tmp_path):
    assert f"{option} {float(value)} must be a finite number" in refusal(
        *words, *arguments_of(words), f"{option}={value}", *(["--space", "darts"] if words == ("search",) else [])
    )
    assert not list(tmp_path.iterdir())


TOO_LARGE = [
    (("reproduce",), "--threads"),
    (("search",), "--threads"),
    (("rank",), "--threads"),
    (("rank",), "--seed"),
    (("latency",), "--batch"),
    (("latency",), "--validate"),
    (("evaluate-ranking",), "--resamples"),
]


@pytest.mark.parametrize(("words", "option"), TOO_LARGE, ids=ids(TOO_LARGE))
def test_numbers_that_no_run_could_take_are_refused_before(senas, words, option):
    code, out, err = senas(*words, *arguments_of(words), f"{option}={2**64}")
    assert (code, out, err.count("\n")) == (2, "", 1) and f"'{option}'" in err


def test_it_is_one_line_and_a_usage_error(senas):
    code, out, err = senas("cost", "11", "--dataset", "")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: --dataset '' is empty; give a value")


def test_an_empty_data_set_is_none_for_the_library_either():
    with pytest.raises(ValueError, match="unknown dataset ''"):
        make_spec("params", 0, "embedded", dataset="")


def test_help_of_every_command_and_group_stands_by_both_names():
    groups = {words[:-1] for words in COMMANDS}
    for words in (*COMMANDS, *groups):
        short, long = (CliRunner().invoke(app, [*words, name]) for name in ("-h", "--help"))
        assert (short.exit_code, long.exit_code) == (0, 0) and short.output == long.output


@pytest.mark.parametrize("command", ["reproduce", "rank", "search", "retrain", "latency", "draw", "cost", "status"])
def test_options_stand_in_panels(command):
    lines = CliRunner().invoke(app, [command, "-h"]).output.splitlines()
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [title for title in ORDER if title in titles] and titles[-1] == OTHER
    others = [line.split()[0] for line in lines[lines.index(f"{OTHER}:") + 1 :] if line.startswith("  -")]
    assert others == ["-h,"]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["-1 2", "--seed", "-3"], [" -1 2", "--seed", "-3"]),
        (["--json", "-0.5"], ["--json", " -0.5"]),
        (["-h"], ["-h"]),
        (["--", "-1"], ["--", "-1"]),
        (["-1", "--", "-1"], [" -1", "--", "-1"]),
    ],
)
def test_words_that_begin_like_numbers_are_no_options(given, taken):
    command = Command("x", params=COMMANDS["rank",].params)
    assert command._spaced(given) == taken


@pytest.mark.parametrize("group", [(), ("benchmark",), ("data",), ("runs",)])
def test_lists_of_commands_are_not_cut_off(senas, group):
    code, out, _ = senas(*group, "--help")
    commands = out.split("Commands:\n")[1].splitlines()
    assert (
        code == 0 and len(commands) >= 2 and not [line for line in commands if "..." in line or not line.endswith(".")]
    )


def test_a_file_to_begin_with_stands_before_the_command(senas):
    code, _, err = senas("reproduce", "--with", "mine.py", "table3")
    assert code == 2 and err == "error: --with stands before the command: senas-bench --with FILE.py reproduce ...\n"
