"""Files that their makers publish: fetched whole and with the right hash, or not at all, and unpacked."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from senas_bench.files import atomic_file, room_named


class Archive(NamedTuple):
    """A file that its makers publish."""

    url: str
    sha256: str


ATTEMPTS = 3
"""Tries to fetch a file; each goes on where the last one broke off."""
TIMEOUT = 30.0
"""Seconds without a byte after which a transfer counts as broken."""
BLOCK = 1 << 14
"""Bytes that are written at a time: the most that is lost of what arrived when a transfer breaks."""


def fetch(archive: Archive, folder: Path) -> Path:
    """Download a file into `folder` unless it is there; whole and with the right hash, or not at all.

    What arrived before a transfer broke, or its process was killed, lies in `<name>.part`: the next one asks for the
    rest. Callers hold a lock, since two transfers would share that file.

    Raises:
        ValueError: The file that was sent has another hash, in the message with the expected one.
        OSError: The network failed `ATTEMPTS` times (the errors of requests are `OSError`), or the disk is full.
    """
    import pooch

    name = archive.url.rpartition("/")[2]
    keeper: Any = pooch.create(
        path=folder,
        base_url="",
        registry={name: f"sha256:{archive.sha256}"},
        urls={name: archive.url},
        retry_if_failed=ATTEMPTS - 1,
    )
    part = folder / f"{name}.part"
    return Path(keeper.fetch(name, downloader=lambda url, target, _: _transfer(url, part, Path(target))))


def unpack(archive: Path, folder: Path, names: Iterable[str]) -> None:
    """Write the named files of an archive's directory `folder.name` to `folder`, each whole or not at all, in order.

    Nothing else in the archive is looked at, so that no path in it leads elsewhere.

    Raises:
        KeyError: It lacks one of them.
        tarfile.TarError: It is no tar file.
        OSError: The disk is full.
    """
    with tarfile.open(archive) as tar:
        for name in names:
            source = tar.extractfile(f"{folder.name}/{name}")
            if source is None:
                raise KeyError(f"{folder.name}/{name} in {archive} is not a file")
            with room_named(folder):
                folder.mkdir(exist_ok=True)
            with source, atomic_file(folder / name) as file:
                shutil.copyfileobj(source, file)


def _transfer(url: str, part: Path, target: Path) -> None:
    """Fetch what `part` lacks of a file, then move it to `target`."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if not (answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}"):  # not complete
            if answer.status_code == 416:
                part.unlink()  # longer than the file: of another one
            answer.raise_for_status()
            goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            with room_named(part), part.open("ab" if goes_on else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    file.write(block)
    os.replace(part, target)
