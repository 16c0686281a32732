"""Rankings of archs: made by a method, and judged by the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senas_bench.api.options import setting_of
from senas_bench.experiments.failures import RunsFailed
from senas_bench.experiments.seeds import seeds_of
from senas_bench.experiments.study import check_ranks

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd

    from senas_bench.api.options import Options


def rank(
    method: str = "spos+", seed: int = 0, *, estimator: str | None = None, **options: Unpack[Options]
) -> pd.DataFrame:
    """Run a method and score the archs of its widest final ranking.

    Args:
        method: Key of `METHODS`.
        estimator: Key of `ESTIMATORS` that ranks in place of the method's own; what is trained is the same.
        options: See `Setting`: preset, results, rank_archs, ...

    Returns:
        `arch_str`, `score` and `estimate`, best first. The score is a rank, higher is better: archs that a shrink
        dropped stand below all others. The estimate is what the estimator gave when it last saw the arch, in its unit:
        accuracies in percent, log-likelihoods in nats.

    Raises:
        ValueError: A method that ranks nothing, or anything else that cannot be.
        DataError: Images are missing.
        RunsFailed: The run failed.
    """
    from senas_bench.experiments.store import RunStore

    seeds = seeds_of(seed)
    if len(seeds) > 1:
        raise ValueError(f"{len(seeds)} seeds; a ranking is of one run, give one of them")
    setting = setting_of(options)
    setting.check_tools()
    for name in ("latency_table", "train_within_limit"):
        if getattr(setting, name):
            raise ValueError(f"{name} is of searches under a limit, and a ranking has none; leave it out")
    if setting.executor == "joblib":  # a single run
        setting = replace(setting, executor="serial", jobs=1)
    sizes = setting.sizes()
    setting.check_images(sizes)
    check_ranks(method, sizes.rank_archs)
    setting = setting.placed()
    spec = replace(setting.spec(method, sizes, estimator=estimator), seed=seeds[0])
    store = RunStore(setting.results)
    store.prepare()
    if failed := setting.compute(store, [spec]):
        raise RunsFailed(failed)
    from senas_bench.analysis.join import final_scores

    return final_scores(store.scores(store.load(spec)))


def evaluate_ranking(
    scores: str | Path | pd.DataFrame | Sequence[str | Path] | Mapping[str, str | Path | pd.DataFrame],
    *,
    dataset: str = "cifar10",
    split: str = "test",
    epochs: int = 200,
    ground_truth: Path | None = None,
    k: int | Sequence[int] = (10, 100),
    resamples: int = 1000,
    plot: str | Path | None = None,
) -> dict[str, Any]:
    """How well scores rank archs, against their accuracy in a benchmark.

    Args:
        scores: Columns `arch_str` and `score` (higher is better), or a CSV or Parquet file of them; or several: a list
            of files, or either by a name.
        dataset, split, epochs: Which accuracy; the mean of its training seeds.
        ground_truth: Benchmark table; None for the embedded one.
        k: Size of the top, or several, for `precision@k` and `best_rank@k`.
        resamples: Of the bootstrap behind the intervals.
        plot: Picture of the ranks to write, `.png` or `.svg`.

    Returns:
        See `analysis.evaluation.evaluate_ranking`, and `standing`, the methods of `results/` on the same archs. Of
        several, `files` with that by name, and `pairs`: each two on the archs that both have.

    Raises:
        ValueError: A column is missing, an arch or score is bad or repeated, or several frames have no names.
        DataError: A file cannot be read.

    >>> import pandas as pd
    >>> archs = ["|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|", "|none~0|+|none~0|none~1|+"
    ...          "|nor_conv_3x3~0|none~1|none~2|"]
    >>> found = evaluate_ranking(pd.DataFrame({"arch_str": archs, "score": [0.0, 1.0]}), k=(1,))
    >>> found["tau_b"], found["precision@1"]
    (1.0, 1.0)
    """
    import pandas as pd

    one = isinstance(scores, str | Path | pd.DataFrame)
    named: Any = scores
    if one:
        named = {"scores" if isinstance(scores, pd.DataFrame) else str(scores): scores}
    elif not isinstance(scores, Mapping):
        given: list[Any] = list(scores) if isinstance(scores, Iterable) else [scores]
        if not all(isinstance(path, str | Path) for path in given):
            raise ValueError('scores must be a frame, a file or a list of files; name several frames: {"mine": frame}')
        named = {str(path): path for path in given}
    if not isinstance(k, Iterable):
        k = (k,)
    where = None if plot is None else Path(plot)
    found = judge(named, (dataset, split, epochs), ground_truth, k, resamples, where)
    return next(iter(found["files"].values())) if one else found


def judge(
    scores: Mapping[str, str | Path | pd.DataFrame],
    query: tuple[str, str, int],
    ground_truth: Path | None,
    k: Sequence[int],
    resamples: int,
    plot: Path | None,
) -> dict[str, Any]:
    """`evaluate_ranking` of some by name, always with `files` and `pairs`; `query`: data set, split, epochs."""
    from senas_bench.files import atomic_write, check_output

    if plot is not None:
        check_output(plot, (".png", ".svg"), option="--plot")
    if not scores:
        raise ValueError("no scores; give a file or a frame with columns arch_str, score")
    from senas_bench.analysis.evaluation import evaluate_rankings, read_scores
    from senas_bench.groundtruth import Query, load_ground_truth

    asked = Query(*query, "mean")
    tables = {name: read_scores(Path(one)) if isinstance(one, str | Path) else one for name, one in scores.items()}
    for table in tables.values():
        if missing := [name for name in ("arch_str", "score") if name not in table]:
            raise ValueError(f"the scores have no column {', '.join(missing)}; they have: {', '.join(map(str, table))}")
    truth = load_ground_truth(ground_truth)
    found = evaluate_rankings(tables, truth, asked, ks=k, n_resamples=resamples)
    if plot is not None:
        from senas_bench.analysis.output.figures import to_bytes
        from senas_bench.analysis.output.ranking import figure

        atomic_write(plot, to_bytes(figure(tables, truth, asked), plot.suffix[1:]))
    return found
