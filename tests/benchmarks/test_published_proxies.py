import numpy as np
import pandas as pd
import pytest

from benchmarks.published_proxies import markdown, table

ARCHS = list("abcde")
OURS = pd.DataFrame({"synflow": [1.0, 2, 3, 4, -np.inf], "synflow seconds": [0.1, 0.1, 0.3, 0.1, 0.1]}, ARCHS)
PUBLISHED = pd.DataFrame({"synflow": [10.0, 30, 20, 40, 0]}, ARCHS)
TRUTH = pd.Series([1.0, 2, 4, 3, 0], ARCHS)


def test_by_hand():
    """Four archs are scored by both. Ranks 1 2 3 4 beside 1 3 2 4: 1 - 6 * 2 / (4 * 15). With the truth five of six
    pairs of ours agree, and four of those published; the arch that is cut off is the worst: four more that agree."""
    (row,) = table(OURS, PUBLISHED, TRUTH).to_dict("records")
    assert row["n"] == 4 and row["spearman"] == pytest.approx(0.8)
    assert row["tau, ours"] == pytest.approx(4 / 6) and row["tau, published"] == pytest.approx(2 / 6)
    assert row["tau, ours, cut-off archs too"] == pytest.approx(8 / 10)
    assert row["CPU seconds an arch"] == 0.1 and np.isnan(row["spearman, two draws of ours"])


def test_a_second_draw_of_fewer_archs():
    again = pd.DataFrame({"synflow": [1.0, 3, 2]}, list("abc"))
    (row,) = table(OURS, PUBLISHED, TRUTH, again).to_dict("records")
    assert row["spearman, two draws of ours"] == pytest.approx(0.5)


def test_what_could_not_be_scored_there_is_left_out():
    (row,) = table(OURS, PUBLISHED.replace(10.0, -1e8), None).to_dict("records")
    assert row["n"] == 3 and not any("tau" in name for name in row)


def test_a_table_in_markdown():
    text = markdown(pd.DataFrame([{"proxy": "synflow", "n": 4, "spearman": 0.81234, "tau": np.nan}]))
    assert text == "| proxy | n | spearman | tau |\n|---|---|---|---|\n| synflow | 4 | 0.812 |  |\n"
