"""Texts of archs that any space may be given by mistake."""

from __future__ import annotations

import re

_GENOTYPE = re.compile(r"\s*(\w+\s*=\s*)?(\w+\.)*Genotype\s*\(")


def is_genotype(text: str) -> bool:
    """Whether a text means to be a genotype, as DARTS and those after it publish their cells.

    >>> is_genotype("DARTS_V2 = Genotype(normal=[...")
    True
    """
    return bool(_GENOTYPE.match(text))


def refuse_genotype(text: str) -> None:
    """Raise ValueError where a space without genotypes is given one."""
    if is_genotype(text):
        raise ValueError(
            "a Genotype(...) is an arch of DARTS: name space darts-separate, or darts where its two cells are the same"
        )
