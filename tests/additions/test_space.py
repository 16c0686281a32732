"""A search space from outside, of docs/adding.md: trained, ranked, limited, shrunk, expanded, drawn, costed."""

import json

import numpy as np
import pytest
import torch

from senas_bench.experiments.settings import make_spec
from senas_bench.methods import METHODS
from senas_bench.methods.training_free import ByProxy
from senas_bench.spaces import SPACES, ImageShape


@pytest.fixture
def chain(added):
    return SPACES["chain"]


def test_spos_trains_it_and_ranks_every_arch(chain, perform):
    record, scores = perform("spos", space="chain", stages=(2,), rank_archs=0)
    assert len(scores) == chain.whole.size == 27 and set(scores["set"]) == {"full"}
    assert chain.from_str(record.pick) in chain.whole and record.pick == scores.arch_str[0]
    (line,) = [line for line in record.history if line.get("phase") == "pick"]
    assert line["skeleton"] == {"resolution": 8, "num_classes": 10, "in_channels": 1, "channels": 2}
    assert record.counters["search"]["archs_scored"] == 2 * 27 / 2  # batch by batch, each with one of the snapshots


@pytest.mark.slow
def test_every_method_that_runs_in_any_space_runs_in_it(chain, perform):
    proxies = [name for name, method in METHODS.items() if isinstance(method, ByProxy)]
    for name in (name for name, own in METHODS.items() if own.spaces is None and name not in proxies[1:]):
        record, _ = perform(
            name, space="chain", stages=(1,) if METHODS[name].shrinks_by is None else (1, 1), rank_archs=10
        )
        assert chain.from_str(record.pick) in chain.whole


def test_cost_is_that_of_the_network_built(chain):
    sizes = type("Sizes", (), {"channels": 4, "cells": 1, "width": 1.0})()
    skeleton = chain.skeleton(ImageShape(8, 10, 1), sizes)
    archs = chain.whole.archs()
    expected = []
    for arch in archs.tolist():
        network = chain.network(chain.whole.only(tuple(arch)), skeleton, True)
        expected.append(sum(p.numel() for p in network.parameters()))
        assert network(torch.zeros(2, 1, 8, 8), tuple(arch)).shape == (2, 10)
    assert chain.cost(skeleton)(archs)["params"].tolist() == expected


def test_the_command_line_knows_it(chain, call, tmp_path):
    found = json.loads(call("cost", "conv3-skip-conv1", "--space", "chain", "--json"))
    assert found["params"] == 72 + 16 + 576 + 16 + 64 + 16 + 90
    (tmp_path / "archs.txt").write_text("conv3-skip-conv1\nskip-skip-skip\n")
    drawn = tmp_path / "archs.png"
    call("draw", str(tmp_path / "archs.txt"), "--space", "chain", "--out", str(drawn))
    assert drawn.stat().st_size > 1000


def test_search_under_a_limit(chain, tmp_path):
    import senas_bench as sb

    options = {"preset": "embedded", "results": tmp_path, "stage_epochs": (1,), "rank_archs": 8, "executor": "serial"}
    (found,) = sb.search("chain", "spos", max_params=0.0006, at_least=0.1, out=tmp_path / "found", **options)
    assert found["params"] <= 600 and chain.from_str(found["pick"])
    assert (tmp_path / "found/spos-chain.svg").exists()


def test_latency_is_measured(chain):
    from senas_bench.latency.measure import build_table

    table = build_table("chain", chain.skeletons["digits"], repeats=2)
    assert table.per_edge.shape == (3, 3) and np.nan_to_num(table.per_edge[:, 2]).min() > 0


def test_a_wrong_name_or_arch_is_one_line(chain):
    with pytest.raises(ValueError, match=r"unknown space 'chian'; did you mean 'chain'\?"):
        make_spec("spos", 0, "embedded", space="chian")
    with pytest.raises(ValueError, match="give three of skip, conv1, conv3"):
        chain.from_str("conv5")
    with pytest.raises(ValueError, match=r"'count-convs' runs in nasbench201 only; in chain: .*greedy"):
        make_spec("count-convs", 0, "embedded", space="chain")
    assert METHODS["spos"].spaces is None
