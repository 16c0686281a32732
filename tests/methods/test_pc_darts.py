import numpy as np
import pytest
import torch

from senas_bench.kernels.door import Node, Torch
from senas_bench.methods.pc_darts import PcDarts
from senas_bench.networks.mixture import Mixture
from senas_bench.networks.partial import pass_by, shuffled
from senas_bench.spaces import SPACES
from senas_bench.spaces.darts import DARTS, DARTS_SEPARATE, NODES, DartsSkeleton, darts_cost
from senas_bench.spaces.darts.cell import EDGES
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost
from senas_bench.training.bilevel import LearningAlphas
from senas_bench.training.relaxations import NormalizedEdges

SKELETONS = {
    "nasbench201": Skeleton(8, 3, in_channels=1, channels=8, cells=1, partial=4),
    "darts-separate": DartsSkeleton(8, 3, in_channels=1, channels=8, layers=3, reductions=(1,), partial=4),
}


def edges_of(space, spread: float = 1.0) -> NormalizedEdges:
    edges = NormalizedEdges(space, None, torch.Generator().manual_seed(0))
    edges.logits.data = spread * torch.randn(edges.logits.shape, generator=torch.Generator().manual_seed(4))
    return edges


def network_of(name: str):
    torch.manual_seed(0)
    return SPACES[name].network(SPACES[name].whole, SKELETONS[name], False).train()


def test_a_fourth_of_the_channels_pass_the_operator():
    """The others come out as they went in, and all are shuffled."""
    x, seen = torch.randn(2, 8, 4, 4), []

    def operator(part):
        seen.append(part)
        return part + 100

    output = pass_by(x, 4, [(operator, torch.tensor(0.5))], torch.tensor(1.0))
    assert len(seen) == 1 and torch.equal(seen[0], x[:, :2])
    torch.testing.assert_close(output, shuffled(torch.cat([0.5 * (x[:, :2] + 100), x[:, 2:]], 1), 4))
    assert ((output - x[:, [0, 2, 4, 6, 1, 3, 5, 7]]).abs().amax((0, 2, 3)) > 1).tolist() == [
        True, False, False, False, True, False, False, False,
    ]  # fmt: skip
    # one of each group is seen by the next edge
    assert shuffled(torch.arange(8.0).view(1, 8, 1, 1), 4).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


@pytest.mark.parametrize("side", [8, 7])
def test_what_passes_by_is_pooled_where_operators_halve(side):
    x = torch.randn(2, 4, side, side)
    output = pass_by(x, 4, [(lambda part: part[:, :, ::2, ::2], torch.tensor(1.0))], torch.tensor(2.0), stride=2)
    half = -(-side // 2)
    assert output.shape == (2, 4, half, half)
    torch.testing.assert_close(output[:, 1:, 0, 0], 2 * x[:, 1:, :2, :2].amax((2, 3)))


@pytest.mark.parametrize("name", SKELETONS)
def test_operators_of_a_network_see_a_fourth_of_the_channels(name):
    """In every cell, whatever its width."""
    network, widths = network_of(name), []
    for cell in (block for block in network.body if hasattr(block, "choices")):
        for choice in cell.choices:
            for module in choice.copies.values():
                first = next(m for m in module.modules() if isinstance(m, torch.nn.Conv2d))
                first.register_forward_hook(lambda layer, given, out: widths.append(given[0].shape[1]))
    network(torch.randn(2, 1, 8, 8), edges_of(SPACES[name].whole).relaxed())
    assert set(widths) == {2, 4, 8} if name == "nasbench201" else set(widths) == {2, 4}
    with pytest.raises(ValueError, match="run in mixtures alone"):
        network(torch.randn(2, 1, 8, 8), SPACES[name].whole.sample(np.random.default_rng(0)))


@pytest.mark.parametrize("space", [NB201, DARTS, DARTS_SEPARATE], ids=lambda space: space.name)
def test_shares_of_the_edges_into_a_node_add_up_to_one(space):
    edges = edges_of(space)
    shares, weights = edges.shares().detach(), edges.weights().detach()
    torch.testing.assert_close(weights.sum(1), shares)  # so a mixture's row sum is the weight of its edge
    names = [edge.rpartition("->") for edge in space.edges]
    targets = [(start.partition(" ")[0] if " " in start else "", end) for start, _, end in names]
    for target in set(targets):
        into = [edge for edge, own in enumerate(targets) if own == target]
        assert len(into) == int(target[1]) or space is NB201
        expected = torch.softmax(edges.logits.detach()[into, -1], 0)
        torch.testing.assert_close(shares[into], expected)


def test_what_passes_by_has_the_weight_of_its_edge():
    """A node whose edges carry no operators, only channels that pass by, is their sum by share."""
    network, edges = network_of("nasbench201"), edges_of(NB201)
    cell = next(block for block in network.body if hasattr(block, "choices"))
    weights = torch.zeros(6, 5)
    weights[:, 0] = edges.shares().detach()  # all of it is none's
    x = torch.randn(2, 8, 4, 4)
    shares = [[share if op == 0 else None for op, share in enumerate(row)] for row in weights.unbind()]
    output = cell.mixture(Node(Torch(), x), shares, (True, False)).value
    kept = torch.cat([torch.zeros_like(x[:, :2]), x[:, 2:]], 1)
    one = shuffled(kept, 4)  # node 1, whose only edge has share 1

    def passed(node):
        return shuffled(torch.cat([torch.zeros_like(node[:, :2]), node[:, 2:]], 1), 4)

    q = weights[:, 0]
    two = q[1] * passed(x) + q[2] * passed(one)
    torch.testing.assert_close(output, q[3] * passed(x) + q[4] * passed(one) + q[5] * passed(two))


@pytest.mark.parametrize("name", SKELETONS)
def test_logits_of_operators_and_of_edges_learn(name):
    edges, network = edges_of(SPACES[name].whole), network_of(name)
    x, y = torch.randn(8, 1, 8, 8), torch.randint(0, 3, (8,))
    edges.next_batch = lambda: (x, y)
    before = edges.logits.detach().clone()
    counts = LearningAlphas(edges).step(network, (x, y), None, None)
    moved = edges.logits.detach() != before
    nodes = [set(node) for cell in SPACES[name].cells for node in cell]
    for edge in range(len(before)):
        alone = {edge} in nodes
        assert moved[edge, 1:-1].all() and (moved[edge, -1] or alone)
    assert counts["forward_paths"] == len(SPACES[name].whole.operators)


def test_in_the_first_epochs_the_weights_alone_learn():
    class Images:
        def epoch(self, generator):
            return iter(())

    edges = NormalizedEdges(NB201, Images(), torch.Generator().manual_seed(0))
    learning = LearningAlphas(edges, warm_up=PcDarts().warm_up)
    rests = []
    for epoch in range(50):
        learning.begin_epoch(epoch / 50, torch.Generator())
        rests.append(learning._rests)
    assert sum(rests) == 15 and all(rests[:15])
    learning.begin_epoch(0.0, torch.Generator())
    assert learning.step(None, None, None, None) == {}


def test_the_best_edges_are_those_of_the_largest_products():
    edges = edges_of(DARTS, spread=2.0)
    table = edges.choice_scores()
    p = torch.softmax(edges.logits.detach().double()[:, :-1], 1).numpy()
    for node in NODES:
        into = [edge for edge, (_, target) in enumerate(EDGES) if target == node]
        q = torch.softmax(edges.logits.detach().double()[into, -1], 0).numpy()
        for edge, share in zip(into, q, strict=True):
            np.testing.assert_allclose(table[edge, 1:], np.log(p[edge, 1:] * share), rtol=1e-4)
    assert not table[:, 0].any()


def test_work_is_that_of_the_narrow_operators():
    """A 3x3 convolution of a fourth of the channels costs a sixteenth; the frame costs what it did."""
    plain, narrow = (nasbench201_cost(Skeleton(8, 3, channels=8, cells=1, partial=k)) for k in (1, 4))
    np.testing.assert_array_equal(16 * narrow.per_edge[..., 0], plain.per_edge[..., 0])
    np.testing.assert_array_equal(narrow.base, plain.base)
    plain, narrow = (darts_cost(DartsSkeleton(8, 3, channels=8, layers=1, reductions=(), partial=k)) for k in (1, 4))
    np.testing.assert_array_equal(narrow.base, plain.base)
    # sep 3x3 of 2 channels at 8x8: twice 9 * 2 + 2 * 2 weights
    assert narrow.per_edge[0, 4].tolist() == [2 * 22 * 64, 2 * (22 + 4)]
    runs = np.ones((1, 14, 8), bool)
    assert narrow.mixtures(runs)[0] == narrow.base[0] + narrow.per_edge[..., 0].sum() < plain.mixtures(runs)[0]


def test_channels_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="cannot see one of 4 channels of 6; give a divisor of 6"):
        Skeleton(8, 3, channels=6, partial=4)
    with pytest.raises(ValueError, match="cannot see one of 4 channels of 6; give a divisor of 6"):
        DartsSkeleton(8, 3, channels=6, partial=4)


def test_a_mixture_of_a_partial_network_has_the_gradient_of_its_edges():
    """By a difference of one edge's weight as a whole: the channels that pass by are in it."""
    network, edges = network_of("darts-separate").double(), edges_of(DARTS_SEPARATE)
    edges.logits.data = edges.logits.data.double()
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    start = edges.logits.detach().clone()
    (gradient,) = torch.autograd.grad(network(x, edges.relaxed()).square().sum(), [edges.logits])
    ends = []
    for sign in (1, -1):
        edges.logits.data = start.clone()
        edges.logits.data[3, -1] += sign * 1e-6
        mixture = Mixture(edges.weights().detach(), edges.runs)
        with torch.no_grad():
            ends.append(float(network(x, mixture).square().sum()))
    assert float(gradient[3, -1]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)
    assert abs(float(gradient[3, -1])) > 1e-4
