"""Searches in any space, under a limit or none, and networks trained from scratch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senas_bench.api.options import setting_of
from senas_bench.experiments.failures import RunsFailed
from senas_bench.experiments.limits import limit_asked
from senas_bench.experiments.seeds import seeds_of
from senas_bench.experiments.study import Setting, at_seeds
from senas_bench.files import check_folder

if TYPE_CHECKING:
    from typing import Unpack

    from senas_bench.api.options import Options
    from senas_bench.experiments.failures import Failure
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunRecord, RunSpec


def search(
    space: str,
    method: str = "se-nas",
    seeds: int | Sequence[int] = 0,
    *,
    max_flops: float | None = None,
    max_params: float | None = None,
    max_latency: float | None = None,
    at_least: float | None = None,
    retrain: bool = False,
    out: str | Path | None = None,
    **options: Unpack[Options],
) -> list[dict[str, Any]]:
    """Search a space, under a limit or none.

    Args:
        space, method: Keys of `SPACES` and `METHODS`.
        seeds: One or several.
        max_flops, max_params: Millions, of the network built; at most one limit.
        max_latency: Milliseconds for a batch, by the latency table.
        at_least: Share of the limit that a network must use; None for .9.
        retrain: Train the picks from scratch, and test them.
        out: Folder for the found archs and their picture.
        options: See `Setting`: preset, results, jobs, ...

    Returns:
        What each seed found: `pick` (an arch string of the space), `seed`, costs, and with `retrain` its accuracy.

    Raises:
        ValueError: Anything that cannot be, before anything is computed.
        DataError: Images are missing.
        RunsFailed: Of all runs, once what the others found is written.
    """
    limits = {"flops": max_flops, "params": max_params, "latency": max_latency}
    where = None if out is None else Path(out).expanduser()
    found = find(space, method, seeds_of(seeds), limits, at_least, retrain, where, setting_of(options))
    if where is not None:
        found.write(where)
    return found.sound()


def retrain(
    arch: str, space: str = "nasbench201", seeds: int | Sequence[int] = 0, **options: Unpack[Options]
) -> list[dict[str, Any]]:
    """Train one arch from scratch, and test it.

    Args:
        arch: Arch string of the space, a file with one arch, in nasbench201 an index, of DARTS a `Genotype(...)`.
        options: See `Setting`: preset, results, jobs, ...

    Returns:
        A line for each seed, with `top1` and `top5` in percent.

    Raises: As `search`.
    """
    return train_alone(arch, space, seeds_of(seeds), setting_of(options)).sound()


@dataclass(frozen=True)
class Found:
    """What searches found, and the runs that failed."""

    records: Sequence[RunRecord]
    failed: Sequence[Failure]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """One per run: `pick`, `seed` and what is known of the network."""
        return [_found(record) for record in self.records]

    def sound(self) -> list[dict[str, Any]]:
        """The lines.

        Raises:
            RunsFailed: Not all runs are among them.
        """
        if self.failed:
            raise RunsFailed(self.failed)
        return self.lines

    def write(self, out: Path) -> None:
        """The archs and their picture, in a folder; nothing if nothing was found."""
        if self.records:
            _write_found(self.records, out)


def find(
    space: str,
    method: str,
    seeds: Sequence[int],
    limits: dict[str, float | None],
    at_least: float | None,
    retrain: bool,
    out: Path | None,
    setting: Setting,
) -> Found:
    """Search; `limits` by name, as `limit_asked`, and the rest as `search`."""
    from senas_bench.experiments.settings import check_within
    from senas_bench.experiments.studies import method_of

    setting.check_tools()
    if out is not None:
        check_folder(out)
    sizes = setting.sizes(space)
    setting.check_images(sizes)
    if setting.train_within_limit:  # before latency is measured for a limit of it
        check_within({method: method_of(method, space, setting.preset)})
    setting = setting.placed()
    limit = limit_asked(limits, at_least, space, sizes, setting)
    _check_alone(setting, space, sizes, method, retrain)
    spec = setting.spec(method, sizes, space=space, limit=limit, retrain=retrain)
    return _finish(at_seeds([spec], seeds), setting)


def train_alone(arch: str, space: str, seeds: Sequence[int], setting: Setting) -> Found:
    """As `retrain`."""
    setting.check_tools()
    sizes = setting.sizes(space)
    setting.check_images(sizes)
    text = one_arch(arch, space)
    for name in ("stage_epochs", "latency_table", "train_within_limit"):
        if getattr(setting, name):
            raise ValueError(f"{name} is of searches, and one given arch is trained; leave it out")
    _check_alone(setting, space, sizes, "fixed", retrain=True)
    setting = setting.placed()
    spec = setting.spec("fixed", sizes, space=space, arch=text, retrain=True)
    return _finish(at_seeds([spec], seeds), setting)


def _check_alone(setting: Setting, space: str, sizes: Preset, method: str, retrain: bool) -> None:
    """Refuse epochs of networks trained alone where none is, or all are by a recipe that keeps its own."""
    if setting.alone_epochs is None:
        return
    from senas_bench.experiments.presets import STAND_ALONE
    from senas_bench.methods import method_named

    if STAND_ALONE not in sizes.recipes:
        raise ValueError(
            f"alone_epochs are of networks of nasbench201; those of {space} keep the preset's, leave it out"
        )
    if not retrain and method_named(method).recipe != STAND_ALONE:
        raise ValueError(f"alone_epochs are of networks trained alone, and {method} trains none; add retrain=True")


def _finish(specs: list[RunSpec], setting: Setting) -> Found:
    from senas_bench.experiments.store import RunStore

    store = RunStore(setting.results)
    store.prepare()
    failed = setting.compute(store, specs)
    return Found(store.finished(specs), failed)


def one_arch(text: str, space: str) -> str:
    """The arch string that is given: itself, an official index of NAS-Bench-201, or the one arch of a file."""
    from senas_bench.spaces import SPACES
    from senas_bench.spaces.nasbench201 import NB201, arch_to_str, official_archs

    if space == "nasbench201" and text.strip().isdecimal():
        if int(text) >= NB201.size:
            raise ValueError(f"arch index {text} is out of range; 0 to {NB201.size - 1}")
        return arch_to_str(official_archs()[int(text)])
    if text.endswith((".json", ".txt")):
        from senas_bench.spaces.archfile import read_archs

        archs = read_archs(Path(text), space)
        if len(archs) != 1 or archs[0].space != space:
            held = " and ".join(sorted({own.space for own in archs}))
            raise ValueError(f"{text} holds {len(archs)} archs of {held}; one of {space} is needed")
        return SPACES[space].to_str(archs[0].arch)
    return text


def _found(record: RunRecord) -> dict[str, Any]:
    phases = {line["phase"]: line for line in record.history if "phase" in line}
    line: dict[str, Any] = {"pick": record.pick, "seed": record.spec.seed}
    line |= {name: round(phases["pick"][name], 6) for name in ("flops_m", "params") if name in phases.get("pick", {})}
    if phases.get("pick", {}).get("limited") == "latency":
        line["latency_ms"] = round(phases["pick"]["limited_cost"], 4)
    if "retrain" in phases:
        line |= {name: round(phases["retrain"][name], 2) for name in ("top1", "top5")}
        line["tested_on"] = f"{record.spec.dataset} {phases['retrain']['split']}"
    return line


def _skeleton_of(record: RunRecord) -> Any:
    """What surrounds the choices of a run's networks; None where its record does not say."""
    from senas_bench.spaces import SPACES

    said = next((line["skeleton"] for line in record.history if line.get("phase") == "pick"), None)
    if said is None:
        return None
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return SPACES[record.spec.space].skeleton_type(**plain)


def _write_found(records: Sequence[RunRecord], out: Path) -> None:
    from senas_bench.analysis.output.figures import to_bytes
    from senas_bench.files import atomic_write
    from senas_bench.spaces import SPACES
    from senas_bench.spaces.archfile import NamedArch, write_archs
    from senas_bench.spaces.drawing import draw as drawing

    out.mkdir(parents=True, exist_ok=True)
    archs = [
        NamedArch(r.spec.space, SPACES[r.spec.space].from_str(r.pick), f"{r.spec.method}, seed {r.spec.seed}")
        for r in records
    ]
    skeleton = _skeleton_of(records[0])
    stem = out / f"{records[0].spec.method}-{records[0].spec.space}"  # a method's name may hold a dot
    write_archs(Path(f"{stem}.json"), archs)
    for suffix in ("png", "svg"):
        atomic_write(Path(f"{stem}.{suffix}"), to_bytes(drawing(archs[0].space, archs, skeleton), suffix))
    print(f"written: {stem}.json, .png, .svg", file=sys.stderr)
