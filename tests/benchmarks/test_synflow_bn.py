import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.synflow_bn import WAYS, drawn, score, table
from senas_bench.proxies import PROXIES
from senas_bench.proxies.alone import Alone
from senas_bench.spaces.nasbench201 import CONV1, CONV3, NB201, POOL, SKIP, arch_from_str, arch_to_str, official_archs
from senas_bench.spaces.nasbench201.functions import function_arch, half_of
from senas_bench.spaces.nasbench201.network import NB201Network

ARCH = (CONV3, CONV1, SKIP, POOL, CONV3, CONV1)
IMAGES = torch.randn(128, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def alone() -> Alone:
    torch.manual_seed(0)
    return Alone(NB201Network(NB201.only(ARCH), 4, 1, affine=True), ARCH)


@pytest.mark.parametrize(("way", "proxy"), [("synflow-bn", "synflow-bn"), ("no norms: synflow", "synflow")])
def test_ways_that_are_proxies(way, proxy):
    expected = PROXIES[proxy](alone(), IMAGES[:32], torch.zeros(32).long(), torch.Generator())
    assert score(alone(), WAYS[way], IMAGES) == pytest.approx(expected, rel=1e-7)


def test_each_way_is_another_score():
    scores = [
        score(alone(), way, IMAGES) for name, way in WAYS.items() if name not in ("another draw", "noise for images")
    ]
    assert len({round(value, 9) for value in scores}) == len(scores)


def test_archs_are_functions_of_one_half():
    truth = pd.Series(0.0, [arch_to_str(arch) for arch in official_archs()[:3000]])
    archs = [arch_from_str(text) for text in drawn(truth, 0, 50)]
    assert len(set(archs)) == 50 and all(arch == function_arch(arch) and half_of(arch) == 0 for arch in archs)
    assert drawn(truth, 0, 20) == drawn(truth, 0, 50)[:20] != drawn(truth, 1, 20)


def test_table_by_hand():
    frame = pd.DataFrame({"arch_str": list("abc"), "params": [1, 2, 3], "CPU seconds": [0.1, 0.3, 0.2]})
    frame = frame.assign(**{name: [1.0, 3.0, 2.0] for name in WAYS})
    found = table({("small", 100): frame}, pd.Series([1.0, 2.0, 3.0], list("abc"))).set_index("score")
    assert found.loc["params"].item() == 1 and found.loc["synflow-bn"].item() == pytest.approx(1 / 3)
    assert found.loc["CPU seconds an arch"].item() == 0.2 and np.isfinite(found.to_numpy()).all()
