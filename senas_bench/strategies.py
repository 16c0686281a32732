"""What a strategy is, such as a method or an estimator: a frozen dataclass of plain fields, that is called.

Each function says in half a sentence what is wrong, and what to do; None where nothing is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any


def no_instance(value: Any) -> str | None:
    """A class in place of an instance, or what is no frozen dataclass."""
    if isinstance(value, type):
        return f"{value.__name__} is a class; give an instance, {value.__name__}()"
    return unfrozen(type(value))


def unfrozen(kind: type) -> str | None:
    """A class that is no frozen dataclass itself, though what it inherits may be one."""
    added = [str(kind) for kind in vars(kind).get("__annotations__", {}).values() if "ClassVar" not in str(kind)]
    undecorated = added and "__dataclass_params__" not in vars(kind)
    if undecorated or not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return f"{kind.__name__} is no frozen dataclass; write @dataclass(frozen=True) above it"
    return None


def uncalled(value: Any, arguments: tuple[str, ...], gives: str, base: type | None = None) -> str | None:
    """What cannot be called with so many arguments.

    Args:
        gives: What a call returns, for the message.
        base: A class whose own `__call__` does not count.
    """
    kind = type(value)
    if callable(value) and (base is None or kind.__call__ is not base.__call__):
        try:
            inspect.signature(value).bind(*arguments)
            return None
        except TypeError:
            pass
        except ValueError:  # of something compiled nothing is known
            return None
    listed = ", ".join(("self", *arguments))
    return f"{kind.__name__} cannot be called with {_words(arguments)}; define __call__({listed}) -> {gives}"


def unwritable(where: str, strategy: Any) -> str | None:
    """A field of a strategy, or of one inside it, that no spec can hold.

    Args:
        where: Names the strategy.
    """
    for item in (item for item in fields(strategy) if not item.metadata.get("fact")):
        value, place = getattr(strategy, item.name), f"{where}.{item.name}"
        parts = [part for part in (value if isinstance(value, tuple) else (value,)) if _strategy(part)]
        for part in parts:
            if why := unfrozen(type(part)) or unwritable(place, part):
                return why
        if isinstance(value, tuple):
            value = tuple(part for part in value if not _strategy(part))
        elif parts:
            continue
        if isinstance(value, type):
            return f"{place} is the class {value.__name__}, which no spec can hold; give an instance or a number, text"
        elif not _plain(value):
            wanted = "a number, text, tuple of them, or frozen dataclass"
            return f"{place} is {value!r:.40}, which no spec can hold; use {wanted}"
    return None


def nested(strategy: Any) -> Iterator[Any]:
    """The strategies in the fields of a strategy, and those in theirs."""
    if not is_dataclass(strategy) or isinstance(strategy, type):
        return
    for item in fields(strategy):
        value = getattr(strategy, item.name, None)
        for part in value if isinstance(value, tuple) else (value,):
            if is_dataclass(part) and not isinstance(part, type):
                yield part
                yield from nested(part)


def fields_for(strategy: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Fields of a strategy, and their values, that hold one of that kind: by their name, or by their type. Of a tuple
    of them, each."""
    for item in fields(strategy) if is_dataclass(strategy) else ():
        if item.name == name or name.title() in str(item.type):
            value = getattr(strategy, item.name)
            for part in value if isinstance(value, tuple) else (value,):
                yield item.name, part


def _strategy(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _plain(value: Any, deep: bool = True) -> bool:
    if isinstance(value, tuple):
        return deep and all(_plain(item, deep=False) for item in value)
    if isinstance(value, float):
        return math.isfinite(value) and type(value) is float
    return value is None or type(value) in (bool, int, str)


def _words(arguments: tuple[str, ...]) -> str:
    return f"a {arguments[0]}" if len(arguments) == 1 else f"({', '.join(arguments)})"
