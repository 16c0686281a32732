"""Limits of latency: which table they are by."""

from dataclasses import replace

import numpy as np
import pytest

import senas_bench as sb
from senas_bench.api.studies import prepare
from senas_bench.errors import DataError
from senas_bench.experiments.limits import used_latency_table
from senas_bench.experiments.settings import limit_settings, make_spec
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.studies import skeleton_for
from senas_bench.experiments.study import Setting
from senas_bench.latency.tables import LatencyTable, space_over, table_path
from senas_bench.latency.tables import Setting as Measured


def a_table(sizes, base: float) -> LatencyTable:
    """Of the networks of a study, as another machine measured them: all operators 1 ms, those of edges without 0."""
    skeleton = skeleton_for("mobilenet", sizes, "digits")
    space = space_over("mobilenet", skeleton)
    entries = np.full((len(space.edges), len(space.operators)), np.nan)
    for edge, op in space.alive():
        entries[edge, op] = base
    setting = Measured(f"processor {base:g}", "2.6.0", 1, 1, "cpu", 1, 0.5)
    return LatencyTable("mobilenet", skeleton, setting, entries, base, entries, 0.0)


def test_what_is_finished_is_found_under_the_limits_that_it_was_made_with(tmp_path):
    """By tables that other machines measured: that of most runs; and nothing is measured where there is none."""
    setting = replace(Setting(), results=tmp_path, device="cpu")
    sizes = setting.sizes("mobilenet")
    assert used_latency_table("mobilenet", sizes, setting) is None
    tables = [a_table(sizes, base) for base in (1.0, 2.0)]
    for table in tables:
        path = table_path(tmp_path / "latency", "mobilenet", table.skeleton, table.setting)
        path.parent.mkdir(exist_ok=True)
        table.save(path)
    for number, (table, seeds) in enumerate(zip(tables, ([0], [0, 1]), strict=True)):
        for seed in seeds:
            limit = limit_settings("latency", high=30.0 * (1 + number), table=table)
            spec = make_spec("random", seed, "embedded", space="mobilenet", limit=limit, sizes=sizes)
            RunStore(tmp_path).save(RunRecord(spec, "a", (), {}, None, {}, {}), None)
        found = used_latency_table("mobilenet", sizes, setting)
        assert found.base == table.base and found.setting.device == f"processor {1 + number}"
    assert used_latency_table("mobilenet", sizes, replace(setting, latency_table=path)).base == 2.0


def test_what_is_only_shown_is_never_measured(tmp_path, capsys):
    def shown():
        with pytest.raises(DataError, match=r"none of the runs is finished in .*run them without --finished"):
            sb.reproduce("table5", methods="spos", finished=True, results=tmp_path, device="cpu")
        return capsys.readouterr().err

    assert "left out" not in shown() and not (tmp_path / "latency").exists()  # there is none
    sizes = Setting().sizes("mobilenet")
    limit = limit_settings("latency", high=30.0, table=a_table(sizes, 1.0))
    spec = make_spec("random", 0, "embedded", space="mobilenet", limit=limit, sizes=sizes)
    RunStore(tmp_path).save(RunRecord(spec, "a", (), {}, None, {}, {}), None)
    err = shown()
    assert "measuring" not in err and not (tmp_path / "latency").exists()
    left_out = f"runs under limits of latency in mobilenet are left out: {tmp_path} keeps no latency table"
    assert left_out in err and err.count("left out") == 1 and "name one with --latency-table" in err


def test_a_plan_measures_nothing(tmp_path, capsys):
    """Its runs under limits of latency are counted without a table."""
    study = prepare(["table5"], 1, ["spos"], replace(Setting(), results=tmp_path / "runs"), dry=True)
    assert len(study.specs) == 2 and all(spec.settings["limit"]["cost"] == "latency" for spec in study.specs)
    assert "measuring" not in capsys.readouterr().err and not (tmp_path / "runs").exists()
