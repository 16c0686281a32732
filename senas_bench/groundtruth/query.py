"""What an accuracy is the accuracy of, and which accuracies may be compared."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Literal

from senas_bench.names import lookup

DATASETS = ("cifar10", "cifar100", "imagenet16-120")
VALID_MODEL = "cifar10-valid"
"""The model trained on half of CIFAR-10's training images, as far as it is asked on the test images."""
MODELS = (VALID_MODEL, *DATASETS)
SPLITS = ("val", "test", "valtest")
EPOCHS = (12, 200)
_COLUMN = re.compile(
    rf"({'|'.join(MODELS)})_({'|'.join(SPLITS)})_acc_(12|200)(?:ep|ep_seed(0|[1-9][0-9]*)|_seed(0|[1-9][0-9]*))"
)


@dataclass(frozen=True)
class Query:
    """What an accuracy is the accuracy of. Nothing has a default: mixing these is the classic mistake.

    Args:
        dataset: `cifar10`, `cifar100`, `imagenet16-120`, or `cifar10-valid` for what its `split` says.
        split: `val`, `test`, or `valtest`, the mean of both where no more is known. The first two may belong to
            different models: on cifar10, `val` is the `cifar10-valid` model, trained on 25,000 images, and `test` the
            model trained on all 50,000. So cifar10 has no `valtest`, and the accuracy of the former on the test images
            is `cifar10-valid` with `test`.
        epochs: Length of the training from scratch, 12 or 200.
        seeds: `"mean"` over the training seeds, or one seed such as 777.

    Raises:
        ValueError: A field is not one of these.
    """

    dataset: str
    split: str
    epochs: int
    seeds: Literal["mean"] | int

    def __post_init__(self) -> None:
        lookup("dataset", self.dataset, dict.fromkeys((*DATASETS, VALID_MODEL)))
        lookup("split", self.split, dict.fromkeys(SPLITS))
        if self.dataset == VALID_MODEL and self.split != "test":
            raise ValueError(
                f"{VALID_MODEL} has only split test; its validation accuracy is dataset cifar10, split val"
            )
        if (self.dataset, self.split) == ("cifar10", "valtest"):
            raise ValueError(f"cifar10 has no split valtest: {_WHY_MODEL}, so their mean is of no model; ask for one")
        if self.epochs not in EPOCHS or not isinstance(self.epochs, int):
            raise ValueError(f"epochs {self.epochs!r} is not benchmarked; one of: {', '.join(map(str, EPOCHS))}")
        is_seed = isinstance(self.seeds, int) and not isinstance(self.seeds, bool) and self.seeds >= 0
        if self.seeds != "mean" and not is_seed:
            raise ValueError(f"seeds {self.seeds!r} must be 'mean' or one training seed, an integer such as 777")

    @property
    def model(self) -> str:
        """Whose accuracy it is, one of `MODELS`."""
        return VALID_MODEL if (self.dataset, self.split) == ("cifar10", "val") else self.dataset

    def __str__(self) -> str:
        suffix = "" if self.seeds == "mean" else f"_seed{self.seeds}"
        return f"{self.dataset}_{self.split}_acc_{self.epochs}ep{suffix}"

    @staticmethod
    def from_column(name: str) -> Query:
        """The query that a column answers; the inverse of `str`.

        Raises:
            ValueError: The name is not `<dataset>_<split>_acc_<epochs>ep[_seed<seed>]`.
        """
        match = _COLUMN.fullmatch(name)
        if match is None:
            raise ValueError(
                f"column {name!r} is not <dataset>_<split>_acc_<epochs>ep or that with _seed<seed>: dataset one of "
                f"{', '.join(MODELS)}; split {', '.join(SPLITS)}; epochs 12, 200; rename or remove it"
            )
        seed = match[4] or match[5]
        return Query(match[1], match[2], int(match[3]), "mean" if seed is None else int(seed))


_WHY_MODEL = "val is the cifar10-valid model, trained on 25,000 images, and test the model trained on all 50,000"
_WHY_EPOCHS = "12 and 200 epochs are two trainings, each with its own learning-rate schedule, not one curve"
_WHY_SEEDS = "one seed has the noise of one training, which a mean over seeds does not"


def check_same_protocol(*queries: Query) -> None:
    """Refuse to compare, rank or average accuracies that are not of the same kind of training.

    Different data sets and splits of one model may be compared. What may not be mixed: the two CIFAR-10 models,
    12 and 200 epochs, and one seed and a mean over seeds. Two single seeds may.

    Raises:
        ValueError: Two of the queries differ in one of these; the message says in which, and why it matters.
    """
    for first, second in itertools.combinations(queries, 2):
        if differences := why_apart(first, second):
            raise ValueError(f"{first} and {second} must not be mixed: {'; '.join(differences)}")


def why_apart(first: Query, second: Query) -> list[str]:
    """Why two queries are of different kinds of training, one phrase each."""
    differences = []
    if {first.model, second.model} == {"cifar10", VALID_MODEL}:
        differences.append(f"on cifar10, {_WHY_MODEL}")
    if first.epochs != second.epochs:
        differences.append(_WHY_EPOCHS)
    if (first.seeds == "mean") != (second.seeds == "mean"):
        differences.append(_WHY_SEEDS)
    return differences
