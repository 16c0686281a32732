"""`evaluate-ranking` with several files and a picture; numbers of one file are in tests/test_cli.py."""

import json

import numpy as np
import pandas as pd
import pytest

from .conftest import ARCHS

FAST = ["--resamples", "100"]


@pytest.fixture
def files(tmp_path):
    for name, seed in (("a.csv", 0), ("b.csv", 1)):
        scores = np.random.default_rng(seed).random(len(ARCHS))
        pd.DataFrame({"arch_str": ARCHS, "score": scores}).to_csv(tmp_path / name, index=False)


def test_without_options_the_truth_is_cifar10_after_200_epochs(cli, files):
    found = json.loads(cli.done("evaluate-ranking", "a.csv", "--json", *FAST).out)
    assert (found["dataset"], found["split"], found["epochs"], found["n"]) == ("cifar10", "test", 200, 60)
    assert "truth: cifar10 test accuracy after 200 epochs" in cli.done("evaluate-ranking", "a.csv", *FAST).out


def test_several_files(cli, files):
    found = json.loads(cli.done("evaluate-ranking", "a.csv", "b.csv", "--json", *FAST).out)
    assert found["files"]["b.csv"] == json.loads(cli.done("evaluate-ranking", "b.csv", "--json", *FAST).out)
    (pair,) = found["pairs"]
    taus = [found["files"][name]["tau_b"] for name in ("a.csv", "b.csv")]
    assert (pair["a"], pair["b"], pair["n"]) == ("a.csv", "b.csv", 60)
    assert pair["difference"] == pytest.approx(taus[1] - taus[0])
    assert cli.done("evaluate-ranking", "a.csv", "b.csv", *FAST).out.count("Kendall's") == 2


def test_a_picture(cli, files, tmp_path):
    assert cli.done("evaluate-ranking", "a.csv", "--plot", "out.png", *FAST).out.endswith("written: out.png\n")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    json.loads(cli.done("evaluate-ranking", "a.csv", "--json", "--plot", "out.svg", *FAST).out)
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")


def test_the_picture_is_tried_before_anything_is_read(cli):
    for plot, words in (("out.jpg", "must end in .png or .svg"), ("nowhere/out.png", "cannot write in")):
        outcome = cli.call("evaluate-ranking", "none.csv", "--plot", plot)
        assert outcome.code == 2 and words in outcome.err
