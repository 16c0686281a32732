"""An artefact from outside, of docs/adding.md."""

import pytest

from senas_bench.analysis.artefacts import make, named


def test_it_is_listed_and_in_its_groups(added, call):
    assert "picks" in call("artefacts") and "picks" in named("all") and "picks" in named("nasbench201")
    with pytest.raises(ValueError, match=r"did you mean 'picks'\?"):
        named("pick")


@pytest.mark.slow
def test_the_command_line_makes_it_of_a_method_that_trains_nothing(added, call, tmp_path, monkeypatch, benchmark_table):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    asked = ["reproduce", "picks", "--seeds", "0-1", "--rank-archs", "30", "--jobs", "1"]
    assert "total: 2 of 2 runs to compute" in call(*asked, "--dry-run")
    assert "nor_conv_3x3" in call(*asked) and (tmp_path / "runs/tables/picks.json").exists()
    assert "total: 0 of 2 runs to compute" in call(*asked, "--dry-run")
    assert "1 to compute: about 0 core-seconds by 2 finished" in call(*asked, "--seeds", "2", "--dry-run")
    assert make("picks", tmp_path / "runs", benchmark_table).frame["pick"].nunique() == 1
