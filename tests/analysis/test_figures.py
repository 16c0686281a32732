from analysis.figures import OTHER, colour, grid, house_style, save, to_bytes


def a_figure():
    figure, (left, right) = grid(1, 2)
    left.plot([0, 1], [2, 3], label="a long label of a line")
    right.set_ylabel("something")
    figure.legend(loc="outside lower center")
    return figure


def test_a_figure_has_the_same_bytes_however_often_it_is_written(tmp_path):
    with house_style():
        one, other = a_figure(), a_figure()
    first = {suffix: to_bytes(one, suffix) for suffix in ("svg", "png", "svg", "png")}
    paths = save(other, tmp_path, "toy")
    assert [path.name for path in paths] == ["toy.png", "toy.svg"] and paths[0].parent == tmp_path / "figures"
    assert {path.suffix[1:]: path.read_bytes() for path in paths} == first
    assert b"<dc:date>" not in first["svg"] and b"Software" not in first["png"]


def test_the_style_of_the_user_is_neither_used_nor_lost():
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}):
        with house_style():
            assert matplotlib.rcParams["font.size"] == 8 and matplotlib.rcParams["axes.grid"]
        assert matplotlib.rcParams["font.size"] == 30 and not matplotlib.rcParams["axes.grid"]


def test_colours():
    assert len({colour(name) for name in ("se-nas", "se-nas+", "spos", "spos+")}) == 4
    assert colour("a method of one's own") == OTHER
