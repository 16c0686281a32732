from analysis.paper import COLUMNS, table1, table3


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
