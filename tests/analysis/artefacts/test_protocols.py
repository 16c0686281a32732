"""What tables of searches say of how supernets were trained, from runs made by hand."""

from senas_bench.analysis.artefacts.protocols import protocol_notes
from senas_bench.experiments.spec import RunRecord, RunSpec

UNIFORM = "Supernets train on uniform paths over all archs; the limit filters what is scored and searched."
POOL = "uniform paths, and later archs that begin with a partial model of its pool"


def a_record(method: str, space: str = "mobilenet", stages=(1,), *, epochs=None, within=False, **recipe) -> RunRecord:
    """A run under a limit, which trained for `epochs`, all of them by default."""
    limit = {"cost": "flops", "level": 470, **({} if within else {"in_training": False})}
    settings = {"recipe": {"stage_epochs": list(stages), "lr_restarts": False, **recipe}, "limit": limit}
    history = [{"stage": 1, "epoch": 1 + epoch, "loss": 1.0, "lr": 0.1} for epoch in range(epochs or sum(stages))]
    history.append({"phase": "retrain", "epoch": 240, "loss": 1.0})
    spec = RunSpec(method, 0, "cpu", space, "cifar10", "c1", settings=settings)
    return RunRecord(spec, "x", tuple(history), {}, None, {}, {})


def notes_of(*records: RunRecord, start: str) -> list[str]:
    return [note for note in protocol_notes(records) if note.startswith(start)]


def supernets(*records: RunRecord) -> list[str]:
    return notes_of(*records, start="Supernets")


def test_one_kind_of_paths_is_that_of_all():
    assert supernets(a_record("spos"), a_record("se-nas")) == [UNIFORM]
    assert supernets(a_record("spos", within=True), a_record("greedynas")) == [
        "Supernets train on paths within the limit."
    ]
    assert supernets(a_record("random")) == []  # it trains none


def test_several_kinds_are_told_by_method():
    """FairNAS's are fair, GreedyNAS never leaves the limit, PCNAS's pool grows; the others' are uniform."""
    records = [a_record(name) for name in ("random", "se-nas", "spos", "fairnas", "greedynas", "pcnas-pool")]
    fair, within = "strictly fair paths (fairnas)", "paths within the limit (greedynas)"
    each = f"uniform paths over all archs (spos, se-nas); on {fair}; on {within}; on {POOL} (pcnas-pool)"
    assert supernets(*records) == [f"Supernets train on {each}; the limit filters what is scored and searched."]
    both = supernets(a_record("spos"), a_record("spos", within=True))
    assert both[0].startswith(
        "Supernets train on uniform paths over all archs (spos); on paths within the limit (spos);"
    )


def test_logits_know_no_limit():
    """And the others alone are said to train on uniform paths."""
    said = "of all archs within it, the pick is the one their logits rate best."
    start = ("No limit", "Supernets")
    assert notes_of(a_record("gdas"), a_record("darts-v1"), start=start) == [
        f"No limit in the search of darts-v1, gdas: {said}"
    ]
    assert notes_of(a_record("gdas"), a_record("spos"), start=start) == [
        UNIFORM,
        f"No limit in the search of gdas: {said}",
    ]


def schedules(*records: RunRecord) -> list[str]:
    return notes_of(*records, start=("One schedule", "The learning rate"))


def test_a_schedule_is_of_those_who_train_on_it():
    """Not of methods of a single stage, of one that trains less than its stages, or of one that trains nothing."""
    records = [
        a_record("se-nas", stages=(2, 1, 1)),
        a_record("spos", stages=(2, 1, 1)),
        a_record("pcnas-pool", "mobilenet-g2", stages=(2, 1, 1)),
        a_record("se-nas", "darts-separate", stages=(4, 1, 1)),
        a_record("fairnas", "mobilenet-fair", stages=(2, 1, 1), epochs=1),
        a_record("random", "mobilenet-fair", stages=(2, 1, 1)),
        a_record("gdas", "darts-separate", stages=(12,)),
    ]
    said = "One schedule of the learning rate, with stages or without, over all"
    assert schedules(*records) == [
        f"{said} 4 epochs: spos, se-nas, pcnas-pool in mobilenet, mobilenet-g2.",
        f"{said} 6 epochs: se-nas in darts-separate.",
    ]
    assert schedules(*records[4:]) == []


def test_a_run_that_stopped_was_on_its_schedule():
    record = a_record("se-nas", stages=(2, 1, 1), epochs=2)
    line = {"phase": "stopped", "stage": 1, "stages": 3, "epoch": 2, "epochs": 4, "archs": 9, "stop_at": 9, "lr": 0.1}
    stopped = RunRecord(record.spec, "x", (*record.history, line), {}, None, {}, {})
    assert schedules(record) == [] and len(schedules(stopped)) == 1


def test_rates_that_start_again_are_said():
    (note,) = schedules(a_record("se-nas", stages=(2, 1), lr_restarts=True), a_record("spos", stages=(2, 1)))
    assert note.startswith("The learning rate starts again in each stage")
