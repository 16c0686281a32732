"""What a GPU must give: the numbers of the CPU. Skipped without one; `make gpu-check` runs it."""

import numpy as np
import pytest
import torch

from senas_bench.data.loader import TrainLoader
from senas_bench.ranking.score_archs import Evaluation, score_archs
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
from senas_bench.training.bilevel import Alphas, LearningAlphas
from senas_bench.training.loop import train
from senas_bench.training.recipe import TrainingRecipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """No TF32, which has 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def a_network(device: str) -> NB201Network:
    torch.manual_seed(0)
    return NB201Network(NB201, channels=8, cells=1).to(device, memory_format=torch.channels_last)


def some(count: int) -> np.ndarray:
    return NB201.sample_distinct(np.random.default_rng(0), count)


@pytest.mark.parametrize("mode", ["batch", "running", "recalibrate"])
def test_scores_are_those_of_the_cpu(mode):
    x, y = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
    archs = some(80)
    results = []
    for device in ("cpu", "cuda"):
        images = x.to(device).contiguous(memory_format=torch.channels_last)
        evaluation = Evaluation([(images, y.to(device))], mode, [images])
        results.append(score_archs(a_network(device), archs, evaluation))
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=0, atol=1e-4)
    assert results[0][2] == results[1][2]


@pytest.mark.parametrize("mode", ["batch", "running", "recalibrate"])
def test_archs_that_share_a_pass_score_as_one_by_one(mode):
    x, y = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
    images = x.cuda().contiguous(memory_format=torch.channels_last)
    evaluation = Evaluation([(images, y.cuda())], mode, [images])
    alone, shared = (score_archs(a_network("cuda"), some(60), evaluation, at_once=n)[1] for n in (1, 16))
    np.testing.assert_allclose(shared, alone, rtol=0, atol=1e-5)


@pytest.fixture
def watchful():
    """Torch raises where the processor waits for the GPU, once this is called with "error"."""
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_step_waits_for_nothing(watchful, mixed, amp):
    """After the first, in which libraries set themselves up."""
    batch = torch.randn(8, 3, 16, 16, device="cuda"), torch.randint(0, 10, (8,), device="cuda")

    class Batches:
        batch_size = 8

        def __len__(self):
            return 4

        def epoch(self, generator):
            for step in range(4):
                watchful("error" if step else "default")
                yield batch
            watchful("default")

    alphas = Alphas(NB201, Batches(), torch.Generator().manual_seed(0), device="cuda")
    more = {"rng": np.random.default_rng(0), "generator": torch.Generator().manual_seed(0), "epochs": 1}
    recipe = TrainingRecipe((1,), batch_size=8, amp=amp, snapshots=1)
    architecture = LearningAlphas(alphas) if mixed else None
    training = train(
        a_network("cuda"),
        Batches(),
        recipe,
        alphas.mixture if mixed else NB201.paths(),
        architecture=architecture,
        **more,
    )
    assert np.isfinite(training.history[0]["loss"])


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("mode", ["batch", "recalibrate"])
def test_scoring_waits_for_nothing(watchful, mode, at_once):
    """After the first pass, until the sums are read."""
    x = torch.randn(16, 3, 16, 16, device="cuda").contiguous(memory_format=torch.channels_last)
    evaluation = Evaluation([(x, torch.randint(0, 10, (16,), device="cuda"))], mode, [x, x])
    after = lambda found: watchful("default" if found.done == found.total else "error")  # noqa: E731
    scores = score_archs(a_network("cuda"), some(10), evaluation, after=after, at_once=at_once)[1]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("amp", [False, True])
def test_a_network_learns(amp):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 512)
    images = np.clip(rng.normal(100 + 60 * labels[:, None, None, None], 20, (512, 16, 16, 3)), 0, 255).astype(np.uint8)
    loader = TrainLoader(images, labels, 64, pad=2, flip=True, mean=(0.5,) * 3, std=(0.25,) * 3, device="cuda")
    training = train(
        a_network("cuda"),
        loader,
        TrainingRecipe((3,), batch_size=64, amp=amp),
        lambda rng: [tuple(rng.integers(1, 5, 6).tolist())],
        epochs=3,
        rng=np.random.default_rng(0),
        generator=torch.Generator(device="cpu").manual_seed(0),
    )
    losses = [epoch["loss"] for epoch in training.history]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
