"""`evaluate-ranking`: scores that somebody has, against the truth."""

from pathlib import Path
from typing import Annotated

import typer

from senas_bench.cli.options import OUTPUT, SIZE, WHAT, JsonOption, TruthOption, print_json, whole_number


def evaluate_ranking(
    scores: Annotated[
        list[Path],
        typer.Argument(help="CSV or Parquet with arch_str, |op~0|+|op~0|op~1|+..., and score, higher is better."),
    ],
    dataset: Annotated[
        str, typer.Option(help="cifar10, cifar100 or imagenet16-120.", rich_help_panel=WHAT)
    ] = "cifar10",
    split: Annotated[str, typer.Option(help="val or test.", rich_help_panel=WHAT)] = "test",
    epochs: Annotated[int, typer.Option(help="12 or 200.", rich_help_panel=WHAT)] = 200,
    ground_truth: TruthOption = None,
    k: Annotated[str, typer.Option(help="Sizes of the top for P@k and best-rank@k.", rich_help_panel=SIZE)] = "10,100",
    resamples: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Bootstrap resamples.", rich_help_panel=SIZE)
    ] = 1000,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of ranks to write: .png or .svg.", rich_help_panel=OUTPUT)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare scores of archs with their ground-truth accuracy; several files with each other too."""
    ks = [whole_number(text, "--k") for text in k.split(",")]
    from senas_bench.api.rankings import judge

    named = {str(path): path for path in scores}
    found = judge(named, (dataset, split, epochs), ground_truth, ks, resamples, plot)
    if as_json:
        print_json(found if len(named) > 1 else next(iter(found["files"].values())))
        return
    from senas_bench.analysis.output.ranking import text

    print(text(found))
    if plot is not None:
        print(f"written: {plot}")
