"""The plain way: the NAS-Bench-201 supernet as its papers describe it, in PyTorch as everybody writes it first.

Written from the papers (Dong and Yang, NAS-Bench-201, ICLR 2020; Guo et al., SPOS, ECCV 2020), for the ratios of
`make bench`. Contiguous tensors; ReLU, convolution and batch norm as three modules on each edge; `none` multiplies by
zero; a `DataLoader` with the transforms of torchvision; loss and accuracy read at each step; a ranking that takes one
arch after the other. `peers.md` records how near it lies to public code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from senas_bench.spaces import Arch
from senas_bench.spaces.nasbench201 import CONV1, CONV3, EDGES, NODES, NONE, OPERATORS, SKIP
from senas_bench.spaces.nasbench201.network import NB201Network

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


class Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1, affine: bool = True) -> nn.Sequential:
    """The convolution operator of the paper."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(c_out, affine=affine),
    )


def operator(op: int, channels: int) -> nn.Module:
    """One of the five candidates of an edge."""
    if op == NONE:
        return Zero()
    if op == SKIP:
        return nn.Identity()
    if op in (CONV1, CONV3):
        return relu_conv_bn(channels, channels, 1 if op == CONV1 else 3, affine=False)
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


class PlainCell(nn.Module):
    """Four nodes; every edge holds all candidates and runs the chosen one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleList(operator(op, channels) for op in range(len(OPERATORS))) for _ in EDGES)

    def forward(self, x: torch.Tensor, arch: Arch) -> torch.Tensor:
        nodes = [x]
        for node in range(1, NODES):
            into = [(edge, source) for edge, (source, target) in enumerate(EDGES) if target == node]
            nodes.append(sum(self.edges[edge][arch[edge]](nodes[source]) for edge, source in into))
        return nodes[-1]


class PlainReduction(nn.Module):
    """The residual block with stride 2 between two stages."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = relu_conv_bn(c_in, c_out, 3, stride=2)
        self.second = relu_conv_bn(c_out, c_out, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.second(self.first(x))


class PlainNetwork(nn.Module):
    """Stem, three stages of cells, head."""

    def __init__(self, channels: int, cells: int, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.body = nn.ModuleList()
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                self.body.append(PlainReduction(width // 2, width))
            self.body.extend(PlainCell(width) for _ in range(cells))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor, arch: Arch) -> torch.Tensor:
        """Logits `(B, classes)`."""
        x = self.stem(x)
        for block in self.body:
            x = block(x, arch) if isinstance(block, PlainCell) else block(x)
        return self.head(self.pool(self.last(x)).flatten(1))


def like(network: NB201Network, channels: int) -> PlainNetwork:
    """A plain network with the weights of `network`, an unexpanded supernet."""
    plain = PlainNetwork(channels, network.cells, network.head.out_features)
    theirs, ours = dict(plain.named_parameters()), dict(network.named_parameters())
    with torch.no_grad():
        for name, weight in ours.items():
            theirs[_plain_name(name)].copy_(weight)
    if len(theirs) != len(ours):
        raise ValueError("the networks have not the same weights")
    return plain


def _plain_name(name: str) -> str:
    """`body.0.choices.1.copies.3.0.weight` is `body.0.edges.1.3.1.weight`: a ReLU comes first."""
    parts = name.replace(".choices.", ".edges.").replace(".copies.", ".").split(".")
    if parts[0] == "body" and parts[-2].isdigit():
        parts[-2] = str(int(parts[-2]) + 1)
    if parts[0] == "last" or "shortcut" in parts:
        parts.insert(-1, "0" if parts[0] == "last" else "1")
    return ".".join(parts)


class Pictures(Dataset):
    """Images in memory, augmented one by one as CIFAR-10 is: pad 4, crop, flip."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(images.shape[1], padding=4),
                transforms.ToTensor(),
                transforms.Normalize(CIFAR_MEAN, CIFAR_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def plain_loader(images: np.ndarray, labels: np.ndarray, batch_size: int) -> DataLoader:
    """Shuffled, augmented batches, made by the process that trains."""
    return DataLoader(Pictures(images, labels), batch_size, shuffle=True, drop_last=True)


def plain_optimizer(network: nn.Module, lr: float = 0.025) -> torch.optim.SGD:
    """SGD as the benchmark's paper sets it."""
    return torch.optim.SGD(network.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)


def plain_training(
    network: nn.Module,
    loader: Iterable[tuple[torch.Tensor, torch.Tensor]],
    optimizer: torch.optim.Optimizer,
    sample: Callable[[], Arch],
) -> list[float]:
    """One epoch of single-path training; the loss of each step."""
    network.train()
    losses, hits = [], []
    for x, y in loader:
        optimizer.zero_grad()
        logits = network(x, sample())
        loss = nn.functional.cross_entropy(logits, y)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        hits.append((logits.argmax(1) == y).float().mean().item())
        losses.append(loss.item())
    return losses


def plain_ranking(
    network: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], archs: Sequence[Arch]
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy in percent and mean log-likelihood of each arch, one after the other, with the statistics of a batch."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    accuracy, loglik = [], []
    with torch.no_grad():
        for arch in archs:
            hits = total = images = 0
            for x, y in batches:
                logits = network(x, arch)
                hits += (logits.argmax(1) == y).sum().item()
                total -= nn.functional.cross_entropy(logits, y, reduction="sum").item()
                images += len(y)
            accuracy.append(100 * hits / images)
            loglik.append(total / images)
    return np.array(accuracy), np.array(loglik)
