"""What becomes of an image file: every mode of pixels keeps its range or is refused, and errors say what to do."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from senas_bench.data import DATASETS
from senas_bench.data.cifar import read_parquet
from senas_bench.data.decoding import FORMATS, OTHER_SUFFIXES, SUFFIXES, decode_rgb
from senas_bench.data.sources import FolderImages
from senas_bench.data.streaming import stored_batches
from senas_bench.errors import DataError

GREY = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) // 4
"""0 .. 255, each four times."""


def saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def deep(kind: str) -> bytes:
    """`GREY`, spread over 16 bits (255 becomes 65535)."""
    if kind == "PPM":
        return b"P5 32 32 65535\n" + (GREY * 257).astype(">u2").tobytes()
    return saved(Image.fromarray(GREY * 257), kind)


def write_parquet(path, blobs, column="img"):
    images = pa.array([{"bytes": blob} for blob in blobs], pa.struct({"bytes": pa.binary()}))
    pq.write_table(pa.table({column: images, "label": [0] * len(blobs)}), path)
    return path


def test_suffixes_are_those_of_torchvision():
    assert sorted(SUFFIXES) == sorted(IMG_EXTENSIONS) and not set(SUFFIXES) & set(OTHER_SUFFIXES)


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_grey_of_16_bits_keeps_its_high_byte(kind):
    assert Image.open(io.BytesIO(deep(kind))).mode in ("I", "I;16")
    image = decode_rgb(deep(kind), "a")
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.repeat(GREY[..., None], 3, 2))
    between = saved(Image.fromarray(GREY * 256 + 200), "PNG")  # as Pillow does with colours of 16 bits
    assert np.array_equal(np.asarray(decode_rgb(between, "a"))[..., 0], GREY)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_modes_of_8_bits_keep_their_values(mode):
    grey = Image.fromarray((GREY > 127).astype(np.uint8) * 255 if mode == "1" else GREY.astype(np.uint8))
    expected = np.repeat(np.asarray(grey)[..., None], 3, 2)
    assert np.array_equal(np.asarray(decode_rgb(saved(grey.convert(mode), "PNG"), "a")), expected)


def floats_ppm() -> bytes:
    return b"Pf 32 32\n-1.0\n" + GREY.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("encoded", "mode"),
    [
        (saved(Image.fromarray(GREY), "TIFF"), "I;16"),
        (saved(Image.frombytes("I;16B", (32, 32), GREY.astype(">u2").tobytes()), "TIFF"), "I;16B"),
        (saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "I"),
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "F"),
        (floats_ppm(), "F"),
    ],
    ids=["tiff-16", "tiff-16-big-endian", "tiff-32", "tiff-float", "ppm-float"],
)
def test_pixels_without_a_known_range_are_refused(encoded, mode):
    with pytest.raises(DataError) as caught:
        decode_rgb(encoded, "a")
    expected = (
        f"a: unusable image (pixels of mode {mode}, whose range is not known); scale them to 8 bits and save it again"
    )
    assert str(caught.value) == expected


def test_both_readers_decode_16_bits(tmp_path):
    x, _ = read_parquet(write_parquet(tmp_path / "a.parquet", [deep("PNG")]), "label", 10)
    assert np.array_equal(x[0, ..., 0], GREY)
    for name in ("p/a.png", "q/b.pgm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(deep("PNG" if name.endswith("png") else "PPM"))
    ((stored, _),) = stored_batches(FolderImages(tmp_path), np.array([0, 1]), 2, resolution=28)
    assert np.ptp(stored.numpy()) > 2  # white alone before
    with pytest.raises(DataError, match=r"a\.parquet: row 1: unusable image \(pixels of mode F"):
        read_parquet(write_parquet(tmp_path / "a.parquet", [deep("PNG"), floats_ppm()]), "label", 10)


@pytest.mark.parametrize(("kind", "suffix"), [(kind, suffix) for kind in FORMATS for suffix in FORMATS[kind]])
def test_what_is_listed_is_decoded(tmp_path, kind, suffix):
    grey = Image.fromarray(GREY.astype(np.uint8)).convert("L" if suffix == ".pgm" else "RGB")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / f"a{suffix}").write_bytes(saved(grey, kind))
    image = decode_rgb(*FolderImages(tmp_path).encoded(0))
    np.testing.assert_allclose(np.asarray(image)[..., 0], GREY, atol=12)  # of what JPEG and WebP lose


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_is_a_data_error_of_one_line_without_addresses(kind):
    rng = np.random.default_rng(0)
    sound = saved(Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)), kind)
    for _ in range(60):
        content = bytearray(sound[: rng.integers(1, len(sound))] if rng.random() < 0.5 else sound)
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        try:
            assert decode_rgb(bytes(content), "a").mode == "RGB"
        except DataError as error:
            assert str(error).startswith("a: unusable image (") and "\n" not in str(error) and "0x" not in str(error)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "a: unusable image (an empty file); get the file again, or convert it to PNG"),
        (
            saved(Image.fromarray(GREY.astype(np.uint8)), "GIF"),
            "a: unusable image (none of JPEG, PNG, PPM, BMP, TIFF, WEBP); get the file again, or convert it to PNG",
        ),
        (
            saved(Image.new("L", (16, 8)), "PNG"),
            "a: unusable image (16x8 pixels, expected 32x32); is it another data set?",
        ),
    ],
    ids=["empty", "gif", "size"],
)
def test_the_advice_fits_the_fault(encoded, message):
    with pytest.raises(DataError) as caught:
        decode_rgb(encoded, "a", (32, 32))
    assert str(caught.value) == message


def test_what_an_earlier_version_decoded_is_not_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SENAS_HOME", str(tmp_path / "home"))
    for part in ("train", "test"):
        write_parquet(tmp_path / f"cifar10-{part}.parquet", [deep("PNG")])
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    (tmp_path / "home" / "decoded").mkdir(parents=True)
    earlier = tmp_path / "home" / "decoded" / f"cifar10-{DATASETS['cifar10'].data_id(tmp_path)}.npz"
    np.savez(earlier, train_x=white, train_y=np.zeros(1, int), test_x=white, test_y=np.zeros(1, int))
    assert np.array_equal(DATASETS["cifar10"](tmp_path, False).train_x[0, ..., 0], GREY)
