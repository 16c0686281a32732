"""ImageNet16-120: files of the official shape, made up, under checksums of their own."""

import hashlib
import os
import pickle

import numpy as np
import pytest

from senas_bench.data.imagenet16 import OFFICIAL_MD5, ImageNet16, read_batch
from senas_bench.data.readers import fingerprint
from senas_bench.errors import DataError

IMAGES = 40


def batch(seed, protocol=3):
    """What an official file holds: 768 values an image, labels 1 to 1,000."""
    rng = np.random.default_rng(seed)
    labels = [1, 120, 121, 1000, *rng.integers(1, 1001, IMAGES - 4).tolist()]
    return {"data": rng.integers(0, 256, (IMAGES, 768), np.uint8), "labels": labels, "mean": np.zeros(768)}


def write(folder, entries, protocol=3):
    """The files under the official names, and a reader that expects them."""
    folder.mkdir(parents=True, exist_ok=True)
    md5 = {}
    for name, entry in zip(OFFICIAL_MD5, entries, strict=True):
        content = entry if isinstance(entry, bytes) else pickle.dumps(entry, protocol)
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
    return ImageNet16(md5=md5)


@pytest.mark.parametrize("place", [".", "ImageNet16"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_the_first_120_classes_of_all_files(tmp_path, place, protocol):
    entries = [batch(seed) for seed in range(11)]
    images = write(tmp_path / place, entries, protocol)(tmp_path)
    assert (images.name, images.num_classes) == ("imagenet16-120", 120)
    expected = [(entry["data"][row], label) for entry in entries[:10] for row, label in enumerate(entry["labels"])]
    expected = [(pixels, label - 1) for pixels, label in expected if label <= 120]
    assert images.train_x.shape == (len(expected), 16, 16, 3) and images.train_x.dtype == np.uint8
    assert images.train_y.tolist() == [label for _, label in expected] and images.train_y.dtype == np.int64
    pixels = expected[1][0]  # the red plane first, row by row
    assert images.train_x[1, 2, 5].tolist() == [pixels[plane * 256 + 2 * 16 + 5] for plane in range(3)]
    assert set(images.test_y) <= set(range(120)) and images.test_x.shape[0] == len(images.test_y) >= 2
    assert images.data_id == fingerprint((tmp_path / place).iterdir())


def test_identity_needs_no_reading(tmp_path):
    reader = write(tmp_path, [batch(seed) for seed in range(11)])
    assert reader.data_id(tmp_path) == reader(tmp_path).data_id


def test_a_damaged_file_is_named_with_both_hashes(tmp_path):
    reader = write(tmp_path, [batch(seed) for seed in range(11)])
    path = tmp_path / "train_data_batch_7"
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        reader(tmp_path)
    expected, found = reader.md5[path.name], hashlib.md5(content).hexdigest()
    assert all(text in str(error.value) for text in (str(path), expected, found, "unpack ImageNet16.tar.gz again"))


def test_missing_files_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("SENAS_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"11 of 11 files missing, first train_data_batch_1; unpack"):
        ImageNet16()()
    reader = write(tmp_path / "images" / "ImageNet16", [batch(seed) for seed in range(11)])
    assert len(reader().train_x)
    (tmp_path / "images" / "ImageNet16" / "val_data").unlink()
    with pytest.raises(DataError, match=r"ImageNet16: 1 of 11 files missing, first val_data"):
        reader.data_id()
    with pytest.raises(DataError, match="cannot be downloaded without ImageNet's consent"):
        reader(download=True)


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, getattr, np.load])
def test_a_hostile_file_is_refused_by_its_checksum_and_by_its_content(tmp_path, function):
    canary = tmp_path / "canary"
    arguments = {os.system: [f"touch {canary}"], eval: [f"open({str(canary)!r}, 'w')"], getattr: [1, "real"]}
    content = pickle.dumps({"data": Call(function, *arguments.get(function, [str(canary)])), "labels": [1]}, 2)
    (tmp_path / "val_data").write_bytes(content)
    with pytest.raises(DataError, match="expected 3410e3017fdaefba8d5073aaa65e4bd6"):
        read_batch(tmp_path / "val_data", OFFICIAL_MD5["val_data"], 120)
    with pytest.raises(DataError, match="refused") as error:
        read_batch(tmp_path / "val_data", hashlib.md5(content).hexdigest(), 120)
    assert not canary.exists() and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"data": np.zeros((2, 768), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]},
        {"data": np.zeros((2, 768)), "labels": [1, 2]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [0, 1]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [1, 1.7]},
        {"data": np.zeros((2, 768), np.uint8), "labels": [True, True]},
        {"data": np.zeros((2, 768), np.uint8), "labels": ["1", "2"]},
        {"labels": [1]},
        b"no pickle",
        b"",
    ],
)
def test_another_content_is_refused(tmp_path, entry):
    content = entry if isinstance(entry, bytes) else pickle.dumps(entry)
    (tmp_path / "val_data").write_bytes(content)
    with pytest.raises(DataError, match="is not a batch of 16x16 images"):
        read_batch(tmp_path / "val_data", hashlib.md5(content).hexdigest(), 120)


def test_official_checksums():
    assert len(OFFICIAL_MD5) == 11 and list(OFFICIAL_MD5)[-1] == "val_data"
    assert {len(md5) for md5 in OFFICIAL_MD5.values()} == {32} and len(set(OFFICIAL_MD5.values())) == 11
