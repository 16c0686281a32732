"""Seeds that torch takes, and no others."""

import pytest
import torch

from senas_bench.experiments.seeds import parse_seeds
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import SEEDS

LAST = 18_446_744_073_709_551_615


def test_the_last_seed_is_the_last_that_torch_takes():
    assert SEEDS == LAST + 1
    torch.Generator().manual_seed(LAST)
    with pytest.raises((ValueError, RuntimeError)):
        torch.Generator().manual_seed(SEEDS)
    assert parse_seeds(f"{LAST - 1}-{LAST}") == [LAST - 1, LAST]
    assert make_spec("params", LAST, "embedded").seed == LAST


@pytest.mark.parametrize("seeds", [str(SEEDS), f"0,{SEEDS}", f"{LAST}-{SEEDS}", "9" * 31, "9" * 5000, "-1", "0,-1"])
def test_no_other_is_taken_by_seeds(senas, tmp_path, seeds):
    for command in (["reproduce", "table3"], ["search", "--space", "darts"], ["retrain", "11"]):
        code, out, err = senas(*command, f"--seeds={seeds}")
        assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: bad seeds")
        assert "below 2**64" in err and len(err) < 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [SEEDS, -1])
def test_no_other_is_taken_by_seed(senas, tmp_path, seed):
    code, out, err = senas("rank", "--out", "s.csv", "--seed", seed)
    assert (code, out, err.count("\n")) == (2, "", 1) and "'--seed'" in err
    with pytest.raises(ValueError, match=r"must be at least 0 and below 2\*\*64"):
        make_spec("params", seed, "embedded")
    assert not list(tmp_path.iterdir())
