"""What a path is, and what it counts as. Single paths are drawn by `spaces.paths`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from senas_bench.spaces import Arch

if TYPE_CHECKING:
    import torch

Path = Union[Arch, tuple[Arch, ...], "torch.Tensor"]
"""One arch for all cells, one per cell, or operator weights `(edges, operators)` for all cells."""


def path_evaluations(path: Path) -> int:
    """What a pass over `path` counts as: 1, or for operator weights the most that are not 0 on one edge.

    A mixture of all five operators costs what their five paths cost together, `none` among them in both.
    """
    return 1 if isinstance(path, tuple) else int((path.detach() != 0).sum(1).max())
