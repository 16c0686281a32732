"""Which images a folder holds, against torchvision and by hand; what is said of folders that are otherwise."""

import os
import subprocess
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from senas_bench.data import data_id
from senas_bench.data.folders import list_images
from senas_bench.data.imagenet import ImageNet
from senas_bench.errors import DataError


def files(root: Path, *names: str) -> Path:
    """Each file holds its own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def names(root: Path) -> list[str]:
    return [name for _, name, _ in list_images(root)]


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(list_images(root))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_are_listed_as_torchvision_lists_them(tmp_path):
    files(tmp_path, "b/z.JPEG", "b/deep/a.png", "b/deep-1/a.png", "b/deep/er/a.png", "b/a.jpg", "a/1.webp")
    files(tmp_path, "a/notes.txt", "c.png", "a/2.tif")
    expected = ImageFolder(str(tmp_path))
    found = list(list_images(tmp_path))
    assert [str(tmp_path / name) for _, name, _ in found] == [path for path, _ in expected.samples]
    assert [expected.class_to_idx[label] for label, _, _ in found] == expected.targets
    assert [size for _, _, size in found] == [Path(path).stat().st_size for path, _ in expected.samples]


@pytest.mark.parametrize(
    "hidden", [".ipynb_checkpoints/1-checkpoint.png", "a/.ipynb_checkpoints/1-checkpoint.png", "a/._1.png", ".DS_Store"]
)
def test_what_is_hidden_is_neither_class_nor_image(tmp_path, hidden):
    files(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png")
    before = data_id("imagenet", tmp_path)
    files(tmp_path / "train", hidden)
    assert names(tmp_path / "train") == ["a/1.png", "b/2.png"]
    assert ImageNet()(tmp_path).num_classes == 2 and data_id("imagenet", tmp_path) == before


@pytest.mark.parametrize(
    ("link", "target", "first"),
    [("a/self", ".", "a"), ("a/deep/up", "..", "a"), ("a/all", "..", "a"), ("b/again", "../a", "a"), ("c", "a", "a")],
)
def test_no_folder_counts_twice(tmp_path, link, target, first):
    files(tmp_path, "a/1.png", "a/deep/2.png", "b/3.png")
    (tmp_path / link).symlink_to(target)
    place = {"a/all": "a"}.get(link, link)
    said = refusal(tmp_path)
    assert "are one folder, its images would count twice; delete the link" in said
    assert str(tmp_path / place) in said and str(tmp_path / first) in said


def test_classes_may_be_links_to_folders_elsewhere(tmp_path):
    files(tmp_path / "all", "x/1.png", "y/2.png", "z/3.png")
    (tmp_path / "some").mkdir()
    for new, old in (("x", "x"), ("k", "z")):
        (tmp_path / "some" / new).symlink_to(tmp_path / "all" / old)
    assert names(tmp_path / "some") == ["k/3.png", "x/1.png"]


@pytest.mark.parametrize("link", ["train", "train/c", "train/a/lost.png", "train/a/lost", "val/a/sub/lost.jpg"])
@pytest.mark.parametrize("ask", [data_id, lambda _, root: ImageNet()(root)], ids=["data_id", "read"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, link, ask):
    root = files(tmp_path / "imagenet", "val/a/sub/1.png", *([] if link == "train" else ["train/a/1.png"]))
    (root / link).symlink_to("/nowhere/at/all")
    with pytest.raises(DataError) as caught:
        ask("imagenet", tmp_path)
    expected = f"{root / link} is a link to /nowhere/at/all, which is not there; bring that back (is its disk mounted?)"
    assert str(caught.value) == f"{expected} or delete the link"


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (("a/1.jfif", "a/2.jfif"), "/a holds 2 .jfif, which are not read (.jpg .jpeg .png "),
        (("a/1.JFIF", "a/2.png"), "/a holds 1 .jfif, which are not read (.jpg .jpeg .png "),
        (("a/1.gif",), "are); convert to PNG or JPEG"),
        (("a/1.jpe", "a/2.jpg"), "are); rename to .jpg"),
        (("a/1.txt", "a/2.csv", "a/3.txt"), "(it holds 2 .txt, 1 .csv); it must hold a sub-folder of images per class"),
        (("a/1",), "(it holds 1 without a suffix); it must hold a sub-folder of images per class"),
        (
            ("1.JPEG", "2.JPEG", "notes.txt"),
            "it has no sub-folders, but 2 .jpeg, 1 .txt); it must hold a sub-folder of",
        ),
        (("a.tar", "b.tar"), "it has no sub-folders, but 2 .tar); it must hold a sub-folder of images per class"),
        ((), "it has no sub-folders, but nothing); it must hold a sub-folder of images per class"),
    ],
)
def test_what_is_there_instead_of_images_is_said(tmp_path, held, said):
    assert said in refusal(files(tmp_path, *held))


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """As root every folder may be read: the refusal is made up."""
    files(tmp_path, "a/1.png", "a/deep/2.png")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert f"Permission denied: {tmp_path / 'a/deep'}" in refusal(tmp_path)


def test_tiny_imagenet_is_recognised_and_the_advice_works(tmp_path):
    root = tmp_path / "tiny imagenet 200"
    files(root, "train/n01/images/n01_0.JPEG", "train/n01/n01_boxes.txt", "train/n02/images/n02_0.JPEG", "wnids.txt")
    files(root, "val/images/val_0.JPEG", "val/images/val_1.JPEG", "test/images/test_0.JPEG")
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n")
    for ask in (lambda: data_id("imagenet", root), lambda: ImageNet()(root)):
        with pytest.raises(DataError, match="is as Tiny ImageNet has it, all images in images/") as caught:
            ask()
    command = str(caught.value).partition("sort them into a folder per class: ")[2]
    subprocess.run(["sh", "-c", command], check=True)
    images = ImageNet()(root)
    assert (images.train.classes, images.counts) == (("n01", "n02"), (2, 2))
    assert names(root / "val") == ["n01/val_1.JPEG", "n02/val_0.JPEG"]
