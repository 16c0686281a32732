"""Where images that are not in memory come from: what is found, named and refused."""

import pytest

from senas_bench.data.sources import FolderImages, ParquetImages, find_images
from senas_bench.errors import DataError


def test_files_that_cannot_be_read_are_refused(tmp_path, parquet_of):
    with pytest.raises(DataError, match=r"no images in .*absent.*a sub-folder of images per class"):
        FolderImages(tmp_path / "absent")
    (tmp_path / "empty" / "x").mkdir(parents=True)
    with pytest.raises(DataError, match="no images in"):
        FolderImages(tmp_path / "empty")
    (tmp_path / "words").write_text("words")
    bad = [
        (tmp_path / "words", "no readable Parquet"),
        (tmp_path / "none", "cannot read .*none: No such file"),
        (
            parquet_of(tmp_path / "column", [b""], [0], "picture"),
            "no column of images, 'img' or 'image', but 'picture', 'label'; rename it",
        ),
        (parquet_of(tmp_path / "label", [b""], [-1]), "none below 0"),
    ]
    for path, message in bad:
        with pytest.raises(DataError, match=message) as caught:
            ParquetImages([path])
        assert "\n" not in str(caught.value)


def test_images_are_found_in_folders_and_files(tmp_path, folder_of, parquet_of):
    folder_of(tmp_path / "one", {"train/x/a.png": b"image", "train/y/b.png": b"image", "val/x/c.png": b"image"})
    assert find_images(tmp_path / "one", "train").labels.tolist() == [0, 1]
    assert find_images(tmp_path / "one", "val").labels.tolist() == [0]
    (tmp_path / "two" / "data").mkdir(parents=True)
    for k, part in enumerate(("train-00001-of-00002", "train-00000-of-00002", "validation-00000-of-00001")):
        parquet_of(tmp_path / "two" / "data" / f"{part}.parquet", [b"image"] * 2, [k, k])
    found = find_images(tmp_path / "two", "train")
    assert (found.labels.tolist(), found.num_classes) == ([1, 1, 0, 0], 2)
    assert find_images(tmp_path / "two", "val").labels.tolist() == [2, 2]
    with pytest.raises(DataError, match=r"no train images in .*--data-dir"):
        find_images(tmp_path, "train")


def test_the_fingerprint_knows_names_and_sizes(tmp_path, folder_of):
    ids = []
    for k, images in enumerate(({"x/a.png": b"1"}, {"x/b.png": b"1"}, {"x/a.png": b"12"}, {"x/a.png": b"2"})):
        ids.append(FolderImages(folder_of(tmp_path / str(k), images)).data_id)
    assert len(set(ids[:3])) == 3 and ids[3] == ids[0]
    assert all(len(name) == 16 for name in ids)
