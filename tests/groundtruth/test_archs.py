"""The official arch strings and their order."""

from senas_bench.groundtruth.archs import official_index
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs


def test_official_strings_are_those_of_the_space():
    assert list(official_index()) == [arch_to_str(arch) for arch in official_archs()]
    assert list(official_index().values()) == list(range(15_625))
