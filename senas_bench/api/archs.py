"""Archs that somebody has: what they cost, and on which network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from senas_bench.spaces.archfile import NamedArch

FILES = (".json", ".txt")
"""Endings of files of archs."""


@dataclass(frozen=True)
class Network:
    """What surrounds the choices of some archs, so that they cost something.

    Args:
        space: Key of `SPACES`.
        skeleton: Of that space.
        name: Whose it is, for people.
    """

    space: str
    skeleton: Any
    name: str

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(f'{name} {_said(value)}' for name, value in asdict(self.skeleton).items())}"

    def costs(self, archs: Sequence[NamedArch]) -> list[dict[str, Any]]:
        """A row per arch: `arch`, `flops_m` (multiply-adds, millions) and `params`, and its `label` if it has one."""
        import numpy as np

        from senas_bench.spaces import space_named

        kind = space_named(self.space)
        costs = kind.cost(self.skeleton)(np.array([named.arch for named in archs]))
        return [
            {
                **({"label": named.label} if named.label else {}),
                "arch": kind.to_str(named.arch),
                "flops_m": float(costs["flops_m"][row]),
                "params": int(costs["params"][row]),
            }
            for row, named in enumerate(archs)
        ]


def network_of(space: str, preset: str | None = None, dataset: str | None = None) -> Network:
    """The network of a preset, or without one that of the literature for a data set.

    Args:
        dataset: Its images, or one of the networks of the literature; None for the preset's, or the space's first.

    Raises:
        ValueError: A name is unknown, or the preset does not fix the size of the images.
    """
    from senas_bench.names import lookup
    from senas_bench.spaces import space_named

    kind = space_named(space)
    if preset is None:
        known = dataset or next(iter(kind.skeletons))
        return Network(space, lookup("dataset", known, kind.skeletons), f"{space} at full size for {known}")
    from senas_bench.experiments.studies import preset_of, skeleton_for

    sizes = preset_of(space, preset)
    images = dataset or sizes.dataset
    return Network(space, skeleton_for(space, sizes, images), f"{space} at preset {preset} for {images}")


def archs_of(texts: Sequence[str], space: str) -> list[NamedArch]:
    """Archs from arch strings, indices of NAS-Bench-201, a `Genotype(...)`, or files of archs.

    Args:
        space: Of those for which a file names none.

    Raises:
        ValueError: One is none, or they are of several spaces.
        FileNotFoundError: No such file.
    """
    from senas_bench.api.searches import one_arch
    from senas_bench.spaces import space_named
    from senas_bench.spaces.archfile import NamedArch, read_archs

    archs = []
    for text in texts:
        if text.endswith(FILES):
            archs += read_archs(Path(text), space)
        else:
            archs.append(NamedArch(space, space_named(space).from_str(one_arch(text, space))))
    spaces = sorted({named.space for named in archs})
    if len(spaces) > 1:
        raise ValueError(f"the archs are of {' and '.join(spaces)}; give those of one space at a time")
    return archs


def _said(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
