"""The text of a `Genotype(...)`, in which DARTS and those after it publish their cells."""

from __future__ import annotations

import ast
from typing import Any

from senas_bench.spaces.darts.strings import Genotype

MOST_NODES = 64
"""That a `range` in such a text may name."""
_FORM = (
    "Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=range(2, 6))"
)


def genotype_from_str(text: str) -> Genotype:
    """Read what Python prints of a genotype, by keywords or in order, with or without a `name =` before it.

    The text is parsed and never run. Whether its cells are archs says `darts.arch_from_genotype`.

    Raises:
        ValueError: It is no such text, or a field is missing or of another form.
    """
    try:
        module = ast.parse(text.strip())
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:  # ValueError: null bytes
        raise ValueError(f"bad genotype: Python cannot read it ({type(error).__name__}); write {_FORM}") from None
    try:
        return Genotype(**_fields(module))
    except ValueError as error:
        raise ValueError(f"bad genotype: {error}; write {_FORM}") from None


def _fields(module: ast.Module) -> dict[str, Any]:
    statement = module.body[0] if len(module.body) == 1 else None
    call = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
    if not isinstance(call, ast.Call):
        raise ValueError("one call is needed")
    given = [*zip(Genotype._fields, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]
    names = [name for name, _ in given]
    if sorted(map(str, names)) != sorted(Genotype._fields) or len(call.args) > len(Genotype._fields):
        raise ValueError(f"it must have {', '.join(Genotype._fields)}, each once")
    return {name: (_nodes if name.endswith("concat") else _inputs)(name, _value(name, node)) for name, node in given}


def _value(name: str, node: ast.expr) -> Any:
    """A literal, or a `range`."""
    try:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            return list(range(*map(ast.literal_eval, node.args))[:MOST_NODES])
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):  # whose texts name objects of the parser
        raise ValueError(f"{name} must be written out") from None


def _inputs(name: str, value: Any) -> tuple[tuple[str, int], ...]:
    rows: Any = value if isinstance(value, list | tuple) else [None]
    if not all(isinstance(row, list | tuple) and [type(item) for item in row] == [str, int] for row in rows):
        raise ValueError(f"{name} must be a list of ('operator', node)")
    return tuple((operator, node) for operator, node in rows)


def _nodes(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(node) is int for node in value):
        raise ValueError(f"{name} must be a list of nodes")
    return tuple(value)
