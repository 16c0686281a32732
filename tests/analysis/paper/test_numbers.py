from senas_bench.analysis.paper.judges import THIRD
from senas_bench.analysis.paper.numbers import CLAIMS, COLUMNS, SEARCHES, table1, table3
from senas_bench.analysis.paper.rules import GAP, NEAR, RULES


def test_table3_is_labelled_and_complete():
    frame = table3().set_index("method")
    assert frame.index.tolist() == [
        f"{name} (paper)" for name in ("RSPS", "DARTS-V1", "DARTS-V2", "GDAS", "SETN", "ENAS", "Optimal", "Ours")
    ]
    assert frame.shape == (8, 1 + 2 * len(COLUMNS))
    assert frame.loc["Ours (paper)", ["search_seconds", "cifar10_test_mean", "cifar10_test_std"]].tolist() == [
        10561.1,
        93.47,
        0.14,
    ]
    assert frame.loc["GDAS (paper)", "imagenet16-120_test_std"] == 0.98
    assert frame.loc["Optimal (paper)", "imagenet16-120_val_mean"] == 46.77
    assert frame.loc["Optimal (paper)"].isna().sum() == 7


def test_table1_is_labelled():
    frame = table1().set_index("ranking")
    assert frame.loc["supernet accuracy (paper)"].tolist() == [0.543, 0.532, 0.539]
    assert frame.loc["standalone accuracy (paper)"].tolist() == [0.853, 0.842, 0.845]


def test_claims_name_what_decides_them():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.id for claim in CLAIMS} == set(RULES)
    assert {name for claim in CLAIMS for name in claim.needs} == {
        "table1", "fig1", "fig6", "fig7", "fig8", "table3", *SEARCHES
    }  # fmt: skip
    for claim in CLAIMS:
        assert claim.where.startswith("Section ") and ("Fig" in claim.where or "Table" in claim.where)


def test_the_papers_own_rows_meet_the_limits_of_its_claims():
    frame = table3().set_index("method")
    ours, optimal, gdas = (frame.loc[f"{name} (paper)"] for name in ("Ours", "Optimal", "GDAS"))
    for column, points in NEAR.items():
        assert points - 1 < optimal[f"{column}_mean"] - ours[f"{column}_mean"] < points
    assert ours["search_seconds"] / gdas["search_seconds"] < THIRD
    ranked_by = table1().set_index("ranking")
    gaps = ranked_by.loc["standalone accuracy (paper)"] - ranked_by.loc["supernet accuracy (paper)"]
    assert (gaps > GAP).all()
