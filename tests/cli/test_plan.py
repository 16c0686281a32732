"""`--dry-run`: what would run, and about what it costs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from senas_bench.api.options import setting_of
from senas_bench.api.studies import prepare
from senas_bench.cli.plan import plan_of, show_plan
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import limit_of, limit_settings, make_spec
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.store import RunStore
from senas_bench.experiments.studies import preset_of, skeleton_for
from senas_bench.experiments.tasks import report_archs
from senas_bench.experiments.timings import seconds_of
from senas_bench.methods import METHODS
from senas_bench.spaces import SPACES
from senas_bench.spaces.nasbench201 import arch_to_str, official_archs

ARCH = arch_to_str(official_archs()[11])


@pytest.fixture
def plan(tmp_path, capsys):
    """The lines for some specs; `finished` are there with their seconds."""

    def lines(specs, finished=()):
        store = RunStore(tmp_path)
        for spec, seconds in finished:
            store.save(RunRecord(spec, ARCH, (), {}, None, {"wall_seconds": seconds}, {}), None)
        show_plan(store, specs)
        *lines, bfloat16 = capsys.readouterr().out.splitlines()
        assert bfloat16.startswith("bfloat16 on the CPU: ")
        return lines

    return lines


def seeds(spec, *numbers):
    return [replace(spec, seed=seed) for seed in numbers]


def test_a_fresh_folder_is_estimated_from_committed_timings(plan):
    spos = make_spec("spos", 0, "embedded")
    seconds = 4 * seconds_of(spos)
    assert 20 < seconds < 60
    assert plan(seeds(spos, 0, 1, 2, 7)) == [
        f"spos-embedded-digits  seeds 0-2,7: 4 to compute: about {seconds:.0f} core-seconds by results/embedded",
        f"total: 4 of 4 runs to compute: about {seconds:.0f} core-seconds",
    ]


def test_what_nobody_timed_is_unknown_not_nothing(plan):
    unknown = seeds(replace(make_spec("spos", 0, "embedded"), device="cuda"), 0, 1)
    line = "spos-embedded-digits  seeds 0-1: 2 to compute: unknown, no run like it was timed"
    assert plan(unknown) == [line, "total: 2 of 2 runs to compute: core-hours unknown"]
    assert plan(unknown + seeds(make_spec("params", 0, "embedded"), 0))[-1] == (
        "total: 3 of 3 runs to compute: about 0 core-seconds, and 2 runs of unknown cost"
    )


def test_runs_of_the_folder_come_first_scaled_by_epochs_and_threads(plan):
    """48 epochs took 1, 2 and 9 core-hours: the median is 2, so half the epochs cost 1."""
    spec = make_spec("spos", 0, "embedded")
    finished = [(spec, 3600.0), (replace(spec, seed=1, threads=2), 3600.0), (replace(spec, seed=2), 9 * 3600.0)]
    recipe = replace(PRESETS["embedded"].recipes["reference"], stage_epochs=(8, 8, 8))
    half = replace(PRESETS["embedded"], recipes={**PRESETS["embedded"].recipes, "reference": recipe})
    assert plan(seeds(spec, 0, 1, 2), finished) == [
        "spos-embedded-digits  seeds 0-2: 1 to compute, 2 finished: about 2.0 core-hours by 3 finished",
        "total: 1 of 3 runs to compute: about 2.0 core-hours",
    ]
    shorter = seeds(make_spec("spos", 0, "embedded", sizes=half), 0, 1)
    assert plan(shorter)[-1] == "total: 2 of 2 runs to compute: about 2.0 core-hours"
    assert plan(seeds(spec, 0, 2)) == [
        "spos-embedded-digits  seeds 0,2: 0 to compute, 2 finished",
        "total: 0 of 2 runs to compute",
    ]


def test_fresh_runs_are_all_to_compute_and_none_beside_finished(senas, tmp_path):
    spec = make_spec("params", 0, "embedded")
    RunStore(tmp_path / "runs").save(RunRecord(spec, ARCH, (), {}, None, {"wall_seconds": 7.0}, {}), None)
    asked = ["reproduce", "table3", "--methods", "params", "--seeds", "0-1", "--dry-run"]
    assert "total: 1 of 2 runs to compute" in senas(*asked)[1]
    code, out, _ = senas(*asked, "--fresh")
    assert code == 0 and "seeds 0-1: 2 to compute: about 14 core-seconds" in out and "total: 2 of 2 runs" in out
    assert json.loads(senas(*asked, "--fresh", "--json")[1])["total"]["to_compute"] == 2
    assert RunStore(tmp_path / "runs").has(spec)
    code, out, err = senas(*asked, "--finished")
    assert (code, out) == (2, "") and "--finished runs nothing, so --dry-run has nothing to say of it" in err


@pytest.mark.parametrize("other", ["rank_archs", "space"])
def test_runs_of_another_kind_tell_nothing(plan, other):
    spec = make_spec("spos", 0, "embedded")
    changed = {"space": "mobilenet"}
    if other == "rank_archs":
        changed = {"settings": {**spec.settings, "preset": {**spec.settings["preset"], "rank_archs": 0}}}
    assert "by results/embedded" in plan(seeds(spec, 0), [(replace(spec, **changed), 9e9)])[0]


def test_searches_have_a_line_per_space_and_limit(plan):
    specs = [
        make_spec("spos", 0, "embedded", space=space, limit=limit_settings("flops", level=level))
        for space, level in (("mobilenet", 320), ("mobilenet", 470), ("darts", 590))
    ]
    begun = [line.partition("  ")[0] for line in plan(specs)[:-1]]
    assert begun == [
        f"spos-embedded-digits {name}" for name in ("mobilenet flops 320", "mobilenet flops 470", "darts flops 590")
    ]


def test_random_archs_are_trained_again_at_every_seed_of_a_table_of_searches(senas):
    """The same four of the sample for all seeds; a table of given methods leaves them out."""
    sizes = preset_of("mobilenet", "embedded")
    study = prepare(["table6"], "0-1", None, setting_of({}))
    given = [spec for spec in study.specs if spec.method == "fixed"]
    archs = [spec.settings["arch"] for spec in given]
    assert len(given) == 8 and len(set(archs)) == 4 and archs[:4] == archs[4:]
    limit = limit_of("mobilenet", given[0].settings["limit"], skeleton_for("mobilenet", sizes, "digits"))
    sample = report_archs(SPACES["mobilenet"].whole, sizes.rank_archs, limit)
    assert [SPACES["mobilenet"].from_str(arch) for arch in archs[:4]] == list(map(tuple, sample[:4].tolist()))
    code, out, _ = senas("reproduce", "table6", "--seeds", "0-1", "--dry-run")
    assert code == 0 and "fixed-embedded-digits mobilenet flops 470" in out and "seeds 0-1: 8 to compute" in out
    assert "fixed" not in senas("reproduce", "table6", "--methods", "spos", "--dry-run")[1]
    assert "fixed-embedded-digits" in senas("reproduce", "table6", "--methods", "all", "--dry-run")[1]


def test_every_method_of_table_3_is_known_at_embedded(plan):
    truth = {name for name, method in METHODS.items() if method.needs_truth}
    specs = [make_spec(name, 0, "embedded") for name in METHODS if name not in truth]
    known = {spec.method for spec in specs if seconds_of(spec) is not None}
    runs = Path(__file__).parents[2] / "results/embedded/runs"
    assert known == {name for name in METHODS if list(runs.glob(f"{name}-embedded-digits-s0-*.json"))} - truth


def test_the_plan_as_json(senas):
    arguments = ["reproduce", "table3", "--methods", "spos,params", "--seeds", "0,2", "--dry-run", "--json"]
    code, out, err = senas(*arguments)
    plan = json.loads(out)
    assert (code, err) == (0, "")
    assert [row["runs"] for row in plan["rows"]] == ["spos-embedded-digits", "params-embedded-digits"]
    hours = 2 * seconds_of(make_spec("spos", 0, "embedded")) / 3600
    row = {"seeds": [0, 2], "to_compute": 2, "finished": 0, "known": "by results/embedded"}
    assert plan["rows"][0] == {**row, "runs": "spos-embedded-digits", "core_hours": pytest.approx(hours)}
    assert plan["total"] == {"runs": 4, "to_compute": 4, "core_hours": pytest.approx(hours), "of_unknown_cost": 0}


def test_in_a_plan_an_unknown_cost_is_null_and_left_out_of_the_sum(tmp_path):
    specs = [replace(make_spec("spos", 0, "embedded"), device="cuda"), make_spec("params", 0, "embedded")]
    plan = plan_of(RunStore(tmp_path), specs)
    assert [row["core_hours"] for row in plan["rows"]] == [None, 0.0]
    assert (plan["total"]["core_hours"], plan["total"]["of_unknown_cost"]) == (0.0, 1)
