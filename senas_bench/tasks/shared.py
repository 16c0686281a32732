"""Trainings that several runs have in common: each is computed once and counted in full by every run that uses it.

A training is stored under the hash of all that decides it: the weights that it starts from, space, recipe, paths, seed,
images, device and engine. What a run then does with the network, such as scoring it in another way, is no part of
that. Only trainings from fresh momentum that no architecture learns beside are shared: the first of a method. So are
the estimates of archs that runs make alike of such a training, under the hash of the weights and of how they are made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.locks import held
from senas_bench.training.samplers import Sampler

if TYPE_CHECKING:
    from torch import nn

    from senas_bench.training.recipe import TrainingRecipe

PATIENCE = 7 * 24 * 3600.0
"""Seconds to wait for a process that computes the same training: as long as it lives and a training may take."""
KEPT_BYTES = 256 * 2**20
"""Snapshots of a training that are no larger together are kept though nobody asks, for whoever scores them."""


@dataclass(frozen=True)
class SharedTrainings:
    """Where the trainings of a results folder lie that its runs share.

    Args:
        folder: New ones go here.
        about: JSON values: what decides a training beside what `place` is given, such as images and device.
        kept: Another folder to look in first, of those that the user asked to keep; None for none.
        code: By name the SHA-256 of the user's files that decide a run, see `additions.code_of`: part of what decides
            scores, which such a file may make; no part of what decides a training, which is shared after an edit too.
    """

    folder: Path
    about: Mapping[str, Any]
    kept: Path | None = None
    code: Mapping[str, str] = field(default_factory=dict)

    def place(
        self,
        network: nn.Module,
        recipe: TrainingRecipe,
        paths: Any,
        *,
        phase: str,
        epochs: int,
        snapshots: bool,
        seed: int,
    ) -> Path:
        """The file of a training, which may be there.

        Args:
            network: As it is before.
            paths: JSON values that say how paths are drawn.
            phase: Names the random numbers.
            snapshots: Whether each is kept.
        """
        from senas_bench.training.checkpoint import digest

        decides = {
            **self.about,
            "recipe": asdict(recipe),
            "paths": paths,
            "phase": phase,
            "epochs": epochs,
            "snapshots": snapshots,
            "seed": seed,
            "weights": digest(network.state_dict(), type(network).__name__),
        }
        return self._file(decides)

    def place_of_estimate(
        self, network: nn.Module, states: Sequence[Mapping[str, Any]], archs: np.ndarray, evaluation: Any, how: str
    ) -> Path:
        """The file of an estimate, which may be there.

        Args:
            network: With the weights that training left.
            states: Its snapshots.
            archs: `(n, edges)`.
            evaluation: As in `Task`.
            how: What else decides it, in words.
        """
        from senas_bench.training.checkpoint import digest

        images = [*evaluation.calibration, *(part for batch in evaluation.batches for part in batch)]
        decides = {
            **self.about,
            "estimate": how,
            "archs": array_identity(archs),
            "weights": [digest(state, type(network).__name__) for state in (network.state_dict(), *states)],
            "evaluation": [evaluation.bn_mode, evaluation.half],
            "scored": [array_identity(part.cpu().numpy()) for part in images],
        }
        return self._file(decides | self._code)

    def place_of_untrained(self, words: str) -> Path:
        """The file of scores of untrained networks, which may be there; `words` say what else decides them."""
        return self._file({**self.about, "untrained": words, **self._code})

    @property
    def _code(self) -> dict[str, Any]:
        return {"code": dict(self.code)} if self.code else {}

    def _file(self, decides: Mapping[str, Any]) -> Path:
        name = f"{hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]}.safetensors"
        if self.kept is not None and (self.kept / name).exists():
            return self.kept / name
        return self.folder / name

    @contextmanager
    def hold(self, place: Path) -> Iterator[None]:
        """Compute or read a training or an estimate alone.

        Raises:
            LockHeld: Somebody else computes it, and takes longer than `PATIENCE`.
        """
        with ExitStack() as held_meanwhile:
            for last in (False, True):
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    held_meanwhile.enter_context(held(place.with_suffix(".lock"), PATIENCE))
                    break
                except FileNotFoundError:  # another command has just removed the empty folder
                    if last:
                        raise
            yield


def snapshots_fit(network: nn.Module, count: int) -> bool:
    """Whether so many snapshots of a network are small enough to be kept unasked."""
    return count * sum(value.nbytes for value in network.state_dict().values()) <= KEPT_BYTES


def paths_identity(sample: Any) -> Any:
    """JSON values that two path samplers share only if they draw the same; None for one that does not say, or
    remembers."""
    identity = None if isinstance(sample, Sampler) else getattr(sample, "identity", None)
    return None if identity is None else identity()


def array_identity(array: np.ndarray) -> str:
    """Text that two arrays share only if they are equal."""
    return f"{array.shape} {array.dtype} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"
