import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from senas_bench.spaces.nasbench201 import NB201, SKELETONS, Skeleton, nasbench201_cost, official_archs
from senas_bench.spaces.nasbench201.network import NB201Network

ALL_CONV3 = (3,) * 6
ALL_NONE = (0,) * 6


def costs(archs, skeleton) -> tuple[list[float], list[int]]:
    cost = nasbench201_cost(skeleton)(np.array(archs, np.int8))
    return cost["flops_m"].tolist(), cost["params"].tolist()


def test_published_costs_on_cifar10():
    archs = [*[official_archs()[index] for index in (0, 11, 284, 1462)], ALL_CONV3, ALL_NONE]
    flops, params = costs(archs, SKELETONS["cifar10"])
    assert flops == pytest.approx([15.64737, 113.95137, 11.71521, 220.11969, 220.11969, 7.78305], abs=1e-9)
    assert params == [129306, 802426, 101306, 1531546, 1531546, 73306]


@pytest.mark.parametrize(
    ("dataset", "flops_m", "params"), [("cifar100", 113.95722, 808276), ("imagenet16-120", 28.49548, 809576)]
)
def test_published_costs_elsewhere(dataset, flops_m, params):
    flops, counts = costs([official_archs()[11]], SKELETONS[dataset])
    assert flops == pytest.approx([flops_m], abs=1e-9)
    assert counts == [params]


@pytest.mark.parametrize("dataset", SKELETONS)
def test_costs_of_every_arch_in_the_benchmark_table(shared, dataset):
    columns = [f"{dataset}_flops_m", f"{dataset}_params"]
    table = pd.read_parquet(shared / "nb201" / "nb201_accuracies.parquet", columns=columns)
    flops, params = costs(official_archs(), SKELETONS[dataset])
    np.testing.assert_allclose(flops, table[columns[0]], rtol=0, atol=1e-6)
    assert params == table[columns[1]].tolist()


def stand_alone(arch, skeleton: Skeleton) -> NB201Network:
    return NB201Network(
        NB201.only(arch), skeleton.channels, skeleton.cells, skeleton.in_channels, skeleton.num_classes, affine=True
    )


UNREACHED = (0, 3, 2, 1, 3, 2)  # edges leave node 1, which nothing reaches
USELESS = (3, 2, 3, 4, 2, 0)  # node 2 leads nowhere
ARCHS = [official_archs()[0], official_archs()[11], ALL_CONV3, ALL_NONE, (2, 3, 0, 1, 4, 3), UNREACHED, USELESS]
TINY = {
    "digits": Skeleton(8, 10, in_channels=1, channels=8, cells=1),
    "odd width": Skeleton(16, 7, in_channels=2, channels=5, cells=2),
}


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("skeleton", [*SKELETONS.values(), *TINY.values()], ids=[*SKELETONS, *TINY])
def test_parameters_are_those_of_the_network(skeleton, arch):
    with torch.device("meta"):
        built = sum(weight.numel() for weight in stand_alone(arch, skeleton).parameters())
    assert costs([arch], skeleton)[1] == [built]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("skeleton", [*SKELETONS.values(), *TINY.values()], ids=[*SKELETONS, *TINY])
def test_flops_are_those_that_torch_counts(skeleton, arch):
    """torch counts two operations per multiply-add, and leaves out the bias of the linear layer.

    A pool may run as a convolution; the benchmark does not count it.
    """
    network = stand_alone(arch, skeleton)
    image = torch.zeros(1, skeleton.in_channels, skeleton.resolution, skeleton.resolution)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(image, arch)
    pools = sum(sum(c.values()) for name, c in counter.get_flop_counts().items() if name.endswith(".pool"))
    expected = (counter.get_total_flops() - pools) / 2 + skeleton.num_classes
    assert costs([arch], skeleton)[0][0] * 1e6 == pytest.approx(expected, abs=0.5)


def test_cost_is_additive_over_edges():
    table = nasbench201_cost(SKELETONS["cifar10"])
    archs = NB201.sample_distinct(np.random.default_rng(0), 50)
    flops = [int(table.base[0]) + sum(int(table.per_edge[e, op, 0]) for e, op in enumerate(row)) for row in archs]
    assert (table(archs)["flops_m"] * 1e6).round().astype(int).tolist() == flops
