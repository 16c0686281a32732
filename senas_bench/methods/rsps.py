"""RSPS: random search with parameter sharing (Li and Talwalkar, UAI 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field

from senas_bench.tasks.method import NB201_ONLY, UNIFORM, Method
from senas_bench.tasks.outputs import MethodOutput, ScoreTable
from senas_bench.tasks.task import Task
from senas_bench.training.connected import ConnectedPath

ESTIMATOR = "weight-average"
"""The recipe keeps one snapshot, so these are the last weights, as in the paper."""


@dataclass(frozen=True)
class Rsps(Method):
    """Train shared weights on random paths, then take the best of a few random archs.

    Which archs train the weights: AutoDL-Projects has two codes. That of NATS-Bench (`forward_urs`) draws each cell
    anew, and a node again while all its inputs are `none`; that of NAS-Bench-201 (`random_genotype`) draws one arch for
    all cells, without redrawing. Here `redraw` leaves no node without an input, and the recipe says whether cells are
    tied. Table 3 shows redrawn nodes in tied cells; `rsps-plain` is the code of NAS-Bench-201.

    The archs of the pick are uniform over the whole space, or its part within a limit, and distinct. All training
    images train the weights, for there is no architecture to learn; the reference splits them and scores on the other
    half [code], which is the same with the official split.

    Args:
        recipe: Recipe of the preset.
        candidates: Archs to choose from where the task does not say.
        redraw: Whether no path of training leaves a node without an input.
    """

    spaces = NB201_ONLY
    recipe: str = "rsps"
    candidates: int = 100
    redraw: bool = field(default=True, metadata={"added": True})

    @property
    def trains_on(self) -> str:
        return "paths that leave no node without an input" if self.redraw else UNIFORM

    def __call__(self, task: Task) -> MethodOutput:
        network = task.build(task.space)
        connected = ConnectedPath(task.space, task.cells(network))
        trained = task.train(
            network,
            task.space,
            connected if self.redraw else task.uniform_paths(task.space, network),
            phase="train",
            epochs=sum(task.recipe.stage_epochs),
            keep_snapshots=False,
        )
        archs = task.within(task.space).sample_distinct(task.rng("candidates"), task.candidates or self.candidates)
        pick, chosen = task.pick(trained, archs, ESTIMATOR)
        scores = task.estimate(trained, task.report.archs, ESTIMATOR, "ranking", purpose="report")
        ranking = ScoreTable(task.report.archs, scores, task.report.set, chosen.stage, chosen.epoch)
        history = tuple({"stage": 1, **line} for line in trained.training.history)
        return MethodOutput(pick, (chosen, ranking), history)
