"""Which finished runs may share tables: the sections of a report."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from senas_bench.analysis.join import changed_sizes
from senas_bench.analysis.output.formats import words
from senas_bench.analysis.output.naming import setting_label
from senas_bench.experiments.presets import RETRAIN, STAND_ALONE
from senas_bench.experiments.protocols import outdated
from senas_bench.experiments.spec import RunRecord, canonical_json

Options = dict[str, frozenset[Hashable]]
"""What decides which runs go together: for each option that a run is subject to, the values it is compatible with; None
stands for what the preset says."""


@dataclass(frozen=True)
class Section:
    """Runs of one study: one preset, set of images, device and sizes.

    Args:
        label: Short, for file names; no two sections of a folder share one.
        title: For people.
        records: May be in several sections: where sizes differ that they do not have.
    """

    label: str
    title: str
    records: tuple[RunRecord, ...]


@dataclass
class _Study:
    options: Options
    records: list[RunRecord] = field(default_factory=list)

    def agrees(self, options: Options) -> bool:
        return all(self.options[name] & options[name] for name in self.options.keys() & options.keys())

    def narrow(self, options: Options) -> None:
        self.options |= {name: values & self.options.get(name, values) for name, values in options.items()}


def sections(records: Iterable[RunRecord]) -> list[Section]:
    """Split finished runs so that each section can be put in tables; the preset's own sizes come first.

    A run goes wherever it belongs: networks trained alone, or not at all, are the same whatever the epochs of the
    supernets.
    Runs that differ in threads alone are split only where both have the same method, settings and seed.
    """
    made = []
    bases: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        spec = record.spec
        bases.setdefault((spec.preset, spec.dataset, spec.device, spec.data_id), []).append(record)
    for base, group in sorted(bases.items()):
        twice = len({_without_threads(record) for record in group}) < len(group)
        studies = _studies(group, by_threads=twice)
        made += [_section(study, base, bases) for study in studies]
    return _distinct(made)


def _without_threads(record: RunRecord) -> tuple[Hashable, ...]:
    spec = record.spec
    return spec.method, spec.space, spec.seed, canonical_json(spec.settings)


def _studies(records: Sequence[RunRecord], by_threads: bool) -> list[_Study]:
    """Studies to which all runs of one preset, images and device belong."""
    kinds: dict[str, tuple[Options, list[RunRecord]]] = {}
    for record in records:
        options = _options(record, by_threads)
        key = repr(sorted((name, sorted(map(str, values))) for name, values in options.items()))
        kinds.setdefault(key, (options, []))[1].append(record)
    # the most telling first, the preset's own before others
    ordered = sorted(kinds.items(), key=lambda kind: (-len(kind[1][0]), _changed(kind[1][0]), kind[0]))
    studies: list[_Study] = []
    for _, (options, _) in ordered:
        fitting = [study for study in studies if study.agrees(options)]
        for study in fitting:
            study.narrow(options)
        if not fitting:
            studies.append(_Study(dict(options)))
    for _, (options, group) in ordered:
        for study in (study for study in studies if study.agrees(options)):
            study.narrow(options)
            study.records += group
    return sorted(studies, key=lambda study: _changed(study.options))


def _changed(options: Options) -> int:
    return sum(None not in values for values in options.values())


def _options(record: RunRecord, by_threads: bool) -> Options:
    spec, settings = record.spec, record.spec.settings
    changed = {name: value for name, (value,) in changed_sizes([record]).items()}
    own = ",".join(map(str, settings.get("recipe", {}).get("stage_epochs", ())))
    stages = changed.pop("stage_epochs", None)
    alone = str(settings.get("method", {}).get("recipe", "")).startswith((STAND_ALONE, RETRAIN))
    sizes = {name: value for name, value in changed.items() if name not in settings.get("recipe", {})}
    options: Options = {"sizes": frozenset([canonical_json(sizes) if sizes else None])}
    if "recipe" in settings:  # what has none goes with any epochs and hyper-parameters
        options["epochs alone" if alone else "epochs"] = _compatible(stages, own, _total)
        trained = {name: value for name, value in changed.items() if name not in sizes}
        options["recipe"] = frozenset([canonical_json(trained) if trained else None])
    if "," in own and not alone:
        options["stages"] = _compatible(stages, own, str)
    options |= {name: frozenset([canonical_json(settings[name])]) for name in ("curve", "truth") if name in settings}
    options["protocol"] = frozenset(["older" if outdated(spec) else None])
    if "curve" not in settings and _has_curve(record):
        options["curve"] = frozenset(["none"])
    return options | ({"threads": frozenset([spec.threads])} if by_threads else {})


def _compatible(changed: str | None, own: str, value: Callable[[str], Hashable]) -> frozenset[Hashable]:
    """Of epochs: what was asked for, where that is not the preset's; else the preset's, which asking may give too."""
    return frozenset([value(changed)] if changed is not None else [None, value(own)])


def _total(stages: str) -> int:
    return sum(int(epochs) for epochs in stages.split(",") if epochs)


def _has_curve(record: RunRecord) -> bool:
    from senas_bench.methods import all_methods

    method = all_methods().get(record.spec.method)
    watched = method is not None and method.watched
    return watched and record.spec.space == "nasbench201" and "limit" not in record.spec.settings


def _section(study: _Study, base: tuple[str, ...], bases: Iterable[tuple[str, ...]]) -> Section:
    preset, images, device, data_id = base
    records = tuple(sorted(study.records, key=lambda record: record.spec.run_id))
    changed = changed_sizes(records)
    label, title = setting_label(preset, images, device, changed), f"Preset {preset}, images {images}, device {device}"
    if sum(other[:3] == base[:3] for other in bases) > 1:
        label, title = f"{label}-{data_id[:8]}", f"{title}, image files {data_id}"
    if threads := study.options.get("threads"):
        (number,) = threads
        label, title = f"{label}-threads-{number}", f"{title}, threads {number}"
    if study.options.get("protocol") == frozenset(["older"]):
        label, title = f"{label}-older-protocol", f"{title}, older protocol"
    if changed:
        title += "; not the preset's " + ", ".join(f"{words(n)} {' or '.join(v)}" for n, v in changed.items())
    return Section(label, title, records)


def _distinct(made: Sequence[Section]) -> list[Section]:
    """Sections whose labels are alike, numbered."""
    seen: dict[str, int] = {}
    numbered = []
    for section in made:
        seen[section.label] = number = seen.get(section.label, 0) + 1
        more = (f"{section.label}-{number}", f"{section.title} ({number})")
        numbered.append(section if number == 1 else Section(*more, section.records))
    return numbered
