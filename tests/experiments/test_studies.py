from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from senas_bench.data.loader import TrainLoader
from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS, RETRAIN
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.spec import settings_of
from senas_bench.experiments.studies import (
    level_limit,
    method_of,
    preset_of,
    scaled_limit,
    skeleton_for,
)
from senas_bench.methods import METHODS
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import SPACES, ImageShape, Study
from senas_bench.spaces.darts import SKELETONS as DARTS_SKELETONS
from senas_bench.spaces.darts import network as darts_module
from senas_bench.spaces.mobilenet import TABLE2
from senas_bench.training import loop
from senas_bench.training.checkpoint import read_checkpoint

SEARCHES = {"drop": 60, "per_operator": 1, "search": "evolution", "evolution": Evolution(4, 2, 2)}
LIMITED = [name for name in SPACES if name != "nasbench201"]


def change(monkeypatch, space, preset, sizes, recipes, method=()):
    """Another study of a space at a preset, in its place."""
    study = Study(sizes, recipes, dict(method))
    own = SPACES[space]
    monkeypatch.setitem(SPACES, space, replace(own, studies={**own.studies, preset: study}))


@pytest.fixture
def quick(monkeypatch):
    """Studies of a single batch of scoring images, one epoch a stage and four archs a generation."""
    for space in LIMITED:
        own = SPACES[space].studies["embedded"]
        recipes = {
            name: {**fields, "stage_epochs": (1,) if name == RETRAIN else (1, 1), "batch_size": 256, "snapshots": 2}
            for name, fields in own.recipes.items()
        }
        sizes = {**own.sizes, "score_images": 50, "score_batch": 50, "rank_archs": 3}
        change(monkeypatch, space, "embedded", sizes, recipes, {**own.method, **SEARCHES})


def test_nasbench201_is_studied_as_its_presets_say():
    assert all(preset_of("nasbench201", name) == preset for name, preset in PRESETS.items())
    assert all(method_of(name, "nasbench201", "cpu") is method for name, method in METHODS.items())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("space", SPACES)
def test_every_space_has_sizes_and_methods_at_every_preset(space, preset):
    sizes = preset_of(space, preset)
    if space != "nasbench201":
        assert {"reference", RETRAIN} <= sizes.recipes.keys()
        method = method_of("se-nas", space, preset)
        assert method.search == "evolution" and method.criterion.per_operator == method_of_fields(space, preset)
        here = [name for name, own in METHODS.items() if own.spaces is None or space in own.spaces]
        assert {"random", "spos", "se-nas"} < set(here)
        assert all(method_of(name, space, preset).recipe in (None, *sizes.recipes) for name in here)


def method_of_fields(space, preset):
    return SPACES[space].studies[preset].method["per_operator"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("space", "law"), [(name, "linear" if "mobile" in name else "cosine") for name in LIMITED])
def test_supernets_of_searches_train_on_one_schedule(space, preset, law):
    """docs/method.md 3: no restart at a stage, and SPOS by the recipe of the methods that shrink."""
    sizes = preset_of(space, preset)
    shrinking = {method_of(name, space, preset).recipe for name in ("si-shrink", "se-nas-shrink", "se-nas")}
    assert shrinking == {method_of("spos", space, preset).recipe} == {"reference"}
    recipe = sizes.recipes["reference"]
    assert (recipe.schedule, recipe.lr_restarts, recipe.lr_horizon) == (law, False, 0)
    assert all(own.lr_restarts for name, own in sizes.recipes.items() if name.startswith(RETRAIN))
    assert preset_of("nasbench201", preset).recipes["reference"].lr_restarts


@pytest.mark.parametrize(("preset", "images"), [("embedded", 1_000), ("cpu", 45_000)])
@pytest.mark.parametrize("space", LIMITED)
def test_logits_of_short_searches_can_leave_their_start(space, preset, images):
    """Adam moves a logit by about its rate in a step; a nat apart, one operator is e times as probable as another."""
    learned = [name for name, own in METHODS.items() if hasattr(own, "arch_lr") and space in (own.spaces or ())]
    assert learned or space == "mobilenet-fair"
    for name in learned:
        method = method_of(name, space, preset)
        recipe = preset_of(space, preset).recipes[method.recipe]
        epochs = sum(recipe.stage_epochs) / (3 if name == "p-darts" else 1)
        steps = epochs * images // 2 // recipe.batch_size // getattr(method, "every", 1)
        assert steps * method.arch_lr >= 0.5, name
    assert all(method_of(name, "nasbench201", preset) is METHODS[name] for name in learned)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("space", ["mobilenet", "mobilenet-g2"])
def test_mobilenet_trains_as_docs_say(space, preset):
    """docs/method.md 3, its two rows of MobileNet."""
    recipes, light = preset_of(space, preset).recipes, 0.1 if preset == "paper" else 0.0
    for name, dropout, clip in (("reference", 0.0, 0.0), (RETRAIN, 0.2, 5.0)):
        recipe = recipes[name]
        assert (recipe.label_smoothing, recipe.dropout, recipe.clip, recipe.lighting) == (0.1, dropout, clip, light)
        assert (recipe.weight_decay, recipe.decay_norm_and_bias, recipe.colour_jitter) == (4e-5, False, ())
    assert preset_of("darts", "paper").recipes["retrain-imagenet"].colour_jitter == (0.4, 0.4, 0.4, 0.2)


@pytest.mark.parametrize("preset", PRESETS)
def test_large_spaces_shrink_to_a_million_archs(preset):
    """docs/method.md 2.1; NAS-Bench-201, which has fewer, trains the stages that it is given."""
    for space in SPACES:
        stop_at = {method_of(name, space, preset).stop_at for name in ("se-nas", "si-shrink", "angle-shrink")}
        assert stop_at == ({0} if space == "nasbench201" else {1_000_000})
        assert (SPACES[space].whole.size > 1_000_000) == (space != "nasbench201")


def test_names_are_refused_with_what_is_allowed():
    with pytest.raises(
        ValueError, match="method 'setn' runs in nasbench201 only; in darts: random, untrained, synflow"
    ):
        method_of("setn", "darts", "cpu")
    with pytest.raises(ValueError, match=r"unknown space 'dart'; did you mean 'darts'\?"):
        preset_of("dart", "cpu")
    with pytest.raises(ValueError, match=r"unknown preset 'cpus'; did you mean 'cpu'\?"):
        preset_of("darts", "cpus")


@pytest.mark.parametrize(("space", "reference"), [("mobilenet", TABLE2), ("darts", DARTS_SKELETONS["imagenet"])])
def test_a_limit_keeps_its_share_of_the_range_of_costs(space, reference):
    """By brute force: the ends of the range are the cheapest and the dearest arch, and shares in between agree."""
    small = skeleton_for(space, preset_of(space, "embedded"), "digits")

    def ends(skeleton):
        table = SPACES[space].cost(skeleton)
        costs = [
            [table.per_edge[edge, op, 0] for op in alive] for edge, alive in enumerate(SPACES[space].whole.candidates)
        ]
        return table.base[0] + sum(map(min, costs)), table.base[0] + sum(map(max, costs))

    (low, high), (least, most) = ends(reference), ends(small)
    assert scaled_limit(space, reference, reference, 470e6) == pytest.approx(470e6)
    assert scaled_limit(space, small, reference, low) == pytest.approx(least)
    assert scaled_limit(space, small, reference, high) == pytest.approx(most)
    assert scaled_limit(space, small, reference, (3 * low + high) / 4) == pytest.approx((3 * least + most) / 4)


def test_a_latency_limit_of_the_paper_is_where_its_networks_are():
    """Where latency is half of the FLOPs, an arch of the paper's FLOPs has half of them as its latency."""
    table = SPACES["mobilenet"].cost(TABLE2)
    halved = SimpleNamespace(
        per_edge=table.per_edge[..., 0] / 2, base=table.base[0] / 2, setting=SimpleNamespace(batch=1)
    )
    limit = level_limit("mobilenet", TABLE2, limit_settings("latency", level=22, table=halved))
    assert "batch" not in limit_settings("latency", level=22, table=halved)
    halved.setting.batch = 8
    assert limit_settings("latency", level=22, table=halved)["batch"] == 8
    assert 0.9 * 465e6 / 2 < limit.high < 465e6 / 2 and limit.low == pytest.approx(0.9 * limit.high)
    with pytest.raises(ValueError, match="no FLOPs are known for 30 ms; one of: 17, 22"):
        level_limit("mobilenet", TABLE2, limit_settings("latency", level=30, table=halved))
    with pytest.raises(ValueError, match="unknown space with limits of the paper 'nasbench201'"):
        level_limit("nasbench201", None, limit_settings("flops", level=250))


def test_a_network_of_the_papers_size_keeps_the_papers_strides():
    sizes = preset_of("mobilenet", "paper")
    assert SPACES["mobilenet"].skeleton(ImageShape(224, 1000, 3), sizes) == TABLE2
    with pytest.raises(ValueError, match="the resolution of cifar10 is not fixed by the preset"):
        skeleton_for("darts", preset_of("darts", "paper"), "cifar10")


def test_what_is_new_in_a_spec_is_not_there_when_not_asked_for():
    spec = make_spec("se-nas", 0, "embedded")
    assert not {"limit", "arch", "retrain"} & spec.settings.keys()
    assert not {"search", "evolution", "max_per_edge"} & spec.settings["method"].keys()
    assert "width" not in spec.settings["preset"]


@pytest.mark.slow
@pytest.mark.parametrize("space", ["mobilenet-g2", "darts-separate"])
def test_se_nas_searches_other_spaces_under_a_limit(quick, tmp_path, space):
    limit = limit_settings("flops", level=590)
    spec = make_spec("se-nas", 0, "embedded", space=space, limit=limit, retrain=True)
    record, scores = run(spec, Place(tmp_path))
    shrinks = [line for line in record.history if "dropped" in line]
    pick, retrained = record.history[-2:]
    assert len(shrinks) == 1 and shrinks[0]["dropped"] and shrinks[0]["parameters"][1] > 0
    assert any(len(group) > 1 for group in shrinks[0]["groups"])
    arch = SPACES[space].from_str(record.pick)
    assert arch in SPACES[space].whole
    assert all(op in alive for op, alive in zip(arch, shrinks[0]["candidates"], strict=True))
    skeleton = skeleton_for(space, preset_of(space, "embedded"), "digits")
    flops = SPACES[space].cost(skeleton)(np.array([arch]))["flops_m"][0] * 1e6
    assert pick["limited_cost"] == pytest.approx(flops) and pick["flops_m"] == pytest.approx(flops / 1e6)
    assert pick["limit_low"] <= pick["limited_cost"] <= pick["limit_high"]
    assert set(scores["set"]) == {"candidates"} and scores["score"].max() == scores["score"].iloc[0]
    assert retrained["split"] == "valid" and retrained["images"] == 400
    assert 0 <= retrained["top1"] <= retrained["top5"] <= 100
    assert record.counters["retrain"]["images_trained"] == 1280  # five batches of 256


def test_a_given_arch_is_trained_and_nothing_is_searched(quick, tmp_path):
    nodes = ("sep_conv_3x3~1", "skip_connect~1", "dil_conv_3x3~2", "max_pool_3x3~1")
    text = "+".join(f"|skip_connect~0|{other}|" for other in nodes)
    record, scores = run(make_spec("fixed", 1, "embedded", space="darts", arch=text, retrain=True), Place(tmp_path))
    assert record.pick == text and scores is None
    assert record.counters["search"]["train_steps"] == 0 and record.counters["retrain"]["train_steps"] == 5
    assert record.timing["retrain_seconds"] > 0
    with pytest.raises(ValueError, match="method 'fixed' needs an arch in its spec"):
        run(make_spec("fixed", 1, "embedded"), Place(tmp_path))


SKIPS = "+".join(f"|skip_connect~0|{other}|" for other in ("sep_conv_3x3~1",) * 2 + ("max_pool_3x3~1",) * 2)


def test_the_paper_retrains_darts_with_all_that_regularizes_it():
    """docs/method.md 3, its row of DARTS retraining; other sizes and images as before."""
    recipes = preset_of("darts", "paper").recipes
    for dataset in ("cifar10", "cifar100"):
        recipe = recipes[f"retrain-{dataset}"]
        assert (recipe.drop_path, recipe.auxiliary_weight, recipe.cutout) == (0.2, 0.4, 16)
        assert (recipe.stage_epochs, recipe.batch_size, recipe.lr, recipe.clip) == ((600,), 96, 0.025, 5.0)
    imagenet = recipes["retrain-imagenet"]
    assert (imagenet.auxiliary_weight, imagenet.label_smoothing, imagenet.cutout) == (0.4, 0.1, 0)
    assert (imagenet.stage_epochs, imagenet.batch_size, imagenet.weight_decay) == ((250,), 1024, 3e-5)
    assert (imagenet.lr, imagenet.lr_min, imagenet.warmup_epochs, imagenet.schedule) == (0.5, 0.0, 5, "p-darts")
    plain = [recipes["retrain"], recipes["reference"]]
    plain += [r for name in ("embedded", "cpu") for r in preset_of("darts", name).recipes.values()]
    assert all((r.drop_path, r.auxiliary_weight, r.cutout) == (0, 0, 0) for r in plain)
    settings = make_spec("fixed", 0, "paper", dataset="digits", space="darts", arch=SKIPS, retrain=True).settings
    assert not {"drop_path", "auxiliary_weight", "cutout"} & settings["retrain"].keys()
    assert skeleton_for("darts", preset_of("darts", "paper"), "imagenet") == DARTS_SKELETONS["imagenet"]


@pytest.mark.slow
def test_darts_is_retrained_with_auxiliary_head_drop_path_and_cutout(tmp_path, monkeypatch):
    """The paper's recipe for CIFAR on a few digits of 32x32: each of the three is used, and the head is not tested."""
    recipes = SPACES["darts"].studies["paper"].recipes
    recipe = {**recipes["retrain-cifar10"], "stage_epochs": (2,), "amp": False}
    sizes = {"channels": 4, "cells": 1, "resolution": 32, "held_out": 1700, "score_images": 50, "score_batch": 50}
    sizes |= {"calibration_images": 50, "rank_archs": 1}
    change(monkeypatch, "darts", "paper", sizes, {**recipes, "retrain-digits": recipe})
    dropped, cut = [], []
    drop_path, hole = darts_module.drop_path, TrainLoader._cut
    monkeypatch.setattr(darts_module, "drop_path", lambda x, p: dropped.append(p) or drop_path(x, p))
    monkeypatch.setattr(TrainLoader, "_cut", lambda self, x, at: cut.append(self.cutout) or hole(self, x, at))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    spec = make_spec("fixed", 0, "paper", dataset="digits", space="darts", arch=SKIPS, retrain=True)
    record, _ = run(spec, Place(tmp_path))
    assert cut == [16, 16] and set(dropped) == {0.1}  # a step an epoch; none in the first, half of 0.2 in the second
    weights, _ = read_checkpoint(tmp_path / "retrain.safetensors")
    assert {"network.auxiliary.head.weight", "momentum.auxiliary.head.weight"} <= weights.keys()
    assert record.history[-1]["loss"] > 1.3 * np.log(10)  # of two classifiers, the second weighing 0.4


def test_nasbench201_retrains_as_it_trains_stand_alone_networks():
    text = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"
    settings = make_spec("fixed", 0, "embedded", arch=text, retrain=True).settings
    assert settings["retrain"] == settings_of(PRESETS["embedded"].recipes["stand-alone"])


def test_a_limit_that_nothing_meets_is_one_clear_line(quick, tmp_path):
    spec = make_spec("spos", 0, "embedded", space="mobilenet", limit=limit_settings("flops", high=100.0))
    with pytest.raises(ValueError, match=r"mobilenet meets the flops limit 0\.00009 to 0\.0001 million: costs go"):
        run(spec, Place(tmp_path))
