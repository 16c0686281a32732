"""Which finished runs stand in one table; whole pages are in tests/cli/test_report.py."""

from senas_bench.analysis.output.sections import sections
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunRecord


def finished(method: str, **sizes) -> RunRecord:
    spec = make_spec(method, 0, "embedded", sizes=resized(PRESETS["embedded"], **sizes))
    return RunRecord(spec, "a", (), {}, None, {}, {})


def parts(records) -> dict[str, list[str]]:
    return {section.title: [record.spec.method for record in section.records] for section in sections(records)}


HERE = "Preset embedded, images digits, device cpu"


def test_what_has_no_recipe_goes_with_any_precision():
    records = [finished(method, precision="bfloat16") for method in ("spos", "synflow", "params")]
    assert "recipe" not in records[1].spec.settings
    title = f"{HERE}; not the preset's precision bfloat16"
    assert parts(records) == {title: ["params", "spos", "synflow"]}
    more = [*records, finished("spos"), finished("params")]
    assert parts(more) == {HERE: ["params", "spos", "synflow"], title: ["params", "spos", "synflow"]}


def test_sizes_that_all_runs_have_split_all_runs():
    records = [finished(method, **sizes) for method in ("spos", "synflow") for sizes in ({}, {"rank_archs": 50})]
    title = f"{HERE}; not the preset's rank archs 50"
    assert parts(records) == {HERE: ["spos", "synflow"], title: ["spos", "synflow"]}
