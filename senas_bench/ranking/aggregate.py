"""Several estimators as one: the mean logarithm of the percentiles at which they rank an arch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from senas_bench.ranking.estimator import Cost, Estimator, EstimatorName, Reference, Weights, Work, together
from senas_bench.ranking.kept import Kept, kept_scores
from senas_bench.ranking.snapshots import NOBODY, Watcher

if TYPE_CHECKING:
    from senas_bench.ranking.score_archs import Evaluation

RULES = ("log-rank", "rank")


LEAST = float(np.finfo(np.float64).tiny)
"""The smallest percentile of a finite score."""


def percentiles(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where scores stand among those of a reference sample, in (0, 1).

    The m scores of the sample are at (i - 1/2) / m, equal ones at the mean of their places; between two of them the
    percentile is interpolated, beyond the outermost it approaches 0 and 1 within the scale of the sample's deviation.
    So it grows with the score, strictly as far as floats tell percentiles apart (to 36 deviations above the sample and
    700 below), and depends on nothing but the score and the sample.

    Args:
        scores: `(n,)`; -inf stands at the bottom, half-way up the share of the sample that is cut off as well; where
            none is, below whatever a finite score may have.
        reference: `(m,)`, at least one of them finite.

    Raises:
        ValueError: Scores that are not numbers, or no finite reference.
    """
    if np.isnan(scores).any() or np.isnan(reference).any():
        raise ValueError("scores that are not numbers have no rank; an estimator gives each arch a number or -inf")
    finite = reference[np.isfinite(reference)]
    if not len(finite):
        raise ValueError("no arch of the reference sample has a finite score, so there are no ranks")
    values, counts = np.unique(finite, return_counts=True)
    lowest = len(reference) - len(finite)
    places = (lowest + np.cumsum(counts) - counts / 2) / len(reference)
    scale = float(finite.std()) or 1.0
    found = np.interp(scores, values, places)
    with np.errstate(invalid="ignore"):
        below, above = (values[0] - scores) / scale, (scores - values[-1]) / scale
    floor = lowest / len(reference)
    found = np.where(below > 0, floor + (places[0] - floor) * np.exp(-np.maximum(below, 0)), found)
    found = np.where(above > 0, 1 - (1 - places[-1]) * np.exp(-np.maximum(above, 0)), found)
    found = np.clip(found, LEAST, np.nextafter(1.0, 0.0))
    return np.where(scores == -np.inf, (floor or LEAST) / 2, found)


@dataclass(frozen=True)
class Aggregate(Estimator):
    """Rank by several estimators at once, each with the same say, as AZ-NAS does (Lee and Ham, CVPR 2024, Eq. 11).

    The score of an arch is the mean over the parts of ln p, p the percentile of its score in a reference sample; AZ-NAS
    takes the sum of log-ranks among the archs at hand. Here the sample is fixed by the run's seed, so that a score
    depends on the arch alone, whatever is scored beside it. Being logarithms of numbers in (0, 1), scores enter
    Eqs. 5-7 as percentiles.

    Args:
        parts: At least one; keys of `ESTIMATORS`, or strategies.
        reference: Archs in the sample: of those that the report ranks, or, where fewer than a hundred of them are
            alive, of the space, and then at most two hundred.
        rule: `log-rank`; or `rank`, the logarithm of the mean percentile, which is the order of summed ranks.

    Raises:
        ValueError: No parts, too small a sample, or an unknown rule.
    """

    parts: tuple[EstimatorName, ...]
    reference: int = 1000  # pyright: ignore[reportIncompatibleVariableOverride] -- a field here, a constant there
    rule: str = "log-rank"
    nats = True

    def __post_init__(self) -> None:
        if not self.parts or isinstance(self.parts, str):
            raise ValueError('an aggregate has no parts; give estimators, such as ("snapshot-loglik", "synflow-bn")')
        if self.reference < 2:
            raise ValueError(f"a reference of {self.reference} archs ranks nothing; give 2 or more")
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r}; one of: {', '.join(RULES)}")

    @property
    def compared(self) -> tuple[EstimatorName, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.parts

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        found, works = [], []
        watcher.began(0.0)
        for k, part in enumerate(self.parts):
            known = trained.references[str(part)]
            at = dict(known.others) | {bytes(r): score for r, score in zip(known.archs, known.scores, strict=True)}
            new = np.array([bytes(row) not in at for row in archs], bool)
            if new.any():
                made = self._part(k, known, trained, archs[new], evaluation, cost, watcher)
                at |= {bytes(row): score for row, score in zip(archs[new], made.scores, strict=True)}
                works.append(made.work)
            scores = np.array([at[bytes(row)] for row in archs], float)
            found.append(percentiles(scores, known.scores))
            watcher.tick((k + 1) / len(self.parts))
        shares = np.array(found)
        return (np.log(shares).mean(0) if self.rule == "log-rank" else np.log(shares.mean(0))), together(works)

    def _part(
        self,
        k: int,
        part: Reference,
        trained: Any,
        archs: np.ndarray,
        evaluation: Evaluation,
        cost: Cost,
        watcher: Watcher,
    ) -> Kept:
        """What one part gives, kept beside what the whole keeps."""
        own = Watcher(tick=lambda share: watcher.tick((k + share) / len(self.parts)), purpose=watcher.purpose)

        seen = replace(trained, references=dict(part.references)) if part.references else trained

        def make(told: Watcher) -> tuple[np.ndarray, Work]:
            return part.estimator(seen, archs, evaluation, cost, told)

        if watcher.partial is None:
            scores, work = make(own)
            return Kept(scores, 0.0, work, False)
        kept = kept_scores(watcher.partial.part(k), make, own, watcher.partial.writes)
        if kept.found:
            watcher.partial.spent(kept.seconds)
        return kept


@dataclass(frozen=True)
class Size(Estimator):
    """Score an arch by what it costs: the larger, the better. It looks at no network; a part for ablations.

    Args:
        cost: `params` or `flops_m`.
    """

    cost: str
    needs_supernet = False
    knows_size = True

    def __call__(
        self, trained: Weights, archs: np.ndarray, evaluation: Evaluation, cost: Cost, watcher: Watcher = NOBODY
    ) -> tuple[np.ndarray, Work]:
        work: Work = dict.fromkeys(("archs_scored", "forward_paths", "images_scored"), 0)
        return np.asarray(cost(archs)[self.cost], float), work
