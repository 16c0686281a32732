"""What a run is asked to do and what it left behind. No torch here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

SCHEMA = 1
SEEDS = 2**64
"""Seeds are below it: torch's generators take no more."""


@dataclass(frozen=True)
class RunSpec:
    """One method, one seed, and everything that decides the result.

    Args:
        method: Key of `senas_bench.methods.METHODS`.
        seed: Seed of every random number of the run.
        preset: Key of `senas_bench.experiments.presets.PRESETS`; results of two presets never share a table.
        space: Key of `senas_bench.spaces.SPACES`.
        dataset: Key of `senas_bench.data.DATASETS`.
        data_id: Fingerprint of the image files, so that two versions of the images are two specs.
        device: `cpu` or `cuda`.
        threads: CPU threads of the run.
        settings: All fields of the method, its recipe, the network and the ranking, as JSON values.

    The ground truth is not part of a spec: no weight-sharing method may see it, and tables join it
    when they are rendered. A method that trains from scratch, by looking trainings up in a benchmark, names
    that table and its hashes in `settings["truth"]`.
    """

    method: str
    seed: int
    preset: str
    space: str
    dataset: str
    data_id: str
    device: str = "cpu"
    threads: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Readable and unique: `<method>-<preset>-<dataset>-s<seed>-<10 hex digits of the whole spec>`."""
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()[:10]
        return f"{self.method}-{self.preset}-{self.dataset}-s{self.seed}-{digest}"

    def canonical(self) -> str:
        """One text per spec."""
        return canonical_json(vars(self))  # `asdict` would copy all settings first


@dataclass(frozen=True)
class RunRecord:
    """A finished run, as `runs/<run_id>.json` holds it. Its scores lie beside it in `<run_id>.parquet`.

    Args:
        spec: What was asked.
        pick: The chosen arch, as the space's arch string.
        history: What happened in order: one mapping per epoch, ranking, shrink and expansion.
        counters: Exact work: `images_trained`, `train_steps`, `forward_paths`, `backward_paths`, `archs_scored`,
            `images_scored`, `multiply_adds`, `nominal_multiply_adds`; each split by `search` (what the pick needed),
            `report` (what only the correlation tables needed), and `retrain` where the pick was trained from scratch.
            The last two are left out where they are not known (docs/method.md 3.1).
        scores_sha256: Hash of the scores file; None when the method scores nothing.
        timing: Seconds by phase. Depends on the machine.
        provenance: Versions, commit, hardware, command. Depends on the machine.
        schema: Version of this layout.
    """

    spec: RunSpec
    pick: str
    history: tuple[Mapping[str, Any], ...]
    counters: Mapping[str, Mapping[str, int]]
    scores_sha256: str | None
    timing: Mapping[str, float]
    provenance: Mapping[str, Any]
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Stable text: sorted keys, one trailing newline."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> RunRecord:
        """Read and check a record.

        Raises:
            ValueError: Not JSON, a field is missing, unknown or of another type, or the schema is newer than this code.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            found = raw.get("schema") if isinstance(raw, dict) else None
            raise ValueError(f"record schema {found!r}, this version reads {SCHEMA}")
        _check_fields(raw, RunRecord, _RECORD_TYPES)
        _check_fields(raw["spec"], RunSpec, _SPEC_TYPES)
        return RunRecord(**{**raw, "spec": RunSpec(**raw["spec"]), "history": tuple(raw["history"])})


def settings_of(strategy: Any) -> dict[str, Any]:
    """Fields of a method, recipe or preset as JSON values; a nested dataclass carries its class name as `kind`.

    A field whose metadata says `{"added": True}` came after the first results: it is left out while it has its
    default, so that the ids of runs made before it stay what they are. One that says `{"fact": True}` decides no
    result, see `tasks.method.fact`, and is left out always.
    """
    plain: dict[str, Any] = {}
    for item in fields(strategy):
        value = getattr(strategy, item.name)
        if item.metadata.get("fact") or (item.metadata.get("added") and value == item.default):
            continue
        plain[item.name] = [_plain(part) for part in value] if isinstance(value, tuple) else _plain(value)
    return plain


def _plain(value: Any) -> Any:
    return {"kind": type(value).__name__, **settings_of(value)} if is_dataclass(value) else value


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


_SPEC_TYPES = {"seed": int, "threads": int, "settings": dict}
_RECORD_TYPES = {"spec": dict, "history": list, "counters": dict, "scores_sha256": (str, type(None))}
_RECORD_TYPES |= {"timing": dict, "provenance": dict, "schema": int}
"""What JSON holds in the fields that are not text."""


def _check_fields(raw: Any, cls: type, types: Mapping[str, Any]) -> None:
    expected = {f.name for f in fields(cls)}
    found = set(raw) if isinstance(raw, dict) else set()
    if found != expected:
        raise ValueError(
            f"{cls.__name__} fields differ: missing {sorted(expected - found)}, unknown {sorted(found - expected)}"
        )
    for name, value in raw.items():
        if not isinstance(value, types.get(name, str)) or isinstance(value, bool):
            raise ValueError(f"{cls.__name__} field {name} is {value!r:.60}, of another type than in a record")
