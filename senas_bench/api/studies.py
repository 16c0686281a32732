"""Tables and figures of the paper: what they need is run, then they are rendered and written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from senas_bench.api.checks import makeable, note_stages
from senas_bench.api.keeping import write_beside
from senas_bench.api.limited import check_limits, search_specs
from senas_bench.api.options import setting_of
from senas_bench.errors import DataError
from senas_bench.experiments.failures import RunsFailed
from senas_bench.experiments.seeds import seeds_of
from senas_bench.experiments.study import Setting, at_seeds

if TYPE_CHECKING:
    from typing import Unpack

    from senas_bench.analysis.artefacts import Artefact
    from senas_bench.analysis.output.formats import Table
    from senas_bench.api.options import Options
    from senas_bench.experiments.failures import Failure
    from senas_bench.experiments.presets import Preset
    from senas_bench.experiments.spec import RunRecord, RunSpec
    from senas_bench.experiments.store import RunStore
    from senas_bench.groundtruth import GroundTruth

EVERY = "all"
"""In the place of names of methods: every one that can run."""


def reproduce(
    *artefacts: str,
    seeds: int | str | Sequence[int] = range(3),
    methods: str | Sequence[str] | None = None,
    fresh: bool = False,
    finished: bool = False,
    no_timing: bool = False,
    seed_truth: Path | None = None,
    **options: Unpack[Options],
) -> Table | dict[str, Table]:
    """Make tables and figures of the paper: run what is missing, then render, and write into the results folder.

    Args:
        artefacts: Names of `ARTEFACTS`; or `nasbench201`, `searches`, `all`.
        seeds: One or several; text as `--seeds` takes it, such as `0-9`.
        methods: Names of `METHODS`, a list or text with commas, or `all`: every one that can run here; default the
            artefact's.
        fresh: Set finished runs aside and compute them again.
        finished: Run nothing: what the finished runs of the folder show.
        no_timing: Leave machine-dependent columns out.
        seed_truth: Parquet table with the accuracy of single training seeds, for table1.
        options: See `Setting`: preset, results, jobs, ...

    Returns:
        The table of the one artefact; of several, the tables by name. `.frame` is what a reader sees, `.meta["rows"]`
        the numbers. Progress goes to standard error.

    Raises:
        ValueError: Anything that cannot be, before anything is computed.
        DataError: Images or ground truth are missing or corrupt; or there is nothing to show.
        RunsFailed: Of all runs, once what the others show is written.
    """
    setting = setting_of(options)
    study = prepare(artefacts, seeds, methods, setting, finished=finished, fresh=fresh, seed_truth=seed_truth)
    failed = study.run()
    tables = {made.name: made.table for made in study.render(no_timing=no_timing)}
    if failed:
        raise RunsFailed(failed)
    if len(study.artefacts) > 1:
        return tables
    if not tables:
        raise DataError(f"{', '.join(study.artefacts)}: the finished runs of {setting.results} do not show it")
    return next(iter(tables.values()))


class Made(NamedTuple):
    """An artefact that was rendered: its name, its table, as it is named, and the files."""

    name: str
    table: Table
    paths: list[Path]


@dataclass
class Study:
    """What some artefacts need, before and after it is run.

    Args:
        artefacts: Asked for.
        methods: Of those that can be made.
        chosen: Whether somebody chose the methods.
        specs: The runs, each once.
        also: Others that are shown where they are finished, see `Artefact.also`.
        sound: Whether everything is in what was rendered.
    """

    artefacts: Mapping[str, Artefact]
    methods: Mapping[str, Sequence[str]]
    chosen: bool
    specs: Sequence[RunSpec]
    setting: Setting
    truth: GroundTruth
    only_finished: bool
    fresh: bool
    also: Sequence[RunSpec] = ()
    sound: bool = field(default=True, init=False)

    @property
    def store(self) -> RunStore:
        from senas_bench.experiments.store import RunStore

        return RunStore(self.setting.results)

    def run(self) -> list[Failure]:
        """Run what is missing; what failed."""
        if self.only_finished:
            return []
        self.store.prepare()
        if self.fresh:
            for spec in self.specs:
                self.store.set_aside(spec)
            self.store.forget_trainings()
        return self.setting.compute(self.store, self.specs)

    def render(self, *, no_timing: bool = False) -> Iterator[Made]:
        """Render and write one artefact after the other; one artefact or method at fault takes no other away.

        Raises:
            DataError: Nothing was to be run, and nothing is finished.
            ValueError: The only artefact cannot be rendered.
        """
        asked = self.store.finished(self.specs)
        finished = [*asked, *self.store.finished(self.also)]
        older = self._older(asked) if self.only_finished else []
        alone = any(artefact.alone for artefact in self.artefacts.values())
        if self.only_finished and not (finished or older or alone):
            none = f"none of the {f'{len(self.specs)} ' * bool(self.specs)}runs is finished in {self.setting.results}"
            raise DataError(f"{none}; {self._others() or 'run them without --finished'}")
        for name in self.methods:
            records = self._records(name, finished)
            if not records and (records := self._records(name, older)):
                print(f"{name}: {self._said(records)}", file=sys.stderr)
            essential = self.artefacts[name].essential
            if essential not in (None, *(record.spec.method for record in records)):
                print(f"{name} is not made: it has no runs of {essential}", file=sys.stderr)
                continue
            try:
                made = self._make(name, records, no_timing) if records or self.artefacts[name].alone else None
            except (ValueError, OSError, DataError) as error:
                if len(self.methods) == 1:
                    raise
                print(f"{name} is not made: {' '.join(str(error).split())}", file=sys.stderr)
                self.sound = False
                continue
            if made is not None:
                yield made

    def _others(self) -> str:
        """What to do where the same methods have finished runs of other sizes; empty where they have none."""
        from senas_bench.analysis.join import changed_sizes, sizes_in_words

        asked = set(map(_kind, self.specs))
        found = [record for record in self.store.records() if _kind(record.spec) in asked]
        if not found:
            return ""
        sizes = sizes_in_words(changed_sizes(found)) or "those of the preset"
        return (
            f"it has {len(found)} of other settings, whose sizes are {sizes}: give the options that they were made with"
        )

    def _older(self, finished: Sequence[RunRecord]) -> list[RunRecord]:
        """Finished runs that are what was asked for, but of an older protocol."""
        from senas_bench.experiments.protocols import of_older_protocol

        if len(finished) == len(self.specs):
            return []
        return of_older_protocol(self.specs, self.store.records())

    def _said(self, records: Sequence[RunRecord]) -> str:
        from senas_bench.experiments.protocols import outdated, said

        names = said(sorted({name for record in records for name in outdated(record.spec)}))
        return f"shows {len(records)} runs of an older protocol ({names}); without --finished today's are run"

    def _records(self, name: str, finished: Sequence[RunRecord]) -> list[RunRecord]:
        from senas_bench.analysis.artefacts import is_search

        shown = {*self.methods[name], *(() if self.chosen else self.artefacts[name].also())}
        wanted = [record for record in finished if record.spec.method in shown]
        return [record for record in wanted if bool(self.artefacts[name].searches) == is_search(record)]

    def _make(self, name: str, records: Sequence[RunRecord], no_timing: bool) -> Made:
        from senas_bench.analysis.artefacts import render_sound

        artefact, rows = self.artefacts[name], self.methods[name] if self.chosen else None
        table, faults = render_sound(
            artefact, records, self.store.scores, self.truth, no_timing=no_timing, methods=rows
        )
        for method, why in faults.items():
            print(f"{artefact.name} is made without {method}: {why}", file=sys.stderr)
        table, paths = write_beside(table, self.setting.results, artefact)
        self.sound = self.sound and not faults
        return Made(name, table, paths)


def _kind(spec: RunSpec) -> tuple[str, ...]:
    return spec.method, spec.preset, spec.dataset, spec.space


def prepare(
    artefacts: Sequence[str],
    seeds: int | str | Sequence[int],
    methods: str | Sequence[str] | None,
    setting: Setting,
    *,
    finished: bool = False,
    fresh: bool = False,
    seed_truth: Path | None = None,
    dry: bool = False,
) -> Study:
    """What artefacts need, refused here if it cannot be. Nothing is computed, but latency tables that are missing, and
    where it is `dry` not even these.

    Args, raises: As `reproduce`.
    """
    numbers = seeds_of(seeds)
    setting.check_tools()
    if finished and fresh:
        raise ValueError("--finished runs nothing and --fresh runs everything anew; give one of them")
    if finished and dry:
        raise ValueError("--finished runs nothing, so --dry-run has nothing to say of it; give one of them")
    sizes = setting.sizes()
    setting.check_images(sizes)
    truth = load_truth(setting.ground_truth, seed_truth)
    # seconds of imports, after all that can be refused without them
    from senas_bench.analysis.artefacts import ARTEFACTS, named

    if not artefacts:
        raise ValueError(f"no artefact is named; give one of: {', '.join(ARTEFACTS)}")
    chosen = {name: ARTEFACTS[name] for asked in artefacts for name in named(asked)}
    own = _methods(chosen, None if methods is None else _listed(methods), setting, sizes)
    check_limits(chosen, own, setting)
    if not finished:
        own = makeable(chosen, own, sizes, truth, setting.images(sizes))
    setting = setting.placed()
    ranked = dict.fromkeys(method for name, group in own.items() if not chosen[name].searches for method in group)
    specs = at_seeds([setting.spec(method, sizes) for method in ranked], numbers)
    specs += at_seeds(search_specs(chosen, own, setting, finished=finished, dry=dry), numbers)
    if not finished:
        note_stages(setting.preset, sizes, ranked)
    also = [] if methods is not None else _also(chosen, {*ranked}, setting, sizes)
    return Study(chosen, own, methods is not None, specs, setting, truth, finished, fresh, at_seeds(also, numbers))


def _also(artefacts: Mapping[str, Artefact], ran: set[str], setting: Setting, sizes: Preset) -> list[RunSpec]:
    """Specs of methods that artefacts show where they are finished; of those that are possible here."""
    specs = []
    for method in dict.fromkeys(name for artefact in artefacts.values() for name in artefact.also()):
        with suppress(ValueError, DataError):
            specs += [setting.spec(method, sizes)] if method not in ran else []
    return specs


def load_truth(ground_truth: Path | None, seed_truth: Path | None) -> GroundTruth:
    """A benchmark table, joined with one of single training seeds."""
    from senas_bench.groundtruth import load_ground_truth

    truth = load_ground_truth(ground_truth)
    return truth.joined(load_ground_truth(seed_truth)) if seed_truth else truth


def _methods(
    artefacts: Mapping[str, Artefact], names: list[str] | None, setting: Setting, sizes: Preset
) -> dict[str, Sequence[str]]:
    """The methods of each artefact: its own, or those asked for. Of several artefacts, each takes those it knows,
    and one that is open all.

    Raises:
        ValueError: A method that was asked for is of none of the artefacts.
    """
    if names is None:
        return {name: artefact.methods for name, artefact in artefacts.items()}
    every = EVERY in names
    if every:
        names = _possible(setting, sizes)
    if len(artefacts) == 1 and not next(iter(artefacts.values())).searches:
        return dict.fromkeys(artefacts, names)
    shown = {
        name: {*artefact.methods, *artefact.also(), *(names if artefact.open else ())}
        for name, artefact in artefacts.items()
    }
    known = {name: [method for method in names if method in group] for name, group in shown.items()}
    if every:
        known |= {name: list(artefact.methods) for name, artefact in artefacts.items() if artefact.searches}
    unused = [method for method in names if not any(method in group for group in known.values())]
    if unused and not every:
        raise ValueError(f"--methods {', '.join(unused)}: none of {', '.join(artefacts)} shows it; leave it out")
    return {name: group for name, group in known.items() if group}


def _listed(names: str | Sequence[str]) -> list[str]:
    given: Any = names.split(",") if isinstance(names, str) else names
    found = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(name, str) for name in found):
        raise ValueError(f"methods {names!r:.60} must be names, such as ['params', 'random'] or 'params,random'")
    if not found:
        raise ValueError("no methods; give one at least, or None for those that the artefact shows")
    return list(dict.fromkeys(name.strip() for name in found))


def _possible(setting: Setting, sizes: Preset) -> list[str]:
    """Every method that can run with this setting on NAS-Bench-201; of each other it prints why not."""
    from senas_bench.methods import METHODS

    found = []
    for name in METHODS:
        try:
            setting.spec(name, sizes)
        except (ValueError, DataError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
        else:
            found.append(name)
    return found
