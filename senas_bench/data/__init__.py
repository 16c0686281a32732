"""Images, from files to batches on the device. `loader`, `sources` and `streaming` alone import torch."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from senas_bench.data.cifar import Cifar
from senas_bench.data.imagenet import ImageNet, StreamedImages
from senas_bench.data.imagenet16 import ImageNet16
from senas_bench.data.readers import Digits, Images, data_folder
from senas_bench.data.splits import find_split_file, read_official_split
from senas_bench.errors import DataError
from senas_bench.names import lookup

DATASETS: dict[str, Digits | Cifar | ImageNet16 | ImageNet] = {
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
    "imagenet": ImageNet(),
}
"""Each entry is called as `DATASETS[name](data_dir, download) -> Images`, or `StreamedImages`."""

__all__ = [
    "DATASETS",
    "Cifar",
    "Digits",
    "ImageNet",
    "ImageNet16",
    "Images",
    "StreamedImages",
    "data_id",
    "read_images",
]


def data_id(dataset: str, data_dir: Path | None = None, *, official_split: bool = False) -> str:
    """Fingerprint of a data set's files, 16 hex digits, without decoding an image.

    Args:
        dataset: Key of `DATASETS`.
        data_dir: Data folder; None is the cache folder's `images`.
        official_split: Together with the split file of NAS-Bench-201, which must lie in the data folder.

    Raises:
        ValueError: Unknown data set, or one without an official split.
        DataError: Its files are not there, or not in the order that the split counts in.
    """
    reader = lookup("dataset", dataset, DATASETS)
    identity = reader.data_id(data_dir)
    if not official_split:
        return identity
    folder = data_folder(data_dir)
    split = find_split_file(dataset, folder)
    assert not isinstance(reader, Digits | ImageNet)  # they have no split file
    if not reader.in_official_order(data_dir):
        raise DataError(
            f"the official split counts images as the official files of {dataset} do, those in {folder} are Parquet; "
            f"put the official batches there (senas-bench data download {dataset}), or leave the split out"
        )
    return hashlib.sha256(identity.encode() + split.read_bytes()).hexdigest()[:16]


def read_images(dataset: str, data_dir: Path | None = None, *, official_split: bool = False) -> Images | StreamedImages:
    """The images of a data set, and with `official_split` which of them validate. Arguments and errors as `data_id`."""
    images = lookup("dataset", dataset, DATASETS)(data_dir, False)
    if not official_split:
        return images
    identity = data_id(dataset, data_dir, official_split=True)
    return replace(images, split=read_official_split(dataset, data_folder(data_dir)), data_id=identity)
