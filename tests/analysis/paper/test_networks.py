import numpy as np
import pytest

from senas_bench.analysis.paper.networks import (
    GDAS_V1,
    NETWORKS,
    NOTES,
    TABLE4,
    TABLE5,
    darts_network,
    shufflenet_v2,
    table4,
    table5,
)
from senas_bench.spaces.darts import GENOTYPES, SKELETONS, arch_from_genotype, darts_cost


def by_name(rows):
    return {row["name"]: row for row in rows}


def test_rows_are_the_papers():
    """Printed in its Tables 4 and 5."""
    rows = by_name(table4())
    assert list(rows) == [row[0] for row in TABLE4] and len(rows) == 18
    keys = ("published_flops_m", "published_params_m", "published_top1", "published_gpu_days")
    assert [rows["NASNet-A"][key] for key in keys] == [564, 5.3, 74.0, 1800]
    assert [rows["MobileNetV2-1.0×"][key] for key in keys] == [300, None, 72.0, None]
    assert [rows["SE-NAS-D"][key] for key in keys] == [592, 5.4, 76.75, 7]
    assert [rows["SE-NAS-D"][f"{key}_std"] for key in keys[:3]] == [2, 0.2, 0.09]
    assert [rows["GDAS"][f"{key}_std"] for key in keys[:3]] == [None, None, None]
    assert [row["name"] for row in rows.values() if row["space"] == "DARTS"] == ["DARTS", "GDAS", "SNAS", "SE-NAS-E"]
    latencies = [(row["name"], row["published_latency_ms"], row["published_top1"]) for row in table5()]
    assert latencies[::2] == [("ProxylessNAS-R", 17, 74.6), ("SE-NAS-F", 16, 74.79), ("ProxylessNAS", 22, 75.1)]
    assert len(latencies) == len(TABLE5) and table5()[-1]["published_latency_ms_std"] == 0


@pytest.mark.parametrize(
    ("name", "flops_m", "params_m"),
    [
        ("MobileNetV2-1.0×", 300.774272, 3.504872),  # docs/method.md 6
        ("ProxylessNAS", 465.260, 7.1198),
        ("ProxylessNAS-R", 320.428, 4.0805),
        ("DARTS", 529.912, 4.718752),  # docs/method.md 7
        ("GDAS", 581, 5.3),  # its authors'
        ("ShuffleNetV2-2.0×", 583.253464, 7.393996),  # counted by torch on torchvision's network
    ],
)
def test_what_we_count(name, flops_m, params_m):
    row = by_name(table4())[name]
    digits = [len(str(number).partition(".")[2]) for number in (flops_m, params_m)]
    assert (round(row["flops_m"], digits[0]), round(row["params_m"], digits[1])) == (flops_m, params_m)


def test_only_public_archs_are_counted():
    for rows in (table4(), table5()):
        for row in rows:
            known = row["name"] in NETWORKS
            assert {row[key] is not None for key in ("network", "flops_m", "params_m")} == {known}
    assert set(NETWORKS) <= {row[0] for row in TABLE4}
    assert not any(name.startswith(("SE-NAS", "SPOS", "Random")) for name in NETWORKS)
    networks = [row["network"] for row in table5()]
    assert networks == ["Proxyless-mobile", None, None, None, "Proxyless-GPU", None]


def test_where_print_and_count_agree_and_the_notes_where_not():
    """Within the printed digits, or a note says so."""
    noted = set()
    for row in table4():
        for key, digits in (("flops_m", 0), ("params_m", 1)):
            printed, counted = row[f"published_{key}"], row[key]
            if None not in (printed, counted) and abs(printed - counted) > 10.0**-digits:
                noted.add(row["name"])
    assert noted == {"ProxylessNAS-R", "DARTS", "ShuffleNetV2-2.0×"}
    assert all(any(name in note for note in NOTES) for name in noted)


def test_shufflenets_have_the_parameters_of_torchvision():
    """Which it prints beside its weights, for 0.5, 1.0 and 1.5 times the width."""
    found = [shufflenet_v2((24, *(n * width for n in (1, 2, 4)), 1024)).params for width in (48, 116, 176)]
    assert found == [1_366_792, 2_278_604, 3_503_624]


def test_cells_of_gdas_on_cifar():
    """519M multiply-adds and 3.36M parameters are commonly printed for C = 36 and 20 layers."""
    cost = darts_cost(SKELETONS["cifar10"], shared_cell=False)(np.array([GDAS_V1]))
    assert int(cost["flops_m"][0]) == 519 and int(cost["params"][0] / 1e4) == 336


def test_width_of_a_darts_network():
    """Twice the channels, about four times the cost; a classifier of 1,000 classes is only twice as large."""
    arch = arch_from_genotype(GENOTYPES["DARTS_V1"])
    one, two = darts_network(arch, 24), darts_network(arch, 48)
    assert 3.7 < two.flops_m / one.flops_m < 4 and 2 < two.params / one.params < 4
