"""Reading CIFAR: what is found, fetched, refused, and cached."""

import errno
import hashlib
import io
import os
import pickle
import socket
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from senas_bench.data import DATASETS, Cifar, data_id
from senas_bench.data import cifar as cifar_module
from senas_bench.data.cifar import cached, read_parquet
from senas_bench.data.download import Archive
from senas_bench.errors import DataError

pytestmark = pytest.mark.usefixtures("home")


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


@pytest.mark.slow
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


@pytest.mark.parametrize(("name", "lost"), [("data_batch_3", False), ("batches.meta", False), ("batches.meta", True)])
def test_an_official_file_that_is_not_the_official_one_is_named_and_not_unpickled(tmp_path, monkeypatch, name, lost):
    write_batches(tmp_path, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / name
    expected = hashlib.md5(path.read_bytes()).hexdigest()
    path.unlink() if lost else path.write_bytes(b"x")
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(DataError) as error:
        DATASETS["cifar10"](tmp_path, False)
    found = "is missing" if lost else f"has md5 {hashlib.md5(b'x').hexdigest()}"
    assert str(error.value) == (
        f"{path} {found}, the official file {expected}; delete {path.parent} and run: senas-bench data download cifar10"
    )


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


def pack_batches(folder, monkeypatch, web):
    """The official archive, served: what it holds, its images, and its hash; it has more files than are wanted."""
    images = write_batches(folder, monkeypatch)
    batches = folder / "cifar-10-batches-py"
    files = {path.name: path.read_bytes() for path in batches.iterdir()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(batches, batches.name)
        for escape in ("../escaped", "/tmp/escaped", "cifar-10-batches-py/../../escaped"):
            tar.addfile(tarfile.TarInfo(escape))
    archive = web.publish(buffer.getvalue())
    monkeypatch.setitem(cifar_module.ARCHIVES, "cifar10", archive)
    return files, images, archive


def test_official_batches_are_downloaded_once_by_many(tmp_path, monkeypatch, web):
    files, expected, _ = pack_batches(tmp_path / "source", monkeypatch, web)
    root = tmp_path / "new" / "root"
    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(lambda _: DATASETS["cifar10"](root, True), range(4)):
            assert np.array_equal(images.train_x, expected)
    assert web.asked == [None]
    assert {path.name: path.read_bytes() for path in (root / "cifar-10-batches-py").iterdir()} == files
    names = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*")}
    assert names - {f"root/cifar-10-batches-py/{name}" for name in files} == {
        "root", "root/some.tar.gz", "root/cifar-10-batches-py",
    }  # fmt: skip


def test_a_lost_batch_is_unpacked_anew_without_the_network(tmp_path, monkeypatch, web):
    pack_batches(tmp_path / "source", monkeypatch, web)
    DATASETS["cifar10"](tmp_path, True)
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    assert len(DATASETS["cifar10"](tmp_path, True).test_x) == 2
    assert web.asked == [None]


def test_a_download_that_is_not_the_official_one_is_refused_with_both_hashes(tmp_path, monkeypatch, web):
    _, _, archive = pack_batches(tmp_path / "source", monkeypatch, web)
    web.content = b"an error page"
    with pytest.raises(DataError) as error:
        DATASETS["cifar10"](tmp_path / "root", True)
    line = str(error.value)
    assert archive.sha256 in line and hashlib.sha256(b"an error page").hexdigest() in line and "\n" not in line
    assert line.startswith(f"download of cifar10 into {tmp_path / 'root'} failed (") and "try again" in line
    assert list((tmp_path / "root").iterdir()) == []


def test_a_failed_download_is_a_data_error(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # closed before it is asked
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)
    monkeypatch.setitem(cifar_module.ARCHIVES, "cifar10", Archive(f"http://127.0.0.1:{port}/a.tar.gz", "0" * 64))
    with pytest.raises(DataError, match=r"download of cifar10 into .* failed \(") as error:
        DATASETS["cifar10"](tmp_path, True)
    assert "\n" not in str(error.value)


def test_a_full_disk_stops_a_download_with_the_free_space(tmp_path, monkeypatch, web):
    _, _, archive = pack_batches(tmp_path / "source", monkeypatch, web)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device, [0-9.]+ MB free; make room") as error:
        DATASETS["cifar10"](tmp_path / "root", True)
    assert "batches.meta" in str(error.value)
    monkeypatch.undo()
    assert hashlib.sha256((tmp_path / "root" / "some.tar.gz").read_bytes()).hexdigest() == archive.sha256


def test_the_archives_are_the_official_ones():
    import torchvision.datasets

    assert cifar_module.ARCHIVES.keys() == {name for name, images in DATASETS.items() if isinstance(images, Cifar)}
    for name, archive in cifar_module.ARCHIVES.items():
        official = getattr(torchvision.datasets, DATASETS[name].torchvision_class)
        assert archive.url == official.url and len(archive.sha256) == 64


def test_download_is_not_tried_unless_asked(tmp_path, no_network):
    with pytest.raises(DataError, match="no cifar10 images"):
        DATASETS["cifar10"](tmp_path, False)


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
    original = cifar_module.read_parquet
    monkeypatch.setattr(cifar_module, "read_parquet", lambda *args: calls.append(args) or original(*args))
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
    assert [path.name for path in (home / "decoded").iterdir()] == [f"cifar10-{first.data_id}-2.npz"]

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
    arrays = cifar_module._Arrays(*(np.zeros(1) for _ in range(4)))
    with pytest.warns(UserWarning, match="not cached"):
        assert cached(tmp_path / "file" / "a.npz", lambda: arrays) is arrays
