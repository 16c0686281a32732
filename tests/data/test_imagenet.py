"""Where images lie that memory does not hold, and what names them."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.data import DATASETS, ImageNet, data_id
from senas_bench.data.imagenet import find_part, identity
from senas_bench.errors import DataError


def files(root: Path, *names: str) -> Path:
    """Each file holds its own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def test_parts_are_found_in_either_layout(tmp_path):
    files(tmp_path / "one", "train/a/1.png", "val/a/2.png")
    assert [find_part(tmp_path / "one", part).name for part in ("train", "val")] == ["train", "val"]
    files(tmp_path / "two" / "data", "train-1.parquet", "train-0.parquet", "validation-0.parquet")
    assert [path.name for path in find_part(tmp_path / "two", "train")] == ["train-0.parquet", "train-1.parquet"]
    assert [path.name for path in find_part(tmp_path / "two", "val")] == ["validation-0.parquet"]


def test_the_fingerprint_is_of_names_and_sizes_of_both_parts(tmp_path):
    names = ["train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png"]
    first = data_id("imagenet", files(tmp_path / "first", *names))
    assert first == data_id("imagenet", files(tmp_path / "home" / "imagenet", *names).parent)
    assert first == DATASETS["imagenet"](tmp_path / "first").data_id and len(first) == 16
    (tmp_path / "first" / names[0]).write_text("x" * len(names[0]))
    assert data_id("imagenet", tmp_path / "first") == first  # the content is not read
    (tmp_path / "first" / names[3]).write_text("longer than before")
    other = data_id(
        "imagenet", files(tmp_path / "other", "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/5.png")
    )
    assert len({first, other, data_id("imagenet", tmp_path / "first")}) == 3
    assert identity([("b", 1), ("a", 2)]) == identity([("a", 2), ("b", 1)]) != identity([("a", 1), ("b", 2)])


def test_the_fingerprint_needs_no_torch(tmp_path):
    files(tmp_path, "train/a/1.png", "val/a/3.png")
    code = "import sys; from pathlib import Path; from senas_bench.data import data_id"
    code += "; data_id('imagenet', Path(sys.argv[1])); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)


def test_what_is_in_a_data_set(tmp_path):
    images = ImageNet()(
        files(tmp_path, "train/a/1.png", "train/b/2.png", "train/b/3.png", "val/a/4.png", "val/b/5.png")
    )
    assert (images.counts, images.num_classes, images.resolution, images.name) == ((3, 2), 2, 224, "imagenet")
    assert (images.train.labels.tolist(), images.test.labels.tolist()) == ([0, 1, 1], [0, 1])


@pytest.mark.parametrize(
    ("names", "download", "message"),
    [
        (("train/a/1.png",), False, "no val images in .*; name the folder with --data-dir$"),
        ((), True, "no train images in .*; they cannot be downloaded without ImageNet's consent$"),
        (
            ("train/a/1.png", "val/b/1.png"),
            False,
            "1 classes in train only, first a and 1 classes in val only, first b; each class needs",
        ),
    ],
)
def test_a_data_set_that_is_not_whole_is_refused(tmp_path, names, download, message):
    with pytest.raises(DataError, match=message):
        ImageNet()(files(tmp_path, *names), download)


def test_labels_of_files_must_be_those_of_training(tmp_path):
    images = pa.array([{"bytes": b""}] * 2, pa.struct({"bytes": pa.binary()}))
    for part, labels in (("train", [0, 1]), ("val", [0, 2])):
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / f"{part}-0.parquet")
    with pytest.raises(DataError, match="val has label 2, train none above 1"):
        ImageNet()(tmp_path)
