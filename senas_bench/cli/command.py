"""What every command refuses, whatever its options mean."""

from __future__ import annotations

import math
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command that refuses empty values and numbers that are not finite.

    An empty value is mostly a shell variable that is not set. Taken as it is, it would mean the default of an option,
    or the working folder.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer parses.

        Raises:
            ValueError: A value is empty, or a number is `nan` or infinite.
        """
        self._refuse_empty(args)
        rest = super().parse_args(ctx, args)
        for param in self.params:
            value = ctx.params.get(param.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{_name(param)} {value} must be a finite number")
        return rest

    def _refuse_empty(self, args: list[str]) -> None:
        options = [p for p in self.params if p.param_type_name == "option" and not getattr(p, "is_flag", False)]
        with_value = {name for option in options for name in option.opts}
        for before, word in zip(["", *args], args, strict=False):
            option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            if value.strip() or (option and not equals):
                continue
            if option or before in with_value:
                raise ValueError(f"{option or before} {value!r} is empty; {_UNSET}, or leave the option out")
            raise ValueError(f"argument {value!r} is empty; {_UNSET}")


_UNSET = "give a value (is a shell variable not set?)"


def _name(param: Any) -> str:
    return next(name for name in param.opts if name.startswith("--"))
