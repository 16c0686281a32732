"""What every command does, whatever its options mean: help in panels, and refusing values that are none."""

from __future__ import annotations

import math
import re
from typing import Any

from typer.core import TyperCommand

from senas_bench.cli.options import OUTPUT, SIZE, WHAT, WHERE, WITH


class Command(TyperCommand):
    """A command that refuses empty values and numbers that are not finite.

    An empty value is mostly a shell variable that is not set. Taken as it is, it would mean the default of an option,
    or the working folder. An argument may begin with a minus and a digit, as archs do whose first choice is -1. In the
    help, options stand in the panels that they name.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then the options of each panel; plain, which takes no time and fits any terminal."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            title = "Arguments" if param.param_type_name == "argument" else getattr(param, "rich_help_panel", None)
            if (record := param.get_help_record(ctx)) is not None:
                sections.setdefault(title or OTHER, []).append(record)
        for title in sorted(sections, key=ORDER.index):
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer parses.

        Raises:
            ValueError: A value is empty, or a number is `nan` or infinite.
        """
        if any(word.partition("=")[0] == WITH for word in args) and WITH not in self._with_value():
            raise ValueError(f"{WITH} stands before the command: senas-bench {WITH} FILE.py {self.name} ...")
        self._refuse_empty(args)
        rest = super().parse_args(ctx, self._spaced(args))
        for param in self.params:
            value = ctx.params.get(param.name)
            if param.param_type_name == "argument" and param.name is not None:
                ctx.params[param.name] = _unspaced(value)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{_name(param)} {value} must be a finite number")
        return rest

    def _spaced(self, args: list[str]) -> list[str]:
        """Arguments such as `-1 2 0` with a space before, so that they are not read as options."""
        before, with_value = ["", *args], self._with_value()
        place = args.index("--") if "--" in args else len(args)
        return [
            f" {word}" if n < place and _NUMBER.match(word) and before[n] not in with_value else word
            for n, word in enumerate(args)
        ]

    def _with_value(self) -> set[str]:
        """The options that take a value, by all their names."""
        options = [p for p in self.params if p.param_type_name == "option" and not getattr(p, "is_flag", False)]
        return {name for option in options for name in option.opts}

    def _refuse_empty(self, args: list[str]) -> None:
        with_value = self._with_value()
        for before, word in zip(["", *args], args, strict=False):
            option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            if value.strip() or (option and not equals):
                continue
            if option or before in with_value:
                raise ValueError(f"{option or before} {value!r} is empty; {_UNSET}, or leave the option out")
            raise ValueError(f"argument {value!r} is empty; {_UNSET}")


OTHER = "Options"
ORDER = ("Arguments", WHAT, SIZE, WHERE, OUTPUT, OTHER)
"""The panels of a help, from top to bottom."""
_NUMBER = re.compile(r"-\d")
_UNSET = "give a value (is a shell variable not set?)"


def _unspaced(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_unspaced, value))
    return value.lstrip() if isinstance(value, str) else value


def _name(param: Any) -> str:
    return next(name for name in param.opts if name.startswith("--"))
