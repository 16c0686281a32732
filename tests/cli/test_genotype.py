"""`Genotype(...)`, as DARTS publishes it, where commands take an arch."""

import json

import pytest

from senas_bench.spaces import darts

V2 = str(darts.GENOTYPES["DARTS_V2"])


@pytest.mark.parametrize(
    ("dataset", "flops", "params"), [("cifar10", 528.359, 3.349342), ("imagenet", 529.912, 4.718752)]
)
def test_cost(senas, tmp_path, dataset, flops, params):
    """The published costs of docs/method.md 7."""
    (tmp_path / "v2.txt").write_text(V2.replace("), (", "),\n("))
    for arch in (V2, "v2.txt"):
        code, out, err = senas("cost", arch, "--space", "darts-separate", "--dataset", dataset, "--json")
        assert code == 0, err
        found = {name: json.loads(out)[name] for name in ("flops_m", "params")}
        assert found == pytest.approx({"flops_m": flops, "params": params * 1e6}, abs=1e-3)


def test_the_space_that_is_needed_is_named(senas):
    for command in ("cost", "retrain"):
        code, out, err = senas(command, V2)
        assert (code, out, err.count("\n")) == (2, "", 1) and "name space darts-separate" in err


def test_draw(senas, tmp_path):
    (tmp_path / "v2.txt").write_text(V2)
    code, out, err = senas("draw", "v2.txt", "--space", "darts-separate", "--out", "v2.svg")
    assert (code, out) == (0, "1 archs of darts-separate; written: v2.svg\n"), err
