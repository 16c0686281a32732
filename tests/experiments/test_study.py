from dataclasses import replace

import pytest

import senas_bench as sb
from senas_bench.api.searches import find, train_alone
from senas_bench.api.studies import prepare
from senas_bench.data.readers import DIGITS_ID, Digits
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.study import Setting, in_order


def test_costly_methods_begin_early_and_neighbours_apart():
    methods = ["random", "spos", "spos+", "se-nas", "se-nas+"]
    specs = [make_spec(method, seed, "embedded") for method in methods for seed in (0, 1)]
    order = in_order(specs, 2)
    assert sorted(spec.run_id for spec in order) == sorted(spec.run_id for spec in specs)
    assert [spec.seed for spec in order] == [0] * 5 + [1] * 5
    for some in (order[:5], order[5:]):
        assert [spec.method for spec in some] == ["random", "se-nas+", "spos+", "se-nas", "spos"]
    assert [spec.method for spec in in_order(specs, 8)][:5] == ["random", "se-nas+", "se-nas", "spos+", "spos"]


@pytest.mark.parametrize("asked", ["all", "table3", "rank", "search", "retrain"])
def test_images_are_read_once_for_all_specs_of_a_command(tmp_path, monkeypatch, asked):
    """They were by each: 115 times for `all`, 23 for table 3, twice for a single one."""
    calls = []
    monkeypatch.setattr(Digits, "data_id", lambda self, data_dir: calls.append(data_dir) or DIGITS_ID)
    monkeypatch.setattr(Setting, "compute", lambda *_: [])
    setting = replace(Setting(), results=tmp_path / "runs")
    if asked in ("all", "table3"):
        study = prepare([asked], 0, None, setting, dry=True)
        assert len({spec.method for spec in (*study.specs, *study.also)}) > 20
    elif asked == "rank":
        with pytest.raises(FileNotFoundError):
            sb.rank("params", results=tmp_path / "runs")
    elif asked == "search":
        find("nasbench201", "params", [0, 1], {}, None, False, None, setting)
    else:
        train_alone("0", "nasbench201", [0, 1], setting)
    assert len(calls) == 1
