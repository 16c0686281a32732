"""The paper's published numbers, in one place. None of them was measured here.

Source: Hu, Wang, Li, Gu, "Improving One-Shot NAS with Shrinking-and-Expanding Supernet", Pattern Recognition 118, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

SOURCE = "Hu et al., Pattern Recognition 118, 2021"
COLUMNS = (
    "cifar10_val",
    "cifar10_test",
    "cifar100_val",
    "cifar100_test",
    "imagenet16-120_val",
    "imagenet16-120_test",
)
"""The (dataset, split) columns of Table 3, in the paper's order."""

TABLE3 = (
    ("RSPS", 8007.1, (80.42, 3.58), (84.07, 3.61), (52.12, 5.55), (52.31, 5.77), (27.22, 3.24), (26.28, 3.09)),
    ("DARTS-V1", 11625.7, (39.77, 0.00), (54.30, 0.00), (15.03, 0.00), (15.61, 0.00), (16.43, 0.00), (16.32, 0.00)),
    ("DARTS-V2", 35781.8, (39.77, 0.00), (54.30, 0.00), (15.03, 0.00), (15.61, 0.00), (16.43, 0.00), (16.32, 0.00)),
    ("GDAS", 31609.8, (89.89, 0.08), (93.61, 0.09), (71.34, 0.04), (70.70, 0.30), (41.59, 1.33), (41.71, 0.98)),
    ("SETN", 34139.5, (84.04, 0.28), (87.64, 0.00), (58.86, 0.06), (59.05, 0.24), (33.06, 0.02), (32.52, 0.21)),
    ("ENAS", 14058.8, (37.51, 3.19), (53.89, 0.58), (13.37, 2.35), (13.96, 2.33), (15.06, 1.95), (14.84, 2.10)),
    ("Optimal", None, (91.61, None), (94.37, None), (73.49, None), (73.51, None), (46.77, None), (47.31, None)),
    ("Ours", 10561.1, (90.50, 0.09), (93.47, 0.14), (71.14, 0.10), (71.91, 0.19), (44.96, 0.94), (45.66, 1.05)),
)
"""Method, seconds on a GTX 1080 Ti at batch 256, then (mean, std) accuracy in percent per column. "Ours" is SE-NAS."""

TABLE3_NOTES = (
    f"The paper's numbers are copied from its Table 3 ({SOURCE}), on a GTX 1080 Ti at batch 256; not measured here.",
    "The paper prints 46.77 as the optimum of imagenet16-120 val; the benchmark's table gives 46.73.",
)

TABLE1 = (
    ("supernet accuracy", 0.543, 0.532, 0.539),
    ("standalone accuracy", 0.853, 0.842, 0.845),
)
"""Ranking by, then the mean Kendall tau of 10 repeats on CIFAR-10, CIFAR-100 and ImageNet16-120."""

TABLE6 = tuple(
    {
        "name": name,
        "published_params_m": params,
        "published_flops_m": flops,
        "published_top1": top1,
        "published_top5": top5,
    }
    for name, params, flops, top1, top5 in (
        ("SPOS", 7.1, 466, 74.8, 91.5),
        ("SPOS + shrinking (SI)", 6.6, 468, 75.3, 92.3),
        ("SPOS + shrinking (SI + SC)", 6.6, 467, 75.7, 92.5),
        ("SPOS + shrinking (SI + SC) + expanding", 6.5, 469, 76.1, 93.0),
    )
)
"""Parameters and FLOPs in millions, top-1 and top-5 accuracy on ImageNet in percent."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper that runs can test, in our words.

    Args:
        id: Key of its rule in `verdicts.RULES`.
        text: What is claimed, with the number that decides it where the paper gives none.
        where: Section, and figure or table.
        needs: Names of the artefacts that hold the numbers.
    """

    id: str
    text: str
    where: str
    needs: tuple[str, ...]


CLAIMS = (
    Claim(
        "supernet-gap",
        "A plain supernet ranks much worse than training from scratch: its tau is more than 0.3 lower",
        "Section 3.2, Table 1",
        ("table1",),
    ),
    Claim(
        "supernet-unsteady",
        "From one repeat to the next, a plain supernet moves an arch further up and down the ranking than training "
        "from scratch does",
        "Section 3.2, Fig. 1",
        ("fig1",),
    ),
    Claim(
        "keeps-top-21",
        "The first shrink keeps most of the 21 truly best operators",
        "Section 4.2, Fig. 6",
        ("fig6",),
    ),
    Claim(
        "keeps-top-10",
        "The second shrink leaves most of the 10 truly best operators alive",
        "Section 4.2, Fig. 6",
        ("fig6",),
    ),
    Claim(
        "keeps-more",
        "After the second shrink more of the 10 truly best operators are alive than when operators are dropped at "
        "random or by the size of architecture parameters",
        "Section 4.2, Fig. 6",
        ("fig6",),
    ),
    Claim(
        "tau-first-stage",
        "By the end of the first stage of decoupling, before the second shrink, tau has passed that of SPOS",
        "Section 4.2, Fig. 7",
        ("fig7",),
    ),
    Claim(
        "tau-higher",
        "The decoupled supernet ends with a higher tau than SPOS",
        "Section 4.2, Figs. 7 and 8",
        ("fig8",),
    ),
    Claim(
        "tau-steadier",
        "Tau spreads less over repeats than that of SPOS",
        "Section 4.2, Fig. 8",
        ("fig8",),
    ),
    Claim(
        "near-optimal",
        "The pick is close to the best arch of the space: test accuracy within 1 point on CIFAR-10 and 2 points on the "
        "other datasets, as the paper's own rows are",
        "Section 4.3, Table 3",
        ("table3",),
    ),
    Claim(
        "beats-rivals",
        "The pick tests better than those of RSPS, DARTS-V1, DARTS-V2, SETN and ENAS",
        "Section 4.3, Table 3",
        ("table3",),
    ),
    Claim(
        "matches-gdas",
        "The pick tests like that of GDAS: within half a point",
        "Section 4.3, Table 3",
        ("table3",),
    ),
    Claim(
        "third-of-cost",
        "A search costs about a third of one by GDAS: at most 0.4 of its work",
        "Section 4.3, Table 3",
        ("table3",),
    ),
    Claim(
        "better-within-flops",
        "Under a limit of FLOPs the pick tests better than those of other searches under the same limit, in the same "
        "kind of network",
        "Section 4.3, Table 4",
        ("table4",),
    ),
    Claim(
        "better-within-latency",
        "Under a limit of latency the pick tests better than those of other searches under the same limit",
        "Section 4.3, Table 5",
        ("table5",),
    ),
    Claim(
        "each-part-adds",
        "Each part of SE-NAS adds to what the pick tests: shrinking by selection importance, shrinking confidence, and "
        "expanding",
        "Section 4.4, Table 6",
        ("table6",),
    ),
)
"""What `verdicts` decides, in the order of the paper."""
SEARCHES = ("table4", "table5", "table6")
"""Artefacts of the claims about searches under a limit; the others are about NAS-Bench-201."""


def table3() -> pd.DataFrame:
    """Table 3: `method` ("... (paper)"), `search_seconds`, and `<column>_mean`, `<column>_std` in percent."""
    rows = []
    for method, seconds, *cells in TABLE3:
        row = {"method": f"{method} (paper)", "search_seconds": seconds}
        for column, (mean, std) in zip(COLUMNS, cells, strict=True):
            row |= {f"{column}_mean": mean, f"{column}_std": std}
        rows.append(row)
    return pd.DataFrame(rows)


def table1() -> pd.DataFrame:
    """Table 1: `ranking` ("... (paper)") and the mean tau per dataset."""
    columns = ["ranking", "cifar10", "cifar100", "imagenet16-120"]
    return pd.DataFrame([(f"{name} (paper)", *taus) for name, *taus in TABLE1], columns=columns)
