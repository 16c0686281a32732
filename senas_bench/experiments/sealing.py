"""The seal of a stored record: its own hash inside of it, so that any change is seen. No torch here."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from senas_bench.errors import DataError
from senas_bench.experiments.spec import SCHEMA

SEAL = "record_sha256"
"""Entry of a stored record's provenance: the sha256 of its text without the entry. It is the store's own, no record
that was read has it; files from before it was introduced load without."""


class Newer(DataError):
    """A record that a newer version wrote: no damage, and not to be touched."""


def sealed(text: str) -> str:
    """The text of a record, with its seal: see `SEAL`."""
    raw = json.loads(text)
    return _to_text({**raw, "provenance": {**raw["provenance"], SEAL: sha256(text.encode())}})


def unsealed(text: str, path: Path) -> str:
    """The text of a record without its seal, which must fit.

    Raises:
        DataError: It does not, or the record is of a newer schema.
    """
    raw = json.loads(text)
    provenance = raw["provenance"]
    if SEAL not in provenance:
        if any(re.fullmatch("[0-9a-f]{64}", str(value)) for value in provenance.values()):
            raise DataError(f"{path} has its {SEAL} under another name")
        return text
    # Cut from the text, not written again: a store of many runs would take seconds to open.
    line = rf'\n  "{SEAL}": "[0-9a-f]{{64}}"'
    bare, cuts = re.subn(rf",{line}(?=,?\n)|(?<={{){line},|(?<={{){line}\n (?=}})", "", text)
    if cuts != 1:
        raise DataError(f"{path} is not as it was written")
    check(path, sha256(bare.encode()), provenance[SEAL])
    if raw["schema"] > SCHEMA:
        raise Newer(
            f"{path} has schema {raw['schema']}, this version reads {SCHEMA}; update senas-bench, or name another "
            "folder with --results"
        )
    return bare


def _to_text(raw: Any) -> str:
    """As `RunRecord.to_json` writes."""
    return json.dumps(raw, sort_keys=True, indent=1, allow_nan=False) + "\n"


def check(path: Path, found: str, expected: str | None) -> None:
    """Refuse a file whose hash is not the one that was written down.

    Raises:
        DataError: It is not.
    """
    if found != expected:
        raise DataError(f"{path} has sha256 {found}, expected {expected}; run it again")


def sha256(data: bytes) -> str:
    """The SHA-256 of bytes, in hex digits."""
    return hashlib.sha256(data).hexdigest()
