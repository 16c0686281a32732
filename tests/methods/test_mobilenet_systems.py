"""The systems of the paper's Tables 4 and 5, searching in the MobileNet-like spaces under a limit."""

from dataclasses import replace

import numpy as np
import pytest

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.experiments.place import Place
from senas_bench.experiments.run import run
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.studies import method_of, preset_of, skeleton_for
from senas_bench.searching.evolution import Evolution
from senas_bench.spaces import SPACES, Study

SYSTEMS = ("fbnet", "proxylessnas", "proxylessnas-r", "fairnas", "greedynas", "pcnas-pool")
SEARCHES = {search.method: search for search in ARTEFACTS["table4"].searches if search.method in SYSTEMS}
QUICK = {"evolution": Evolution(4, 2, 2), "filter_images": 20, "drawn": 3, "kept": 2, "completions": 1, "partials": 1}


@pytest.fixture
def quick(monkeypatch):
    """One epoch of one step or two, images of one batch to score, the narrowest networks."""
    for space in {search.space for search in SEARCHES.values()}:
        own = SPACES[space]
        study = own.studies["embedded"]
        recipes = {
            name: {**fields, "stage_epochs": (1,), "batch_size": 640, "snapshots": 1}
            for name, fields in study.recipes.items()
        }
        sizes = {**study.sizes, "width": 0.05, "score_images": 20, "score_batch": 20, "rank_archs": 3}
        changed = Study(sizes, recipes, {**study.method, **QUICK})
        monkeypatch.setitem(SPACES, space, replace(own, studies={**own.studies, "embedded": changed}))


@pytest.mark.parametrize("method", SYSTEMS)
def test_each_has_a_row_and_a_recipe_at_every_preset(method):
    search = SEARCHES[method]
    for preset in ("embedded", "cpu", "paper"):
        assert method_of(method, search.space, preset).recipe in preset_of(search.space, preset).recipes
    assert getattr(method_of(method, search.space, "embedded"), "search", "evolution") == "evolution"


@pytest.mark.slow
@pytest.mark.parametrize("method", SYSTEMS)
def test_it_searches_within_the_limit(quick, method, tmp_path):
    """That a killed run goes on, and the same seed gives the same, the conformance suite asks on NAS-Bench-201."""
    search = SEARCHES[method]
    limit = limit_settings(search.cost, level=search.level)
    spec = make_spec(method, 0, "embedded", space=search.space, limit=limit)
    record, _ = run(spec, Place(tmp_path))
    space, pick = SPACES[search.space], record.history[-1]
    skeleton = skeleton_for(search.space, preset_of(search.space, "embedded"), "digits")
    flops = space.cost(skeleton)(np.array([space.from_str(record.pick)]))["flops_m"][0] * 1e6
    assert pick["limited_cost"] == pytest.approx(flops)
    assert pick["limit_low"] <= flops <= pick["limit_high"]
    assert record.counters["search"]["multiply_adds"] > 0
