"""Trainings that runs share: computed once, counted in full by each, and the records are as if each had run alone."""

from dataclasses import asdict, replace

import pytest

from senas_bench.experiments.executors import JoblibExecutor
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import make_spec, resized
from senas_bench.experiments.spec import RunRecord
from senas_bench.experiments.store import RunStore
from senas_bench.methods import METHODS
from senas_bench.methods.spos import Spos
from senas_bench.ranking import estimators, snapshots
from senas_bench.ranking.aggregate import Aggregate, Size
from senas_bench.ranking.estimators import SnapshotLoglik
from senas_bench.spaces.cost import CostTable
from senas_bench.spaces.limits import Limit
from senas_bench.spaces.nasbench201 import NB201, Skeleton, nasbench201_cost
from senas_bench.spaces.paths import UniformPath
from senas_bench.spaces.regions import within
from senas_bench.tasks.shared import paths_identity
from senas_bench.training import loop

SIZES = replace(
    resized(PRESETS["embedded"], stage_epochs=(1, 1), rank_archs=12, curve_points=1),
    channels=2,
    score_images=100,
    score_batch=50,
    curve_images=50,
)


@pytest.fixture
def epochs(monkeypatch):
    """The epochs that were really trained, as they end."""
    trained, save = [], loop.save
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "save", lambda path, *rest: trained.append(path.name) or save(path, *rest))
    return trained


@pytest.fixture
def others(monkeypatch):
    """Methods that score the supernet of `spos` in other ways, and one that trains another."""
    monkeypatch.setitem(METHODS, "loglik", Spos(estimator="snapshot-loglik"))
    monkeypatch.setitem(METHODS, "strategy", Spos(estimator=SnapshotLoglik()))
    monkeypatch.setitem(METHODS, "tuned", Spos(recipe="tuned"))


def spec_of(method, seed=0):
    return make_spec(method, seed, "embedded", sizes=SIZES)


def lasting(record):
    """A record without what depends on the machine."""
    return {name: value for name, value in asdict(record).items() if name not in ("timing", "provenance")}


def computed(folder, methods, **options):
    runner = Runner(folder, **options)
    return {method: runner(spec_of(method)) for method in methods}


@pytest.mark.slow
def test_a_supernet_is_trained_once_and_counted_in_full(tmp_path, epochs, others):
    methods = ["spos", "loglik", "strategy"]
    alone = computed(tmp_path / "alone", methods)
    assert len(epochs) == 3 * 2
    epochs.clear()
    shared = computed(tmp_path / "shared", methods, share=True)
    assert len(epochs) == 2 and len(set(epochs)) == 1
    assert {name: lasting(record) for name, record in shared.items()} == {
        name: lasting(record) for name, record in alone.items()
    }
    for name in methods:
        counts = shared[name].counters["search"]
        assert counts["train_steps"] == alone["spos"].counters["search"]["train_steps"] > 0
        one, other = (RunStore(tmp_path / folder) for folder in ("shared", "alone"))
        assert one.scores(shared[name]).equals(other.scores(alone[name]))


@pytest.mark.slow
def test_what_trains_otherwise_is_not_shared(tmp_path, epochs, others):
    runner = Runner(tmp_path, share=True)
    for spec in (spec_of("spos"), spec_of("spos", seed=1), spec_of("tuned"), spec_of("se-nas")):
        runner(spec)
    first = {name for name in epochs if len(name) > 40}
    assert len(first) == 4


@pytest.mark.slow
def test_shrinking_methods_share_their_first_stage(tmp_path, epochs):
    computed(tmp_path, ["se-nas-shrink", "si-shrink"], share=True)
    assert len([name for name in epochs if len(name) > 40]) == 1


@pytest.mark.slow
def test_they_share_the_scores_of_their_first_stage(tmp_path, monkeypatch):
    """Its ranking and its criterion: the second run scores its last stage alone. Records are those of runs alone."""
    scored, score = [], snapshots.score_states
    monkeypatch.setattr(estimators, "score_states", lambda *a, **k: scored.append(len(a[2])) or score(*a, **k))
    methods = ["se-nas-shrink", "si-shrink"]
    alone = computed(tmp_path / "alone", methods)
    assert len(scored) == 2 * 3
    scored.clear()
    shared = computed(tmp_path / "shared", methods, share=True)
    assert len(scored) == 3 + 1
    assert {name: lasting(record) for name, record in shared.items()} == {
        name: lasting(record) for name, record in alone.items()
    }
    scored.clear()
    computed(tmp_path / "shared", ["spos"], share=True)  # another training
    assert scored


@pytest.mark.slow
def test_a_hybrid_shares_the_ranking_of_its_supernet(tmp_path, monkeypatch, others):
    """That of whoever ranks by the supernet alone, and of another hybrid; the records are as if each were alone."""
    monkeypatch.setitem(METHODS, "hybrid", Spos(estimator=Aggregate(("snapshot-loglik", Size("params")), 3)))
    monkeypatch.setitem(METHODS, "other", Spos(estimator=Aggregate(("snapshot-loglik", Size("flops_m")), 3)))
    scored, score = [], estimators.score_states
    monkeypatch.setattr(estimators, "score_states", lambda *a, **k: scored.append(len(a[2])) or score(*a, **k))
    together = computed(tmp_path, ["loglik", "hybrid", "other"], share=True)
    assert sorted(scored) == [3, 12]
    for name in ("hybrid", "other"):
        assert lasting(together[name]) == lasting(computed(tmp_path / name, [name])[name])


@pytest.mark.slow
def test_a_curve_is_seen_by_those_that_ask_for_it_alone(tmp_path, epochs, others):
    """One that does not look takes the training of one that did; the other way round it is trained again."""
    alone = computed(tmp_path / "alone", ["spos", "loglik"])
    epochs.clear()
    for folder, order in (("first", ["spos", "loglik"]), ("last", ["loglik", "spos"])):
        found = computed(tmp_path / folder, order, share=True)
        assert {name: lasting(record) for name, record in found.items()} == {
            name: lasting(record) for name, record in alone.items()
        }
    assert len(epochs) == 2 + 2 * 2
    assert alone["spos"].counters["report"] != alone["loglik"].counters["report"]


@pytest.mark.slow
def test_they_are_dropped_or_kept(tmp_path, epochs, others):
    store = RunStore(tmp_path)
    computed(tmp_path, ["spos"], share=True)
    files = list(store.trainings.glob("*.safetensors"))  # the training, and its ranking
    assert len(files) == 2 and store.unfinished() == []
    begun = store.work_dir(make_spec("loglik", 5, "embedded"))  # interrupted in its first training, which lies there
    store.forget_trainings()
    assert len(list(store.trainings.glob("*.safetensors"))) == 2
    begun.rmdir()
    store.forget_trainings()
    assert not store.trainings.exists()
    epochs.clear()
    computed(tmp_path / "kept", ["spos"], keep_trained=True)
    kept = RunStore(tmp_path / "kept")
    kept.forget_trainings()
    computed(tmp_path / "kept", ["loglik"], share=True)
    assert len(epochs) == 2 and len(list(kept.kept_trainings.glob("*.safetensors"))) == 2
    assert not list((tmp_path / "kept").rglob("*.lock"))


def test_one_that_somebody_holds_is_not_dropped(tmp_path):
    store = RunStore(tmp_path)
    store.trainings.mkdir(parents=True)
    for name in ("held.safetensors", "held.lock", "left.safetensors"):
        (store.trainings / name).touch()
    store.forget_trainings()
    assert sorted(path.name for path in store.trainings.iterdir()) == ["held.lock", "held.safetensors"]


@pytest.mark.slow
def test_a_damaged_one_is_trained_again(tmp_path, epochs, others):
    store, expected = RunStore(tmp_path), computed(tmp_path / "alone", ["loglik"])["loglik"]
    computed(tmp_path, ["spos"], share=True)
    file = max(store.trainings.glob("*.safetensors"), key=lambda path: path.stat().st_size)  # the other is a ranking
    data = bytearray(file.read_bytes())
    data[-5] ^= 4
    file.write_bytes(bytes(data))
    with pytest.warns(UserWarning, match="is damaged"):
        again = computed(tmp_path, ["loglik"], share=True)["loglik"]
    assert lasting(again) == lasting(expected)


@pytest.mark.slow
def test_two_workers_train_one_supernet(tmp_path):
    """Where both want it at once one waits."""
    specs = [spec_of("spos"), spec_of("spos-evolution")]
    results = [result for _, result in JoblibExecutor(2).map(Runner(tmp_path, share=True), specs)]
    assert all(isinstance(result, RunRecord) for result in results), results
    assert len(list(RunStore(tmp_path).trainings.glob("*.safetensors"))) == 2  # the training, and its ranking
    (alone,) = computed(tmp_path / "alone", ["spos-evolution"]).values()
    assert lasting(RunStore(tmp_path).load(specs[1])) == lasting(alone)


def test_paths_are_the_same_only_if_they_draw_the_same():
    table = nasbench201_cost(Skeleton(8, 10))
    costs = CostTable(table.base, table.per_edge)
    regions = [NB201, NB201.without(0, 1), NB201.with_groups(((0, 1), (2,), (3,), (4,), (5,)))]
    regions += [within(NB201, Limit.of(costs, "flops", high)) for high in (1e6, 2e6)]
    paths = [region.paths(cells) for region in regions for cells in (0, 3)]
    identities = [str(paths_identity(path)) for path in paths]
    assert len(set(identities)) == len(paths)
    assert identities == [str(paths_identity(path)) for path in paths]
    assert paths_identity(UniformPath(NB201)) == paths_identity(NB201.paths(0))
    assert paths_identity(lambda rng: [NB201.sample(rng)]) is None
