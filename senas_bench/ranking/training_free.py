"""P(a) without training: a proxy's score of the untrained network of each arch."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from senas_bench.proxies import Proxy, proxy_of
from senas_bench.proxies.proxy import checked
from senas_bench.ranking.estimator import Cost, Estimator, Weights, Work
from senas_bench.ranking.fresh import SIZES, Fresh
from senas_bench.ranking.memo import Memo, Scored, Shelf, from_arrays, to_arrays
from senas_bench.ranking.partial import Partial, identity_of
from senas_bench.ranking.snapshots import NOBODY, Watcher
from senas_bench.spaces import Arch, Space
from senas_bench.spaces.cost import multiply_adds

if TYPE_CHECKING:
    import torch

    from senas_bench.ranking.score_archs import Evaluation

COUNTS = ("forward_paths", "backward_paths", "images_scored", "multiply_adds")


@dataclass(frozen=True)
class TrainingFree(Estimator):
    """The score that a proxy gives an untrained stand-alone network. No weights of a supernet are read.

    What is scored once for all that share it, the proxy declares: the arch string, the pruned arch or the function. A
    score depends on that, the images and the run's seed alone, whatever is scored beside it: all archs meet the same
    images, and random numbers of the same seed. So a run makes it once, see `ranking.memo`. Archs whose input does not
    reach their output score -inf.

    The images are the first validation images that the evaluation scores on; batch norm is as the proxy has it. The
    run's engine computes passes without gradients (`Alone.look`), torch all others: the loops in C know no gradients of
    gradients.

    Args:
        proxy: Key of `PROXIES`, or a strategy.
        size: Of the networks, one of `fresh.SIZES`.
        images: How many; 0 for the proxy's own number.
        noise: Whether images drawn from a normal distribution take the place of real ones.
        draws: Of the weights, over which scores are averaged.

    Raises:
        ValueError: Unknown proxy or size, or a number that is too small.
    """

    needs_supernet = False
    proxy: str | Proxy
    size: str = "preset"
    images: int = 0
    noise: bool = False
    draws: int = 1

    def __post_init__(self) -> None:
        proxy_of(self.proxy)
        if self.size not in SIZES:
            raise ValueError(f"unknown size {self.size!r} of the scored networks; one of: {', '.join(SIZES)}")
        if self.images < 0 or self.draws < 1:
            raise ValueError(f"{self.images} images and {self.draws} draws; give images >= 0 and draws >= 1")

    @property
    def saw(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] -- a constant there
        return proxy_of(self.proxy).saw

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        fresh, proxy = trained.fresh(self.size), proxy_of(self.proxy)
        distinct, rows = distinct_archs(fresh.space, archs, proxy.of)
        batch = self._batch(fresh, proxy, evaluation)
        about = f"{_who(proxy)} {(self.size, self.images, self.noise, self.draws)} {fresh.seed}"
        memo = Memo(watcher.partial, f"{about} {len(batch[1])} {watcher.purpose}")
        shelf = Shelf(fresh.shared(f"{about} {_identity(*batch)}"))
        new = shelf.move(memo.missing(distinct), memo, watcher.partial)
        flops = dict(zip(new, multiply_adds(fresh.cost, np.array(new)).tolist(), strict=True)) if new else {}
        found = _Found.begin(watcher.partial, batch, about)
        left = [arch for arch in new if arch not in found.entries]
        watcher.began(1 - len(left) / max(len(new), 1))
        for index, arch in enumerate(left, start=len(new) - len(left)):
            started = time.perf_counter()
            scores, work = self._score(fresh, proxy, arch, batch, flops[arch])
            found.entries[arch] = Scored(scores, work, time.perf_counter() - started)
            if watcher.partial:
                watcher.partial.keep(found.arrays)
            if index % 10 == 9:
                watcher.tick((index + 1) / len(new))
        memo.add({arch: found.entries[arch] for arch in new})
        shelf.put({arch: found.entries[arch] for arch in new})
        own = memo.own_counts(distinct)
        counts = np.array([np.zeros(len(COUNTS), np.int64), *own]).sum(0)
        scores = np.array([-np.inf, *memo.scores(distinct, proxy.place)])[rows + 1]
        work = {"archs_scored": len(own) * self.draws}
        work |= {name: int(count) for name, count in zip(COUNTS, counts, strict=True)}
        if distinct:  # had each string been scored: all go through the same passes
            first = memo.entries[distinct[0]].counts[-1] // multiply_adds(fresh.cost, np.array(distinct[:1]))[0]
            work["nominal_multiply_adds"] = int(first * multiply_adds(fresh.cost, archs[rows >= 0]).sum())
        return scores, work

    def _batch(self, fresh: Fresh, proxy: Proxy, evaluation: Evaluation) -> tuple[torch.Tensor, torch.Tensor]:
        """Images `(batch, C, H, W)` and labels `(batch,)`, the same for every arch."""
        import torch

        count, shape = self.images or proxy.batch, fresh.shape
        device = evaluation.batches[0][0].device
        generator = fresh.generator(0, purpose=2)
        if self.noise or proxy.data in ("nothing", "noise"):
            size = (count, shape.in_channels, shape.resolution, shape.resolution)
            x = torch.zeros(size) if proxy.data == "nothing" else torch.randn(size, generator=generator)
            y = torch.randint(shape.num_classes, (count,), generator=generator)
            return x.to(device, memory_format=torch.channels_last), y.to(device)
        batches = fresh.batches() if fresh.batches else evaluation.batches
        if (have := sum(len(y) for _, y in batches)) < count:
            raise ValueError(
                f"the proxy {self.proxy} scores on {count} images, and the run has {have} that score an arch; give the "
                f"estimator fewer images, or the preset more with --score-images"
            )
        x, y = (torch.cat([batch[part] for batch in batches[:count]])[:count] for part in (0, 1))
        return x.contiguous(memory_format=torch.channels_last), y

    def _score(
        self, fresh: Fresh, proxy: Proxy, arch: Arch, batch: tuple[torch.Tensor, torch.Tensor], flops: int
    ) -> tuple[tuple[float, ...], np.ndarray]:
        """The mean scores of an arch over the draws, of all the family, and the work, see `COUNTS`."""
        from senas_bench.kernels.engines import chosen, using
        from senas_bench.proxies.alone import Alone

        scores, counts = [], np.zeros(len(COUNTS), np.int64)
        for draw in range(self.draws):
            network = Alone(fresh.build(arch, draw), arch, chosen())
            if proxy.needs_features and not hasattr(network.network, "features"):
                raise ValueError(
                    f"the proxy {self.proxy} reads blocks; give {type(network.network).__name__} a features"
                )
            with using("torch"):
                numbers = checked(proxy, proxy.numbers(network, batch[0].clone(), batch[1], fresh.generator(draw)))
            scores.append([-math.inf if math.isnan(number) else number for number in numbers])
            done = network.passes
            work = flops * (done.forward_images + 2 * done.backward_images)
            counts += np.array([done.forward, done.backward, done.forward_images, work])
        return tuple(np.mean(scores, 0).tolist()), counts


def _who(proxy: Proxy) -> str:
    """A proxy in words, by its class and fields and not by a name that may come to mean another; alike for all of a
    family."""
    kind = type(proxy)
    name = proxy.family if proxy.family else kind.__qualname__
    return f"{kind.__module__}.{name} {astuple(proxy)}"  # type: ignore[call-overload]


class _Found:
    """What the archs scored so far have."""

    def __init__(self, entries: dict[Arch, Scored]) -> None:
        self.entries = entries

    @staticmethod
    def begin(partial: Partial | None, batch: tuple[torch.Tensor, torch.Tensor], words: str) -> _Found:
        """What an earlier try has left, of whichever archs.

        Args:
            batch: Images and labels: they tell this scoring from another, as `words` do.
        """
        images, labels = batch
        tensors = {"images": images, "labels": labels}
        kept = partial.begin(lambda: identity_of([tensors], np.zeros(0), words)) if partial else {}
        return _Found(from_arrays(kept) if "archs" in kept else {})

    def arrays(self) -> dict[str, np.ndarray]:
        return to_arrays(self.entries)


def _identity(images: torch.Tensor, labels: torch.Tensor) -> str:
    """Of a batch."""
    parts = (images.cpu().contiguous().numpy(), labels.cpu().numpy())
    return hashlib.sha256(b"".join(part.tobytes() + repr(part.shape).encode() for part in parts)).hexdigest()


def distinct_archs(space: Space, archs: np.ndarray, of: str) -> tuple[list[Arch], np.ndarray]:
    """The archs to score, in lexicographic order, and `(n,)` which of them stands for each of `archs` `(n, edges)`; -1
    for an arch whose input does not reach its output.

    Args:
        of: One of `proxies.proxy.SCORED`.
    """
    rows = [tuple(row) for row in archs.tolist()]
    stands = [_stands_for(space, arch, of) for arch in rows]
    distinct = sorted({arch for arch in stands if arch is not None})
    place: dict[Arch | None, int] = {arch: index for index, arch in enumerate(distinct)}
    return distinct, np.array([place.get(arch, -1) for arch in stands], int)


def _stands_for(space: Space, arch: Arch, of: str) -> Arch | None:
    if of == "function":
        return space.function(arch)
    pruned = space.pruned(arch)
    return arch if of == "string" and pruned is not None else pruned
