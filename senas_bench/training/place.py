"""Where this process stands among those that torchrun started, by the variables it sets. No torch here."""

from __future__ import annotations

import os
from typing import NamedTuple

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets."""
ADVICE = "start with torchrun, or unset RANK to run alone"


class Place(NamedTuple):
    """A process among others.

    Args:
        rank: 0 to `world - 1`.
        world: Number of processes.
        local: Rank on this machine.
    """

    rank: int
    world: int
    local: int


def place() -> Place:
    """The place of this process; alone where `RANK` is not set.

    Raises:
        ValueError: Others of `VARIABLES` are missing, or make no sense.
    """
    if "RANK" not in os.environ:
        return Place(0, 1, 0)
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(f"RANK is set but {', '.join(missing)} is not; {ADVICE}")
    rank, world, local, port = (_number(name) for name in VARIABLES if name != "MASTER_ADDR")
    if rank >= world or local >= world or port > 65535:
        said = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES)
        raise ValueError(f"{said}: ranks must be below WORLD_SIZE and the port at most 65535; {ADVICE}")
    return Place(rank, world, local)


def _number(name: str) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} is {text!r}; it must be a whole number; {ADVICE}")
    return int(text)
