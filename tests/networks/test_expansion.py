import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.networks.choice import ChoiceEdge
from senas_bench.networks.expansion import count_parameters, expand, expanded_parameters, plan_groups
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.shrinking import shrink
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import Cell, NB201Network
from senas_bench.training.loop import carry_momentum, descend, make_optimizer
from senas_bench.training.recipe import TrainingRecipe

CANDIDATES = ((1, 3), (2, 3), (3,), (0, 2, 3), (3, 4), (1, 3))
"""48 archs."""
WEIGHTED = (2, 3)


def toy(*sizes: int) -> SearchSpace:
    edges = tuple(f"e{i}" for i in range(1, len(sizes) + 1))
    return SearchSpace("toy", tuple("abcde"), edges, tuple(tuple(range(size)) for size in sizes))


def small_network(space: SearchSpace = NB201, seed: int = 0) -> NB201Network:
    torch.manual_seed(seed)
    return NB201Network(space, channels=2, cells=1, in_channels=1, num_classes=3)


def images(n: int = 6) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def logits(network: NB201Network, archs) -> torch.Tensor:
    with torch.no_grad(), evaluation_mode(network, "batch"):
        return torch.stack([network(images(), arch) for arch in archs])


def cells(network: NB201Network) -> list[Cell]:
    return [block for block in network.body if isinstance(block, Cell)]


def operator_modules(network: NB201Network, arch, edges=range(6)) -> list[torch.nn.Module]:
    """The operators with weights that an arch uses, cell by cell."""
    return modules_of(choice_edges(network), arch, edges)


def choice_edges(network: NB201Network) -> list[list[ChoiceEdge]]:
    """Per cell, its edges."""
    return [list(cell.choices) for cell in cells(network)]


def modules_of(choices, arch, edges=range(6)) -> list[torch.nn.Module]:
    return [cell[edge].module(arch) for cell in choices for edge in edges if arch[edge] in WEIGHTED]


def operator_weights(network: NB201Network, arch, edges=range(6)) -> set[torch.nn.Parameter]:
    return {weight for module in operator_modules(network, arch, edges) for weight in module.parameters()}


def test_the_toy_of_the_paper():
    """Edges counted from 1: {1} stays alone, {2,3,4} has 2*1*3 partial models, {5,6} has 2*3."""
    assert plan_groups(toy(5, 2, 1, 3, 2, 3), 6) == ((0,), (1, 2, 3), (4, 5))


def test_a_group_is_the_unit_of_the_next_stage():
    """Alone, edge 3 would join edge 2 under T=6; but {1,2} was expanded and stays whole."""
    space = toy(3, 2, 3, 1).with_groups(((0, 1), (2,), (3,)))
    assert plan_groups(space, 6) == ((0, 1), (2, 3))
    assert plan_groups(space, 18) == ((0, 1, 2, 3),)


def test_a_space_within_the_threshold_is_one_group():
    space = toy(2, 1, 3, 2, 2, 2)
    assert plan_groups(space, 48) == ((0, 1, 2, 3, 4, 5),)
    assert plan_groups(space, 47) != ((0, 1, 2, 3, 4, 5),)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_groups_are_greedy_and_only_grow(sizes, threshold, next_threshold):
    space = toy(*sizes)
    groups = plan_groups(space, threshold)
    product = lambda edges: int(np.prod([sizes[edge] for edge in edges]))  # noqa: E731
    assert list(itertools.chain(*groups)) == list(range(len(sizes)))
    assert all(product(group) <= threshold or len(group) == 1 for group in groups)
    assert all(product(group) * sizes[after[0]] > threshold for group, after in itertools.pairwise(groups))
    later = plan_groups(space.with_groups(groups), next_threshold)
    assert all(any(set(group) <= set(other) for other in later) for group in groups)


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "seed"), [(4, 0), (12, 1), (50, 2)])
def test_four_stages_of_five_drops(threshold, seed):
    """Groups only grow; every copy has one source; every path that is left computes what it did."""
    rng = np.random.default_rng([seed, threshold])
    space, network = NB201, small_network(seed=seed)
    merged = False
    for _ in range(4):
        with torch.no_grad():
            for weight in network.parameters():  # "training": no two copies stay equal
                weight.normal_()
        shrunk = shrink(space, {pair: rng.random() for pair in space.alive()}, 5)
        shrunk = shrunk.with_groups(plan_groups(shrunk, threshold))
        for group in space.groups:
            assert any(set(group) <= set(larger) for larger in shrunk.groups)
        archs = list(shrunk)
        some = archs if len(archs) <= 100 else [archs[i] for i in rng.choice(len(archs), 40, replace=False)]
        before = logits(network, some)
        choices = choice_edges(network)
        used_before = {arch: modules_of(choices, arch) for arch in archs}
        old = {module: copy.deepcopy(module.state_dict()) for module in set().union(*used_before.values())}
        predicted = expanded_parameters(network, shrunk)
        sources = expand(network, shrunk)
        assert predicted == count_parameters(network)
        choices = choice_edges(network)
        origins: dict[torch.nn.Module, set[torch.nn.Module]] = {}
        for arch in archs:
            for was, module in zip(used_before[arch], modules_of(choices, arch), strict=True):
                origins.setdefault(module, set()).add(was)
        for module, (origin,) in origins.items():  # more than one source would not unpack
            state = module.state_dict()
            assert all(torch.equal(state[name], value) for name, value in old[origin].items())
        held = {weight for cell in cells(network) for weight in cell.parameters()}
        assert held == {weight for module in origins for weight in module.parameters()}  # nothing idle is kept
        assert set(sources) <= held
        torch.testing.assert_close(logits(network, some), before, rtol=0, atol=1e-6)
        merged |= any(len(group) > 1 for group in shrunk.groups)
        space = shrunk
    assert merged
    assert len(space.alive()) == 10


def test_expanding_adds_the_copies_by_hand():
    """One group of all edges holds each arch's operators in full."""
    space = NB201.only((1, 1, 1, 3, 2, 2))
    space = SearchSpace(space.name, space.operators, space.edges, ((1,), (1,), (1,), (2, 3), (2,), (3, 4)))
    network = small_network(space)
    weights = {2: 1, 3: 9, 4: 0}
    per_square = sum(weights[a] + weights[2] + weights[b] for a in (2, 3) for b in (3, 4))
    shared = weights[2] + weights[3] + weights[2] + weights[3]
    squares = 2**2 + 4**2 + 8**2  # widths of the three cells; no affine batch norm
    assert expanded_parameters(network, space.with_groups((tuple(range(6)),))) == (
        count_parameters(network) + (per_square - shared) * squares
    )


def two_groups() -> SearchSpace:
    return SearchSpace(NB201.name, NB201.operators, NB201.edges, CANDIDATES, ((0, 1, 2), (3, 4), (5,)))


def step(network: NB201Network, arch, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    network.train()
    network(images(), arch).square().mean().backward()
    descend(optimizer)


def test_gradients_separate_after_expanding():
    network = small_network()
    space = two_groups()
    expand(network, space)
    optimizer = make_optimizer(network, TrainingRecipe())
    one, other = (1, 3, 3, 2, 3, 3), (3, 3, 3, 3, 3, 3)  # same operators on edges 1, 2, 4 and 5
    for arch in (one, other):  # so that every weight has momentum
        step(network, arch, optimizer)
    before = {weight: weight.detach().clone() for weight in network.parameters()}
    step(network, one, optimizer)
    changed = {weight for weight in network.parameters() if not torch.equal(weight, before[weight])}
    assert operator_weights(network, one) <= changed
    assert not operator_weights(network, other, edges=range(5)) & changed, "they belong to other partial models"
    assert operator_weights(network, other, edges=[5]) <= changed, "edge 5 is not merged: both share its operator"


def test_without_expanding_the_same_operators_are_shared():
    network = small_network()
    one, other = (1, 3, 3, 2, 3, 3), (3, 3, 3, 3, 3, 3)
    optimizer = make_optimizer(network, TrainingRecipe())
    before = {weight: weight.detach().clone() for weight in network.parameters()}
    step(network, one, optimizer)
    shared = operator_weights(network, other, edges=(1, 2, 4, 5))
    assert shared and not any(torch.equal(weight, before[weight]) for weight in shared)


@pytest.mark.parametrize("built", ["expanded", "fresh"])
def test_paths_of_one_group_share_no_operator(built):
    space = SearchSpace(NB201.name, NB201.operators, NB201.edges, CANDIDATES)
    space = space.with_groups(plan_groups(space, 50))
    assert space.groups == (tuple(range(6)),)
    network = small_network() if built == "expanded" else small_network(space)
    expand(network, space)
    owners = [operator_weights(network, arch) for arch in space]
    assert len(set().union(*owners)) == sum(map(len, owners))
    assert set().union(*owners) == {weight for cell in cells(network) for weight in cell.parameters()}


def test_momentum_follows_the_copies():
    network = small_network()
    recipe = TrainingRecipe()
    old = make_optimizer(network, recipe)
    trained = (3, 2, 3, 2, 3, 3)
    step(network, trained, old)
    buffers = {weight: state["momentum_buffer"].clone() for weight, state in old.state.items()}
    where = dict(keyed_weights(network))
    sources = expand(network, two_groups())
    assert sources
    new = make_optimizer(network, recipe)
    carry_momentum(old, new, sources)
    seen = set()
    for key, weight in keyed_weights(network):
        # a copy such as body.0.choices.1.copies.1_2_3 came from the shared operator of its own edge
        origin = where[origin_of(key, two_groups())]
        got = new.state.get(weight, {}).get("momentum_buffer")
        if origin in buffers:
            assert torch.equal(got, buffers[origin])
            assert got.data_ptr() not in seen
            seen.add(got.data_ptr())
        else:
            assert got is None
    assert len(seen) > len(buffers)
    for weight in [p for p in network.parameters() if p not in sources]:
        assert (weight in buffers) == (weight in new.state)


def keyed_weights(network: NB201Network):
    return [(name, weight) for name, weight in network.named_parameters() if ".copies." in name]


def origin_of(name: str, space: SearchSpace) -> str:
    head, tail = name.split(".copies.")
    key, _, rest = tail.partition(".")
    edge = int(head.rpartition(".")[2])
    return f"{head}.copies.{key.split('_')[space.group_of(edge).index(edge)]}.{rest}"


def test_expanding_forgets_gradients():
    network = small_network()
    network(images(), (3,) * 6).sum().backward()
    expand(network, two_groups())
    assert all(weight.grad is None for weight in network.parameters())


def test_a_network_cannot_be_expanded_into_smaller_groups():
    network = small_network(two_groups())
    with pytest.raises(ValueError, match="may grow"):
        expand(network, two_groups().with_groups(tuple((edge,) for edge in range(6))))
