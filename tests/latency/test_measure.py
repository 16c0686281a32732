import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from senas_bench.errors import DataError
from senas_bench.latency import measure as latency
from senas_bench.latency.clock import CLOCKS, Clock, interleaved, measure
from senas_bench.latency.measure import build_table, here, latency_of, saved_table, validate
from senas_bench.latency.tables import LatencyTable, sample_archs, space_over
from senas_bench.spaces.darts import DartsSkeleton, darts_cost
from senas_bench.spaces.mobilenet import IDENTITY, MobileSkeleton, mobilenet_cost
from senas_bench.spaces.mobilenet.network import MobileNetwork
from senas_bench.spaces.nasbench201 import POOL, Skeleton, nasbench201_cost

MOBILE = MobileSkeleton(
    resolution=9,
    num_classes=4,
    in_channels=2,
    stem=4,
    stem_stride=1,
    first=6,
    widths=(6, 4),
    repeats=(3, 1),
    strides=(2, 2),
    last=10,
)
DARTS_CIFAR = DartsSkeleton(9, 4, in_channels=2, channels=4, layers=3, reductions=(1,))
DARTS_IMAGENET = DartsSkeleton(24, 4, in_channels=2, channels=4, layers=3, stem="imagenet")
"""Its first two cells are of one shape, and both reductions follow each other."""
NASBENCH = Skeleton(12, 4, in_channels=2, channels=4, cells=2)


class MultiplyAdds(TorchDispatchMode):
    """Counts those of convolutions and matrix products, biases left out."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        name = function._opname
        if name in ("conv2d", "convolution"):
            self.total += output.numel() * args[1][0].numel()
        elif name in ("linear", "addmm"):
            self.total += output.numel() * args[0 if name == "linear" else 1].shape[1]
        return output


@pytest.fixture
def counting():
    """A clock that shows the multiply-adds done so far."""
    with MultiplyAdds() as counter:
        yield Clock("multiply-adds", lambda: counter.total, lambda start, end: end - start)


class Scripted:
    """A clock on which the i-th interval between two readings lasts `lengths[i]` milliseconds."""

    def __init__(self, lengths):
        self.times = itertools.accumulate(itertools.chain.from_iterable((0, length) for length in lengths))
        self.clock = Clock("scripted", lambda: next(self.times), lambda start, end: end - start)


def ticking() -> Clock:
    """A clock that goes one up with each reading: every operator takes 1, whatever it is."""
    return Clock("ticks", itertools.count().__next__, lambda start, end: end - start)


def accelerating() -> Clock:
    """A clock whose every interval is longer than those before."""
    ticks = itertools.count()
    return Clock("later", lambda: next(ticks) ** 2, lambda start, end: end - start)


@pytest.mark.parametrize(("space", "batch"), [("mobilenet", 1), ("mobilenet-g2", 3)])
def test_counted_in_multiply_adds_a_mobilenet_table_is_the_closed_form(space, batch, counting):
    table = build_table(space, MOBILE, batch=batch, clock=counting, warmup=0, repeats=1)
    cost = mobilenet_cost(MOBILE)
    expected = cost.per_edge[:, : table.per_edge.shape[1], 0].astype(float)
    expected[[0, 3], IDENTITY] = np.nan  # where a stage begins
    np.testing.assert_array_equal(table.per_edge, batch * expected)
    assert table.base == batch * cost.base[0]
    assert not table.per_edge_spread[~np.isnan(table.per_edge)].any()


@pytest.mark.parametrize(("space", "skeleton"), [("darts", DARTS_CIFAR), ("darts-separate", DARTS_IMAGENET)])
def test_counted_in_multiply_adds_a_darts_table_sums_over_the_stack(space, skeleton, counting):
    table = build_table(space, skeleton, clock=counting, warmup=0, repeats=1)
    cost = darts_cost(skeleton, shared_cell=space == "darts")
    np.testing.assert_array_equal(table.per_edge, cost.per_edge[..., 0])
    assert table.base == cost.base[0]


def test_counted_in_multiply_adds_a_nasbench201_table_is_the_closed_form(counting):
    table = build_table("nasbench201", NASBENCH, clock=counting, warmup=0, repeats=1)
    expected = nasbench201_cost(NASBENCH).per_edge[..., 0].astype(float)
    # a pool runs as a depthwise 3x3 convolution at 12x12; at 6x6 and 3x3 it is none
    expected[:, POOL] = 2 * 9 * 4 * 12 * 12
    np.testing.assert_array_equal(table.per_edge, expected)
    assert table.base == nasbench201_cost(NASBENCH).base[0] - NASBENCH.num_classes  # whose bias is not counted here


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "skeleton"), [("mobilenet", MOBILE), ("darts-separate", DARTS_IMAGENET), ("nasbench201", NASBENCH)]
)
def test_counted_in_multiply_adds_whole_networks_take_what_the_table_says(space, skeleton, counting):
    table = build_table(space, skeleton, batch=2, clock=counting, warmup=0, repeats=1)
    archs = sample_archs(space, skeleton, 6, np.random.default_rng(0))
    checked = validate(table, archs, clock=counting, warmup=0, repeats=2)
    np.testing.assert_array_equal(checked.predicted, checked.measured)
    assert not checked.spread.any()
    assert checked.spearman == pytest.approx(1)


def test_operators_share_an_edge_of_every_cell():
    """On a clock that counts its readings an operator takes 1, in each of the three cells."""
    table = build_table("darts", DARTS_CIFAR, clock=ticking(), warmup=0, repeats=1)
    np.testing.assert_array_equal(table.per_edge[:, 1:3], np.full((14, 2), 3.0))
    np.testing.assert_array_equal(table.per_edge[:, 0], np.zeros(14))
    # eight operators in each cell, so 48 readings and two of the run: 25 intervals between, outside of operators
    assert table.base == 25


def test_layers_of_one_shape_share_their_measurements():
    table = build_table("mobilenet", MOBILE, clock=accelerating(), warmup=0, repeats=3)
    np.testing.assert_array_equal(table.per_edge[1], table.per_edge[2])
    assert (table.per_edge[0, :IDENTITY] != table.per_edge[1, :IDENTITY]).all()
    assert (table.per_edge_spread[1, :IDENTITY] > 0).all()


def test_an_arch_of_which_enough_is_known_does_not_run():
    """Every arch of this space has one operator, of one of six kinds: a round is all six."""
    skeleton = replace(MOBILE, widths=(6,), repeats=(1,), strides=(1,))
    ran = []
    clock = replace(ticking(), wait=lambda: ran.append(None))
    build_table("mobilenet", skeleton, clock=clock, warmup=2, repeats=3)
    assert len(ran) == 2 * 6 * (2 + 3)
    ran.clear()
    skeleton = replace(MOBILE, widths=(6,), repeats=(20,), strides=(1,))  # 20 layers alike: about 3 of each kind
    build_table("mobilenet", skeleton, clock=clock, warmup=0, repeats=8)
    assert 7 <= len(ran) / 2 < 7 * 8 / 2


def test_warm_up_is_forgotten_and_the_quantile_is_taken():
    def table(**how):
        return build_table("mobilenet", MOBILE, clock=accelerating(), **how)

    first, second = (table(warmup=warmup, repeats=1, quantile=0.0) for warmup in (0, 1))
    last = table(warmup=0, repeats=2, quantile=1.0)
    for later in (second, last):
        assert first.base < later.base
        assert (first.per_edge < later.per_edge)[:, :IDENTITY].all()
    assert (first.setting.repeats, last.setting.quantile) == (1, 1.0)


def test_spreads_are_interquartile_ranges():
    """A round is one run of each of six operators. In the four rounds an operator takes 1, 2, 3 and 10, all else twice
    that. The quartiles of 1, 2, 3, 10 are 1.75 and 4.75; those of six times each are the same."""
    skeleton = replace(MOBILE, widths=(6,), repeats=(1,), strides=(1,))
    lengths = [length for length in (1, 2, 3, 10) for _ in range(6)]
    times = itertools.accumulate(itertools.chain.from_iterable((0, 0, length, 2 * length) for length in lengths))
    clock = Clock("scripted", lambda: next(times), lambda start, end: end - start)
    table = build_table("mobilenet", skeleton, clock=clock, warmup=0, repeats=4)
    assert table.per_edge_spread[~np.isnan(table.per_edge)].tolist() == [3.0] * 6
    assert (table.base, table.base_spread) == (3.5, 6.0)


def test_all_calls_are_measured_before_any_is_again():
    order = []
    calls = [lambda: order.append("a"), lambda: order.append("b")]
    times = interleaved(calls, 1, 2, Scripted([5, 6, 7, 8]).clock)
    assert "".join(order) == "ab" + "abab"
    assert times.tolist() == [[5, 6], [7, 8]]


def test_the_device_is_waited_for_before_and_after_each_measurement():
    events = []
    clock = Clock("", lambda: events.append("stamp"), lambda start, end: 0.0, lambda: events.append("wait"))
    interleaved([lambda: events.append("call")], 0, 1, clock)
    assert events == ["wait", "stamp", "call", "stamp", "wait"]


def test_measure_gives_median_and_interquartile_range():
    found = measure(lambda x: x, torch.zeros(1), warmup=2, repeats=5, clock=Scripted([4, 1, 100, 2, 3]).clock)
    assert (found.median, found.spread, found.n) == (3, 2, 5)


def test_measure_evaluates_and_leaves_modes_as_they_were():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
    network[0].eval()
    modes = [module.training for module in network.modules()]
    seen = []
    network.register_forward_hook(lambda *_: seen.append((network[1].training, torch.is_inference_mode_enabled())))
    found = measure(network, torch.ones(1, 2, 3, 3), warmup=1, repeats=2)
    assert seen == [(False, True)] * 3
    assert [module.training for module in network.modules()] == modes == [True, False, True]
    assert found.n == 2 and found.median > 0


def test_threads_are_set_and_given_back():
    seen, ticks, before = set(), itertools.count(), torch.get_num_threads()

    def stamp():
        seen.add(torch.get_num_threads())
        return next(ticks)

    build_table("mobilenet", MOBILE, threads=before + 1, clock=replace(ticking(), stamp=stamp), warmup=0, repeats=1)
    assert seen == {before + 1}
    assert torch.get_num_threads() == before


def test_a_table_is_measured_once_and_then_read(tmp_path):
    told = []
    table, path = saved_table(tmp_path / "new", "mobilenet", MOBILE, tell=told.append, clock=ticking(), repeats=1)
    assert told == [path]

    def broken():
        raise AssertionError("measured again")

    again, same = saved_table(
        tmp_path / "new",
        "mobilenet",
        MOBILE,
        "cpu",
        told.append,
        clock=replace(ticking(), stamp=broken),
        repeats=9,
        quantile=0.5,
    )
    assert same == path and told == [path]
    np.testing.assert_array_equal(again.per_edge, table.per_edge)
    assert again.setting == table.setting
    other, elsewhere = saved_table(tmp_path / "new", "mobilenet", MOBILE, clock=ticking(), repeats=1, batch=2)
    assert elsewhere != path and other.setting.batch == 2
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_two_that_need_a_table_share_one(tmp_path):
    """The second, which comes while the first measures, waits and reads what that one saved."""
    ticks, begun, told = itertools.count(), threading.Event(), []

    def stamp():
        begun.set()
        return next(ticks)

    def measure(clock):
        return saved_table(tmp_path, "mobilenet", MOBILE, tell=told.append, clock=clock, repeats=1)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(measure, replace(ticking(), stamp=stamp))
        assert begun.wait(60)
        second = pool.submit(measure, replace(accelerating(), name="ticks"))
        np.testing.assert_array_equal(first.result()[0].per_edge, second.result()[0].per_edge)
    assert len(told) == 1 and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(tmp_path):
    (tmp_path / "latency").write_text("no folder")
    with pytest.raises(OSError, match="latency"):
        saved_table(tmp_path / "latency", "mobilenet", MOBILE, tell=lambda path: pytest.fail("measured"))


def test_a_file_of_another_skeleton_or_machine_is_not_taken_for_this_one(tmp_path):
    table, path = saved_table(tmp_path, "mobilenet", MOBILE, clock=ticking(), repeats=1)
    replace(table, skeleton=replace(MOBILE, last=12)).save(path)
    with pytest.raises(ValueError, match="another skeleton: last 12, not 10"):
        saved_table(tmp_path, "mobilenet", MOBILE, clock=ticking())
    replace(table, setting=replace(table.setting, device="another")).save(path)
    with pytest.raises(ValueError, match="measured otherwise: device another, not"):
        saved_table(tmp_path, "mobilenet", MOBILE, clock=ticking())
    path.write_text("{")
    with pytest.raises(DataError, match="delete it and measure again"):
        saved_table(tmp_path, "mobilenet", MOBILE, clock=ticking())


def test_a_whole_network_is_measured_as_a_table_is_by_default(monkeypatch):
    """The lower quartile of 20 calls after a first one, on a batch of images; the clock's intervals are 1, 5, 9, ..."""
    seen = []
    monkeypatch.setattr(latency, "clock_of", lambda device, name: accelerating())
    forward = MobileNetwork.forward

    def watched(self, x, arch):
        seen.append((tuple(x.shape), arch))
        return forward(self, x, arch)

    monkeypatch.setattr(MobileNetwork, "forward", watched)
    arch = tuple(sample_archs("mobilenet", MOBILE, 1, np.random.default_rng(0))[0].tolist())
    found = latency_of("mobilenet", MOBILE, arch, "cpu", 2, 1)
    assert seen == [((2, 2, MOBILE.resolution, MOBILE.resolution), arch)] * 21
    assert found == np.quantile(1 + 4 * np.arange(20), 0.25)


def test_validation_refuses_another_machine_and_foreign_archs():
    table = build_table("mobilenet", MOBILE, clock=ticking(), warmup=0, repeats=1)
    archs = sample_archs("mobilenet", MOBILE, 2, np.random.default_rng(0))
    elsewhere = replace(table, setting=replace(table.setting, device="another"))
    with pytest.raises(ValueError, match="device another, not"):
        validate(elsewhere, archs, clock=ticking())
    archs[1, 0] = IDENTITY
    with pytest.raises(ValueError, match=r"arch \[6, .*\] is not in space mobilenet"):
        validate(table, archs, clock=ticking())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": "mobilnet"}, "did you mean 'mobilenet'"),
        ({"space": "darts"}, "space darts needs a DartsSkeleton"),
        ({"clock": "wal"}, "unknown clock 'wal'; did you mean 'wall'"),
        ({"clock": "cuda"}, "clock cuda cannot time device cpu"),
        ({"repeats": 0}, "0 repeats after 1 to warm up; at least 1 and 0 are needed"),
        ({"warmup": -1}, "20 repeats after -1 to warm up"),
        ({"batch": 0}, "threads, batch and repeats must be at least 1"),
        ({"threads": 0}, "threads, batch and repeats must be at least 1"),
        ({"quantile": 2.0}, "quantile 2.0 must lie between"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        build_table(**{"space": "mobilenet", "skeleton": MOBILE, **changes})


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no usable CUDA GPU; use cpu"):
        build_table("mobilenet", MOBILE, "cuda")


@pytest.mark.slow
def test_signals_stay_far_from_denormal_numbers_in_deep_networks():
    """With denormal numbers a CPU is slow, and what is measured would not be the network's latency."""
    torch.manual_seed(0)
    network = latency._network("darts", DartsSkeleton(8, 4, channels=4, layers=20), "cpu")
    sizes = []
    for cell in network.body:
        cell.register_forward_hook(lambda module, inputs, output: sizes.append(output.std().item()))
    with torch.inference_mode():
        for arch in sample_archs("darts", DartsSkeleton(), 3, np.random.default_rng(0)).tolist():
            network(torch.randn(1, 3, 8, 8), tuple(arch))
    assert min(sizes) > 1e-20 and max(sizes) < 1e20


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_a_real_measurement(clock, tmp_path):
    rounds = []
    table = build_table("mobilenet", MOBILE, clock=clock, repeats=2, progress=lambda *now: rounds.append(now))
    alive = np.zeros(table.per_edge.shape, bool)
    for edge, op in space_over("mobilenet", MOBILE).alive():
        alive[edge, op] = op != IDENTITY
    assert (table.per_edge[alive] > 0).all() and table.base > 0
    assert not np.nansum(table.per_edge[:, IDENTITY])
    assert rounds == [(1, 3), (2, 3), (3, 3)]
    assert table.setting == here("cpu", clock=clock, repeats=2, quantile=0.25)
    table.save(tmp_path / "table.json")
    archs = sample_archs("mobilenet", MOBILE, 4, np.random.default_rng(0))
    checked = validate(LatencyTable.load(tmp_path / "table.json"), archs, repeats=2)
    assert (checked.measured > 0).all() and checked.measured.shape == checked.predicted.shape == (4,)


def test_clocks_are_named_as_they_are_listed():
    assert {name: clock.name for name, clock in CLOCKS.items()} == {"wall": "wall", "cpu": "cpu", "cuda": "cuda"}
