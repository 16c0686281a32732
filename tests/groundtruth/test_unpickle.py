"""The interpreter of other people's pickles: the same values as Python's own, and nothing else."""

import io
import pickle
import pickletools
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from senas_bench.groundtruth import unpickle
from senas_bench.groundtruth.unpickle import PickleStream, Unreadable

VALUES = {
    "numbers": [0, 1, 255, 256, 65_535, 65_536, -1, -(2**31), 2**40, -(2**70), 0.1, -1e300, float("inf")],
    "constants": [None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, [], set(), "", "x" * 300],
    "set": {1, 2, ("a", 3)},
    "ordered": OrderedDict(a=1, b=OrderedDict()),
    "numpy": [np.float64(0.1), np.float32(0.5), np.int64(-7)],
    "epochs": {f"x-valid@{epoch}": epoch / 7 for epoch in range(200)},
    "keys": {("cifar10", 777): "é", 12: "12"},
    "bytes": [b"\x00\xff" * 200],
}
VALUES["again"] = [VALUES["set"], VALUES["epochs"]]


def load(content, fold=lambda _: False):
    return PickleStream(io.BytesIO(content), fold).load()


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_values_are_those_of_the_library(monkeypatch, protocol, chunk):
    monkeypatch.setattr(unpickle, "CHUNK", chunk)
    content = pickle.dumps(VALUES, protocol)
    found = load(content)
    assert found == pickle.loads(content)
    assert found["again"][0] is found["set"] and found["again"][1] is found["epochs"]
    assert {type(value) for value in found["numpy"]} == {float, int}  # plain numbers


def test_several_pickles_follow_each_other():
    stream = PickleStream(io.BytesIO(b"".join(pickle.dumps(value, 2) for value in (1, ["a"], {"a": 2})) + b"storages"))
    assert [stream.load() for _ in range(3)] == [1, ["a"], {"a": 2}]


def test_equal_strings_are_one_object():
    first, second = load(pickle.dumps(["".join(["x-valid", "@1"]), "".join(["x-valid@", "1"])], 2))
    assert first == "x-valid@1" and first is second


def test_fold_sees_a_dict_when_it_is_complete_and_may_empty_it():
    seen = []

    def fold(found):
        seen.append(dict(found))
        if "inner" in found:
            found["inner"].clear()
        return True

    found = load(pickle.dumps({"a": {"inner": {"x": 1, "y": 2}}}, 4), fold)
    assert seen[0] == {"x": 1, "y": 2} and found == {"a": {"inner": {}}}


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_was_cut_anywhere_is_refused(protocol):
    content = pickle.dumps({"numbers": [1, 2.5, "text", 70_000], "numpy": np.float64(1)}, protocol)
    for size in range(len(content)):
        with pytest.raises((Unreadable, IndexError)):
            load(content[:size])


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


SCALAR = np.float64(0).__reduce__()[0]
"""What numpy's pickles name for a number, wherever this version of numpy keeps it."""


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "value",
    [
        Call(eval, "1"),
        Call(getattr, {}, "get"),
        np.zeros(3),
        Call(SCALAR, np.dtype("O"), b""),
        np.datetime64("2020-01-01"),
        range(3),
        complex(1, 2),
        frozenset([1]),
        Unreadable("x"),
        Call(SCALAR, np.dtype(">f8"), bytes(8)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_else_a_pickle_names_is_refused(value, protocol):
    with pytest.raises(Unreadable):
        load(pickle.dumps([value], protocol))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"cos\nsystem\n.", r"refused 'os\.system'"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.", r"refused 'os\.system'"),
        (b"cos\x1b[2J\nsystem\n.", r"refused 'os\\x1b"),  # no control character reaches the terminal
        (b"c" + b"a" * 500, "a name without an end"),
        (b"\x80\x04K\x01K\x02\x93.", "a name that is no text"),
        (b"(S'ls'\nios\nsystem\n.", "opcode 0x53"),
        (b"(ios\nsystem\n.", "opcode 0x69"),
        (b"\x82\x01.", "opcode 0x82"),  # a code of copyreg's registry
        (b"]K\x01\x81.", "opcode 0x81"),
        (b"K\x01K\x02)R.", "a call of something that is no function"),
        (b"ccollections\nOrderedDict\nK\x01R.", "a call of something that is no function"),
        (b"\x8e" + b"\xff" * 8, "opcode 0x8e"),
        (b"B\xff\xff\xff\x7f", "a string of 2147483647 bytes"),
        (b"K\x01r\xff\xff\xff\x7f.", "remembered out of order"),  # Python's own would reserve 32 GB
        (b"}]K\x01s.", "other keys"),
        (b"]}K\x01a.", "no list"),
        (b"K\x01K\x02.", "it ends in the middle"),
        (b"}" + b")" + b"\x85" * 100_000 + b"K\x01s.", "other keys"),  # its hash would overflow Python's stack
    ],
)
def test_hostile_opcodes(content, message):
    with pytest.raises(Unreadable, match=message) as error:
        load(content)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


@pytest.mark.slow
def test_a_pickle_that_only_fills_the_memory_is_refused(monkeypatch):
    with pytest.raises(Unreadable, match="4 MB without a record"):
        load(b"(" + b"N" * (6 << 20))
    monkeypatch.setattr(unpickle, "PATIENCE", 1000)
    monkeypatch.setattr(unpickle, "CHUNK", 100)
    content = pickle.dumps([{"wanted": str(number) * 400} for number in range(10)], 2)
    assert len(content) > 4000 and len(load(content, lambda found: "wanted" in found)) == 10
    with pytest.raises(Unreadable, match="without a record"):
        load(content)


LATIN = b"c_codecs\nencode\n"
NUMBERS = [n for n in range(1 << 15) if ord("R") not in n.to_bytes(2, "little")]
AGAIN = {
    "bytes of one text": b"(" + LATIN + b"X" + (1 << 18).to_bytes(4, "little") + b"x" * (1 << 18) + b"X\6\0\0\0latin1"
    b"\x86q\0R" + (LATIN + b"h\0R") * 400,
    "sets of one list": b"(cbuiltins\nset\n](" + b"".join(b"M" + n.to_bytes(2, "little") for n in NUMBERS)
    + b"e\x85q\0R" + b"cbuiltins\nset\nh\0R" * 400,
    "empty sets": b"(" + b"\x8f" * 400_000,
}  # fmt: skip
"""Pickles below .5 MB that would take 80 MB or more: by calls with a remembered argument, or a byte for each set."""


@pytest.mark.parametrize("found", [False, True])
@pytest.mark.parametrize("name", AGAIN)
def test_calls_that_fill_the_memory_are_refused(name, found):
    """Also where a dict that is wanted stands after each."""
    content = AGAIN[name] if not found else AGAIN[name].replace(b"R", b"R}K\1K\1s0")
    assert len(content) < 1 << 19
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match=r"^\d MB of values made of \d+ kB: no benchmark file"):
            load(content, lambda _: found)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 16 << 20


def test_a_dict_of_pairs_is_of_pairs():
    """A remembered list, many times in another: its square."""
    ordered = b"ccollections\nOrderedDict\n"
    pairs = b"](](K\1K\2e](K\3K\4ee\x85R."
    assert load(ordered + pairs) == {1: 2, 3: 4}
    many = b"](](" + b"K\1" * 1000 + b"eq\0" + b"h\0" * 999 + b"e\x85R."
    with pytest.raises(Unreadable, match="a dict of other things than pairs"):
        load(ordered + many)


def test_every_opcode_is_the_one_its_comment_names():
    names = {ord(op.code): op.name for op in pickletools.opcodes}
    source = Path(unpickle.__file__).read_text()
    commented = [line.partition("# ")[2].split(":")[0].strip() for line in source.splitlines() if line[:6] == "    0x"]
    assert commented == [names[op] for op in unpickle._RARE]
