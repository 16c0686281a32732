"""Which Parquet files make up a part of a data set, and what their columns must hold."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from senas_bench.data import DATASETS, data_id
from senas_bench.data.cifar import read_parquet
from senas_bench.data.imagenet import ImageNet
from senas_bench.data.parquet import find_shards
from senas_bench.data.sources import ParquetImages
from senas_bench.errors import DataError

IMAGES = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def files(root: Path, *names: str) -> Path:
    """Each file holds its own name."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).write_text(name)
    return root


def write(path, labels, images=None, columns=("img", "label")):
    images = pa.array([{"bytes": b""}] * len(labels), IMAGES) if images is None else images
    pq.write_table(pa.table(dict(zip(columns, (images, labels), strict=True))), path)
    return path


def refusal(function, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)
    return str(caught.value)


def shards(total: int, *places: int, end: str = "") -> list[str]:
    return [f"train-{place:05}-of-{total:05}{end}.parquet" for place in places]


@pytest.mark.parametrize(
    "names",
    [
        [],
        shards(1, 0),
        shards(3, 0, 1, 2),
        [*shards(2, 0, end="-0123456789abcdef"), *shards(2, 1, end="-fedcba9876543210")],
        ["train-0.parquet", "train-1.parquet"],
        ["train-animals.parquet", "train-plants.parquet"],
        ["train-a-00000-of-00001.parquet", "train-b-00000-of-00002.parquet", "train-b-00001-of-00002.parquet"],
    ],
)
def test_whole_sets_of_shards_are_found_in_order(tmp_path, names):
    assert [path.name for path in find_shards(files(tmp_path, *names, "train-notes.txt"), "train")] == names


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (shards(3, 0), "shard 00001-of-00003 of train and 1 more is missing (1 files of 3, counted from 0); get the"),
        (shards(3, 0, 2), "shard 00001-of-00003 of train is missing (2 files of 3, counted from 0); get the missing"),
        ([*shards(1, 0), *shards(2, 0, 1)], "shards of train of 1 and of 2 in all; move those of one away"),
        ([*shards(2, 0, 1), *shards(2, 1, end="-abc")], "shard 00001-of-00002 of train is double (3 files of 2,"),
        ([*shards(2, 0, 1), *shards(2, 2)], "shard 00002-of-00002 of train is beyond the total"),
        ([*shards(1, 0), *shards(1, 0, end=" (1)")], "train-00000-of-00001 (1).parquet beside numbered shards"),
        ([*shards(1, 0), *shards(1, 0, end=" - Copy")], "train-00000-of-00001 - Copy.parquet beside numbered shards"),
        (["train-b-00001-of-00002.parquet"], "shard 00000-of-00002 of train-b is missing"),
        ([*shards(1, 0), "train-old.parquet"], "train-old.parquet beside numbered shards of train; move away what is"),
    ],
)
def test_shards_that_are_missing_or_double_are_named(tmp_path, names, said):
    files(tmp_path / "data", *names, "val-0.parquet")
    for ask in (lambda: data_id("imagenet", tmp_path), lambda: ImageNet()(tmp_path)):
        assert said in refusal(ask)


@pytest.mark.parametrize("copy", ["train-0 (1).parquet", "train-0_copy.parquet", "train-2.parquet"])
def test_a_copy_under_any_name_is_found_by_its_content(tmp_path, copy):
    files(tmp_path, "train-0.parquet", "train-1.parquet")
    shutil.copy(tmp_path / "train-0.parquet", tmp_path / copy)
    said = refusal(find_shards, tmp_path, "train")
    assert "hold the same; delete the copy" in said and copy in said and "train-0.parquet" in said


def test_a_shard_that_is_a_folder_or_a_lost_link_is_named(tmp_path):
    (tmp_path / "train-0.parquet").mkdir()
    assert "is a folder, not a Parquet file" in refusal(find_shards, tmp_path, "train")
    (tmp_path / "val-0.parquet").symlink_to("/nowhere")
    assert "val-0.parquet is a link to /nowhere, which is not there" in refusal(find_shards, tmp_path, "val")


@pytest.mark.parametrize("place", ["cifar10-train.parquet", "train-00000-of-00001.parquet"])
def test_cifar_names_a_lost_link(tmp_path, place):
    (tmp_path / place).symlink_to("/nowhere")
    assert f"{tmp_path / place} is a link to /nowhere" in refusal(data_id, "cifar10", tmp_path)


def test_cifar_says_what_it_found_instead(tmp_path):
    files(tmp_path / "plain_text", *shards(2, 0, 1), "test-00000-of-00001.parquet")
    said = refusal(DATASETS["cifar10"], tmp_path, False)
    assert "(found test-00000-of-00001.parquet, train-00000-of-00002.parquet, train-00001-of-00002.parquet);" in said


@pytest.fixture(params=["cifar", "imagenet"])
def read(request):
    """The labels of a file, by either reader; images are decoded by the one, after the labels are checked."""
    if request.param == "cifar":
        return lambda path: read_parquet(path, "label", 10)
    return lambda path: ParquetImages([path]).labels.tolist()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            pa.array([3.7, 1.7]),
            "column 'label' holds double, labels must be integers 0 .. classes - 1; store it as int64",
        ),
        (pa.array([3.0, 1.0]), "column 'label' holds double"),
        (pa.array([True, False]), "column 'label' holds bool"),
        (pa.array(["3", "1"]), "column 'label' holds string"),
        (pa.array(["3", "1"]).dictionary_encode(), "column 'label' holds dictionary<"),
        (pa.array([[3], [1]]), "column 'label' holds list<"),
        (pa.array([3, None]), "1 of 2 labels in column 'label' are null"),
        (pa.array([], pa.int64()), "0 of 0 labels in column 'label' are null, at least one label and no null needed"),
        (pa.array([3, -1]), "labels -1 .. 3 in column 'label', none below 0 allowed; -1 marks labels that were not"),
        (pa.array([3, 2**63], pa.uint64()), "labels 3 .. 9223372036854775808 in column 'label'"),
    ],
    ids=["fraction", "float", "bool", "text", "dictionary", "list", "null", "empty", "negative", "uint64"],
)
def test_labels_that_are_no_numbers_of_classes_are_refused(tmp_path, read, labels, said):
    path = write(tmp_path / "a", labels)
    assert refusal(read, path).startswith(f"{path}: {said}")


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.uint8(), pa.uint64()])
def test_labels_of_any_integer_type_are_read(tmp_path, kind):
    labels = ParquetImages([write(tmp_path / "a", pa.array([3, 0, 255 if kind == pa.uint8() else 7], kind))]).labels
    assert labels.tolist() == [3, 0, 255 if kind == pa.uint8() else 7] and labels.dtype == "int64"


@pytest.mark.parametrize(
    ("columns", "images", "said"),
    [
        (("img", "y"), None, "no column of labels, 'label', but 'img', 'y'; rename it"),
        (("picture", "label"), None, "no column of images, 'img' or 'image', but 'picture', 'label'; rename it"),
        (("image", "label"), pa.array([b"x"]), "column 'image' holds binary, not a struct with the encoded images"),
        (("img", "label"), pa.array([{"path": "x"}]), "column 'img' holds struct<path: string>, not a struct with the"),
        (
            ("img", "label"),
            pa.array([{"bytes": "x"}]),
            "column 'img' holds struct<bytes: string>, not a struct with the",
        ),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_named(tmp_path, read, columns, images, said):
    path = write(tmp_path / "a", pa.array([0]), images, columns)
    assert refusal(read, path).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            [0, 10**9],
            "2 different labels in train, the highest 1000000000, none 1; number the classes 0 .. classes - 1",
        ),
        ([1, 2, 2], "2 different labels in train, the highest 2, none 0; number the classes"),
        ([0, 1, 3], "3 different labels in train, the highest 3, none 2; number the classes"),
    ],
)
def test_every_class_has_a_training_image(tmp_path, labels, said):
    write(tmp_path / "train-0.parquet", pa.array(labels))
    write(tmp_path / "val-0.parquet", pa.array([0]))
    assert said in refusal(ImageNet(), tmp_path)
