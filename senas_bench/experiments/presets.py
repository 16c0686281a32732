"""How large everything is: images, network, training and evaluation. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from senas_bench.experiments.spec import settings_of
from senas_bench.names import lookup
from senas_bench.spaces.darts.relaxed import AFTER_DARTS, full_recipes, small_recipes
from senas_bench.training.recipe import TrainingRecipe

PADS = {"imagenet16-120": 2}
"""Largest border of the random crop of images that are smaller than CIFAR's [code: AutoDL-Projects]."""
OWN_FIELDS = ("recipes", "note", "curve_points", "curve_images")
"""Fields of a preset that not all methods share."""
RETRAIN = "retrain"
"""Recipe for the pick of a search, trained from scratch; `retrain-<dataset>` comes before it on that data set."""
STAND_ALONE = "stand-alone"
"""Recipe for networks trained from scratch, whose length is not that of the supernets."""


@dataclass(frozen=True)
class Preset:
    """One size of the study. Results of two presets never share a table.

    Args:
        dataset: Images when the user names none.
        resolution: Height and width in pixels; 0 keeps the images as they are.
        channels, cells: Of the network: width of the first stage, cells per stage.
        held_out: Validation images held out of the training images; 0 for the official split of NAS-Bench-201.
        score_images: How many of them score an arch.
        score_batch: Images per scoring batch, which is also what `bn_mode="batch"` normalizes over.
        bn_mode: One of `ranking.batchnorm.BN_MODES`.
        calibration_images: Training images over which `recalibrate` averages.
        pad, flip: Augmentation: zero border of the random crop, smaller for some images, and mirroring.
        rank_archs: Size of the fixed random sample that rankings cover; 0 means the whole space.
        recipes: `reference`, the paper's and its code's, and `tuned`, ours.
        note: What a reader must know before quoting a number.
        curve_points: Rankings per stage of the methods that are `watched`, for plots of tau over epochs; 0 for none.
            They are of a fixed sample of archs, and part of the specs of those methods alone.
        curve_images: Validation images that score one of them.
        candidates: Archs that RSPS, SETN and ENAS score for their pick, on all `score_images`; 0 leaves both to
            the method, as its paper has it. SPOS and FairNAS choose among `rank_archs`.
        width: Multiplies all widths of a MobileNet-like network.
        engine: One of `kernels.ENGINES`; empty for `compiled` where it can be had and else `torch`.
    """

    dataset: str
    resolution: int
    channels: int
    cells: int
    held_out: int
    score_images: int
    score_batch: int
    bn_mode: str
    calibration_images: int
    pad: int
    flip: bool
    rank_archs: int
    recipes: Mapping[str, TrainingRecipe] = field(hash=False)
    note: str = ""
    candidates: int = field(default=0, metadata={"added": True})
    width: float = field(default=1.0, metadata={"added": True})
    engine: str = field(default="", metadata={"added": True})
    curve_points: int = 0
    curve_images: int = 0

    def to_settings(self, recipe: str | None) -> dict[str, Any]:
        """JSON values for the spec of a method that trains with `recipe`: `preset`, the sizes that all methods
        share, and `recipe`, its own, where it has one.

        Raises:
            ValueError: The preset has no such recipe.
        """
        sizes = {name: value for name, value in settings_of(self).items() if name not in OWN_FIELDS}
        if recipe is None:
            return {"preset": sizes}
        return {"preset": sizes, "recipe": settings_of(lookup("recipe of this preset", recipe, self.recipes))}

    @staticmethod
    def from_settings(settings: Mapping[str, Any], recipe: str | None) -> Preset:
        """Inverse of `to_settings`: a preset with that one recipe, or with none."""
        if recipe is None:
            return Preset(**settings["preset"], recipes={})
        fields = settings["recipe"]
        chosen = TrainingRecipe(**{**fields, "stage_epochs": tuple(fields["stage_epochs"])})
        return Preset(**settings["preset"], recipes={recipe: chosen})

    def for_images(self, dataset: str) -> Preset:
        """As it is for a data set: with the border that its images take, see `PADS`."""
        return replace(self, pad=min(self.pad, PADS.get(dataset, self.pad)))

    def recipe_of(self, recipe: str | None) -> TrainingRecipe:
        """The recipe of that name; for None one of no epochs, whose batches are those that score."""
        if recipe is None:
            return TrainingRecipe((), self.score_batch)
        return lookup("recipe of this preset", recipe, self.recipes)


def _baseline_recipes(epochs: int, darts_epochs: int, controller_steps: int) -> dict[str, TrainingRecipe]:
    """The recipes of the one-shot and gradient-based methods (docs/method.md 3), scaled only in length.

    They learn the weights on the training images, or on one half and the architecture on the other: an
    epoch sees every image once in both cases. One snapshot, the last weights, scores. ENAS's rate swings as often as in
    250 epochs with a half period of 10.
    """
    base = TrainingRecipe((epochs,), batch_size=64, lr=0.025, lr_min=0.001, lr_horizon=0, snapshots=1)
    return {
        "rsps": base,
        "gdas": base,
        "setn": replace(base, clip=0.0),
        "darts": replace(base, stage_epochs=(darts_epochs,)),
        "fbnet": replace(base, stage_epochs=(darts_epochs,)),
        "proxylessnas": base,
        "enas": replace(
            base,
            batch_size=128,
            lr=0.05,
            lr_min=0.0005,
            swings=25,
            weight_decay=2.5e-4,
            controller_steps=controller_steps,
        ),
    }


def _after_darts(epochs: int = 0) -> dict[str, TrainingRecipe]:
    """The recipes of SNAS, P-DARTS, Fair DARTS and PC-DARTS, of so many epochs; 0 for those of their papers."""
    small = small_recipes(dict.fromkeys(AFTER_DARTS, epochs), batch_size=64, lr=0.025)
    own = small if epochs else full_recipes(amp=True)
    return {name: TrainingRecipe(**own[name]) for name in AFTER_DARTS}


def _stand_alone_recipe(epochs: int, batch_size: int, amp: bool = False) -> TrainingRecipe:
    """How the benchmark trained its networks (Dong and Yang, ICLR 2020, table 4), scaled only in length and batch."""
    return TrainingRecipe((epochs,), batch_size, lr=0.1, lr_min=0.0, lr_horizon=0, clip=0.0, snapshots=1, amp=amp)


PRESETS = {
    "embedded": Preset(
        dataset="digits",
        resolution=8,
        channels=8,
        cells=1,
        held_out=400,
        score_images=400,
        score_batch=200,
        bn_mode="batch",
        calibration_images=400,
        pad=1,
        flip=False,
        rank_archs=500,
        recipes={
            "reference": TrainingRecipe(stage_epochs=(16, 16, 16), batch_size=64, lr=0.05, lr_min=0.002, snapshots=5),
            "tuned": TrainingRecipe(
                stage_epochs=(16, 16, 16),
                batch_size=64,
                lr=0.1,
                lr_min=0.1,
                sampling="per_cell",
                snapshots=5,
                snapshot_epochs=10,
            ),
            **_baseline_recipes(48, 15, 1),
            "greedynas": TrainingRecipe(stage_epochs=(16,), batch_size=64, lr=0.05, lr_min=0.002, snapshots=5),
            **_after_darts(15),
            STAND_ALONE: _stand_alone_recipe(12, 64),
        },
        curve_points=1,
        curve_images=200,
        note="a proxy: 8x8 digits are the images, CIFAR-10 accuracies the truth",
    ),
    "cpu": Preset(
        dataset="cifar10",
        resolution=16,
        channels=8,
        cells=1,
        held_out=5000,
        score_images=1000,
        score_batch=125,
        bn_mode="batch",
        calibration_images=1000,
        pad=2,
        flip=True,
        rank_archs=0,
        recipes={
            "reference": TrainingRecipe(batch_size=128, snapshots=8),
            "tuned": TrainingRecipe(
                batch_size=64, lr=0.1, lr_min=0.1, sampling="per_cell", snapshots=8, snapshot_epochs=8
            ),
            **_baseline_recipes(60, 60, 8),
            "greedynas": TrainingRecipe(stage_epochs=(20,), batch_size=128, snapshots=8),
            **_after_darts(60),
            STAND_ALONE: _stand_alone_recipe(5, 128),
        },
        curve_points=4,
        curve_images=1000,
        note="a proxy: images at 16x16, networks of 8 channels and 1 cell per stage",
    ),
    "paper": Preset(
        dataset="cifar10",
        resolution=0,
        channels=16,
        cells=5,
        held_out=5000,
        score_images=5000,
        score_batch=1000,
        bn_mode="batch",
        calibration_images=2000,
        pad=4,
        flip=True,
        rank_archs=0,
        recipes={
            "reference": TrainingRecipe(amp=True),
            "tuned": TrainingRecipe(amp=True, lr=0.2, lr_min=0.2, sampling="per_cell", snapshot_epochs=10),
            **{name: replace(recipe, amp=True) for name, recipe in _baseline_recipes(250, 50, 50).items()},
            "greedynas": TrainingRecipe(stage_epochs=(20,), amp=True),
            **_after_darts(),
            STAND_ALONE: _stand_alone_recipe(200, 256, amp=True),
        },
        curve_points=4,
        curve_images=5000,
    ),
}
