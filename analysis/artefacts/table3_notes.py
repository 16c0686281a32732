"""What table 3 says about how its methods were run, and about runs whose end means little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from senas_bench.analysis.artefacts.collapse import collapse_notes, lead_notes
from senas_bench.analysis.join import TOP_NOTE
from senas_bench.analysis.metrics.bootstrap import MIN_ARCHS
from senas_bench.analysis.output.formats import listed, span
from senas_bench.analysis.style import baselines, facts_of, in_order, saw_truth, shown_as, tuned
from senas_bench.experiments.spec import RunRecord

READINGS = {
    "gdas": (
        "gradient",
        "paper",
        {"paper": "the gradient of its paper's formula", "code": "that of its released code"},
    ),
    "rsps": ("redraw", True, {True: "draws no node without inputs", False: "draws every operator alike"}),
}
"""By method of which there are two: the field that says which is shown, its default, and what its values mean."""


def run_notes(groups: Mapping[str, Sequence[RunRecord]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the methods of a table were run, and runs whose end means little."""
    shown = {shown_as(method): group for method, group in groups.items()}
    return [
        *stage_notes(groups),
        *reading_notes(groups),
        *image_notes(groups),
        *collapse_notes(shown),
        *lead_notes(shown),
        *function_notes(rows),
    ]


def reading_notes(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Which reading of a method is shown, where there are two."""
    said = []
    for method, group in groups.items():
        name, default, means = READINGS.get(method.partition("-")[0], ("", None, {}))
        if means:
            said.append(f"{method}: {means[group[0].spec.settings.get('method', {}).get(name, default)]}")
    return [f"Of two readings, {'; '.join(said)}."] if said else []


def image_notes(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """On which images weights and architectures learned, where both did."""
    said = {
        "half": "weights on one half of the training images, architecture on the other",
        "valid": "weights on the training images, architecture on the validation images, as the benchmark splits them",
    }
    methods: dict[str, list[str]] = {}
    for method, group in groups.items():
        if getattr(facts_of(method), "bilevel", False):
            images = {record.spec.settings.get("recipe", {}).get("architecture_images", "half") for record in group}
            methods.setdefault("".join(images), []).append(method)
    return [f"Learn {words}: {', '.join(methods[kind])}." for kind, words in said.items() if kind in methods]


def ranking_notes(rows: Sequence[Mapping[str, Any]], whole: str) -> list[str]:
    """What the correlations of a table are of: `whole` is the set of its ranking of the whole space."""
    notes = []
    sizes = [row["tau_full_n"] for row in rows if row["tau_full_n"]]
    if sizes:
        over = "seeds" if whole == "full" else "archs"
        how = f"tau-b over n = {span(sizes)} archs, ranked hierarchically after a shrink; 95% interval over {over}"
        notes.append(f"tau {whole}: Kendall's {how}.")
    if any(row["tau_top10_mean"] is not None for row in rows):
        notes.append(TOP_NOTE)
    if any(row["stage_1_tau_mean"] is not None for row in rows):
        notes.append("After stage 1: the same tau, before anything was dropped.")
    if any(row["tau_current_n_min"] for row in rows):
        notes.append(
            f"tau current: the archs alive at the end (how many, and how many functions they are), not comparable with "
            f"tau {whole}; interval over seeds, none below {MIN_ARCHS} archs."
        )
    against = baselines()
    pairs = [f"{against[row['method']]} for {row['method']}" for row in rows if row.get("tau_spos_same_set_seeds")]
    if pairs:
        notes.append(f"Same set: the tau of the baseline of the same seed on those archs ({', '.join(pairs)}).")
    elif any(row["method"] in against and row["tau_current_n_min"] for row in rows):
        notes.append("No tau on the same set: no baseline run of the same seed ranked all of the archs alive.")
    return notes


def function_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Runs that end with archs which are all one function."""
    notes = []
    for row in rows:
        if seeds := [run["seed"] for run in row["per_seed"] if run["n_functions"] == 1]:
            which = f"with seeds {listed(seeds)} ({len(seeds)} of {row['n']})"
            said = f"all archs alive at the end are one function {which}: nothing to rank, no tau."
            notes.append(f"{row['method']}: {said}")
    return notes


def stage_notes(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Which methods could not shrink: they drop operators between stages, and had but one."""
    settings = {method: group[0].spec.settings for method, group in groups.items()}
    named = [
        method
        for method, values in settings.items()
        if "drop" in values.get("method", {}) and len(values["recipe"]["stage_epochs"]) == 1
    ]
    return [f"Trained in one stage, so nothing was dropped: {', '.join(named)}."] if named else []


def cost_notes(no_timing: bool) -> list[str]:
    """What the columns of cost count."""
    seconds = (
        "" if no_timing else " Search s: seconds, which depend on the machine and compare at equal batch size alone."
    )
    return [
        "Images, scored, paths: images trained on, images scored, and forward passes of a batch through one arch; "
        f"exact counts per search, the cost to compare. A mixture of all operators counts as their paths.{seconds}"
    ]


def choice_notes(runs: Mapping[str, list[dict]]) -> list[str]:
    """Which methods were chosen with a truth in view, or know the size of an arch."""
    ours, sized = tuned(runs), in_order(m for m in runs if facts_of(m).knows_size and facts_of(m).trains)
    notes = [f"Tuned with CIFAR-10 truth in view: {', '.join(ours)}."] if ours else []
    notes += saw_truth(runs)
    if sized:
        whose = "Their scores" if sized == ours else f"The scores of {', '.join(sized)}"
        notes.append(f"{whose} contain the parameters of an arch: compare them with the row of params.")
    return notes
