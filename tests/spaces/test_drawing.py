import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.transforms import Affine2D

from senas_bench.analysis.output.figures import to_bytes
from senas_bench.plotting import COLUMN
from senas_bench.spaces import SPACES
from senas_bench.spaces.archfile import NamedArch
from senas_bench.spaces.cells import SHORT, Cell, layout
from senas_bench.spaces.darts import DARTS, GENOTYPES, arch_from_genotype, arch_from_str
from senas_bench.spaces.darts import OPERATORS as DARTS_OPERATORS
from senas_bench.spaces.darts.drawing import draw_darts
from senas_bench.spaces.drawing import draw
from senas_bench.spaces.mobilenet import BLOCKS, IDENTITY, KNOWN_NETWORKS, small_image
from senas_bench.spaces.mobilenet.drawing import FIXED, KERNELS, TINTS, draw_mobilenet, draw_mobilenets
from senas_bench.spaces.nasbench201 import EDGES, NB201
from senas_bench.spaces.nasbench201.drawing import draw_nasbench201

DARTS_V2 = arch_from_genotype(GENOTYPES["DARTS_V2"])
CHAIN = arch_from_str(
    "|sep_conv_3x3~0|dil_conv_5x5~1|+|max_pool_3x3~0|sep_conv_5x5~2|+"
    "|skip_connect~1|sep_conv_3x3~3|+|avg_pool_3x3~0|dil_conv_3x3~4|"
)
GPU = KNOWN_NETWORKS["proxyless-gpu"]


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def patches(figure, kind):
    return [patch for patch in figure.axes[0].patches if type(patch) is kind]


def assert_readable(figure):
    """No two texts meet, and none leaves the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        whole = figure.bbox
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1 and whole.y0 <= box.y0 < box.y1 <= whole.y1, text.get_text()
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert not a.overlaps(b), (one.get_text(), other.get_text())


def drawn_graph(figure):
    """The edges as `(words, source, target)` that one cell's drawing shows, with the names of its nodes."""
    texts = [(text.get_text(), np.array(text.get_position())) for text in figure.axes[0].texts]
    centres = {name: place for name, place in texts if name in {"0", "1", "2", "3"} or name.startswith("$")}
    circles = [circle.center for circle in patches(figure, Circle)]
    lines = [patch.get_path().vertices for patch in patches(figure, PathPatch)]
    edges = set()
    for box in patches(figure, FancyBboxPatch):
        left, middle, right = box.get_x(), box.get_y() + box.get_height() / 2, box.get_x() + box.get_width()
        (name,) = [name for name, place in texts if np.allclose(place, ((left + right) / 2, middle))]
        if name in SHORT.values():
            (start,) = [line[0] for line in lines if np.allclose(line[-1], (left, middle))]
            before = {node: np.abs(place - start) for node, place in centres.items() if place[0] < start[0]}
            source = min((gap[0], node) for node, gap in before.items() if gap[1] < 1e-6)[1]
            target = min(circles, key=lambda place: np.hypot(place[0] - right, place[1] - middle))
            edges.add((name, source, next(node for node, place in centres.items() if np.allclose(place, target))))
    return edges


def flattened(patch):
    """Points along a line, in inches; curves are cut to within a pixel, here a thousandth of an inch."""
    (points,) = patch.get_path().transformed(Affine2D().scale(1000)).to_polygons(closed_only=False)
    return points / 1000


def assert_lines_meet_no_boxes(figure):
    """A line touches the boxes and nodes at its ends and no other."""
    boxes = [(box.get_bbox(), "box") for box in patches(figure, FancyBboxPatch)]
    boxes += [
        (circle.get_path().get_extents(circle.get_patch_transform()), "node") for circle in patches(figure, Circle)
    ]
    for patch in patches(figure, PathPatch):
        points = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(flattened(patch))])
        for box, kind in boxes:
            inside = (points > (box.x0 + 1e-6, box.y0)) & (points < (box.x1 - 1e-6, box.y1))
            assert not inside.all(axis=1).any(), kind


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_cell_of_darts_shows_its_arch(seed):
    arch = DARTS.sample(np.random.default_rng(seed))
    figure = draw_darts(arch)
    names = ("$c_{k-2}$", "$c_{k-1}$", "0", "1", "2", "3")
    ends = [(source, target) for target in range(2, 6) for source in range(target)]
    expected = {
        (SHORT[DARTS_OPERATORS[op]], names[source], names[target])
        for op, (source, target) in zip(arch, ends, strict=True)
        if op
    }
    assert drawn_graph(figure) == expected and len(expected) == 8
    assert_lines_meet_no_boxes(figure)
    assert len(patches(figure, PathPatch)) == 8 + 4  # the output joins four nodes
    assert words(figure).count("$c_k$") == 1 and words(figure)[0] == "Normal and reduction cell"
    assert figure.get_figwidth() == COLUMN


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_cell_of_nasbench201_shows_its_arch(seed):
    arch = NB201.sample(np.random.default_rng(seed))
    figure = draw_nasbench201(arch)
    expected = {
        (SHORT[NB201.operators[op]], str(source), str(target))
        for op, (source, target) in zip(arch, EDGES, strict=True)
        if op
    }
    assert drawn_graph(figure) == expected
    assert_lines_meet_no_boxes(figure)
    fed = {target for *_, target in expected}
    dashed = [circle for circle in patches(figure, Circle) if circle.get_linestyle() != "-"]
    assert len(dashed) == 3 - len(fed)


@pytest.mark.parametrize(
    "figure",
    [
        draw_darts(CHAIN, "the longest path there is"),
        draw_darts(DARTS_V2, 50 * "x "),
        draw("darts-separate", [NamedArch("darts-separate", (*CHAIN, *CHAIN))] * 2),
        draw("nasbench201", [NamedArch("nasbench201", (3,) * 6), NamedArch("nasbench201", (0,) * 6)]),
        draw_mobilenets({f"{name} {40 * 'x'}": (known.arch, known.skeleton) for name, known in KNOWN_NETWORKS.items()}),
        draw_mobilenet((8,) * 21),
        draw_mobilenet(GPU.arch, small_image(8, 10, factor=0.2), "small"),
    ],
    ids=["chain", "darts_v2", "two chains", "nasbench201", "mobilenets", "two groups", "small"],
)
def test_texts_are_apart(figure):
    assert_readable(figure)


def test_layout_of_the_cell_that_darts_found():
    """Three nodes take from the cells before, the last one from node 0: three columns."""
    names = [name for name, _ in GENOTYPES["DARTS_V2"].normal]
    sources = [source for _, source in GENOTYPES["DARTS_V2"].normal]
    edges = tuple((name, source, 2 + n // 2) for n, (name, source) in enumerate(zip(names, sources, strict=True)))
    found = layout(Cell(("a", "b"), ("0", "1", "2", "3"), edges, "c"))
    assert found.columns == (0, 0, 1, 1, 1, 2)
    assert len(set(found.rows)) == 8 and max(found.rows) < found.height
    lanes = sorted(tuple(sorted(found.rows[2 * node : 2 * node + 2])) for node in range(4))
    assert all(a[1] < b[0] for a, b in itertools.pairwise(lanes))
    for node in range(4):  # lines into a node do not cross each other
        rows = {
            found.heights[source]: row
            for (_, source, target), row in zip(edges, found.rows, strict=True)
            if target == 2 + node
        }
        assert [rows[height] for height in sorted(rows)] == sorted(rows.values())
    assert [found.heights[2 + node] for node in range(4)] == pytest.approx(
        [sum(found.rows[2 * node : 2 * node + 2]) / 2 for node in range(4)]
    )


def test_layout_has_no_crossing_where_none_is_needed():
    """Node 2 goes to the output; with its lane between those of 1 and 3, the line from 1 to 3 would cross its way."""
    cell = Cell(("0",), ("1", "2", "3"), (("skip_connect", 0, 1), ("skip_connect", 0, 2), ("skip_connect", 1, 3)), "c")
    found = layout(cell)
    assert found.columns == (0, 1, 1, 2)
    assert (found.heights[1] < found.heights[2]) == (found.heights[3] < found.heights[2])
    assert found.height == pytest.approx(3 * 0.17 + 2 * 0.09)


def crossings(figure):
    """How often lines meet between their ends; each goes from left to right."""
    count = 0
    lines = [flattened(patch) for patch in patches(figure, PathPatch)]
    for a, b in itertools.combinations(lines, 2):
        left, right = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
        if left < right:
            at = np.linspace(left, right, 2000)
            gap = np.interp(at, *a.T) - np.interp(at, *b.T)
            gap = gap[np.abs(gap) > 0.003]
            count += int((gap[1:] * gap[:-1] < 0).sum())
    return count


@pytest.mark.parametrize(
    ("text", "least"),
    [
        # a planar cell, where lanes with the shortest lines cross twice
        (
            "|avg_pool_3x3~0|sep_conv_5x5~1|+|sep_conv_3x3~1|sep_conv_3x3~2|+"
            "|sep_conv_5x5~2|sep_conv_5x5~3|+|dil_conv_3x3~0|max_pool_3x3~2|",
            0,
        ),
        # four nodes that take both inputs: once for each two of them
        ("+".join(["|skip_connect~0|sep_conv_3x3~1|"] * 4), 6),
    ],
)
def test_lines_cross_as_little_as_lanes_allow(text, least):
    assert crossings(draw_darts(arch_from_str(text))) == least


def test_one_cell_alone():
    assert words(draw_darts(DARTS_V2, "DARTS", cell="reduce"))[0] == "DARTS: reduction cell"
    assert words(draw_darts(CHAIN, cell="normal"))[0] == "Normal cell"
    assert drawn_graph(draw_darts(DARTS_V2, cell="normal")) == drawn_graph(draw_darts(DARTS_V2[:14]))
    assert drawn_graph(draw_darts(DARTS_V2, cell="reduce")) == drawn_graph(draw_darts(DARTS_V2[14:]))
    with pytest.raises(ValueError, match="unknown cell 'reduction'; did you mean 'reduce'"):
        draw_darts(DARTS_V2, cell="reduction")


def test_normal_and_reduction_cells_are_two_panels():
    figure = draw_darts(DARTS_V2, "DARTS")
    titles = [text for text in words(figure) if "cell" in text]
    assert titles == ["DARTS: normal cell", "DARTS: reduction cell"]
    assert words(figure).count("sep 3×3") == 5 and words(figure).count("max 3×3") == 5
    assert figure.get_figwidth() == COLUMN and figure.get_figheight() > draw_darts(CHAIN).get_figheight() * 1.9


def blocks(figure):
    """`(x, height, fill)` of the blocks of a figure of one network, left to right, without the legend."""
    found = [(patch.get_x(), patch.get_height(), to_hex(patch.get_facecolor()), patch) for patch in bars(figure)]
    return sorted(found, key=lambda block: block[0])


def bars(figure):
    lowest = min(text.get_position()[1] for text in figure.axes[0].texts if text.get_text() == "conv 3×3") - 0.3
    return [bar for bar in patches(figure, Rectangle) if bar.get_y() > lowest]


def test_blocks_of_a_network():
    figure = draw_mobilenet(GPU.arch, title="Proxyless-GPU")
    shown = [block for block in blocks(figure) if block[2] in KERNELS.values()]
    chosen = [BLOCKS[op] for op in GPU.arch if op != IDENTITY]
    assert [KERNELS[block.kernel] for block in chosen] == [fill for _, _, fill, _ in shown]
    heights = {block.expansion: height for block, (_, height, _, _) in zip(chosen, shown, strict=True)}
    assert [heights[block.expansion] for block in chosen] == pytest.approx([height for _, height, _, _ in shown])
    assert heights[6] == pytest.approx(2 * heights[3])
    fixed = [block for block in blocks(figure) if block[2] == FIXED]
    assert len(fixed) == 4 and fixed[1][1] == pytest.approx(heights[6] / 6)  # stem, MBConv of expansion 1, conv, FC
    circles = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(circles) == GPU.arch.count(IDENTITY) + 1  # one in the legend
    dotted = [block for block in blocks(figure) if block[3].get_facecolor()[3] == 0]
    starts = [x for x, *_ in shown]
    assert [starts.index(x) for x, *_ in dotted[1:]] == [0, 1, 3, 8]  # stages 1, 2, 3 and 5; before them the stem
    shown_words = words(figure)
    assert shown_words[:2] == ["Proxyless-GPU", "465.3M FLOPs, 7.12M params, 13 layers"]
    assert " ".join(text for text in shown_words if text.isdigit()) == "40 24 32 56 112 128 256 432 1728"
    assert {"224 px", "conv 3×3", "conv 1×1", "FC 1000", "identity", "stride 2", "expansion 3, 6"} <= set(shown_words)
    assert "2 groups" not in shown_words


def test_two_groups_are_light_and_hatched():
    figure = draw_mobilenet((7, 8, 9, *GPU.arch[3:]))
    light = [block for block in blocks(figure) if block[2] in TINTS.values()]
    assert [fill for _, _, fill, _ in light] == [TINTS[3], TINTS[5], TINTS[7]]
    assert all(patch.get_hatch() for *_, patch in light)
    assert "2 groups" in words(figure)


def test_small_images_keep_their_strides():
    figure = draw_mobilenet(GPU.arch, small_image(8, 10, factor=0.5))
    dotted = [block for block in blocks(figure) if block[3].get_facecolor()[3] == 0]
    assert len(dotted) == 1 and {"8 px", "FC 10", "864"} <= set(words(figure))


def test_equal_archs_give_equal_bytes():
    for make in (lambda: draw_mobilenet((8,) * 21), lambda: draw_darts(CHAIN)):
        assert to_bytes(make(), "svg") == to_bytes(make(), "svg")
    assert to_bytes(draw_nasbench201((3,) * 6), "png") == to_bytes(draw_nasbench201((3,) * 6), "png")


@pytest.mark.slow
def test_every_space_is_drawn():
    rng = np.random.default_rng(0)
    for name, space in SPACES.items():
        archs = [NamedArch(name, space.whole.sample(rng), label) for label in ("", "the $best", "")]
        figure = draw(name, archs)
        titles = [text.split(":")[0] for text in words(figure)]
        assert [titles.count(title) > 0 for title in ("arch 1", "the $best", "arch 3", "arch 2")] == [True] * 3 + [
            False
        ]
        wide = COLUMN if name.startswith("mobilenet") else 2 * COLUMN
        assert figure.get_figwidth() == wide
        assert_readable(figure)


def test_the_title_of_a_single_arch_is_its_label():
    alone = NamedArch("mobilenet", GPU.arch)
    assert words(draw("mobilenet", [alone]))[0].endswith("13 layers")
    assert words(draw("mobilenet", [NamedArch("mobilenet", GPU.arch, "mine")]))[0] == "mine"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: draw("mobilnet", []), "unknown space 'mobilnet'; did you mean 'mobilenet'"),
        (lambda: draw("darts", []), "no archs of darts to draw$"),
        (lambda: draw("darts", [NamedArch("mobilenet", GPU.arch)]), "cannot draw archs of mobilenet among "),
        (lambda: draw_mobilenets({}), "no networks to draw"),
        (lambda: draw_mobilenet(GPU.arch[:-1]), "one operator for each of its 21 layers"),
        (lambda: draw_mobilenet((IDENTITY, *GPU.arch[1:])), "identity nowhere in a stage's first block"),
        (lambda: draw_darts((4,) * 14), "node 3 has 3 inputs where 2 are needed"),
        (lambda: draw_darts(DARTS_V2[:-1]), "27 edges where 14 or 28 are needed"),
        (lambda: draw_nasbench201((5,) * 6), "one operator, 0 to 4, for each of its 6 edges"),
    ],
)
def test_errors_say_what_is_wrong(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_torch_is_not_needed():
    code = "import sys, senas_bench.spaces.drawing, senas_bench.analysis.paper.networks; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
