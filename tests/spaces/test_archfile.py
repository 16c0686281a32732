import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senas_bench.errors import DataError
from senas_bench.spaces import SPACES
from senas_bench.spaces.archfile import NamedArch, read_archs, write_archs

PROXYLESS_GPU = "2 -1 -1 -1 4 -1 -1 0 5 -1 -1 2 3 -1 0 2 5 5 5 3 5"
NB201_11 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
CELL = "+".join(["|skip_connect~0|sep_conv_3x3~1|", "|avg_pool_3x3~0|max_pool_3x3~2|"] * 2)


def written(folder, value):
    path = folder / "archs.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_files_round_trip_in_every_space(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    archs = []
    for name, space in SPACES.items():
        archs += [NamedArch(name, space.whole.sample(rng), label) for label in ("", f'the "best" of {name} – 最高')]
    path = tmp_path_factory.mktemp("archs") / "archs.json"
    write_archs(path, archs)
    assert read_archs(path) == archs


def test_an_object_and_a_list_and_keys_that_say_more(tmp_path):
    row = {"space": "nasbench201", "arch": NB201_11, "flops_m": 113.95}
    expected = NamedArch("nasbench201", (3, 3, 4, 1, 3, 1))
    assert read_archs(written(tmp_path, row)) == [expected]
    assert read_archs(written(tmp_path, [row, {**row, "label": "eleven"}])) == [
        expected,
        NamedArch("nasbench201", (3, 3, 4, 1, 3, 1), "eleven"),
    ]


def test_text_has_one_arch_per_line(tmp_path):
    path = written(tmp_path, f"\ufeff# ProxylessNAS\n\n  {PROXYLESS_GPU}\r\n{'0 ' * 21}\n")
    archs = read_archs(path, "mobilenet")
    assert [named.arch[:5] for named in archs] == [(2, 6, 6, 6, 4), (0,) * 5]
    assert {named.space for named in archs} == {"mobilenet"} and {named.label for named in archs} == {""}


def test_the_file_knows_its_space_better_than_the_caller(tmp_path):
    rows = [{"arch": PROXYLESS_GPU}, {"arch": CELL, "space": "darts"}]
    assert [named.space for named in read_archs(written(tmp_path, rows), "mobilenet-g2")] == ["mobilenet-g2", "darts"]


def test_what_is_written_reads_well(tmp_path):
    path = tmp_path / "archs.json"
    write_archs(path, [NamedArch("nasbench201", (3, 3, 4, 1, 3, 1), "eleven"), NamedArch("nasbench201", (0,) * 6)])
    zeros = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert path.read_text() == (
        f'[\n {{"label": "eleven", "space": "nasbench201", "arch": "{NB201_11}"}},\n'
        f' {{"space": "nasbench201", "arch": "{zeros}"}}\n]\n'
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "no archs; write JSON"),
        ("# nothing\n", "no archs; write JSON"),
        ([], "no archs; write JSON"),
        ([PROXYLESS_GPU], "entry 1: .* where an object is needed"),
        (PROXYLESS_GPU, "line 1: no space is given; name it, in the file or beside it, one of: nasbench201, mobilenet"),
        ([{"arch": CELL, "space": "darts"}, {"arch": CELL}], "entry 2: no space is given"),
        ({"arch": CELL, "space": "dart"}, "entry 1: unknown space 'dart'; did you mean 'darts'"),
        ({"arch": CELL, "space": 7}, 'entry 1: "space" is 7 where a string is needed'),
        ({"space": "darts"}, 'entry 1: "arch" is missing where a string is needed'),
        ({"space": "mobilenet", "arch": [2, 6]}, r'entry 1: "arch" is \[2, 6\] where a string'),
        ({"space": "darts", "arch": CELL, "label": 3}, 'entry 1: "label" is 3 where'),
        ({"space": "nasbench201", "arch": PROXYLESS_GPU}, "entry 1: bad arch string"),
        ({"space": "mobilenet", "arch": PROXYLESS_GPU[:-1] + "7"}, "entry 1: .* '7' on layer 6.1; one of: 0 k3e3"),
        (
            {"space": "darts", "arch": f"{CELL}/{CELL.replace('avg', 'max')}"},
            "entry 1: two different cells are no arch",
        ),
    ],
)
def test_bad_values_give_one_line_that_says_where(tmp_path, value, message):
    with pytest.raises(ValueError, match=f"^.*archs.json: {message}") as caught:
        read_archs(written(tmp_path, value))
    assert "\n" not in str(caught.value)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json not found"):
        read_archs(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="not found; give a JSON or text file"):
        read_archs(tmp_path)
    for text in ("[{", '{"space": "darts"} 1', "[" * 100_000):
        with pytest.raises(DataError, match=r"JSON.*; write an object") as caught:
            read_archs(written(tmp_path, text))
        assert "\n" not in str(caught.value)
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(DataError, match="picture cannot be read"):
        read_archs(tmp_path / "picture")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (NamedArch("mobilenets", (0,) * 21), "unknown space 'mobilenets'; did you mean 'mobilenet'"),
        (NamedArch("mobilenet", (0,) * 20), "no arch of space mobilenet: give one operator for each of its 21 edges"),
        (NamedArch("mobilenet", (7,) * 21), "no arch of space mobilenet"),
        (NamedArch("mobilenet", (-1,) * 21), "no arch of space mobilenet"),
        (NamedArch("darts", (1,) * 14), "no arch of space darts: give one operator for each of its 14 edges"),
    ],
)
def test_only_archs_are_written(tmp_path, named, message):
    path = tmp_path / "archs.json"
    with pytest.raises(ValueError, match=message):
        write_archs(path, [named])
    assert not path.exists()
