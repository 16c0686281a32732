import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from senas_bench.networks.expansion import expand
from senas_bench.progress import SilentProgress
from senas_bench.shrinking.angle import Angle, path_angles
from senas_bench.spaces import SearchSpace, balanced_sample
from senas_bench.spaces.darts import DARTS, DARTS_SEPARATE, DartsSkeleton
from senas_bench.spaces.darts.network import Cell as DartsCell
from senas_bench.spaces.darts.network import DartsNetwork
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import Cell, NB201Network
from senas_bench.tasks.work import Work

SHRUNK = replace(NB201, candidates=((0, 2, 3), (1, 3), (2, 4), (2, 3, 4), (0, 1, 3, 4), (2, 3)))
FIRST = SHRUNK.with_groups(((0, 1), (2,), (3,), (4, 5)))
SECOND = FIRST.without(3, 4).without(4, 0).with_groups(((0, 1, 2), (3, 4, 5)))
SPACES = {"unexpanded": NB201, "shrunk": SHRUNK, "expanded": FIRST, "expanded twice": SECOND}


def build(space: SearchSpace = NB201, affine: bool = False) -> NB201Network:
    torch.manual_seed(5)
    return NB201Network(space, channels=3, cells=2, in_channels=1, num_classes=3, affine=affine)


def disturb(network: NB201Network, size: float = 0.1) -> None:
    with torch.no_grad():
        for weight in network.parameters():
            weight += size * torch.randn_like(weight)


def stages(affine: bool = False) -> dict[str, NB201Network]:
    """A supernet at the end of each stage, as random weights would have it: every copy goes its own way."""
    network, ends = build(affine=affine), {}
    torch.manual_seed(6)
    for name, space in SPACES.items():
        expand(network, space)
        disturb(network)
        ends[name] = copy.deepcopy(network)
    return ends


def naive_angle(network, initial, arch) -> float:
    """As the definition says it: both vectors are built, and their angle taken."""
    vectors: list[list[torch.Tensor]] = [[], []]
    for cell, start in zip(network.body, initial.body, strict=True):
        if not isinstance(cell, Cell):
            continue
        for edge, op in enumerate(arch):
            name = NB201.operators[op]
            if name.startswith("nor_conv"):
                vectors[0].append(cell.choices[edge].module(arch)[0].weight)
                vectors[1].append(start.choices[edge].copies[str(op)][0].weight)
            elif name == "avg_pool_3x3":
                channels = start.choices[edge].copies["3"][0].weight.shape[0]
                for vector in vectors:
                    vector.append(torch.full((channels, 3, 3), 1 / 9))
    if not vectors[0]:
        return 0.0
    one, other = (torch.cat([part.detach().flatten() for part in vector]).double().numpy() for vector in vectors)
    return float(np.arccos(min(1.0, one @ other / np.linalg.norm(one) / np.linalg.norm(other))))


@pytest.mark.slow
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_angles_are_those_of_the_concatenated_weights(name, affine):
    """Over both cells of each width, whatever expanding and affine batch norm add."""
    network, initial, space = stages(affine)[name], build(), SPACES[name]
    archs = np.stack([space.sample(np.random.default_rng(seed)) for seed in range(40)])
    angles = path_angles(network, initial, space, archs)
    expected = [naive_angle(network, initial, tuple(row)) for row in archs.tolist()]
    assert angles == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert angles.min() >= 0 and len(set(np.round(angles, 6))) > 20


@pytest.mark.slow
def test_what_has_no_weights():
    """Skip and none alone, and pooling, which does not turn; but pooling makes the angle of a convolution smaller."""
    network = stages()["unexpanded"]
    archs = np.array([[0] * 6, [1] * 6, [0, 1] * 3, [4] * 6, [3, 1, 1, 1, 1, 1], [3, 4, 4, 4, 4, 4]])
    angles = path_angles(network, build(), NB201, archs)
    assert angles[:4].tolist() == [0] * 4
    assert 0 < angles[5] < angles[4]


@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE], ids=lambda space: space.name)
def test_pools_of_darts_cells_count_as_constant_kernels(space):
    """Both vectors built by hand, with a 3x3 of 1/9 for each channel of a cell that a pooling of it sees: a network of
    two widths, whose reduction cell has edges of its own in one of the spaces."""
    torch.manual_seed(5)
    skeleton = DartsSkeleton(8, 3, in_channels=2, channels=4, layers=3, reductions=(1,))
    network = DartsNetwork(space, skeleton)
    initial = copy.deepcopy(network)
    disturb(network)
    archs = space.sample_distinct(np.random.default_rng(0), 12)
    expected = []
    for arch in map(tuple, archs.tolist()):
        vectors: list[list[torch.Tensor]] = [[], []]
        for cell, start in zip(*(cells_of(one) for one in (network, initial)), strict=True):
            for choice, old in zip(cell.choices, start.choices, strict=True):
                name = space.operators[arch[choice.edge]]
                if "pool" in name:
                    width = old.copies[str(space.operators.index("sep_conv_3x3"))]
                    channels = next(weight for weight in width.parameters() if weight.dim() > 1).shape[0]
                    for vector in vectors:
                        vector.append(torch.full((channels, 3, 3), 1 / 9))
                elif str(arch[choice.edge]) in old.copies:
                    for vector, one in zip(vectors, (choice, old), strict=True):
                        vector += [weight for weight in one.module(arch).parameters() if weight.dim() > 1]
        one, other = (torch.cat([part.detach().flatten() for part in vector]).double().numpy() for vector in vectors)
        expected.append(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))
    assert any("pool" in space.operators[op] for op in archs.ravel())
    assert path_angles(network, initial, space, archs) == pytest.approx(expected, rel=1e-5)


def cells_of(network) -> list[DartsCell]:
    return [module for module in network.modules() if isinstance(module, DartsCell)]


def test_untrained_weights_have_no_angle_and_opposite_ones_the_largest():
    archs, network = np.array([[3, 2, 3, 2, 3, 2], [3, 1, 0, 1, 0, 1]]), build()
    assert path_angles(network, build(), NB201, archs).tolist() == pytest.approx([0, 0], abs=1e-7)
    with torch.no_grad():
        for weight in network.parameters():
            weight.neg_()
    assert path_angles(network, build(), NB201, archs).tolist() == pytest.approx([np.pi] * 2, abs=1e-7)


def test_a_rotation_by_hand():
    """The 3x3 of one edge turned by 30 degrees in every cell, and made longer, which does not count."""
    network, initial = build(), build()
    for cell, start in zip(network.body, initial.body, strict=True):
        if isinstance(cell, Cell):
            weight, old = cell.choices[0].copies["3"][0].weight, start.choices[0].copies["3"][0].weight
            with torch.no_grad():
                normal = torch.randn_like(old)
                normal -= (normal * old).sum() / old.square().sum() * old
                normal *= old.norm() / normal.norm()
                weight.copy_(2 * (np.cos(np.pi / 6) * old + np.sin(np.pi / 6) * normal))
    angles = path_angles(network, initial, NB201, np.array([[3, 1, 1, 1, 1, 1]]))
    assert angles.tolist() == pytest.approx([np.pi / 6], rel=1e-5)


class Trained:
    phase = "stage-2"
    space = FIRST
    network = stages()["expanded"]


class Task:
    """The weights of a run, and its random numbers; there are no images."""

    space = NB201

    def rng(self, phase):
        return np.random.default_rng(len(phase))

    def within(self, space):
        return space

    def build(self, space):
        return build(space)


@pytest.mark.slow
def test_scores_are_mean_angles_of_the_archs_that_hold_an_operator():
    output = Angle(per_operator=9)(Trained, Task())
    archs = balanced_sample(FIRST, 9, Task().rng("stage-2-criterion"))
    angles = np.array([naive_angle(Trained.network, build(), tuple(row)) for row in archs.tolist()])
    for edge, op in FIRST.alive():
        assert output.scores[edge, op] == pytest.approx(angles[archs[:, edge] == op].mean(), rel=1e-5)
    assert list(output.scores) == FIRST.alive()


def test_the_operator_that_turned_furthest_scores_highest():
    network = build()
    with torch.no_grad():
        for cell in network.body:
            if isinstance(cell, Cell):
                weight = cell.choices[4].copies["3"][0].weight
                weight += 3 * torch.randn_like(weight)
    trained = Trained()
    trained.space, trained.network = NB201, network
    scores = Angle()(trained, Task()).scores
    assert max(scores, key=scores.get) == (4, 3)


class Resetting(Task):
    """A run whose supernet starts as `start`, with a folder of its own."""

    def __init__(self, folder, start=None):
        self.work = Work(torch.device("cpu"), folder, SilentProgress())
        self.start = start

    def build(self, space):
        if self.start is not None and space == NB201.with_groups(()):
            return self.start
        return build(space)


def scores_of(criterion, name, networks, task) -> dict:
    trained = Trained()
    trained.space, trained.network = SPACES[name], networks[name]
    return criterion(trained, task).scores


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "base"),
    [
        (13, {"shrunk": "unexpanded", "expanded": "unexpanded", "expanded twice": "unexpanded"}),
        (14, {"shrunk": None, "expanded": None, "expanded twice": "expanded"}),
        (16, dict.fromkeys(("shrunk", "expanded", "expanded twice"))),
        (0, dict.fromkeys(("shrunk", "expanded", "expanded twice"))),
    ],
)
def test_the_base_is_reset_once_after_so_many_drops(tmp_path, after, base):
    """14 operators are gone in the second and third stage, 16 in the fourth. AngleNAS: once more than 50 are, after the
    shrink that made it so, the base is what was trained until then; and it stays."""
    assert [30 - len(SPACES[name].alive()) for name in SPACES] == [0, 14, 14, 16]
    networks = stages()
    criterion = Angle(per_operator=5, reset_after=after)
    for turn in range(2):  # a resumed run asks again, in order
        for name in SPACES:
            scores = scores_of(criterion, name, networks, Resetting(tmp_path))
            start = networks[base[name]] if base.get(name) else None
            expected = scores_of(Angle(per_operator=5), name, networks, Resetting(tmp_path / "none", start))
            assert scores == pytest.approx(expected, rel=1e-6, abs=1e-7), (name, turn)
    far = scores_of(Angle(per_operator=5), "expanded twice", networks, Resetting(tmp_path))
    near = scores_of(criterion, "expanded twice", networks, Resetting(tmp_path))
    assert (far == near) == (after in (0, 16))


def test_a_base_of_darts_cells_whose_pools_are_dropped(tmp_path):
    """The supernet keeps the batch norms of pools that are gone, a network over what is left has none. After the reset
    weights that did not move have no angle; those of the start have one."""
    skeleton = DartsSkeleton(8, 3, in_channels=2, channels=4, layers=3, reductions=(1,))

    class InDarts(Resetting):
        space = DARTS

        def build(self, space):
            torch.manual_seed(5)
            return DartsNetwork(space, skeleton)

    pools = [DARTS.operators.index(name) for name in ("max_pool_3x3", "avg_pool_3x3")]
    first = DARTS.without(0, pools[0]).without(3, pools[1])
    second, task, trained = first.without(5, pools[0]), InDarts(tmp_path), Trained()
    trained.network, criterion = task.build(DARTS), Angle(per_operator=2, reset_after=2)
    for trained.space in (first, second):
        expand(trained.network, trained.space)
        if trained.space == first:
            disturb(trained.network)
        scores = criterion(trained, task).scores
        assert set(scores) == set(trained.space.droppable())
        assert (max(scores.values()) < 1e-6) == (trained.space == second)


@pytest.mark.slow
def test_a_base_that_may_be_expanded_is_measured_by_its_copies():
    """Networks of equal weights have no angle, however far the first is expanded beyond the other."""
    for name, further in (("shrunk", "expanded"), ("expanded", "expanded twice")):
        base = stages()[name]
        network = copy.deepcopy(base)
        expand(network, SPACES[further])
        archs = np.stack([SPACES[further].sample(np.random.default_rng(seed)) for seed in range(20)])
        assert path_angles(network, base, SPACES[further], archs) == pytest.approx(np.zeros(20), abs=1e-6)
