"""`cost` and `draw`: of which network the numbers are."""

import json

import numpy as np
import pytest

from senas_bench.api.archs import network_of
from senas_bench.spaces import SPACES
from senas_bench.spaces.mobilenet import MOBILENET_SPACE, TABLE2, mobilenet_cost

PROXYLESS = "2 -1 -1 -1 4 -1 -1 0 5 -1 -1 2 3 -1 0 2 5 5 5 3 5"


def test_an_arch_may_begin_with_a_minus(senas):
    code, _, err = senas("cost", "-1 -1", "--space", "mobilenet")
    assert code == 2 and err.startswith("error: bad arch string '-1 -1': 2 codes for 21 layers")
    assert senas("cost", "--space", "mobilenet", "-1 -1")[2] == senas("cost", "--space", "mobilenet", "--", "-1 -1")[2]
    assert "No such option" in senas("cost", "-x")[2]


def test_numbers_of_a_preset_are_of_its_network(senas):
    code, out, _ = senas("cost", PROXYLESS, "--space", "mobilenet", "--preset", "embedded", "--json")
    found = json.loads(out)
    network = network_of("mobilenet", "embedded")
    assert code == 0 and found["network"] == str(network)
    assert (network.skeleton.resolution, network.skeleton.in_channels) == (8, 1)
    archs = np.array([MOBILENET_SPACE.from_str(PROXYLESS)])
    assert found["flops_m"] == float(mobilenet_cost(network.skeleton)(archs)["flops_m"][0]) < 3
    full = json.loads(senas("cost", PROXYLESS, "--space", "mobilenet", "--json")[1])
    assert full["flops_m"] == pytest.approx(465.260, abs=1e-3) and "at full size for imagenet" in full["network"]


def test_cost_of_a_file_is_a_line_for_each_arch(senas, tmp_path):
    (tmp_path / "archs.txt").write_text("# mine\n0\n")
    archs = [{"space": "mobilenet", "arch": PROXYLESS, "label": "Proxyless"}, {"space": "mobilenet", "arch": PROXYLESS}]
    (tmp_path / "archs.json").write_text(json.dumps(archs))
    code, out, _ = senas("cost", "archs.json")
    *lines, network = out.splitlines()
    assert code == 0 and lines[0] == f"Proxyless: {PROXYLESS}" and lines[2] == PROXYLESS and lines[1] == lines[3]
    assert network.startswith("network: mobilenet at full size for imagenet: resolution 224, num_classes 1000")
    assert len(json.loads(senas("cost", "archs.json", "--json")[1])) == 2
    code, _, err = senas("cost", "archs.json", "11")
    assert code == 2 and "the archs are of mobilenet and nasbench201; give those of one space at a time" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "cpus"], "unknown preset 'cpus'; did you mean 'cpu'?"),
        (["--dataset", "digits"], "unknown dataset 'digits'"),
    ],
)
def test_a_network_that_is_not_known_is_refused(senas, options, words):
    code, out, err = senas("cost", "11", *options)
    assert (code, out, err.count("\n")) == (2, "", 1) and words in err


def test_draw_says_and_shows_the_network(senas, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text(f"{PROXYLESS}\n")
    seen = []

    def draw_over(archs, skeleton):
        seen.append(skeleton)
        return MOBILENET_SPACE.draw(archs)

    monkeypatch.setitem(
        SPACES, "mobilenet", SPACES["mobilenet"].__class__(**{**vars(MOBILENET_SPACE), "draw_over": draw_over})
    )
    for options, pixels in (([], 224), (["--preset", "embedded"], 8)):
        code, out, err = senas("draw", "a.txt", "--space", "mobilenet", "--out", "a.svg", *options)
        assert code == 0, err
        assert out.splitlines()[1].startswith("network: mobilenet at ") and f"resolution {pixels}," in out
    assert [skeleton.resolution for skeleton in seen] == [224, 8] and seen[0] == TABLE2


def test_a_picture_of_cells_has_no_numbers_and_names_no_network(senas, tmp_path):
    (tmp_path / "a.txt").write_text("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|\n")
    code, out, err = senas("draw", "a.txt", "--space", "nasbench201", "--out", "a.svg")
    assert (code, out) == (0, "1 archs of nasbench201; written: a.svg\n"), err
