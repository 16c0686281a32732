"""What systems that learn logits end with: cells made of skips, and how far the logits went."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence

from senas_bench.analysis.output.formats import listed
from senas_bench.experiments.spec import RunRecord

SKIP = "skip_connect"
SHARE = 0.5
"""A cell is collapsed if more of its inputs are skips."""


def skips_of(arch: str) -> tuple[int, int]:
    """How many inputs of the normal cell are skips, and how many are not `none`.

    Args:
        arch: As text, of NAS-Bench-201 or of the DARTS space.

    >>> skips_of("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|nor_conv_3x3~1|none~2|")
    (2, 3)
    """
    operators = [name for name in re.findall(r"(\w+)~", arch.partition("/")[0]) if name != "none"]
    return operators.count(SKIP), len(operators)


def _chosen_cell(record: RunRecord) -> str | None:
    """The arch that logits chose which learned beside the weights; None where there are none, or it has no cell."""
    lines = [line for line in record.history if "probabilities" in line]
    arch = lines[-1].get("chosen", record.pick) if lines else ""
    return arch if "~" in arch else None


def collapsed(record: RunRecord) -> tuple[int, int] | None:
    """`skips_of` what a run's logits choose, whatever a limit or a rule on skips makes of it; None where it is not
    collapsed, learned no logits, or chose no cell."""
    if (arch := _chosen_cell(record)) is None:
        return None
    skips, inputs = skips_of(arch)
    return (skips, inputs) if skips > SHARE * inputs or not inputs else None


def collapse_notes(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """A line on the rows whose logits chose more than half skips in the normal cell, or no input at all; none where no
    logits chose a cell.

    Args:
        groups: Runs by the label of their row.
    """
    said, looked = [], False
    for label, group in groups.items():
        looked = looked or any(_chosen_cell(record) is not None for record in group)
        found = {record.spec.seed: counts for record in group if (counts := collapsed(record)) is not None}
        if found:
            shares = ", ".join(dict.fromkeys(f"{skips} of {inputs}" for skips, inputs in found.values()))
            said.append(f"{label} with seeds {listed(sorted(found))} ({shares})")
    if not looked:
        return []
    what = "Collapse to skips (more than half the inputs of the normal cell, as the logits choose it without any limit)"
    return [f"{what}: {'; '.join(said) or 'none'}."]


def lead(record: RunRecord) -> tuple[float, int] | None:
    """How sure the logits of a run are at its end: the weight of the best operator of an edge over the mean weight of
    its operators, the mean over edges, and the most operators that an edge has, which is the most it can be. None where
    it learned no logits. Weights are probabilities, or sigmoids as they are.

    An edge with probabilities .5, .25 and .25 has 1.5 of 3.
    """
    lines = [line for line in record.history if "probabilities" in line]
    edges = [list(edge.values()) for edge in lines[-1]["probabilities"].values()] if lines else []
    edges = [edge for edge in edges if len(edge) > 1 and sum(edge) > 0]
    if not edges:
        return None
    return statistics.fmean(max(edge) / statistics.fmean(edge) for edge in edges), max(map(len, edges))


def lead_notes(groups: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """A line on how far the logits of rows went, the mean over seeds; none where no row learned any.

    Args:
        groups: Runs by the label of their row.
    """
    said = []
    for label, group in groups.items():
        if leads := [found for record in group if (found := lead(record)) is not None]:
            most = max(most for _, most in leads)
            said.append(f"{label} {statistics.fmean(value for value, _ in leads):.2f} of {most}")
    what = "How sure logits are at the end: the best operator of an edge weighs, in mean weights of its operators"
    return [f"{what}, {'; '.join(said)}. Near 1 mixtures stayed even."] if said else []
