"""What a phase needs to go on where it stopped: weights, momentum, random states, counts. No pickle."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from senas_bench.files import atomic_write

SCHEMA = "1"
"""Version of the layout. Files from before it was written down have none and are of this one."""


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a JSON state to one file, atomically, with the hash of both.

    Nobody else writes to `path` meanwhile: what a writer that was killed left beside it is removed.

    Raises:
        OSError: The disk is full or the folder unwritable; the old file is as it was.
    """
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        stale.unlink(missing_ok=True)
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state)
    atomic_write(path, save(packed, metadata={"schema": SCHEMA, "state": text, "sha256": digest(packed, text)}))


def read_checkpoint(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Read a checkpoint; None when there is none or, with a warning, it is damaged: the phase starts anew."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if (
                metadata.keys() | {"schema"} != {"schema", "state", "sha256"}
                or metadata.get("schema", SCHEMA) != SCHEMA
            ):
                raise ValueError(f"not a checkpoint of schema {SCHEMA}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = digest(tensors, metadata["state"])
        if found != metadata["sha256"]:
            raise ValueError(f"sha256 {found}, expected {metadata['sha256']}")
        return {name: tensor.to(device) for name, tensor in tensors.items()}, json.loads(metadata["state"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"checkpoint {path} is damaged ({why}); what it held is computed again", stacklevel=2)
        return None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write numpy arrays as `write_checkpoint` writes tensors: unlike in an `.npz` file, no bit can change unseen."""
    write_checkpoint(path, {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}, {})


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote; None when there is nothing or, with a warning, it is damaged."""
    read = read_checkpoint(path)
    return None if read is None else {name: tensor.numpy() for name, tensor in read[0].items()}


def digest(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    """The sha256 of a text and of tensors, their names, types and shapes; wherever they lie."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        found.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        found.update(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
