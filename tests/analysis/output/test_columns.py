"""Which side a column stands on."""

import pandas as pd

from senas_bench.analysis.output.columns import holds_nothing, sides

FRAME = pd.DataFrame(
    {
        "method": ["spos", "se-nas", "darts-v1", "2-opt"],
        "truth": ["cifar10 test", "–", "cifar10 val", ""],
        "tau": ["-0.104 ± 0.065", "0.5", "–", "–"],
        "interval": ["[-0.058, 0.266]", "–", "–", "–"],
        "gain": ["+3", "<0.1", ".", "7%"],
        "none": ["–", "", "–", "–"],
        "dropped by": ["random scores", "10,000 draws", "SI", "angle"],
    }
)


def test_numbers_stand_right_and_words_left():
    assert sides(FRAME) == ["left", "left", "right", "right", "right", "right", "left"]
    assert sides(pd.DataFrame({"rank": ["1", "2"], "arch": ["|none~0|", "|none~1|"]})) == ["right", "left"]


def test_without_anything_to_tell():
    assert sides(FRAME[:0]) == ["left"] + ["right"] * 6
    assert sides(pd.DataFrame()) == []
    assert [name for name in FRAME if holds_nothing(FRAME, name)] == ["none"]
