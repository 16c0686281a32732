"""Folders with a sub-folder of images per class: which images they hold. No torch; nothing is decoded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from senas_bench.data.decoding import OTHER_SUFFIXES, SUFFIXES
from senas_bench.errors import DataError

ANNOTATIONS = "val_annotations.txt"
"""File with the classes of the validation images of Tiny ImageNet, which lie all in one folder, `images`."""


def list_images(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Class, name below `folder` and size of each image, in the order in which torchvision's `ImageFolder` has them.

    Unlike there, what is hidden (`.ipynb_checkpoints`, `._1.jpg`) is left out, and no folder counts twice.

    Raises:
        DataError: There is no such folder, it has no sub-folders, or one without an image; an image of a kind that is
            not read; a link that leads nowhere or to a folder that is read already.
    """
    try:
        root, seen = os.path.join(folder, ""), dict[str, str]()
        for name in _classes(folder):
            others, empty = [], True
            for place, files in sorted(_places(root + name, seen)):
                below = place.removeprefix(root)
                for file in sorted(files):
                    if file.lower().endswith(SUFFIXES):
                        empty = False
                        yield name, f"{below}{os.sep}{file}", _size(os.path.join(place, file))
                    else:
                        others.append(os.path.join(place, file))
            _check_others(root + name, others, empty)
    except OSError as error:
        raise DataError(
            f"no images in {folder} ({error.strerror}: {error.filename}); it must hold a sub-folder of images per class"
        ) from error


def lost_link(path: str | Path) -> DataError:
    """What is said of a link to something that is not there."""
    return DataError(
        f"{path} is a link to {os.readlink(path)}, which is not there; bring that back (is its disk mounted?) or "
        "delete the link"
    )


def is_lost_link(path: str | Path) -> bool:
    """Whether there is a link, but not what it leads to."""
    return os.path.islink(path) and not os.path.exists(path)


def _classes(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted."""
    entries = sorted((entry for entry in os.scandir(folder) if not _hidden(entry.name)), key=lambda entry: entry.name)
    for entry in entries:
        if is_lost_link(entry.path):
            raise lost_link(entry.path)
    classes = [entry.name for entry in entries if entry.is_dir()]
    files = [entry.name for entry in entries if not entry.is_dir()]
    if ANNOTATIONS in files and "images" in classes:
        raise DataError(
            f"{folder} is as Tiny ImageNet has it, all images in images/ and their classes in {ANNOTATIONS}; sort them "
            f"into a folder per class: cd '{folder}' && while read -r f c _; do mkdir -p $c && mv images/$f $c/; done "
            f"<{ANNOTATIONS}; rmdir images"
        )
    if not classes:
        raise DataError(
            f"no images in {folder} (it has no sub-folders, but {_kinds(files)}); it must hold a sub-folder of images "
            "per class"
        )
    return classes


def _places(top: str, seen: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder from `top` down with its files, nothing hidden; `seen` are all so far, by their real path."""
    for place, below, files in os.walk(top, onerror=_fail, followlinks=True):
        first = seen.setdefault(os.path.realpath(place), place)
        if first != place:
            raise DataError(f"{first} and {place} are one folder, its images would count twice; delete the link")
        below[:] = [name for name in below if not _hidden(name)]
        yield place, [name for name in files if not _hidden(name)]


def _check_others(folder: str, others: list[str], empty: bool) -> None:
    """Raise where the files of a class that are not read may not be passed over."""
    for path in others:
        if is_lost_link(path):
            raise lost_link(path)
        if advice := OTHER_SUFFIXES.get(_suffix(path)):
            kind = f"{sum(_suffix(other) == _suffix(path) for other in others)} {_suffix(path)}"
            raise DataError(f"{folder} holds {kind}, which are not read ({' '.join(SUFFIXES)} are); {advice}")
    if empty:
        raise DataError(
            f"no images in {folder} (it holds {_kinds(others)}); it must hold a sub-folder of images per class, with "
            f"one image at least ({' '.join(SUFFIXES)}): fill that one or delete it"
        )


def _kinds(files: Iterable[str]) -> str:
    """How many files there are of which kind: `12 .tar, 1 .txt`."""
    counts = Counter(_suffix(name) or "without a suffix" for name in files)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common(3)) or "nothing"


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _size(path: str) -> int:
    """In bytes."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError as error:
        raise (lost_link(path) if os.path.islink(path) else error) from error


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _fail(error: OSError) -> None:
    raise error
