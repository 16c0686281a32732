import pytest

from senas_bench.analysis.artefacts.collapse import collapse_notes, collapsed, lead, lead_notes, skips_of
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.spaces.darts import GENOTYPES, arch_from_genotype, arch_to_str

DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
ALL_SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
HALF = "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|none~2|"


def a_record(pick: str, seed: int = 0, **line) -> RunRecord:
    spec = RunSpec("darts-v1", seed, "embedded", "nasbench201", "digits", "d1", settings={})
    return RunRecord(spec, pick, ({"epoch": 1, "loss": 1.0}, line), {"search": {}, "report": {}}, None, {}, {})


def test_inputs_are_counted_in_the_normal_cell():
    assert skips_of(ALL_SKIPS) == (6, 6) and skips_of(HALF) == (1, 2) and skips_of(DEAD) == (0, 0)
    # of DARTS_V1's normal cell three inputs are skips, of its reduction cell three more
    assert skips_of(arch_to_str(arch_from_genotype(GENOTYPES["DARTS_V1"]))) == (3, 8)


def test_more_than_half_is_a_collapse():
    learned = {"probabilities": {}}
    assert collapsed(a_record(ALL_SKIPS, **learned)) == (6, 6)
    assert collapsed(a_record(DEAD, **learned)) == (0, 0)
    assert collapsed(a_record(HALF, **learned)) is None
    assert collapsed(a_record(ALL_SKIPS)) is None  # it learned no logits
    assert collapsed(a_record("identity-mb3", **learned)) is None  # no cell


def test_what_a_limit_hides_is_said():
    """The pick meets a limit; what the logits choose without it is in the history."""
    assert collapsed(a_record(HALF, probabilities={}, chosen=ALL_SKIPS)) == (6, 6)
    assert collapsed(a_record(ALL_SKIPS, probabilities={}, chosen=HALF)) is None


def test_notes_name_rows_and_seeds():
    groups = {
        "DARTS": [a_record(ALL_SKIPS, 2, probabilities={}), a_record(HALF, 0, probabilities={})],
        "SPOS": [a_record(ALL_SKIPS)],
    }
    what = "Collapse to skips (more than half the inputs of the normal cell, as the logits choose it without any limit)"
    assert collapse_notes(groups) == [f"{what}: DARTS with seeds 2 (6 of 6)."]
    assert collapse_notes({"DARTS": [a_record(HALF, probabilities={})]}) == [f"{what}: none."]
    assert collapse_notes({"SPOS": [a_record(ALL_SKIPS)]}) == []
    layers = a_record("identity-mb3", probabilities={})
    assert collapse_notes({"ProxylessNAS": [layers]}) == []  # nothing was judged
    assert collapse_notes({"ProxylessNAS": [layers], "SPOS": [a_record(ALL_SKIPS)]}) == []


def test_how_far_logits_went_is_told_in_even_shares():
    """By hand: .5 of three is 1.5 of an even share, .7 of two 1.4; an edge of one operator decides nothing."""
    edges = {"0->1": {"a": 0.5, "b": 0.25, "c": 0.25}, "0->2": {"a": 0.3, "b": 0.7}, "1->2": {"a": 1.0}}
    one, other = (
        a_record(HALF, probabilities=edges),
        a_record(HALF, 1, probabilities={"0->1": {"a": 0.675, "b": 0.325}}),
    )
    assert lead(one) == pytest.approx((1.45, 3)) and lead(other) == pytest.approx((1.35, 2))
    sigmoids = a_record(HALF, probabilities={"0->1": {"a": 0.9, "b": 0.3}})
    assert lead(sigmoids) == pytest.approx((1.5, 2))
    assert lead(a_record(HALF)) is None and lead(a_record(HALF, probabilities={})) is None
    (note,) = lead_notes({"DARTS": [one, other], "SPOS": [a_record(HALF)], "Fair DARTS": [sigmoids]})
    assert "in mean weights of its operators, DARTS 1.40 of 3; Fair DARTS 1.50 of 2. Near 1 mix" in note
    assert lead_notes({"SPOS": [a_record(HALF)]}) == []
