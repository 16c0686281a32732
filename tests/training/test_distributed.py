"""Two processes against one that does the work of both. Run as a script, this file is what torchrun starts."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from senas_bench.data.loader import TrainLoader
from senas_bench.errors import RunError
from senas_bench.experiments.threads import limited_threads
from senas_bench.networks.expansion import expand
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.spaces.paths import UniformPath
from senas_bench.training import loop
from senas_bench.training.checkpoint import read_checkpoint
from senas_bench.training.distributed import ALONE, Processes, Share, join, meet
from senas_bench.training.loop import carry_momentum, make_optimizer, train
from senas_bench.training.recipe import TrainingRecipe
from senas_bench.training.samplers import Sampler

RECIPE = TrainingRecipe(batch_size=16, lr=0.1, lr_min=0.01, lr_horizon=0, snapshots=2, accumulate=2, schedule="linear")
MERGED = SearchSpace(
    NB201.name, NB201.operators, NB201.edges, ((1, 3), (2, 3), (3,), (0, 3), (2, 4), (2, 3)), ((0, 1, 2), (3,), (4, 5))
)
EPOCHS = 2


def images() -> TrainLoader:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (51, 8, 8, 1), dtype=np.uint8)
    return TrainLoader(pixels, rng.integers(0, 3, len(pixels)), 16, pad=1, flip=True, mean=[0.5], std=[0.25])


def a_network(space: SearchSpace = NB201, seed: int = 0) -> NB201Network:
    torch.manual_seed(seed)
    return NB201Network(space, channels=2, cells=1, in_channels=1, num_classes=3)


class Told(Sampler):
    """Uniform paths; it remembers the losses that it is told."""

    def __init__(self, space: SearchSpace, before_step) -> None:
        self.sample, self.before_step, self.losses = UniformPath(space, 3), before_step, []

    def __call__(self, rng):
        self.before_step()
        return self.sample(rng)

    def after_step(self, paths, losses):
        self.losses += losses

    def tensors(self):
        return {"losses": torch.tensor(self.losses, dtype=torch.float64)}

    def load(self, tensors):
        self.losses = tensors["losses"].tolist()


def two_stages(processes: Processes, folder: Path | None = None, before_step=lambda stage: None) -> dict:
    """A stage, an expansion, and another stage: losses, those a sampler is told, weights and momentum at the end."""
    network, optimizer, result, losses, told = a_network(), None, None, [], []
    for stage, space in enumerate((NB201, MERGED), start=1):
        if stage == 2:
            sources = expand(network, MERGED)
            optimizer = make_optimizer(network, RECIPE)
            carry_momentum(result.optimizer, optimizer, sources)
        paths = Told(space, partial(before_step, stage))
        result = train(
            network,
            processes.share(images()),
            RECIPE,
            paths,
            epochs=EPOCHS,
            rng=np.random.default_rng(stage),
            generator=torch.Generator().manual_seed(stage),
            optimizer=optimizer,
            checkpoint=folder / f"stage-{stage}.safetensors" if folder else None,
            processes=processes,
        )
        losses += [line["loss"] for line in result.history]
        told += paths.losses
    momentum = {
        name: result.optimizer.state[weight]["momentum_buffer"]
        for name, weight in network.named_parameters()
        if weight in result.optimizer.state
    }
    return {
        "losses": losses,
        "told": told,
        "counts": result.counts,
        "weights": dict(network.named_parameters()),
        "momentum": momentum,
        "buffers": dict(network.named_buffers()),
        "mean": result.snapshots.mean,
    }


def as_json(outcome: dict) -> dict:
    return {
        name: {key: value.detach().flatten().tolist() for key, value in part.items()}
        if name in ("weights", "momentum", "buffers", "mean")
        else part
        for name, part in outcome.items()
    }


def worker(task: str, folder: Path) -> None:
    """What each of the processes does that torchrun starts."""
    loop.CHECKPOINT_SECONDS = 0.0
    steps = []

    def die(stage: int) -> None:
        steps.append(stage)
        # in the last epoch of the last stage, behind a checkpoint of the one before
        if rank == 1 and steps.count(2) == 5:
            (folder / "killed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    rank = int(os.environ["RANK"])
    with join("cpu") as (processes, device):
        assert (processes.rank, processes.world, processes.first, device.type) == (rank, 2, rank == 0, "cpu")
        found = as_json(two_stages(processes, folder, die if task == "die" else lambda stage: None))
        if task == "all":
            found |= exchanges(processes)
    if task == "all":
        found["hung"] = hung(rank, folder)
    (folder / f"rank-{rank}.json").write_text(json.dumps(found))


def exchanges(processes: Processes) -> dict:
    """What the processes give each other; 10 and 20 are their own values."""
    own = 10.0 * (processes.rank + 1)
    network = a_network(seed=processes.rank)
    network.lone = torch.nn.Parameter(torch.ones(2))
    network.lone.grad = torch.full((2,), own)
    processes.sum_gradients(network.parameters())
    network.stem[1].running_mean.fill_(own)
    processes.mean_buffers(network)
    mean = network.stem[1].running_mean.tolist()
    network.stem[1].running_var.fill_(own)
    processes.copy_first(network)
    state = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    processes.agree("nothing", b"the same")
    try:
        processes.agree("their minds", bytes([processes.rank]))
    except RunError as error:
        disagreement = str(error)
    return {
        "gradient": network.lone.grad.tolist(),
        "others": sum(weight.grad is not None for weight in network.parameters()),
        "averaged": mean,
        "copied": network.stem[1].running_var.tolist(),
        "state": hashlib.sha256(state).hexdigest(),
        "total": processes.total(own),
        "from_first": processes.from_first(np.array([own, 0.1])).tolist(),
        "disagreement": disagreement,
    }


def hung(rank: int, folder: Path) -> list | None:
    """How long process 0 waits for one that does not answer, and what it says then."""
    store = meet()
    store.add("here", 1)
    while store.add("here", 0) < 2:  # a late one would be missed by `join` already
        time.sleep(0.05)
    with join("cpu", timeout=10.0) as (processes, _):
        started = time.monotonic()
        if rank == 1:
            while not (folder / "rank-0.json").exists() and time.monotonic() < started + 60:
                time.sleep(0.1)
            return None
        with pytest.raises(RunError) as caught:
            processes.agree("nothing")
        return [time.monotonic() - started, str(caught.value)]


def torchrun(task: str, folder: Path) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    return subprocess.run([*command, task, str(folder)], capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> list[dict]:
    """What the two processes report of a whole training."""
    folder = tmp_path_factory.mktemp("processes") / "all"
    done = torchrun("all", folder)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_are_one_that_accumulates_their_parts(uninterrupted):
    """Through an expansion: losses, weights, momentum and counts. Only the running statistics of batch norm differ,
    which one process takes from its parts in turn and two take the mean of."""
    with limited_threads(1):  # as torchrun limits its processes; with two sums round otherwise, by up to 2e-5
        expected = as_json(two_stages(ALONE))
    for got in uninterrupted:
        assert len(got["losses"]) == 2 * EPOCHS
        assert got["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert len(got["told"]) == 2 * EPOCHS * len(images())
        assert got["told"] == pytest.approx(expected["told"], abs=1e-5)
        assert got["counts"] == expected["counts"]
        for part in ("weights", "momentum"):
            assert got[part].keys() == expected[part].keys()
            for name, values in expected[part].items():
                assert got[part][name] == pytest.approx(values, abs=1e-5), name


@pytest.mark.slow
def test_the_processes_end_with_the_same_network(uninterrupted):
    one, other = uninterrupted
    assert all(one[part] == other[part] for part in ("losses", "told", "weights", "momentum", "buffers", "mean"))
    assert one["state"] == other["state"]


@pytest.mark.slow
def test_what_processes_give_each_other(uninterrupted):
    for got in uninterrupted:
        assert got["gradient"] == [30.0, 30.0]
        assert got["others"] == 1  # weights without a gradient got none
        assert got["averaged"] == [15.0, 15.0]
        assert got["copied"] == [10.0, 10.0]
        assert got["total"] == 30.0
        assert got["from_first"] == [10.0, 0.1]
        assert got["disagreement"].startswith("the 2 processes differ in their minds; they must run the same command")


@pytest.mark.slow
def test_a_process_that_does_not_answer_is_waited_for_in_vain(uninterrupted):
    seconds, message = uninterrupted[0]["hung"]
    assert 9 < seconds < 60
    assert message.startswith("process 0 of 2: another process died or did not answer within 10 s (")
    assert message.endswith("start the same command again: it goes on from the last checkpoint")
    assert "\n" not in message


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_training_is_resumed(uninterrupted, tmp_path, full):
    if not full:
        pytest.skip("the same through a command is in tests/experiments/test_torchrun.py; set SENAS_FAULTS=full")
    folder = tmp_path / "cut"
    cut = torchrun("die", folder)
    assert cut.returncode != 0
    # the default wait of ten minutes is not needed
    assert time.time() - float((folder / "killed").read_text()) < 300
    assert "Signal 9 (SIGKILL)" in cut.stderr and "rank      : 1" in cut.stderr
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["killed", "stage-1.safetensors", "stage-2.safetensors"]
    assert read_checkpoint(folder / "stage-2.safetensors")[1]["done"] == EPOCHS - 1
    resumed = torchrun("resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    for rank, expected in enumerate(uninterrupted):
        got = json.loads((folder / f"rank-{rank}.json").read_text())
        assert all(expected[part] == got[part] for part in got)


def test_alone_nothing_is_exchanged():
    network = a_network()
    network.stem[1].running_mean.fill_(3.0)
    network.head.bias.grad = torch.ones(3)
    loader = images()
    ALONE.sum_gradients(network.parameters())
    ALONE.mean_buffers(network)
    ALONE.copy_first(network)
    ALONE.agree("anything", b"x")
    assert network.head.bias.grad.tolist() == [1.0] * 3
    assert network.stem[1].running_mean.tolist() == [3.0] * 2
    assert (ALONE.total(2.5), ALONE.share(loader) is loader, ALONE.first) == (2.5, True, True)
    values = np.array([1.0])
    assert ALONE.from_first(values) is values


@pytest.mark.parametrize("world", [2, 4])
def test_shares_are_the_parts_of_a_batch_in_order(world):
    whole = list(images().epoch(torch.Generator().manual_seed(5)))
    shares = [Processes(rank, world).share(images()) for rank in range(world)]
    assert [len(share) for share in shares] == [3] * world
    parts = [list(share.epoch(torch.Generator().manual_seed(5))) for share in shares]
    for step, batch in enumerate(whole):
        for k in range(2):
            assert torch.equal(torch.cat([part[step][k] for part in parts]), batch[k])
    assert len(parts[0][0][1]) == 16 // world


def test_a_share_draws_its_epoch_at_the_call():
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    Share(images(), 0, 2).epoch(one)
    images().epoch(other)
    assert torch.equal(one.get_state(), other.get_state())


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with join("cpu") as (processes, device):
        assert (processes, device) == (ALONE, torch.device("cpu"))
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with join("cpu") as (processes, _):
        assert processes == ALONE


def test_variables_of_torchrun_that_are_missing_are_named(monkeypatch):
    for name in ("WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    message = "RANK is set but WORLD_SIZE, LOCAL_RANK, MASTER_PORT is not; start with torchrun"
    with pytest.raises(ValueError, match=message), join("cpu"):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch):
    place = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "x", "MASTER_PORT": "1"}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="no GPU for process 1 of this machine, which has 1;"), join("cuda"):
        pass


@pytest.mark.parametrize(
    ("recipe", "loader", "message"),
    [
        (TrainingRecipe(batch_size=16), images(), "2 processes cannot share the 1 parts of a batch; set accumulate"),
        (RECIPE, images(), "16 images a process make no batch of 16; give `processes.share"),
    ],
)
def test_what_two_processes_cannot_do_is_refused(monkeypatch, recipe, loader, message):
    monkeypatch.setattr(Processes, "agree", lambda *_: None)
    monkeypatch.setattr(Processes, "copy_first", lambda *_: None)
    arguments = {"epochs": 1, "rng": np.random.default_rng(0), "generator": torch.Generator()}
    with pytest.raises(ValueError, match=message):
        train(a_network(), loader, recipe, UniformPath(NB201), processes=Processes(0, 2), **arguments)


if __name__ == "__main__":
    worker(sys.argv[1], Path(sys.argv[2]))
