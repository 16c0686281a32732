"""Runs on a local cluster of several nodes, each with workers of its own; one of them is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from senas_bench.errors import RunError
from senas_bench.experiments import ray_executor
from senas_bench.experiments.presets import PRESETS
from senas_bench.experiments.ray_executor import RayExecutor
from senas_bench.experiments.runner import Runner
from senas_bench.experiments.settings import make_spec
from senas_bench.experiments.spec import RunRecord, RunSpec
from senas_bench.experiments.store import RunStore
from senas_bench.training.recipe import TrainingRecipe

pytestmark = pytest.mark.slow

pytest.importorskip("ray")

TINY = replace(
    PRESETS["embedded"],
    channels=4,
    score_images=50,
    score_batch=50,
    calibration_images=50,
    rank_archs=20,
    curve_points=0,
    recipes={"reference": TrainingRecipe((1, 1, 1), 256, snapshots=2)},
)


def a_spec(seed: int, **changes) -> RunSpec:
    return RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1", **changes)


def by_seed(pairs) -> dict:
    return {spec.seed: result for spec, result in pairs}


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose first node has two CPUs and claims a GPU; this process is connected, so that workers stay.

    Nothing is computed on the GPU.
    """
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ray_executor.SETTINGS.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
        ray.init(cluster.address, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> RunStore:
    """The store of 8 runs, computed one after the other in this process."""
    folder = tmp_path_factory.mktemp("serial")
    methods = ("spos", "params", "flops", "random")
    specs = [make_spec(method, seed, "embedded", sizes=TINY) for seed in range(2) for method in methods]
    for spec in specs:
        Runner(folder)(spec)
    return RunStore(folder)


def lasting(record: RunRecord) -> RunRecord:
    return replace(record, timing={}, provenance={})


def watched(runner: Runner, folder: Path, shared: bool, doomed: str):
    """`runner`, whose workers first leave a file with the name of the run and of their node.

    A worker on the node `doomed` stops in the middle of its first training, leaves a file and waits to be killed; those
    on other nodes wait until it is there, so that they do not finish before.
    """

    class Watched:
        def apart(self):
            away, home = runner.apart()
            if not shared:
                away = replace(away, identity="another folder's")

            def tell(spec):
                import time

                import ray

                from senas_bench.experiments import runner as module
                from senas_bench.progress import SilentProgress

                class Held(SilentProgress):
                    def step(self, done, **numbers):
                        (folder / "held").touch()
                        time.sleep(600)

                node = ray.get_runtime_context().get_node_id()
                (folder / f"{spec.run_id}@{node}").touch()
                if node == doomed:
                    module.progress_of = lambda kind, label: Held()
                while node != doomed and not (folder / "held").exists():
                    time.sleep(0.02)
                return away(spec)

            return tell, home

    return Watched()


def kill_when_busy(cluster, node, folder: Path) -> threading.Thread:
    """Kill a node as soon as a run is held there."""

    def kill():
        while not (folder / "held").exists():
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "not shared"])
def test_a_node_killed_mid_run_changes_no_record(cluster, serial, tmp_path, monkeypatch, shared):
    expected = serial.records()
    (tmp_path / "begun").mkdir()
    store = RunStore(tmp_path / "runs")
    saved_here = []
    save = RunStore.save
    monkeypatch.setattr(RunStore, "save", lambda *a: saved_here.append(a[1].spec.run_id) or save(*a))
    node = cluster.add_node(num_cpus=1)
    killer = kill_when_busy(cluster, node, tmp_path / "begun")
    runner = watched(Runner(store.root), tmp_path / "begun", shared, node.node_id)
    specs = [record.spec for record in expected]
    with pytest.warns(UserWarning, match=r"lost its worker \(\w+\) and is started again, 1 of 3"):
        outcomes = list(RayExecutor(address=cluster.address).map(runner, specs))
    killer.join()
    assert len(expected) == len(outcomes) == 8
    assert {spec.run_id: outcome for spec, outcome in outcomes} == {r.spec.run_id: r for r in store.records()}
    assert [lasting(record) for record in store.records()] == [lasting(record) for record in expected]
    for record, before in zip(store.records(), expected, strict=True):
        if before.scores_sha256 is not None:
            assert store.scores(record).equals(serial.scores(before))
    assert sorted(saved_here) == ([] if shared else [spec.run_id for spec in specs])
    assert store.unfinished() == []
    begun = [path.name.partition("@")[::2] for path in (tmp_path / "begun").iterdir()]
    interrupted = [run_id for run_id, where in begun if where == node.node_id]
    assert [run_id for run_id, where in begun if where != node.node_id and run_id in interrupted]


def test_a_run_that_keeps_killing_its_worker_is_given_up(cluster, tmp_path):
    def die(spec):
        import os
        import signal
        import tempfile

        if spec.seed == 1:
            tempfile.mkstemp(dir=tmp_path)
            os.kill(os.getpid(), signal.SIGKILL)
        return spec.seed

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        specs = [a_spec(seed) for seed in range(3)]
        results = by_seed(RayExecutor(address=cluster.address, retries=2).map(die, specs))
    error = results.pop(1)
    assert isinstance(error, RunError) and "lost its worker 3 times" in str(error) and "--jobs" in str(error)
    assert results == {0: 0, 2: 2}
    assert len(list(tmp_path.iterdir())) == 3
    assert len([w for w in caught if "lost its worker" in str(w.message)]) == 2


def test_a_run_that_raises_is_not_repeated_and_what_it_asks_for_is_reserved(cluster, tmp_path):
    def function(spec):
        import tempfile

        import ray

        tempfile.mkstemp(dir=tmp_path)
        if spec.seed == 0:
            raise OSError("no luck")
        return ray.get_runtime_context().get_assigned_resources()

    specs = [a_spec(0), a_spec(1, threads=2), a_spec(2, device="cuda")]
    results = by_seed(RayExecutor(address=cluster.address, gpus_per_run=0.25).map(function, specs))
    assert isinstance(results[0], OSError) and 'raise OSError("no luck")' in results[0].__notes__[-1]
    assert results[1] == {"CPU": 2}
    assert results[2] == {"CPU": 1, "GPU": 0.25}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("jobs", "patience", "most"), [(0, 60, 2), (1, 0.2, 1)])
def test_jobs_caps_the_runs_at_a_time(cluster, tmp_path, jobs, patience, most):
    """Each run waits for company; all that there are CPUs for fly together, unless `jobs` says otherwise."""

    def company(spec):
        import time

        own = tmp_path / str(spec.seed)
        own.touch()
        deadline = time.monotonic() + patience
        while (seen := len(list(tmp_path.iterdir()))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)  # to be seen
        own.unlink()
        return seen

    results = by_seed(RayExecutor(jobs, cluster.address).map(company, [a_spec(seed) for seed in range(2)]))
    assert max(results.values()) == most


def test_what_cannot_be_kept_here_fails_its_run_only(cluster):
    class Full:
        def apart(self):
            def keep(seed):
                if seed == 1:
                    raise OSError(28, "no room")
                return seed

            return (lambda spec: spec.seed), keep

    results = by_seed(RayExecutor(address=cluster.address).map(Full(), [a_spec(seed) for seed in range(3)]))
    assert isinstance(results[1], OSError) and "no room" in results[1].__notes__[-1]
    assert (results[0], results[2]) == (0, 2)


INTERRUPTED = """
import contextlib, os, signal, sys, time
from pathlib import Path
from senas_bench.experiments.ray_executor import RayExecutor
from senas_bench.experiments.spec import RunSpec
def stop(signum, frame):
    raise SystemExit(128 + signum)
signal.signal(signal.SIGTERM, stop)
folder = sys.argv[2]
def sleep(spec):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
specs = [RunSpec("spos", seed, "embedded", "nasbench201", "digits", "d1") for seed in range(5)]
with contextlib.closing(RayExecutor(1, sys.argv[1]).map(sleep, specs)) as results:
    list(results)
"""


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


def left(pids: list[int]) -> list[int]:
    """Those that are still alive after as long as they need to end."""
    deadline = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [pid for pid in pids if alive(pid)]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="asks /proc whether a process lives")
def test_an_interrupt_ends_the_runs_of_the_cluster(cluster, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, cluster.address, str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    sleepers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(sleepers) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert left(sleepers) == []


def test_no_specs():
    assert list(RayExecutor().map(print, [])) == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_no_cluster_is_one_line(monkeypatch, address):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # by the cluster of this file
    with pytest.raises(RunError, match=rf"^no Ray cluster at {address}: .*refused; see CLUSTER\.md$"):
        list(RayExecutor(address=address).map(print, [a_spec(0)]))


@pytest.mark.parametrize("address", ["", "here", "http://head:1", "head", "head:port", "ray://", "head: 6379"])
def test_bad_addresses(address):
    with pytest.raises(ValueError, match="write auto, host:port or ray://host:port"):
        RayExecutor(address=address)


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.1:6379", "ray://head.cluster.local:10001"])
def test_good_addresses(address):
    assert RayExecutor(address=address).address == address


def test_bad_numbers():
    for share in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            RayExecutor(gpus_per_run=share)
    with pytest.raises(ValueError, match="jobs is -1"):
        RayExecutor(-1)


def test_without_ray(monkeypatch):
    monkeypatch.setattr(ray_executor.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed; pip install 'senas-bench\[ray\]'"):
        RayExecutor()


def test_what_fits_nowhere_is_said():
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 1.0}}]
    nodes.append({"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}})
    cluster = SimpleNamespace(nodes=lambda: nodes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ray_executor._warn_of_no_room(cluster, {(4, 0), (2, 0.5), (4, 0.5), (8, 0)})
    found = [str(warning.message).partition(" for a run")[0] for warning in caught]
    assert found == [f"no machine of the cluster has {cpus} CPUs and {gpus} GPUs" for cpus, gpus in ((4, 0.5), (8, 0))]
