import json

import pytest

from senas_bench.analysis.compare import ANOTHER, OTHERS, compare
from senas_bench.analysis.output import formats
from senas_bench.experiments.spec import RunRecord, RunSpec

SETTING = {"preset": "cpu", "space": "s", "images": "toy", "data_id": "d", "device": "cpu", "seeds": [0]}
SETTING |= {"ground_truth": "toy", "ground_truth_sha256": "ab" * 32}
LOW = {seed: seed / 64 for seed in range(10)}
HIGH = {seed: tau + 0.125 for seed, tau in LOW.items()}


def write(folder, name, rows, **meta):
    meta = SETTING | meta
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "tables" / f"{name}.json").write_text(json.dumps({"title": name, "rows": rows, **meta}))


def fig8(folder, taus, archs=40, method="spos", set="full", **meta):
    """`taus` by seed of one method."""
    runs = [{"seed": seed, "archs": archs, "tau": tau} for seed, tau in taus.items()]
    row = {"method": method, "set": set, "column": "cifar10_test", "archs_min": archs, "archs_max": archs}
    write(folder, "fig8", [row | {"per_seed": runs}], **meta)


def table3(folder, picks, taus=None, **meta):
    """`picks` by method and seed."""
    rows = []
    for method, values in picks.items():
        runs = [{"seed": s, "cifar10_test": v, "tau_full": (taus or {}).get(s)} for s, v in values.items()]
        row = {"method": method, "cifar10_test_mean": 0, "tau_full_set": "sample", "tau_full_n": 500}
        rows.append(row | {"tau_current_n_min": None, "tau_current_n_max": None, "per_seed": runs})
    optimal = {"method": "optimal", "cifar10_test_mean": 94, "tau_full_set": None, "per_seed": []}
    write(folder, "table3", [*rows, optimal], **meta)


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "one", tmp_path / "two"


def test_common_seeds_are_paired(folders):
    fig8(folders[0], LOW)
    fig8(folders[1], {seed: HIGH[seed] for seed in range(8)})
    (row,) = compare(*folders).meta["rows"]
    assert (row["paired"], row["n_a"], row["n_b"], row["difference"]) == (True, 8, 8, 0.125)
    assert row["p"] == row["p_holm"] == row["smallest_p"] == 2 / 256 and row["verdict"] == "B HIGHER"
    assert row["a_mean"] == 3.5 / 64 and len(row["per_seed"]) == 10
    assert compare(*folders[::-1]).meta["rows"][0]["verdict"] == "B LOWER"


def of_cifar100(folder, tau):
    run = {"seed": 0, "cifar10_test": 90.0, "cifar100_test": 70.0, "tau_full": tau}
    row = {
        "method": "spos",
        "cifar10_test_mean": 0,
        "cifar100_test_mean": 0,
        "tau_full_set": "sample",
        "per_seed": [run],
    }
    row |= {"tau_full_n": 500, "tau_current_n_min": None, "tau_current_n_max": None}
    write(folder, "table3", [row], column="cifar100_test")


def test_taus_that_refer_to_another_column_are_not_compared(folders):
    of_cifar100(folders[0], 0.25)
    table3(folders[1], {"spos": {0: 91.0}}, {0: 0.5})
    (row,) = compare(*folders).meta["rows"]
    assert (row["quantity"], row["difference"]) == ("pick", 1.0)


def test_taus_within_the_top_tenth_are_compared_where_both_have_them(folders):
    """A table from before there were any has none."""
    for folder, best in zip(folders, (0.25, 0.5), strict=True):
        run = {"seed": 0, "cifar10_test": 90.0, "tau_full": 0.5, "tau_top10": best}
        row = {"method": "spos", "cifar10_test_mean": 0, "tau_full_set": "full", "tau_full_n": 500}
        row |= {"tau_current_n_min": None, "tau_current_n_max": None, "per_seed": [run]}
        write(folder, "table3", [row])
    rows = {row["quantity"]: row["difference"] for row in compare(*folders).meta["rows"]}
    assert rows == {"tau full": 0.0, "tau top 10%": 0.25, "pick": 0.0}
    table3(folders[0], {"spos": {0: 91.0}}, {0: 0.5})
    assert "tau top 10%" not in {row["quantity"] for row in compare(*folders).meta["rows"]}


def test_folders_of_the_same_images_are_compared_on_them(folders):
    for folder, tau in zip(folders, (0.25, 0.5), strict=True):
        of_cifar100(folder, tau)
    rows = {row["quantity"]: row for row in compare(*folders).meta["rows"]}
    assert (rows["tau sample"]["difference"], rows["pick"]["a_mean"]) == (0.25, 70.0)


def test_other_seeds_are_not_paired(folders):
    fig8(folders[0], {seed: 0.25 + seed / 1024 for seed in range(8)})
    fig8(folders[1], {seed + 100: 0.5 + seed / 1024 for seed in range(8)})
    (row,) = compare(*folders).meta["rows"]
    assert (row["paired"], row["n_a"], row["n_b"], row["difference"]) == (False, 8, 8, 0.25)
    assert row["p"] == row["smallest_p"] == 2 / 12870 and row["verdict"] == "B HIGHER"  # 16 over 8 splits


def test_seven_seeds_decide_nothing(folders):
    few = [{seed: taus[seed] for seed in range(7)} for taus in (LOW, HIGH)]
    for folder, taus in zip(folders, few, strict=True):
        fig8(folder, taus)
    (row,) = compare(*folders).meta["rows"]
    assert row["verdict"] == "undecided (a verdict needs 8 seeds)" and row["p"] == 2 / 128 and row["p_holm"] is None


def test_holm_over_the_methods_of_a_quantity(folders):
    seeds, methods = range(8), [f"m{i}" for i in range(7)]
    table3(folders[0], {method: dict.fromkeys(seeds, 90.0) for method in methods})
    table3(folders[1], {method: {seed: 91 + seed / 8 for seed in seeds} for method in methods})
    rows = compare(*folders).meta["rows"]
    assert [row["quantity"] for row in rows] == ["pick"] * 7 and {row["p"] for row in rows} == {2 / 256}
    assert {row["p_holm"] for row in rows} == {14 / 256}
    assert {row["verdict"] for row in rows} == {"no difference shown at p <= 0.05"}


def test_another_truth_is_never_a_real_difference(folders):
    fig8(folders[0], LOW)
    fig8(folders[1], HIGH, ground_truth_sha256="cd" * 32)
    table = compare(*folders)
    (row,) = table.meta["rows"]
    assert (row["verdict"], row["p"], row["p_holm"], row["difference"]) == (ANOTHER, None, None, 0.125)
    assert any("ground truths differ" in note for note in table.notes)
    assert {"setting": "ground_truth_sha256", "a": "ab" * 32, "b": "cd" * 32} in table.meta["settings"]


def test_taus_of_other_archs_are_never_a_real_difference(folders):
    """A ranking that never changes has another tau on another sample, the same with every seed."""
    fig8(folders[0], LOW, archs=500, set="sample")
    fig8(folders[1], HIGH, archs=1000, set="sample")
    table = compare(*folders)
    (row,) = table.meta["rows"]
    assert (row["verdict"], row["tested"], row["p"]) == (OTHERS, False, None)
    assert "tau sample: 500 archs in A, 1000 in B; not tested." in table.notes


def test_taus_of_table3_stand_in_where_there_is_no_figure(folders):
    table3(folders[0], {"spos": LOW}, LOW)
    table3(folders[1], {"spos": LOW}, HIGH)
    fig8(folders[1], LOW, 500, set="sample")
    tau, pick = compare(*folders).meta["rows"]
    assert (tau["quantity"], tau["archs_a"], tau["difference"]) == ("tau sample", "500", 0)  # fig8 goes before table3
    assert (pick["quantity"], pick["difference"], pick["p"]) == ("pick", 0, 1)


def test_what_differs_is_named(folders):
    for folder, epochs, archs in zip(folders, ([5, 5], [9, 9]), (40, 90), strict=True):
        settings = {"recipe": {"stage_epochs": epochs, "lr": 0.1}}
        spec = RunSpec("spos", 0, "cpu", "s", "toy", "d", settings=settings)
        (folder / "runs").mkdir(parents=True)
        (folder / "runs" / f"{spec.run_id}.json").write_text(RunRecord(spec, "p", (), {}, None, {}, {}).to_json())
        fig8(folder, LOW, archs, seeds=list(range(archs // 10)))
    table = compare(*folders)
    assert table.meta["settings"] == [
        {"setting": "seeds", "a": "0, 1, 2, 3", "b": "0, 1, 2, 3, 4, 5, 6, 7, 8"},
        {"setting": "recipe.stage_epochs of all methods", "a": "5, 5", "b": "9, 9"},
    ]
    assert "Differs: recipe.stage_epochs of all methods: 5, 5 in A, 9, 9 in B." in table.notes
    assert "tau full: 40 archs in A, 90 in B; not tested." in table.notes
    assert table.notes[0].startswith(f"A is {folders[0]}, B is {folders[1]}.")


def test_what_only_one_has_is_named(folders):
    table3(folders[0], {"spos": LOW, "gdas": LOW})
    table3(folders[1], {"spos": LOW, "rsps": LOW})
    notes = compare(*folders).notes
    assert notes[-2:] == ("Only in A: pick of gdas.", "Only in B: pick of rsps.")


def test_the_result_can_be_written(folders, tmp_path):
    for folder in folders:
        fig8(folder, LOW)
    table = compare(*folders)
    assert len(formats.write(table, tmp_path)) == 5
    assert table.frame.columns[-1] == "verdict" and "+0.000" in formats.to_text(table)


def test_errors_are_one_line(folders):
    one, two = folders
    fig8(one, LOW)
    with pytest.raises(ValueError, match=r"two has no tables/table3.json or .*run `senas-bench reproduce table3 fig8"):
        compare(one, two)
    fig8(two, LOW, method="gdas")
    with pytest.raises(ValueError, match="no method has numbers in both"):
        compare(one, two)
    (two / "tables" / "fig8.json").write_text("{")
    with pytest.raises(ValueError, match=r"fig8.json is not JSON .*reproduce` again$"):
        compare(one, two)
    (two / "tables" / "fig8.json").write_text("{}")
    with pytest.raises(ValueError, match=r"fig8\.json is no table of this version"):
        compare(one, two)
    fig8(two, LOW)
    (two / "runs").mkdir()
    (two / "runs" / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x\.json is no run record"):
        compare(one, two)
