"""What Figs. 7 and 8 show of their tables. Scores are given as orders of archs, as in `test_convergence`."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex

from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.artefacts.convergence import render_fig7, render_fig8
from senas_bench.analysis.artefacts.convergence_figures import _apart
from senas_bench.analysis.output.figures import save
from senas_bench.analysis.style import ink, style
from senas_bench.groundtruth import Query

pytestmark = pytest.mark.filterwarnings("error")
TEN = list(range(10))
SWAPPED = [1, 0, *range(2, 10)]


def render(study, truth, which=render_fig7):
    return which(study.runs.records, study.runs.scores, truth, no_timing=True)


def points(table, method, name, column="cifar10_test", key="tau_mean"):
    """A value by epoch."""
    rows = [row for row in table.meta["rows"] if (row["method"], row["set"], row["column"]) == (method, name, column)]
    return {row["epoch"]: row[key] for row in rows}


def check_layout(figure):
    """Nothing is cut, panels are wide enough to read, and no two texts in one meet."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, (width, height) = canvas.get_renderer(), figure.get_size_inches()
    tight = figure.get_tightbbox(renderer)  # inches
    assert min(tight.x0, tight.y0) > -0.01 and tight.x1 < width + 0.01 and tight.y1 < height + 0.01
    for ax in figure.axes:
        assert ax.get_window_extent(renderer).width > 100
        boxes = [text.get_window_extent(renderer) for text in ax.texts]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def check_saved(table, figure, folder):
    """Drawn again, the table gives the same files."""
    again = save(ARTEFACTS[table.name].figure(table), folder / "again", table.name)
    for path, other in zip(save(figure, folder, table.name), again, strict=True):
        assert path.read_bytes() == other.read_bytes() and path.stat().st_size > 1000
    check_layout(figure)


def sizes(ax):
    """The texts that count archs, and where they stand."""
    return {text.get_text(): text.get_position()[0] for text in ax.texts if text.get_text()[0].isdigit()}


def names(ax):
    """The names of lines, from below, with their colours."""
    found = sorted((text for text in ax.texts if not text.get_text()[0].isdigit()), key=lambda text: text.xy[1])
    return [(text.get_text(), text.get_color()) for text in found]


def drawn(ax, method, how="-"):
    """The points of a method: `(epoch, tau)` of each of its lines with markers; `how`: their dashes, `None` for a lone
    point, or `hollow`."""
    found = []
    for line in ax.lines:
        if to_hex(line.get_color()) == style(method).colour and line.get_marker() in "osD^":
            hollow = line.get_markerfacecolor() == "white"
            if how == ("hollow" if hollow else line.get_linestyle()):
                found.append(list(zip(line.get_xdata(), line.get_ydata(), strict=True)))
    return found


def split(points):
    """Of points by epoch those before the last, and the last."""
    *curve, last = points.items()
    return [curve], [last]


@pytest.mark.slow
def test_fig7_draws_the_rows(study, two_datasets, tmp_path):
    study.both(seeds=(0, 1))
    table = render(study, two_datasets)
    figure = ARTEFACTS["fig7"].figure(table)
    alive, alive_100, whole, whole_100 = figure.axes
    assert [ax.get_title() for ax in figure.axes] == [
        f"{dataset} test, {view}" for view in ("archs alive", "whole space") for dataset in ("cifar10", "cifar100")
    ]
    for column, top, bottom in (("cifar10_test", alive, whole), ("cifar100_test", alive_100, whole_100)):
        for method, name, dashes, other in (("se-nas", "current", "-", "--"), ("spos", "same", "--", "-")):
            curve, last = split(points(table, method, name, column))
            assert drawn(top, method, dashes if len(curve[0]) > 1 else "None") == curve
            assert drawn(top, method, "hollow") == [last] and drawn(top, method, other) == []
        for method in ("spos", "se-nas"):
            (end,) = points(table, method, "full", column).values()
            curve, last = split(points(table, method, "sample", column))
            assert drawn(bottom, method) == curve
            ends = [point for (point,) in drawn(bottom, method, "hollow")]  # of the sample, and of all archs beside it
            assert last[0] in ends and end in [tau for _, tau in ends] and len(ends) == 2
            assert all(abs(epoch - 60) < 2 for epoch, _ in ends)
    for ax in figure.axes:
        dotted = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
        assert dotted == [20, 40]
    assert sizes(alive) == {"5 archs": 10, "3 archs": 40}  # from the first shrink to the end
    assert list(sizes(whole)) == ["5 archs, a sample"]
    ends = {method: points(table, method, "sample")[60] for method in ("spos", "se-nas")}
    assert names(whole) == [(method, ink(style(method).colour)) for method in sorted(ends, key=ends.__getitem__)]
    assert {name for name, _ in names(alive)} == {"spos", "se-nas"} and not figure.legends
    said = figure.get_supxlabel()
    parts = ["n = 2 seeds", "bands and bars: ± std over seeds", "dotted: shrinks"]
    parts += ["dashed: the baseline on the archs alive", "hollow: a method's own final ranking"]
    assert said.replace("\n", " ") == "; ".join(parts)
    check_saved(table, figure, tmp_path)


def test_fig7_says_who_ends_with_fewer_seeds(study, truth):
    for seed in (0, 1):
        study("spos", seed, ("curve", 20, TEN), ("curve", 40, SWAPPED if seed else TEN), ("sample", 60, TEN))
    study("se-nas", 0, ("curve", 20, TEN), ("curve", 40, SWAPPED), ("sample", 60, SWAPPED))
    study("se-nas", 1, ("curve", 20, SWAPPED), ("curve", 40, TEN))
    figure = ARTEFACTS["fig7"].figure(render(study, truth))
    assert sorted(name for name, _ in names(figure.axes[0])) == ["se-nas (1)", "spos"]
    assert "beside a name: its seeds at the end" in figure.get_supxlabel().replace("\n", " ")


def test_fig7_draws_no_band_of_one_seed(study, truth):
    study("spos", 0, ("curve", 20, TEN), ("curve", 40, SWAPPED), ("sample", 60, TEN))
    (ax,) = ARTEFACTS["fig7"].figure(render(study, truth)).axes
    (band,) = [part for part in ax.collections if isinstance(part, PolyCollection)]
    assert not band.get_paths() and len(drawn(ax, "spos")[0]) == 2


@pytest.mark.parametrize("other", [TEN, TEN[::-1]])
def test_fig7_bands_are_one_standard_deviation_inside_what_tau_can_be(study, truth, other):
    study("spos", 0, ("curve", 20, SWAPPED), ("curve", 40, SWAPPED), ("sample", 60, SWAPPED))
    study("spos", 1, ("curve", 20, other), ("curve", 40, SWAPPED), ("sample", 60, SWAPPED))
    table = render(study, truth)
    (ax,) = ARTEFACTS["fig7"].figure(table).axes
    mean, std = points(table, "spos", "sample")[20], points(table, "spos", "sample", key="tau_std")[20]
    (band,) = [part for part in ax.collections if isinstance(part, PolyCollection)]
    heights = {y for x, y in band.get_paths()[0].vertices if x == 20}
    low, high = max(mean - std, -1), min(mean + std, 1)
    assert (min(heights), max(heights)) == pytest.approx((low, high)) and (std > 1) == (other != TEN)
    assert ax.get_ylim()[0] < low and ax.get_ylim()[1] > high
    assert ax.get_xlim()[0] == 0


def test_fig7_counts_the_archs_alive_and_not_those_that_the_baseline_scored(study, truth):
    study("spos", 0, ("curve", 20, TEN), ("full", 40, study.full(TEN)))
    study("se-nas", 0, ("curve-current", 20, range(12)), ("current", 40, range(12)))
    table = render(study, truth)
    assert points(table, "spos", "same", key="archs_min") == {20: 10, 40: 12}
    alive, whole = ARTEFACTS["fig7"].figure(table).axes
    assert list(sizes(alive)) == ["12 archs"]
    assert list(sizes(whole)) == ["10 archs, a sample"]  # not the 40 of the hollow point


def test_fig7_lone_points_stand_side_by_side_with_bars(study, truth):
    for seed, order in enumerate((TEN, SWAPPED)):
        study("spos", seed, ("sample", 60, order))
        study("se-nas", seed, ("sample", 60, order))
    (ax,) = ARTEFACTS["fig7"].figure(render(study, truth)).axes
    ((left, one),), ((right, other),) = drawn(ax, "spos", "hollow")[0], drawn(ax, "se-nas", "hollow")[0]
    assert left < 60 < right and one == other == pytest.approx(44 / 45)
    bars = [segment for part in ax.collections for segment in part.get_segments()]
    ends = pytest.approx((44 / 45 - 2**0.5 / 45, 1))  # cut: one standard deviation up is more than 1
    assert [(low, high) for (_, low), (_, high) in bars] == [ends, ends]
    assert list(sizes(ax)) == ["10 archs, a sample"]
    assert sorted(name for name, _ in names(ax)) == ["se-nas", "spos"]


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([0.0, 5.0], [0.0, 5.0]),
        ([0.0, 0.5], [-0.25, 0.75]),
        ([0.0, 0.5, 1.2, 9.0], [-1.3 / 3, 1.7 / 3, 4.7 / 3, 9.0]),  # the mean of three is 1.7 / 3
    ],
)
def test_names_move_apart_and_no_more(heights, moved):
    assert _apart(heights, 1.0) == pytest.approx(moved)


@pytest.mark.slow
def test_fig8_draws_each_seed(study, two_datasets, tmp_path):
    study.both(seeds=(0, 1))
    study("se-nas", 2, ("full", 60, study.full(TEN[::-1])), shrinks=(20, 40))
    table = render(study, two_datasets, render_fig8)
    figure = ARTEFACTS["fig8"].figure(table)
    assert [ax.get_title() for ax in figure.axes] == ["cifar10 test", "cifar100 test"]
    for ax, column in zip(figure.axes, ("cifar10_test", "cifar100_test"), strict=True):
        rows = [row for row in table.meta["rows"] if row["column"] == column]
        dots = [part.get_offsets().tolist() for part in ax.collections]
        assert dots == [[[run["tau"], place] for run in row["per_seed"]] for place, row in enumerate(rows)]
        assert [to_hex(part.get_facecolor()[0]) for part in ax.collections] == [
            style(row["method"]).colour for row in rows
        ]
        medians = [line for line in ax.lines if line.get_linewidth() == 2]
        assert [line.get_xdata()[0] for line in medians] == pytest.approx(
            [np.median([run["tau"] for run in row["per_seed"]]) for row in rows]
        )
        assert ax.get_ylim() == (3.5, -0.5)  # the first row on top
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "spos, whole space\n40 archs, n = 2",
        "spos, the same archs\n3 archs, n = 2",
        "se-nas, whole space\n40 archs, n = 3",
        "se-nas, archs alive\n3 archs, n = 2",
    ]
    assert {label.get_text() for label in figure.axes[1].get_yticklabels()} == {""}
    check_saved(table, figure, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("datasets", [1, 3])
def test_all_methods_fit(study, toy, query, datasets):
    """The longest names and labels, over one dataset and over all."""
    columns = {Query(name, "test", 200, "mean"): np.arange(50.0, 90.0) for name in ("cifar100", "imagenet16-120")}
    wide = toy.FakeTruth({query: np.arange(50.0, 90.0)} | (columns if datasets == 3 else {}))
    for method in ("spos", "se-nas", "spos+", "se-nas+"):
        for seed in range(10 if method[-1] == "+" else 11):
            curve = [("curve", 20, TEN), ("curve", 40, SWAPPED)] if seed else []
            alive = [("curve-current", 40, range(12)), ("current", 60, [0, 1])] if method.startswith("se") else []
            study(method, seed, *curve, *alive, ("full", 60, study.full(TEN)), shrinks=(20, 40) if alive else ())
    for name in ("fig7", "fig8"):
        table = ARTEFACTS[name].render(study.runs.records, study.runs.scores, wide, no_timing=True)
        figure = ARTEFACTS[name].figure(table)
        assert len(figure.axes) == datasets * (2 if name == "fig7" else 1)
        check_layout(figure)
    said = " ".join(ARTEFACTS["fig7"].figure(render(study, wide)).get_supxlabel().split())
    assert (
        said.startswith("n = 9-11 seeds; bands")
        and "dashed: the baseline on those of the archs alive that it scored (10)" in said
    )


def _scored_alike(study):
    study("spos", 0, ("sample", 60, TEN), scores=np.zeros(10))


def _opposite(study):
    for seed, order in enumerate((TEN, TEN[::-1])):
        study("spos", seed, ("curve", 20, order), ("sample", 60, order))


BARE = {
    "one seed of one method": lambda study: study("spos", 0, ("curve", 20, TEN), ("sample", 60, SWAPPED)),
    "no curve": lambda study: study("se-nas", 0, ("full", 60, study.full(TEN)), ("current", 60, [3, 4]), shrinks=(20,)),
    "one epoch": lambda study: study("spos", 0, ("full", 1, study.full(TEN))),
    "no epoch": lambda study: study("spos", 0, ("full", 0, study.full(TEN))),
    "the archs alive alone": lambda study: study("se-nas", 0, ("current", 60, [3, 4]), shrinks=(20, 40)),
    "a shrink at the end": lambda study: study("se-nas", 0, ("sample", 60, TEN), shrinks=(60,)),
    "no tau": _scored_alike,
    "tau 1 and -1": _opposite,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BARE)
def test_little_to_draw(study, truth, tmp_path, case):
    BARE[case](study)
    for name in ("fig7", "fig8"):
        table = ARTEFACTS[name].render(study.runs.records, study.runs.scores, truth, no_timing=True)
        figure = ARTEFACTS[name].figure(table)
        assert all(path.stat().st_size > 1000 for path in save(figure, tmp_path, name))
        check_layout(figure)
        if case == "no tau" and name == "fig8":
            assert figure.axes[0].get_yticklabels()[0].get_text() == "spos, sample\n10 archs, n = 0"
