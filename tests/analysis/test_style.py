from dataclasses import dataclass

import pytest

from senas_bench.analysis import style as styles
from senas_bench.analysis.artefacts import ARTEFACTS
from senas_bench.analysis.style import (
    STYLES,
    Style,
    baselines,
    by_baseline,
    in_order,
    ink,
    is_proxy,
    saw_truth,
    shown_as,
    style,
    tuned,
)
from senas_bench.methods import METHODS


def test_whose_truth_was_in_view_is_said():
    said = saw_truth(["spos", "az-nas", "spos+synflow-bn", "synflow-bn"])
    assert sorted(said) == [
        "Chosen with truth in view (NAS-Bench-201, by its authors): az-nas.",
        "Chosen with truth in view (all truths of NAS-Bench-201, by us): synflow-bn, spos+synflow-bn.",
    ]


def test_letters_are_dark_enough_to_read_and_no_darker():
    """Contrasts by WCAG's formula, worked out by hand for greys: (1 + .05) / (L + .05)."""
    assert ink("#0072b2") == "#0072b2" and ink("#000000") == "#000000"  # 5.2 and 21
    grey = int(ink("#b0b0b0")[1:3], 16) / 255
    contrast = 1.05 / (((grey + 0.055) / 1.055) ** 2.4 + 0.05)
    assert ink("#b0b0b0")[1:3] == ink("#b0b0b0")[3:5] and 4.45 < contrast < 5.1


def test_every_method_has_a_line_and_no_line_is_of_nothing():
    assert STYLES.keys() == METHODS.keys()
    assert {name for own in STYLES.values() for name in own.left_out_of} <= ARTEFACTS.keys()
    assert all(name in METHODS for name in baselines().values())


def test_proxies_train_nothing_and_read_no_supernet():
    """AZ-NAS is an aggregate of such; one of a supernet is none, and neither is an untrained supernet."""
    assert all(map(is_proxy, ("synflow", "az-nas", "te-nas")))
    assert not any(map(is_proxy, ("params", "untrained", "untrained+synflow-bn", "spos", "spos+synflow-bn", "unknown")))


def test_methods_that_are_compared_look_different():
    pairs = baselines().items()
    assert {("se-nas", "spos"), ("se-nas+", "spos+"), ("spos+synflow-bn", "spos-loglik")} <= set(pairs)
    for one, other in pairs:
        assert (style(one).colour, style(one).marker) != (style(other).colour, style(other).marker)


def test_a_method_without_a_line_is_neutral_and_comes_last():
    assert style("mine") == Style() and shown_as("mine") == "mine"
    assert in_order(["zeta", "se-nas", "mine", "spos", "random"]) == ["random", "spos", "se-nas", "mine", "zeta"]
    assert not styles.facts_of("mine").tuned


def test_each_method_after_its_baseline():
    assert by_baseline(["se-nas+", "mine", "spos", "spos+", "se-nas"]) == ["spos", "se-nas", "spos+", "se-nas+", "mine"]
    assert by_baseline(["se-nas", "random"]) == ["random", "se-nas"]


def test_tuned_ones_in_order():
    assert tuned(["se-nas+", "spos", "untrained", "gone", "spos+"]) == ["spos+", "se-nas+"]


def test_a_line_may_name_a_method_for_readers(monkeypatch):
    monkeypatch.setitem(STYLES, "spos", Style(label="SPOS (Guo et al.)"))
    assert shown_as("spos") == "SPOS (Guo et al.)"


def test_a_registered_method_that_cannot_run_is_named_by_every_artefact(monkeypatch):
    @dataclass
    class Soft:
        pass

    monkeypatch.setitem(METHODS, "soft", Soft())
    with pytest.raises(ValueError, match="method 'soft': Soft is no Method; inherit"):
        _ = ARTEFACTS["table3"].methods
