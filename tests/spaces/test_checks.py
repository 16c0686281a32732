"""What is said of a search space that cannot be one."""

from dataclasses import replace

import numpy as np
import pytest

from senas_bench.experiments.settings import make_spec
from senas_bench.spaces import SPACES, Space, space_named
from senas_bench.spaces.nasbench201 import NB201, NB201_SPACE, Skeleton

TOY = replace(NB201_SPACE, whole=replace(NB201, name="toy"))


def reversing(text):
    return NB201_SPACE.from_str(text)[::-1]


def wordless(arch):
    raise KeyError("no words")


class Flat:
    def __init__(self, skeleton):
        pass

    def __call__(self, archs):
        return {"flops_m": np.zeros(len(archs))}


def test_those_of_the_house_are_sound(monkeypatch):
    monkeypatch.setattr("senas_bench.spaces._SOUND", {})
    assert [space_named(name) for name in SPACES] == list(SPACES.values())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (NB201, "a SearchSpace is all archs alone; register a Space, whose `whole` it is"),
        (Space, "Space is a class; register a Space(...)"),
        (3, "int is no Space; end its folder with a senas_bench.spaces.space.Space(...)"),
        (NB201_SPACE, "its archs are said to be of 'nasbench201'; register it so, or name its SearchSpace 'toy'"),
        (replace(TOY, whole=None), "give a SearchSpace of all archs"),
        (replace(TOY, network=None), "network is None; give a function"),
        (replace(TOY, skeletons={}), "it has no skeleton; give at least one, by data set"),
        (replace(TOY, skeletons={"digits": Skeleton}), "give an instance of a frozen dataclass"),
        (replace(TOY, skeletons={"digits": (8, 10)}), "skeletons['digits'] is (8, 10); give an instance"),
        (replace(TOY, studies={"cpu": {"width": 1}}), "studies['cpu'] is {'width': 1}; give a Study(sizes, recipes"),
        (replace(TOY, to_str=wordless), "an arch as text and back fails: KeyError: 'no words'"),
        (replace(TOY, from_str=reversing), "give back the same tuple"),
        (replace(TOY, cost=lambda skeleton: skeleton), "fails: TypeError: 'Skeleton' object is not callable"),
        (replace(TOY, cost=Flat), "cost must give flops_m and params, a number for each arch"),
    ],
)
def test_what_cannot_be_a_space_is_refused_in_one_sentence(monkeypatch, space, message):
    monkeypatch.setitem(SPACES, "toy", space)
    with pytest.raises(ValueError) as caught:
        make_spec("spos", 0, "embedded", space="toy")
    assert str(caught.value).startswith("space 'toy': ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_cannot_name_a_file(monkeypatch):
    monkeypatch.setitem(SPACES, "My space", TOY)
    with pytest.raises(ValueError, match="a name is made of small letters"):
        space_named("My space")


def test_one_that_is_replaced_is_checked_again(monkeypatch):
    monkeypatch.setitem(SPACES, "toy", TOY)
    assert space_named("toy") is TOY
    monkeypatch.setitem(SPACES, "toy", replace(TOY, skeletons={}))
    with pytest.raises(ValueError, match="no skeleton"):
        space_named("toy")
