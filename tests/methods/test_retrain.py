import subprocess
import sys

import pytest
import torch
from torch import nn

from senas_bench.methods.retrain import accuracy


class Logits(nn.Module):
    """The images are the logits; batch norm that would change them in any mode but `running`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(classes, affine=True)

    def forward(self, x, path):
        return self.norm(x)


def test_top_1_and_top_5_by_hand():
    """Label 0 has rank 1, 2, 5, 6 and 8 of eight: one of five is first, three are among the first five."""
    ranks = (1, 2, 5, 6, 8)
    rows = torch.zeros(5, 8)
    for row, rank in zip(rows, ranks, strict=True):
        row[1:rank] = 2.0
        row[0] = 1.0
    y = torch.zeros(5, dtype=torch.long)
    network = Logits(8).train()
    top1, top5, images = accuracy(network, (0,), [(rows[:3], y[:3]), (rows[3:], y[3:])])  # a ragged tail counts whole
    assert (top1, top5, images) == (pytest.approx(20), pytest.approx(60), 5)
    assert network.training


def test_fewer_than_five_classes_have_all_in_the_top_5():
    top1, top5, _ = accuracy(Logits(3), (0,), [(torch.eye(3), torch.tensor([1, 1, 1]))])
    assert (top1, top5) == (pytest.approx(100 / 3), 100)


def test_torchvision_is_imported_where_images_are_streamed_and_nowhere_else():
    """It takes seconds, which `reproduce` without a run to compute does not have."""
    code = "import sys, senas_bench.methods, senas_bench.experiments.run; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
