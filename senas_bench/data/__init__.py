"""Images, from files to batches on the device. `loader` and `streaming` alone import torch."""

from __future__ import annotations

from pathlib import Path

from senas_bench.names import lookup

from .imagenet16 import ImageNet16
from .readers import Cifar, Digits, Images

DATASETS: dict[str, Digits | Cifar | ImageNet16] = {
    "digits": Digits(),
    "cifar10": Cifar(
        name="cifar10",
        num_classes=10,
        label="label",
        torchvision_class="CIFAR10",
        folder="cifar-10-batches-py",
        batches=(*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
        hub_folder="plain_text",
    ),
    "cifar100": Cifar(
        name="cifar100",
        num_classes=100,
        label="fine_label",
        torchvision_class="CIFAR100",
        folder="cifar-100-python",
        batches=("train", "test"),
        hub_folder="cifar100",
    ),
    "imagenet16-120": ImageNet16(),
}
"""Each entry is called as `DATASETS[name](data_dir, download) -> Images`."""

__all__ = ["DATASETS", "Cifar", "Digits", "ImageNet16", "Images", "data_id"]


def data_id(dataset: str, data_dir: Path | None = None) -> str:
    """Fingerprint of a data set's files, 16 hex digits, without decoding an image.

    Args:
        dataset: Key of `DATASETS`.
        data_dir: Data folder; None is the cache folder's `images`.

    Raises:
        ValueError: Unknown data set.
        DataError: Its files are not there.
    """
    return lookup("dataset", dataset, DATASETS).data_id(data_dir)
