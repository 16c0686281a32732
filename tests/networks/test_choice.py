import pytest
import torch
from torch import nn

from senas_bench.networks.choice import ChoiceEdge, partial_key
from senas_bench.spaces import SearchSpace

SPACE = SearchSpace("toy", ("none", "small", "large"), ("e0", "e1", "e2"), ((0, 1, 2), (1, 2), (0, 2)))


def make(op: int) -> nn.Module | None:
    return None if op == 0 else nn.Linear(3, op)


def sizes(edge: ChoiceEdge) -> dict[str, int]:
    return {key: module.out_features for key, module in edge.copies.items()}


def test_a_partial_model_is_named_by_its_operators():
    assert partial_key((3, 0, 4), (1,)) == "0"
    assert partial_key((3, 0, 4), (0, 1, 2)) == "3_0_4"
    assert partial_key((3, 0, 4), (1, 2)) == "0_4"


def test_an_edge_of_its_own_shares_one_module_per_operator():
    edge = ChoiceEdge(0, SPACE, make)
    assert sizes(edge) == {"1": 1, "2": 2}  # `none` has no weights
    assert edge.module((2, 1, 0)) is edge.module((2, 2, 2)) is edge.copies["2"]


def test_a_merged_edge_has_one_copy_per_partial_model():
    edge = ChoiceEdge(1, SPACE.with_groups(((0, 1), (2,))), make)
    assert sizes(edge) == {"0_1": 1, "1_1": 1, "2_1": 1, "0_2": 2, "1_2": 2, "2_2": 2}
    assert torch.equal(edge.copies["0_1"].weight, edge.copies["2_1"].weight)
    storages = {weight.data_ptr() for weight in edge.parameters()}
    assert len(storages) == len(list(edge.parameters())) == 12
    assert edge.module((1, 2, 0)) is edge.copies["1_2"]


def test_only_alive_operators_are_built():
    built = []
    ChoiceEdge(2, SPACE.without(2, 0), lambda op: built.append(op))
    assert built == [2]


def test_regrouping_drops_and_copies():
    edge = ChoiceEdge(0, SPACE, make)
    old = dict(edge.copies)
    after = SPACE.without(0, 1).with_groups(((0, 1), (2,)))
    predicted = edge.parameters_after(after)
    sources = edge.regroup(after)
    assert sizes(edge) == {"2_1": 2, "2_2": 2}
    assert predicted == sum(weight.numel() for weight in edge.parameters()) == 2 * (2 * 3 + 2)
    assert sorted(map(id, sources)) == sorted(map(id, edge.parameters()))
    for name in ("weight", "bias"):
        for key in ("2_1", "2_2"):
            copy = getattr(edge.copies[key], name)
            assert sources[copy] is getattr(old["2"], name)
            assert copy is not sources[copy] and torch.equal(copy, sources[copy])


def test_regrouping_in_the_same_group_keeps_the_modules():
    edge = ChoiceEdge(0, SPACE, make)
    kept = edge.copies["2"]
    assert edge.regroup(SPACE.without(0, 1)) == {}
    assert sizes(edge) == {"2": 2}
    assert edge.copies["2"] is kept


def test_a_copy_grows_out_of_the_smaller_groups_copy():
    edge = ChoiceEdge(1, SPACE.with_groups(((0, 1), (2,))), make)
    with torch.no_grad():
        for k, module in enumerate(edge.copies.values()):
            module.weight.fill_(k)
    old = {key: float(module.weight.detach().flatten()[0]) for key, module in edge.copies.items()}
    edge.regroup(SPACE.with_groups(((0, 1, 2),)))
    assert len(edge.copies) == 3 * 2 * 2
    for key, module in edge.copies.items():
        assert (module.weight == old[key.rpartition("_")[0]]).all()


@pytest.mark.parametrize("groups", [((0,), (1,), (2,)), ((0,), (1, 2))])
def test_a_group_is_never_split(groups):
    edge = ChoiceEdge(1, SPACE.with_groups(((0, 1), (2,))), make)
    with pytest.raises(ValueError, match="edge e1: group"):
        edge.regroup(SPACE.with_groups(groups))
    assert len(edge.copies) == 6
