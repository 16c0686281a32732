"""Names beside marks: none lies on another, and none reads as another mark's."""

import itertools
import math

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from senas_bench.analysis.output.labels import Label, write_names


def panel():
    figure = Figure(figsize=(4, 3))
    ax = figure.add_axes((0.1, 0.1, 0.85, 0.85))
    ax.set(xlim=(0, 10), ylim=(0, 10))
    return ax


def label(text, x, y, **more):
    return Label(text, x, y, "#000000", 6.3, **more)


def near_end(ax, text):
    """Of a name, in points from its own mark, and from any other place of the data."""
    mark = ax.transData.transform(text.xy) * 72 / ax.figure.dpi
    end = mark + text.get_position()
    return end, math.dist(end, mark)


def test_names_keep_off_each_other_and_stand_nearest_to_their_own_marks():
    ax = panel()
    places = {f"method-{n}": (5 + 0.05 * n, 2 + 0.6 * n) for n in range(12)}
    write_names(ax, [label(name, *place, bar=(place[1] - 1, place[1] + 1)) for name, place in places.items()])
    ax.figure.draw_without_rendering()
    assert {text.get_text() for text in ax.texts} == set(places)
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert not any(a.padded(-1.5).overlaps(b.padded(-1.5)) for a, b in itertools.combinations(boxes, 2))
    for text in ax.texts:
        end, own = near_end(ax, text)
        others = [
            math.dist(end, ax.transData.transform(place) * 72 / ax.figure.dpi)
            for name, place in places.items()
            if name != text.get_text()
        ]
        assert text.arrow_patch is not None or own <= min(others) + 0.1


@pytest.mark.parametrize("crowd", [0, 40])
def test_an_optional_name_is_left_out_where_there_is_no_room(crowd):
    ax = panel()
    around = [label("", 5 + 0.2 * (n % 8 - 4), 5 + 0.35 * (n // 8 - 2), bar=(2, 8)) for n in range(crowd)]
    write_names(ax, [*around, label("small", 5, 5, optional=True), label("needed", 5, 5.1)])
    assert [text.get_text() for text in ax.texts] == ["needed", *(["small"] if not crowd else [])]


def test_a_name_keeps_off_lines():
    ax = panel()
    ax.plot([5, 10], [5, 5])
    ax.plot([5], [5], "o", linestyle="none")
    write_names(ax, [label("method", 5, 5)])
    (text,) = ax.texts
    assert text.get_position() != (5.0, 0.0)  # where it stands without the line
    free = panel()
    write_names(free, [label("method", 5, 5)])
    assert free.texts[0].get_position() == (5.0, 0.0)
