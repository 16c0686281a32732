"""A user id without a name and without a home, as containers have."""

import pwd
import warnings

import pytest

from senas_bench.data import DATASETS
from senas_bench.data.cifar import cached
from senas_bench.data.readers import data_folder
from senas_bench.errors import DataError
from senas_bench.files import NoHomeError, cache_home

ADVICE = "set SENAS_HOME to a folder that can be written"


@pytest.fixture(autouse=True)
def homeless(monkeypatch):
    for name in ("HOME", "SENAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize("named", [None, "~", "~/senas"])
def test_no_home_is_said_with_what_to_do(monkeypatch, named):
    if named:
        monkeypatch.setenv("SENAS_HOME", named)
    with pytest.raises(NoHomeError, match=f"^this user has no home folder; {ADVICE}$"):
        cache_home()


@pytest.mark.parametrize("name", ["SENAS_HOME", "XDG_CACHE_HOME"])
def test_whoever_names_a_folder_needs_no_home(monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, str(tmp_path))
    assert tmp_path in (cache_home(), cache_home().parent)


def test_images_need_one_unless_their_folder_is_named(tmp_path):
    assert data_folder(tmp_path) == tmp_path
    for name, reader in DATASETS.items():
        if name != "digits":
            with pytest.raises(DataError, match=f"{ADVICE}, or name the folder of images with --data-dir$"):
                reader.data_id()


def test_decoded_images_can_be_kept_nowhere():
    made = object()
    assert cached(None, lambda: made) is made


@pytest.mark.slow
def test_digits_need_no_home(senas, tmp_path):
    asked = ["table3", "--methods", "params", "--seeds", "0", "--jobs", "1", "--rank-archs", "60", "--no-timing"]
    with pytest.warns(
        UserWarning, match=f"cannot keep a copy of the ground truth: this user has no home folder; {ADVICE}"
    ):
        code, _, err = senas("reproduce", *asked)
    assert code == 0 and (tmp_path / "runs/figures/table3.png").exists(), err


def test_where_one_is_needed_it_is_one_line(senas):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, out, err = senas("reproduce", "table3", "--preset", "cpu")
    assert (code, out, err.count("\n")) == (3, "", 1) and ADVICE in err
    code, out, _ = senas("data", "list")
    assert code == 0 and out.startswith("digits ") and out.count(ADVICE) == len(DATASETS) - 1
