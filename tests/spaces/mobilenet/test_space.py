import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.spaces.mobilenet import (
    BLOCKS,
    FAIR,
    FAIR_SPACE,
    IDENTITY,
    KNOWN_NETWORKS,
    MOBILENET,
    MOBILENET_FAIR,
    MOBILENET_G2,
    OPERATORS,
    TABLE2,
    Block,
    MobileSkeleton,
    arch_from_str,
    arch_to_str,
    block_cost,
    mobilenet_cost,
    mobilenet_space,
    small_image,
)

PROXYLESS_GPU = "2 -1 -1 -1 4 -1 -1 0 5 -1 -1 2 3 -1 0 2 5 5 5 3 5"
STARTS = (0, 4, 8, 12, 16, 20)
"""Layers where a stage begins."""


def test_size_of_the_space():
    assert MOBILENET.size == 6**6 * 7**15
    assert MOBILENET_G2.size == 9**6 * 10**15


def test_order_of_operators_and_layers():
    """Codes 0 to 5 of docs/method.md 6; behind identity what only the group-2 space has."""
    assert MOBILENET.operators == ("k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6", "identity")
    assert MOBILENET_G2.operators == (*MOBILENET.operators, "k3e6g2", "k5e6g2", "k7e6g2")
    assert MOBILENET.edges == MOBILENET_G2.edges
    assert MOBILENET.edges == (*(f"{s}.{b}" for s in range(1, 6) for b in range(1, 5)), "6.1")
    assert MOBILENET.name == "mobilenet" and MOBILENET_G2.name == "mobilenet-g2"


def test_blocks_are_what_their_operators_are_called():
    for op, name in enumerate(OPERATORS):
        if name == "identity":
            assert op == IDENTITY and op not in BLOCKS
        else:
            kernel, expansion, groups = re.fullmatch(r"k(\d)e(\d)(?:g(\d))?", name).groups(default="1")
            assert BLOCKS[op] == (int(kernel), int(expansion), int(groups))
    assert len(BLOCKS) == 9


@pytest.mark.parametrize(("space", "blocks"), [(MOBILENET, range(6)), (MOBILENET_G2, (*range(6), 7, 8, 9))])
def test_identity_is_no_candidate_where_a_stage_begins(space, blocks):
    for layer, alive in enumerate(space.candidates):
        assert alive == (tuple(blocks) if layer in STARTS else tuple(sorted((*blocks, IDENTITY))))


def test_layers_of_table_2():
    """Input shapes as the paper prints them."""
    assert [(x.side, x.c_in, x.c_out, x.stride) for x in (TABLE2.layers[i] for i in STARTS)] == [
        (112, 24, 32, 2),
        (56, 32, 56, 2),
        (28, 56, 112, 2),
        (14, 112, 128, 1),
        (14, 128, 256, 2),
        (7, 256, 432, 1),
    ]
    assert (TABLE2.side, TABLE2.last_side, TABLE2.stem, TABLE2.last, TABLE2.num_classes) == (112, 7, 40, 1728, 1000)


def test_inside_a_stage_width_and_resolution_stay():
    """So identity fits, and what a layer costs does not depend on the others."""
    layers = TABLE2.layers
    for i, layer in enumerate(layers):
        assert layer.skippable == (i not in STARTS)
        if layer.skippable:
            start = layers[max(s for s in STARTS if s < i)]
            assert (layer.c_in, layer.c_out, layer.stride) == (start.c_out, start.c_out, 1)
            assert layer.side == -(-start.side // start.stride)


@given(st.sampled_from([MOBILENET, MOBILENET_G2]), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_strings_round_trip(space, seed):
    arch = space.sample(np.random.default_rng(seed))
    text = arch_to_str(arch)
    assert arch_from_str(text, space) == arch_from_str(f"  {text.replace(' ', '   ')}\n", space) == arch
    names = {**{str(i): name for i, name in enumerate(OPERATORS) if name != "identity"}, "-1": "identity"}
    assert [names[code] for code in text.split()] == [OPERATORS[op] for op in arch]


def test_a_string_of_method():
    arch = arch_from_str(PROXYLESS_GPU)
    assert arch == (2, 6, 6, 6, 4, 6, 6, 0, 5, 6, 6, 2, 3, 6, 0, 2, 5, 5, 5, 3, 5)
    assert arch_to_str(arch) == PROXYLESS_GPU
    assert arch_from_str(PROXYLESS_GPU, MOBILENET_G2) == arch


def replaced(layer: int, code: str) -> str:
    codes = PROXYLESS_GPU.split()
    codes[layer] = code
    return " ".join(codes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 codes for 21 layers; write one code per layer"),
        (PROXYLESS_GPU.rsplit(" ", 1)[0], "20 codes for 21 layers"),
        (PROXYLESS_GPU + " 5", "22 codes for 21 layers"),
        (replaced(4, "-1"), r"'-1' on layer 2.1; one of: 0 k3e3, 1 k3e6, 2 k5e3, 3 k5e6, 4 k7e3, 5 k7e6$"),
        (replaced(5, "6"), r"'6' on layer 2.2; one of: 0 k3e3, .*, 5 k7e6, -1 identity$"),
        (replaced(5, "7"), "'7' on layer 2.2"),
        (replaced(20, "k3e3"), "'k3e3' on layer 6.1"),
        (replaced(20, "05"), "'05' on layer 6.1"),
        (replaced(20, "5.0"), "'5.0' on layer 6.1"),
        (replaced(20, "-2"), "'-2' on layer 6.1"),
    ],
)
def test_bad_strings(text, message):
    with pytest.raises(ValueError, match=message) as error:
        arch_from_str(text)
    assert "\n" not in str(error.value) and repr(text) in str(error.value)


def test_a_string_must_lie_in_the_space_that_is_given():
    shrunk = MOBILENET.without(0, 2)
    with pytest.raises(ValueError, match=r"'2' on layer 1\.1; one of: 0 k3e3, 1 k3e6, 3 k5e6"):
        arch_from_str(PROXYLESS_GPU, shrunk)
    assert arch_from_str(replaced(0, "9"), MOBILENET_G2)[0] == 9
    with pytest.raises(ValueError, match=r"'9' on layer 1\.1"):
        arch_from_str(replaced(0, "9"))


PUBLISHED = {
    "mobilenetv2-1.0": (300.774, 3.504872),
    "proxyless-gpu": (465.260, 7.1198),
    "proxyless-mobile": (320.428, 4.0805),
    "proxyless-cpu": (439.244, 4.3616),
}
"""docs/method.md 6: MFLOPs and millions of parameters, to the digits printed there."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_costs(name):
    skeleton, arch = KNOWN_NETWORKS[name]
    cost = mobilenet_cost(skeleton)(np.array([arch], np.int8))
    flops, params = PUBLISHED[name]
    assert round(cost["flops_m"].item(), 3) == flops
    assert round(cost["params"].item() / 1e6, 6 if name == "mobilenetv2-1.0" else 4) == params
    assert cost["params"].dtype == np.int64


def test_known_networks_lie_in_their_spaces():
    assert set(KNOWN_NETWORKS) == set(PUBLISHED)
    for skeleton, arch in KNOWN_NETWORKS.values():
        assert arch in mobilenet_space(skeleton)
    assert KNOWN_NETWORKS["proxyless-gpu"] == (TABLE2, arch_from_str(PROXYLESS_GPU))
    assert {len(arch) for _, arch in KNOWN_NETWORKS.values()} == {16, 21}


def test_cost_of_a_block_by_hand():
    """8 channels of 5x5 pixels to 10 channels of 3x3."""
    assert block_cost(Block(5, 6), 8, 10, 2, 5) == (
        8 * 48 * 25 + 25 * 48 * 9 + 48 * 10 * 9,
        8 * 48 + 25 * 48 + 48 * 10 + 2 * (48 + 48 + 10),
    )
    assert block_cost(Block(5, 6, groups=2), 8, 10, 2, 5) == (
        4 * 48 * 25 + 25 * 48 * 9 + 24 * 10 * 9,
        4 * 48 + 25 * 48 + 24 * 10 + 2 * (48 + 48 + 10),
    )
    assert block_cost(Block(3, 1), 8, 10, 1, 5) == ((9 * 8 + 80) * 25, 9 * 8 + 80 + 2 * (8 + 10))


def test_cost_is_a_sum_of_integers():
    table = mobilenet_cost()
    assert table.base.dtype == table.per_edge.dtype == np.int64
    assert table.per_edge.shape == (21, len(OPERATORS), 2)
    assert not table.per_edge[:, IDENTITY].any()
    rng = np.random.default_rng(0)
    for arch in (MOBILENET_G2.sample(rng) for _ in range(20)):
        cost = table(np.array([arch], np.int8))
        flops, params = (
            int(table.base[i]) + sum(int(table.per_edge[e, op, i]) for e, op in enumerate(arch)) for i in (0, 1)
        )
        assert (round(cost["flops_m"].item() * 1e6), cost["params"].item()) == (flops, params)


def test_uniform_archs_almost_never_meet_a_flops_limit():
    """docs/method.md 6: median 654M, 0.3% up to 475M, none up to 330M."""
    rng = np.random.default_rng(0)
    archs = np.array([MOBILENET.sample(rng) for _ in range(20_000)], np.int8)
    flops = mobilenet_cost()(archs)["flops_m"]
    assert np.median(flops) == pytest.approx(654.5, abs=2)
    assert (flops <= 475).mean() == pytest.approx(0.003, abs=0.0015)
    assert not (flops <= 330).any()


@pytest.mark.parametrize(
    ("resolution", "stem_stride", "strides", "last_side"),
    [
        (224, 2, (2, 2, 2, 1, 2, 1), 7),
        (64, 1, (2, 2, 2, 1, 2, 1), 4),
        (32, 1, (1, 2, 2, 1, 2, 1), 4),
        (28, 1, (1, 2, 2, 1, 2, 1), 4),
        (8, 1, (1, 1, 1, 1, 2, 1), 4),
        (3, 1, (1, 1, 1, 1, 1, 1), 3),
    ],
)
def test_small_images_leave_out_the_shallowest_strides(resolution, stem_stride, strides, last_side):
    skeleton = small_image(resolution, 10, 1)
    assert (skeleton.stem_stride, skeleton.strides, skeleton.last_side) == (stem_stride, strides, last_side)
    assert (skeleton.resolution, skeleton.num_classes, skeleton.in_channels) == (resolution, 10, 1)
    assert (skeleton.stem, skeleton.first, skeleton.widths, skeleton.last) == (40, 24, TABLE2.widths, 1728)
    assert mobilenet_space(skeleton) == MOBILENET


def test_small_images_may_have_smaller_widths():
    skeleton = small_image(16, 7, factor=0.1, smallest=2)
    assert (skeleton.stem, skeleton.first, skeleton.widths, skeleton.last) == (4, 2, (4, 6, 12, 12, 26, 44), 172)
    assert (skeleton.stem_stride, skeleton.strides, skeleton.last_side) == (1, (1, 2, 2, 1, 2, 1), 2)
    other = small_image(32, 10, skeleton=KNOWN_NETWORKS["mobilenetv2-1.0"].skeleton, factor=0.5)
    assert (other.stem, other.repeats, other.widths) == (16, (2, 3, 4, 3, 3, 1), (12, 16, 32, 48, 80, 160))
    assert small_image(8, 10, factor=1e-9).widths == (2,) * 6


def test_resolutions_round_up():
    """As a convolution with stride 2 and padding does."""
    skeleton = MobileSkeleton(resolution=27)
    assert skeleton.side == 14
    assert [skeleton.layers[i].side for i in STARTS] == [14, 7, 4, 2, 2, 1]
    assert skeleton.last_side == 1 == math.ceil(27 / 32)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"widths": (32, 64)}, "2 widths, 6 repeats and 6 strides"),
        ({"repeats": (4, 4, 4, 4, 4)}, "6 widths, 5 repeats and 6 strides"),
        ({"strides": (2,) * 7}, "6 widths, 6 repeats and 7 strides"),
        ({"repeats": (4, 4, 0, 4, 4, 1)}, "at least 1"),
        ({"stem_stride": 0}, "at least 1"),
        ({"last": 0}, "at least 1"),
        ({"resolution": 0}, "at least 1"),
    ],
)
def test_bad_skeletons(fields, message):
    with pytest.raises(ValueError, match=message):
        MobileSkeleton(**fields)


def test_the_space_of_fairnas_has_six_blocks_everywhere():
    assert MOBILENET_FAIR.size == 6**21 and MOBILENET_FAIR.name == "mobilenet-fair"
    assert set(MOBILENET_FAIR.candidates) == {tuple(range(6))} and MOBILENET_FAIR.operators == OPERATORS[:6]
    arch = MOBILENET_FAIR.sample(np.random.default_rng(0))
    assert arch in MOBILENET and FAIR_SPACE.from_str(arch_to_str(arch)) == arch
    with pytest.raises(ValueError, match=r"'-1' on layer 1\.2; one of: 0 k3e3, 1 k3e6"):
        FAIR_SPACE.from_str(PROXYLESS_GPU)
    with pytest.raises(ValueError, match="the operators of group 2 come with identity"):
        mobilenet_space(group2=True, identity=False)


def test_the_limit_that_fairnas_is_quoted_with_needs_narrower_widths():
    """Its 321M lie between the cheapest and the dearest network over the widths of Proxyless-mobile alone."""
    ends = np.array([[0] * 21, [5] * 21])
    assert mobilenet_cost(TABLE2)(ends)["flops_m"][0] > 460
    low, high = mobilenet_cost(FAIR)(ends)["flops_m"]
    assert low < 0.95 * 321 and high > 600
    assert FAIR.widths == (32, 40, 80, 96, 192, 320) and FAIR_SPACE.reference == FAIR


def test_a_space_of_more_archs_than_numbers_can_name_is_drawn_from():
    """5e20 archs: more than 2^63. Each layer has its operators equally often."""
    assert MOBILENET_G2.size > 2**63
    archs = MOBILENET_G2.sample_distinct(np.random.default_rng(0), 3000)
    assert len({tuple(row) for row in archs.tolist()}) == 3000 and MOBILENET_G2.contains_rows(archs).all()
    for layer, alive in enumerate(MOBILENET_G2.candidates):
        counts = np.bincount(archs[:, layer], minlength=len(MOBILENET_G2.operators))[list(alive)]
        assert abs(counts / 3000 - 1 / len(alive)).max() < 0.03  # five standard deviations
