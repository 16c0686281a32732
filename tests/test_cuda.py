"""What a GPU must give: the numbers of the CPU. Skipped without one; `make gpu-check` runs it."""

import numpy as np
import pytest
import torch

from senas_bench.data.loader import TrainLoader
from senas_bench.ranking.score_archs import Evaluation, score_archs
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network
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


@pytest.mark.parametrize("mode", ["batch", "running", "recalibrate"])
def test_scores_are_those_of_the_cpu(mode):
    x, y = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
    archs = NB201.archs()[::200]
    results = []
    for device in ("cpu", "cuda"):
        images = x.to(device).contiguous(memory_format=torch.channels_last)
        evaluation = Evaluation([(images, y.to(device))], mode, [images])
        results.append(score_archs(a_network(device), archs, evaluation))
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=0, atol=1e-4)
    assert results[0][2] == results[1][2]


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
