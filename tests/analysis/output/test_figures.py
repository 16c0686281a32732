import numpy as np
import pytest

from senas_bench.analysis.output import figures
from senas_bench.analysis.output.figures import bars, boxes, grid, save, save_once, to_bytes
from senas_bench.plotting import house_style


def a_figure():
    figure, (left, right) = grid(1, 2)
    left.plot([0, 1], [2, 3], label="a long label of a line")
    right.set_ylabel("something")
    figure.legend(loc="outside lower center")
    return figure


@pytest.mark.slow
def test_a_figure_has_the_same_bytes_however_often_it_is_written(tmp_path):
    with house_style():
        one, other = a_figure(), a_figure()
    first = {suffix: to_bytes(one, suffix) for suffix in ("svg", "png", "svg", "png")}
    paths = save(other, tmp_path, "toy")
    assert [path.name for path in paths] == ["toy.png", "toy.svg"] and paths[0].parent == tmp_path / "figures"
    assert {path.suffix[1:]: path.read_bytes() for path in paths} == first
    assert b"<dc:date>" not in first["svg"] and b"Software" not in first["png"]


@pytest.mark.parametrize(
    ("mean", "std", "limits", "reach"),
    [
        (0.5, 0.2, (-1, 1), [[0.2], [0.2]]),
        ([0.9, -0.95], [0.3, 0.1], (-1, 1), [[0.3, 0.05], [0.1, 0.1]]),
        (77.5, 23.6, (0, 94.07), [[23.6], [16.57]]),
        (1.0 + 1e-12, 0.1, (-1, 1), [[0.1], [0.0]]),  # rounding makes no bar of negative length
    ],
)
def test_bars_end_where_nothing_can_be(mean, std, limits, reach):
    assert bars(mean, std, limits) == pytest.approx(np.array(reach))


@pytest.mark.parametrize("orient", ["v", "h"])
def test_boxes_have_all_values_and_a_lone_one_is_a_dot(orient):
    figure, (ax,) = grid(1, 1)
    places, values = [1] * 5 + [2, 3, 3, 3], [0.0, 1.0, 2.0, 3.0, 9.0, 5.0, 1.0, 4.0, 5.0]
    boxes(ax, places, values, "#0072b2", orient=orient, size=3, linewidth=2.0)
    (box,) = ax.patches
    edges = box.get_path().get_extents()
    low, high = (edges.y0, edges.y1) if orient == "v" else (edges.x0, edges.x1)
    assert (low, high) == pytest.approx((1, 3))  # quartiles by linear interpolation
    medians = [line for line in ax.lines if line.get_linewidth() == 2.0]
    middles = [set(line.get_ydata() if orient == "v" else line.get_xdata()) for line in medians]
    assert middles == [{2.0}, {4.0}]  # of five values with a box, of three without one
    assert medians[1].get_color() == "#0072b2"
    dots = [tuple(point) for part in ax.collections for point in part.get_offsets()]
    given = list(zip(places, values, strict=True))
    assert sorted(dots) == sorted(given if orient == "v" else [pair[::-1] for pair in given])
    assert figure.axes == [ax]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws the figure, and how often that was done."""
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(figures, "to_bytes", lambda figure, suffix: f"{suffix} of {figure}".encode())
    times = []
    return lambda: times.append(None) or f"drawing {len(times)}", times


def test_a_figure_that_is_there_is_not_drawn_again(drawn, tmp_path):
    draw, times = drawn
    paths = save_once(draw, "rows", tmp_path, "toy")
    assert paths == save_once(draw, "rows", tmp_path, "toy")
    assert [path.read_text() for path in paths] == ["png of drawing 1", "svg of drawing 1"] and len(times) == 1
    save_once(draw, "rows", tmp_path / "elsewhere", "toy")
    assert len(times) == 2 and (tmp_path / "elsewhere/figures/toy.svg").exists()


def test_a_figure_is_drawn_again_when_rows_code_or_files_are_others(drawn, tmp_path, monkeypatch):
    draw, times = drawn
    png, svg = save_once(draw, "rows", tmp_path, "toy")
    save_once(draw, "other rows", tmp_path, "toy")
    assert len(times) == 2
    save_once(draw, "rows", tmp_path, "toy")  # the files are those of the other rows
    assert len(times) == 3
    png.write_text("touched up by hand")
    save_once(draw, "rows", tmp_path, "toy")
    svg.unlink()
    save_once(draw, "rows", tmp_path, "toy")
    assert len(times) == 5 and svg.exists()
    monkeypatch.setattr(figures, "_code", lambda: b"another version")
    save_once(draw, "rows", tmp_path, "toy")
    assert len(times) == 6


def test_where_nothing_can_be_remembered_a_figure_is_drawn_each_time(drawn, tmp_path):
    draw, times = drawn
    save_once(draw, "rows", tmp_path, "toy")
    (memory,) = (tmp_path / "home/figures").iterdir()
    memory.write_text("{damaged")
    save_once(draw, "rows", tmp_path, "toy")
    memory.unlink()
    memory.parent.rmdir()
    memory.parent.write_text("a file where the folder should be")
    save_once(draw, "rows", tmp_path, "toy")
    assert len(times) == 3


def test_the_style_of_the_user_is_neither_used_nor_lost():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}):
        with house_style():
            assert matplotlib.rcParams["font.size"] == 8 and matplotlib.rcParams["axes.grid"]
        assert matplotlib.rcParams["font.size"] == 30 and not matplotlib.rcParams["axes.grid"]
