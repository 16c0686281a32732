"""The angle criterion (AngleNAS: Hu et al., "Angle-based search space shrinking", ECCV 2020)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.errors import RunError
from senas_bench.shrinking.criterion import CriterionOutput
from senas_bench.shrinking.si import selection_importance
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.regions import operator_sample

if TYPE_CHECKING:
    import torch
    from torch import nn

    from senas_bench.networks.choice import ChoiceEdge
    from senas_bench.tasks.outputs import Trained
    from senas_bench.tasks.task import Task


@dataclass(frozen=True)
class Angle:
    """Score operators by the mean angle between initial and trained weights of the archs that contain them.

    The larger the angle, the more the weights have learned, and the better the operator. The trained weights are
    the last ones, not an average of snapshots; no image is needed.

    Args:
        per_operator: Archs that contain each operator; see `operator_sample`.
        reset_after: Once more operators than this are dropped, angles are to the weights as they were at that shrink,
            and no longer to those of the start: once, after 50, in the MobileNet search of [code: AngleNAS]. 0 never
            does it, like its searches in NAS-Bench-201 and DARTS.
    """

    per_operator: int = 100
    reset_after: int = field(default=0, metadata={"added": True})

    def __call__(self, trained: Trained, task: Task) -> CriterionOutput:
        archs, rows = operator_sample(
            task.within(trained.space), self.per_operator, task.rng(f"{trained.phase}-criterion")
        )
        angles = path_angles(trained.network, self._base(trained, task), trained.space, archs)
        return CriterionOutput(selection_importance(rows, angles))

    def _base(self, trained: Trained, task: Task) -> nn.Module:
        """The weights from which angles are measured: those that the first stage started from, or, after the reset,
        those at the end of the last stage that at most `reset_after` operators had been dropped before."""
        from senas_bench.training.checkpoint import read_checkpoint, write_checkpoint

        first = task.build(task.space.with_groups(()))
        if not self.reset_after:
            return first
        kept, space = task.work.folder / "angle-base.safetensors", trained.space
        if len(task.space.droppable()) - len(space.droppable()) <= self.reset_after:
            if task.work.processes.first:
                shape = {"candidates": space.candidates, "groups": space.groups}
                write_checkpoint(kept, trained.network.state_dict(), shape)
            return first
        read = read_checkpoint(kept, task.work.device)
        if read is None:
            raise RunError(f"the base weights {kept} are gone; remove its folder and run again")
        tensors, shape = read
        candidates, groups = (tuple(map(tuple, shape[name])) for name in ("candidates", "groups"))
        base = task.build(replace(task.space, candidates=candidates, groups=groups))
        # of DARTS cells the supernet keeps the batch norms of pools that were dropped
        base.load_state_dict({name: tensors[name] for name in base.state_dict()})
        return base


def path_angles(network: nn.Module, initial: nn.Module, space: SearchSpace, archs: np.ndarray) -> np.ndarray:
    """`(n,)` angles in radians between the initial and the trained weights of archs `(n, edges)`.

    The vectors of an arch concatenate the convolution kernels of its operators over all edges and cells. A pooling
    counts in both as its kernel of 1/9, one per channel; skip and none as nothing [code: AngleNAS]. An arch without
    any weights has angle 0. The weights of a copy began as those of its operator before expanding.

    AngleNAS's code concatenates along every route from a cell's input to its output, so that an edge counts once for
    each route and not at all on one that `none` cuts, and adds stem, reductions and head. Here each edge counts
    once, as docs/method.md 2.1 says, and what all archs share is left out: it only makes all angles more alike.

    Args:
        network: Trained; may be expanded.
        initial: Over at least the operators of `space`, and expanded no further than `network`.
    """
    products, pools = _copy_products(network, initial), _pool_squares(network)
    total = np.zeros((len(archs), 3))
    for edge, (group, copies) in products.items():
        partials, index = np.unique(archs[:, group], axis=0, return_inverse=True)
        rows = []
        for partial in partials.tolist():
            constant = pools[edge] if "pool" in space.operators[partial[group.index(edge)]] else 0.0
            rows.append(copies.get("_".join(map(str, partial)), [constant] * 3))
        total += np.array(rows)[index.ravel()]
    dot, square, other = total.T
    norms = np.sqrt(square * other)  # of equal squares exactly their value, so that pooling alone has angle 0
    cosine = np.divide(dot, norms, out=np.ones(len(archs)), where=norms > 0)
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def _copy_products(network: nn.Module, initial: nn.Module) -> dict[int, tuple[tuple[int, ...], dict[str, np.ndarray]]]:
    """Per edge its group, and per copy of its weights `(3,)`: w0.w, w0.w0 and w.w, added over all cells.

    Sums of these over the edges of a path are those of its concatenated weights, so no vector is ever built.
    """
    import torch

    groups: dict[int, tuple[int, ...]] = {}
    sums: dict[tuple[int, str], torch.Tensor] = defaultdict(lambda: torch.zeros(3, dtype=torch.float64))
    pairs = zip(_choices(network), _choices(initial), strict=True)
    with torch.no_grad():
        for choice, start in pairs:
            groups[choice.edge] = choice.group
            for key, module in choice.copies.items():
                ops = dict(zip(choice.group, key.split("_"), strict=True))
                w0, w = _kernels(start.copies["_".join(ops[edge] for edge in start.group)]), _kernels(module)
                sums[choice.edge, key] = sums[choice.edge, key].to(w.device) + torch.stack([w0 @ w, w0 @ w0, w @ w])
    copies: dict[int, dict[str, np.ndarray]] = {edge: {} for edge in groups}
    for (edge, key), value in sums.items():
        copies[edge][key] = value.cpu().numpy()
    return {edge: (group, copies[edge]) for edge, group in groups.items()}


def _pool_squares(network: nn.Module) -> dict[int, float]:
    """Per edge the squared length of a pooling's kernels of 1/9, one per channel, added over all cells that have it."""
    squares: dict[int, float] = defaultdict(float)
    cells: list[Any] = [module for module in network.modules() if hasattr(module, "weightless_operators")]
    for cell in cells:
        for edge in {edge for edge, _, _ in cell.weightless_operators()}:
            squares[edge] += cell.channels / 9
    return squares


def _choices(network: nn.Module) -> list[ChoiceEdge]:
    from senas_bench.networks.choice import ChoiceEdge

    return [module for module in network.modules() if isinstance(module, ChoiceEdge)]


def _kernels(operator: nn.Module) -> torch.Tensor:
    """`(weights,)` float64: convolution kernels, without batch norm."""
    import torch

    return torch.cat([weight.flatten() for weight in operator.parameters() if weight.dim() > 1]).double()
