"""Reading images: what is checked, named and resized."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from senas_bench.data import DATASETS, data_id
from senas_bench.data import readers as readers_module
from senas_bench.data.readers import fingerprint, read_digits, resize
from senas_bench.errors import DataError


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


def test_unknown_data_set():
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        data_id("cifar1")


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
