from dataclasses import replace

import numpy as np
import torch
from torch import nn

from senas_bench.experiments.place import Place
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.tasks import make_task
from senas_bench.methods.stand_alone import StandAlone, stand_alone_archs
from senas_bench.progress import SilentProgress
from senas_bench.ranking.batchnorm import batch_norms
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.tasks.task import Task
from senas_bench.training.recipe import TrainingRecipe


def a_task(folder, seed: int = 0) -> Task:
    folder.mkdir(exist_ok=True)
    sizes = replace(
        PRESETS["embedded"],
        channels=4,
        score_images=100,
        score_batch=50,
        rank_archs=40,
        recipes={"stand-alone": TrainingRecipe((1, 1), 256, lr=0.1, lr_min=0.0, lr_horizon=0, snapshots=1)},
    )
    return make_task(make_spec("stand-alone", seed, "embedded", sizes=sizes), Place(folder, progress=SilentProgress()))


def test_the_archs_are_the_same_in_every_run_and_among_those_ranked(tmp_path):
    archs = NB201.archs()
    chosen = stand_alone_archs(archs, 30)
    assert np.array_equal(chosen, stand_alone_archs(archs, 30)) and len({bytes(row) for row in chosen}) == 30
    assert [len(set(column)) for column in chosen.T.tolist()] == [5] * 6  # spread over the space
    assert np.array_equal(stand_alone_archs(archs[:7], 30), archs[:7])
    ranked = {bytes(row) for row in a_task(tmp_path).report.archs}
    assert all(bytes(row) in ranked for row in stand_alone_archs(a_task(tmp_path).report.archs, 30))


def test_every_arch_is_trained_alone_and_scored_by_hand(tmp_path, monkeypatch):
    task, trained = a_task(tmp_path), []
    train = Task.train

    def watched(self, network, space, sample, **arguments):
        result = train(self, network, space, sample, **arguments)
        trained.append((network, space))
        return result

    monkeypatch.setattr(Task, "train", watched)
    output = StandAlone(archs=4)(task)
    (table,) = output.tables
    assert (table.set, table.epoch) == ("candidates", 2)
    assert [space.candidates for _, space in trained] == [tuple((op,) for op in row) for row in table.archs.tolist()]
    for (network, space), row, score in zip(trained, table.archs.tolist(), table.scores, strict=True):
        assert space.size == 1 and all(norm.affine for norm in batch_norms(network))
        images = torch.cat([x for x, _ in task.evaluation.batches])
        labels = torch.cat([y for _, y in task.evaluation.batches])
        with torch.inference_mode():
            logits = nn.Module.eval(network)(images, tuple(row))  # running statistics, as any trained network
        assert score == 100 * (logits.argmax(1) == labels).double().mean().item()
    assert output.pick == tuple(table.archs[np.argmax(table.scores)].tolist())
    assert [line["arch"] for line in output.history] == [0, 1, 2, 3] and all(
        line["loss"] > 0 for line in output.history
    )
    steps = 4 * 2 * (1397 // 256)
    assert (
        task.work.budget.counts["search"]["train_steps"] == task.work.budget.counts["search"]["backward_paths"] == steps
    )


def test_a_network_does_not_depend_on_those_trained_before(tmp_path):
    """The best of the second network alone is what it was after the first."""
    task = a_task(tmp_path / "two")
    two = StandAlone(archs=2)(task).tables[0]
    other = StandAlone(archs=2)(a_task(tmp_path / "other", seed=1)).tables[0]
    assert np.array_equal(two.archs, other.archs) and not np.array_equal(two.scores, other.scores)
    alone = a_task(tmp_path / "alone")
    first = alone.work.folder / "arch-0.safetensors"
    first.write_bytes((task.work.folder / "arch-0.safetensors").read_bytes())  # finished in an earlier try
    assert np.array_equal(StandAlone(archs=2)(alone).tables[0].scores, two.scores)
