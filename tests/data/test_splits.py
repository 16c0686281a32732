"""The validation split that all runs share, and the official ones."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from senas_bench import data
from senas_bench.data import splits
from senas_bench.data.loader import prepare, prepare_retraining
from senas_bench.data.loading import Loading
from senas_bench.data.readers import Images
from senas_bench.data.splits import SPLIT_FILES, find_split_file, read_official_split, train_valid_split
from senas_bench.errors import DataError


@pytest.mark.parametrize(("n", "valid"), [(2, 1), (10, 3), (10, 9), (50_000, 5_000)])
def test_parts_are_disjoint_and_complete(n, valid):
    train, held_out = train_valid_split(n, valid)
    assert (len(train), len(held_out)) == (n - valid, valid)
    assert train.dtype == held_out.dtype == np.int64
    assert np.array_equal(np.sort(np.concatenate([train, held_out])), np.arange(n))


def test_split_is_the_same_each_time_and_ignores_global_state():
    np.random.seed(1)
    first = train_valid_split(100, 10)
    np.random.seed(2)
    second = train_valid_split(100, 10)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_another_seed_is_another_split():
    assert not np.array_equal(train_valid_split(100, 10)[1], train_valid_split(100, 10, seed=1)[1])


def test_a_smaller_validation_part_is_contained_in_a_larger_one():
    assert set(train_valid_split(100, 10)[1]) < set(train_valid_split(100, 50)[1])


@pytest.mark.parametrize("valid", [-1, 0, 10, 11])
def test_sizes_out_of_range_are_refused(valid):
    with pytest.raises(ValueError, match="between 1 and 9"):
        train_valid_split(10, valid)


SIZES = {"of": 6, "other": 4}


@pytest.fixture(params=["cifar10", "cifar100", "imagenet16-120"])
def official(request, tmp_path, monkeypatch):
    """Small split files of the official form; images whose label is their position, test images from 50 on."""
    known = SPLIT_FILES[request.param]
    content = json.dumps({known.rest: ["int", ["0", "2", "5"]], known.valid: ["int", ["1", "3", "4"]]}).encode()
    (tmp_path / known.name).write_bytes(content)
    known = known._replace(images=SIZES["of"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(splits, "SPLIT_FILES", {request.param: known})
    train, test = (SIZES["of"], SIZES["other"]) if known.of == "train" else (SIZES["other"], SIZES["of"])
    pixels = np.random.default_rng(0).integers(0, 256, (train + test, 4, 4, 3), np.uint8)
    labels = np.append(np.arange(train), 50 + np.arange(test))
    images = Images(pixels[:train], labels[:train], pixels[train:], labels[train:], 60, request.param, "0" * 16)
    return replace(images, split=read_official_split(request.param, tmp_path)), known


def labels_of(batches):
    return sorted(int(label) for _, labels in batches for label in labels)


def test_official_halves_are_what_trains_validates_and_tests(official):
    images, known = official
    loaders = prepare(images, Loading(resolution=4, valid=0, batch_size=1, eval_batch=1, calibration=2))
    train = sorted(loaders.train._labels.tolist())
    retrain = prepare_retraining(images, Loading(resolution=4, valid=0, batch_size=1, eval_batch=2))
    assert retrain.split == "test"
    if known.of == "train":
        assert (train, labels_of(loaders.valid), labels_of(retrain.test)) == ([0, 2, 5], [1, 3, 4], [50, 51, 52, 53])
        assert sorted(retrain.train._labels.tolist()) == [0, 1, 2, 3, 4, 5]
    else:
        assert (train, labels_of(loaders.valid), labels_of(retrain.test)) == ([0, 1, 2, 3], [51, 53, 54], [50, 52, 55])
        assert sorted(retrain.train._labels.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("turn", range(3))
def test_an_architecture_learns_from_the_official_validation_images(official, turn):
    """CIFAR-10: weights on its `train`, the architecture on its `valid`; the others: on all training images and on
    `x-valid`, of which there are fewer, so that they come again [code: AutoDL-Projects, get_nas_search_loaders]."""
    images, known = official
    loading = Loading(resolution=4, valid=0, batch_size=1, eval_batch=1, calibration=2, learn_from_valid=True, pad=1)
    loaders = prepare(images, loading)
    weights, architecture = loaders.bilevel()
    assert len(weights) == len(architecture) and weights.batch_size == architecture.batch_size == 1
    generator = torch.Generator().manual_seed(turn)
    seen = [int(y) for _, y in weights.epoch(generator)]
    learned = [int(y) for _, y in architecture.epoch(generator)]
    valid = [1, 3, 4] if known.of == "train" else [51, 53, 54]
    assert sorted(seen) == ([0, 2, 5] if known.of == "train" else [0, 1, 2, 3])
    assert sorted(learned[:3]) == valid and set(learned[3:]) <= set(valid) and len(learned) == len(seen)
    assert labels_of(loaders.valid) == valid and architecture.loader.pad == 1  # the same images, these augmented
    halves = prepare(images, replace(loading, learn_from_valid=False)).bilevel()
    assert [len(half) for half in halves] == [len(weights) // 2] * 2


def test_another_file_is_refused_by_its_hash(official, tmp_path):
    images, known = official
    path = tmp_path / known.name
    path.write_bytes(path.read_bytes() + b" ")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"has sha256 {found}, the official file {known.sha256}"):
        read_official_split(images.name, tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=f"configs/nas-benchmark/{known.name} of AutoDL-Projects"):
        find_split_file(images.name, tmp_path)


def test_halves_that_are_none_are_refused(official, tmp_path, monkeypatch):
    images, known = official
    for content in ("[]", "{}", f'{{"{known.rest}": ["int", ["0"]], "{known.valid}": ["int", ["0", "1"]]}}'):
        (tmp_path / known.name).write_text(content)
        right = known._replace(sha256=hashlib.sha256(content.encode()).hexdigest())
        monkeypatch.setattr(splits, "SPLIT_FILES", {images.name: right})
        with pytest.raises(DataError, match=f"is no split of {images.name}"):
            read_official_split(images.name, tmp_path)


def test_images_in_another_order_have_no_official_split(official, tmp_path):
    """Parquet files keep no order that the split could count in; those here are only looked for, not read."""
    images, _ = official
    if not images.name.startswith("cifar"):
        pytest.skip("its only files are the official ones")
    for part in ("train", "test"):
        (tmp_path / f"{images.name}-{part}.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="are Parquet; put the official batches there"):
        data.data_id(images.name, tmp_path, official_split=True)


def test_a_split_is_part_of_the_identity_of_the_images(official, tmp_path, monkeypatch):
    images, known = official

    class Reader:
        def __call__(self, data_dir, download):
            return replace(images, split=None)

        def data_id(self, data_dir):
            return images.data_id

        def in_official_order(self, data_dir):
            return True

    monkeypatch.setattr(data, "DATASETS", {images.name: Reader()})
    content = (tmp_path / known.name).read_bytes()
    expected = hashlib.sha256(images.data_id.encode() + content).hexdigest()[:16]
    assert data.data_id(images.name, tmp_path, official_split=True) == expected
    read = data.read_images(images.name, tmp_path, official_split=True)
    assert read.data_id == expected and read.split.of == known.of
    assert data.read_images(images.name, tmp_path).split is None
    with pytest.raises(ValueError, match="unknown data set with an official split 'digits'"):
        find_split_file("digits", tmp_path)
