"""Reading images: what is found, what is refused, and what is cached."""

import hashlib
import io
import pickle
import socket
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from senas_bench.data import DATASETS, data_id
from senas_bench.data import readers as readers_module
from senas_bench.data.readers import cached, fingerprint, read_digits, read_parquet, resize
from senas_bench.errors import DataError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("SENAS_HOME", str(folder))
    monkeypatch.delenv("SENAS_OFFLINE", raising=False)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def encode(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(path, n=6, label="label", seed=0, labels=None, blobs=None):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    blobs = [encode(image) for image in pixels] if blobs is None else blobs
    labels = list(range(n)) if labels is None else labels
    img = pa.array(
        [{"bytes": blob, "path": None} for blob in blobs], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": img, label: pa.array(labels, pa.int64())}), path, row_group_size=4)
    return pixels


def write_batches(root, monkeypatch):
    """Official CIFAR-10 batches of two images each, with torchvision's checksums set to match."""
    import torchvision.datasets

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    planes = {name: rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8) for name in names}
    sums = {}
    for name in names:
        content = pickle.dumps({"data": planes[name].reshape(2, -1), "labels": [1, 2]})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": [str(i) for i in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": hashlib.md5(meta).hexdigest()})
    return np.concatenate([planes[name] for name in names[:5]]).transpose(0, 2, 3, 1)


def test_reading_and_fingerprints_need_no_torch():
    code = (
        "import sys; from senas_bench.data import DATASETS, data_id; data_id('digits');"
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_digits():
    digits = read_digits()
    assert digits.train_x.shape == (1797, 8, 8, 1)
    assert (digits.train_x.dtype, digits.train_y.dtype) == (np.uint8, np.int64)
    assert (digits.train_x.min(), digits.train_x.max()) == (0, 255)
    assert np.bincount(digits.train_y).min() > 170
    assert digits.test_x is None
    assert digits.test_y is None
    assert DATASETS["digits"](None, False).data_id == digits.data_id == data_id("digits")


def test_digits_at_another_resolution():
    assert read_digits(4).train_x.shape == (1797, 4, 4, 1)


def test_digits_are_checked_against_their_fingerprint(monkeypatch):
    monkeypatch.setattr(readers_module, "DIGITS_ID", "f" * 16)
    with pytest.raises(DataError, match="fingerprint"):
        read_digits()


@pytest.mark.parametrize(("dataset", "label", "classes"), [("cifar10", "label", 10), ("cifar100", "fine_label", 100)])
def test_real_parquet_test_files(shared, dataset, label, classes):
    x, y = read_parquet(shared / "images" / f"{dataset}-test.parquet", label, classes)
    assert (x.shape, x.dtype) == ((10_000, 32, 32, 3), np.uint8)
    assert (y.shape, y.dtype) == ((10_000,), np.int64)
    assert np.unique(np.bincount(y)).tolist() == [10_000 // classes]
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)) / 255, [0.5, 0.49, 0.45], atol=0.02)


def test_real_parquet_fingerprints_differ(shared):
    ids = [data_id(dataset, shared / "images") for dataset in ("cifar10", "cifar100")]
    assert len(set(ids)) == 2
    assert all(len(found) == 16 for found in ids)


@pytest.mark.parametrize(
    ("dataset", "place", "names"),
    [
        ("cifar10", ".", "cifar10-{}.parquet"),
        ("cifar10", "cifar10", "cifar10-{}.parquet"),
        ("cifar10", "cifar10", "{}-00000-of-00001.parquet"),
        ("cifar10", "plain_text", "{}-00000-of-00001.parquet"),
        ("cifar10", "cifar10/plain_text", "{}-00000-of-00001.parquet"),
        ("cifar100", "cifar100", "{}-00000-of-00001.parquet"),
        ("cifar100", "cifar100/cifar100", "{}-00000-of-00001.parquet"),
    ],
)
def test_parquet_is_found_and_decoded_exactly(tmp_path, dataset, place, names):
    label = DATASETS[dataset].label
    train = write_parquet(tmp_path / place / names.format("train"), 9, label)
    test = write_parquet(tmp_path / place / names.format("test"), 5, label, seed=1)
    images = DATASETS[dataset](tmp_path, False)
    assert np.array_equal(images.train_x, train)
    assert np.array_equal(images.test_x, test)
    assert images.train_y.tolist() == list(range(9))
    assert (images.name, images.num_classes) == (dataset, DATASETS[dataset].num_classes)
    assert images.data_id == data_id(dataset, tmp_path)


def test_webp_is_decoded(tmp_path):
    grey = np.full((32, 32, 3), 128, np.uint8)
    write_parquet(tmp_path / "a.parquet", 1, blobs=[encode(grey, "WEBP")])
    x, _ = read_parquet(tmp_path / "a.parquet", "label", 10)
    assert np.abs(x.astype(int) - 128).max() <= 2


def test_data_folder_defaults_to_the_cache_folder(home):
    for part in ("train", "test"):
        write_parquet(home / "images" / f"cifar10-{part}.parquet")
    assert len(DATASETS["cifar10"](None, False).train_x) == 6


def test_official_batches_are_read_and_preferred(tmp_path, monkeypatch):
    expected = write_batches(tmp_path, monkeypatch)
    for part in ("train", "test"):
        write_parquet(tmp_path / f"cifar10-{part}.parquet")
    images = DATASETS["cifar10"](tmp_path, False)
    assert np.array_equal(images.train_x, expected)
    assert images.train_y.tolist() == [1, 2] * 5
    assert (images.train_x.dtype, images.train_y.dtype) == (np.uint8, np.int64)
    assert images.test_x.shape == (2, 32, 32, 3)
    assert images.data_id == data_id("cifar10", tmp_path)


def test_official_batches_with_a_wrong_checksum_are_refused(tmp_path, monkeypatch):
    write_batches(tmp_path, monkeypatch)
    with (tmp_path / "cifar-10-batches-py" / "data_batch_3").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="checksums"):
        DATASETS["cifar10"](tmp_path, False)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("ask", [lambda name, path: DATASETS[name](path, False), data_id])
def test_missing_images_say_what_to_do(tmp_path, dataset, ask):
    with pytest.raises(DataError) as error:
        ask(dataset, tmp_path / "nowhere")
    message = str(error.value)
    assert "\n" not in message
    for part in (
        str(tmp_path / "nowhere"),
        f"{dataset}-{{train,test}}.parquet",
        f"data download {dataset}",
        "--data-dir",
    ):
        assert part in message


def test_half_a_data_set_is_missing(tmp_path):
    write_parquet(tmp_path / "cifar10-train.parquet")
    with pytest.raises(DataError, match="no cifar10 images"):
        data_id("cifar10", tmp_path)


def test_offline_forbids_the_download_and_opens_no_socket(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("SENAS_OFFLINE", "1")
    with pytest.raises(DataError, match="SENAS_OFFLINE"):
        DATASETS["cifar10"](tmp_path, True)
    assert not any(path.name.startswith("cifar") for path in tmp_path.iterdir())


def test_offline_reads_what_is_there(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("SENAS_OFFLINE", "1")
    for part in ("train", "test"):
        write_parquet(tmp_path / f"cifar10-{part}.parquet")
    assert len(DATASETS["cifar10"](tmp_path, True).train_x) == 6


def test_a_failed_download_is_a_data_error(tmp_path, monkeypatch):
    import torchvision.datasets

    def fail(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    with pytest.raises(DataError, match="no route"):
        DATASETS["cifar10"](tmp_path, True)


def test_download_is_not_tried_unless_asked(tmp_path, no_network):
    with pytest.raises(DataError, match="no cifar10 images"):
        DATASETS["cifar10"](tmp_path, False)


def test_unknown_data_set():
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        data_id("cifar1")


def break_nothing_readable(path):
    path.write_bytes(b"not parquet")


def break_truncated(path):
    write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])


def break_column(path):
    write_parquet(path, label="fine_label")


def break_label_range(path):
    write_parquet(path, 3, labels=[0, 1, 10])


def break_label_null(path):
    write_parquet(path, 3, labels=[0, None, 1])


def break_image(path):
    write_parquet(path, 1, blobs=[b"junk"])


def break_image_null(path):
    write_parquet(path, 1, blobs=[None])


def break_image_size(path):
    write_parquet(path, 1, blobs=[encode(np.zeros((16, 16, 3), np.uint8))])


def break_empty(path):
    write_parquet(path, 0)


@pytest.mark.parametrize(
    "damage",
    [
        break_nothing_readable,
        break_truncated,
        break_column,
        break_label_range,
        break_label_null,
        break_image,
        break_image_null,
        break_image_size,
        break_empty,
    ],
)
def test_damaged_parquet_is_a_data_error_of_one_line(tmp_path, damage):
    path = tmp_path / "cifar10-train.parquet"
    damage(path)
    with pytest.raises(DataError) as error:
        read_parquet(path, "label", 10)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def count_decodes(monkeypatch):
    calls = []
    original = readers_module.read_parquet
    monkeypatch.setattr(readers_module, "read_parquet", lambda *args: calls.append(args) or original(*args))
    return calls


def test_decoded_images_are_cached_and_follow_the_files(tmp_path, home, monkeypatch):
    calls = count_decodes(monkeypatch)
    for part in ("train", "test"):
        write_parquet(tmp_path / f"cifar10-{part}.parquet")
    first = DATASETS["cifar10"](tmp_path, False)
    again = DATASETS["cifar10"](tmp_path, False)
    assert len(calls) == 2
    for name in ("train_x", "train_y", "test_x", "test_y"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert [path.name for path in (home / "decoded").iterdir()] == [f"cifar10-{first.data_id}.npz"]

    changed = write_parquet(tmp_path / "cifar10-train.parquet", seed=9)
    third = DATASETS["cifar10"](tmp_path, False)
    assert third.data_id != first.data_id
    assert np.array_equal(third.train_x, changed)


def flip_byte(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [flip_byte, lambda content: content[: len(content) // 2], lambda content: b""])
def test_a_corrupt_cache_is_rebuilt(tmp_path, home, damage):
    expected = write_parquet(tmp_path / "cifar10-train.parquet")
    write_parquet(tmp_path / "cifar10-test.parquet")
    DATASETS["cifar10"](tmp_path, False)
    (entry,) = (home / "decoded").iterdir()
    sound = entry.read_bytes()
    entry.write_bytes(damage(sound))
    assert np.array_equal(DATASETS["cifar10"](tmp_path, False).train_x, expected)
    with np.load(entry) as stored:
        assert np.array_equal(stored["train_x"], expected)
    assert list((home / "decoded").iterdir()) == [entry]


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path):
    (tmp_path / "file").touch()
    arrays = readers_module._Arrays(*(np.zeros(1) for _ in range(4)))
    with pytest.warns(UserWarning, match="not cached"):
        assert cached(tmp_path / "file" / "a.npz", lambda: arrays) is arrays


def test_fingerprint_is_sha256_over_the_bytes_in_order_of_name(tmp_path):
    (tmp_path / "b").write_bytes(b"second")
    (tmp_path / "a").write_bytes(b"first")
    expected = hashlib.sha256(b"firstsecond").hexdigest()[:16]
    assert fingerprint([tmp_path / "b", tmp_path / "a"]) == expected
    with pytest.raises(DataError, match="cannot read"):
        fingerprint([tmp_path / "c"])


@pytest.mark.parametrize(("size", "resolution"), [(32, 16), (32, 8), (6, 2)])
def test_whole_reductions_average_blocks(size, resolution):
    x = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    factor = size // resolution
    blocks = x.reshape(5, resolution, factor, resolution, factor, 3).astype(np.float64)
    small = resize(x, resolution)
    assert small.dtype == np.uint8
    assert np.array_equal(small, np.floor(blocks.mean(axis=(2, 4)) + 0.5))


@pytest.mark.parametrize("resolution", [5, 20, 48])
def test_other_sizes_are_interpolated(resolution):
    constant = np.full((2, 32, 32, 1), 77, np.uint8)
    assert np.array_equal(resize(constant, resolution), np.full((2, resolution, resolution, 1), 77))
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None], (1, 32, 1, 3))
    out = resize(ramp, resolution)
    assert out.shape == (1, resolution, resolution, 3)
    assert (np.diff(out[0, 0, :, 0].astype(int)) >= 0).all()


def test_resize_to_the_same_size_changes_nothing():
    x = np.zeros((2, 8, 8, 1), np.uint8)
    assert resize(x, 8) is x


@pytest.mark.parametrize(("shape", "resolution"), [((1, 8, 8, 3), 0), ((1, 8, 6, 3), 4)])
def test_resize_refuses_what_it_cannot_do(shape, resolution):
    with pytest.raises(ValueError, match="cannot resize"):
        resize(np.zeros(shape, np.uint8), resolution)
