import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from senas_bench.networks.choice import ChoiceEdge
from senas_bench.networks.expansion import count_parameters, expand, expanded_parameters, plan_groups
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.ranking.score_archs import Evaluation, score_archs
from senas_bench.shrinking import shrink
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.darts import (
    DARTS,
    DARTS_SEPARATE,
    EDGES,
    GENOTYPES,
    SKELETONS,
    DartsSkeleton,
    arch_from_genotype,
    darts_cost,
)
from senas_bench.spaces.darts.network import DartsNetwork, drop_path
from senas_bench.training.loop import carry_momentum, descend, make_optimizer
from senas_bench.training.recipe import TrainingRecipe

NONE, MAX, AVG, SKIP, SEP3, SEP5, DIL3, DIL5 = range(8)
V2 = arch_from_genotype(GENOTYPES["DARTS_V2"])
SMALL = DartsSkeleton(8, 3, in_channels=2, channels=4, layers=5)
"""A normal cell, a reduction, normal, reduction, normal: 8x8, 4x4 and 2x2 pixels."""
TINY = DartsSkeleton(8, 3, in_channels=2, channels=4, layers=3, reductions=(1,))
IMAGENET = DartsSkeleton(32, 3, in_channels=2, channels=4, layers=3, reductions=(1,), stem="imagenet")
"""4x4 pixels behind the stem."""
ODD = DartsSkeleton(7, 3, in_channels=2, channels=5, layers=3, reductions=(0, 1))
"""7, 4 and 2 pixels, and a width that two convolutions cannot share evenly."""


def rule_of(space: SearchSpace):
    """That of a space of one cell or of two, also for spaces put together here."""
    return (DARTS if len(space.edges) == len(DARTS.edges) else DARTS_SEPARATE).rule


def some_archs(space: SearchSpace, n: int, seed: int = 0) -> list[tuple[int, ...]]:
    rows = rule_of(space).sample_distinct(space, np.random.default_rng(seed), n)
    return [tuple(row) for row in rows.tolist()]


def thin(space: SearchSpace, seed: int = 0, keep: int = 3) -> SearchSpace:
    """`none` and `keep` others on every edge: a network that is quickly built."""
    rng = np.random.default_rng(seed)
    candidates = tuple((NONE, *sorted((1 + rng.choice(7, keep, replace=False)).tolist())) for _ in space.edges)
    return SearchSpace(space.name, space.operators, space.edges, candidates)


def randomize(network: torch.nn.Module) -> torch.nn.Module:
    """Weights, biases and running statistics all away from their defaults and from each other, signals of size 1."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.dim() > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5)
            elif name.endswith(("running_var", "weight")):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.normal_(0, 0.3)
    return network


def build(space: SearchSpace, skeleton: DartsSkeleton = SMALL, **options) -> DartsNetwork:
    torch.manual_seed(0)
    return randomize(DartsNetwork(space, skeleton, **options))


def images(n: int = 5, skeleton: DartsSkeleton = SMALL) -> torch.Tensor:
    side = skeleton.resolution
    return torch.randn(n, skeleton.in_channels, side, side, generator=torch.Generator().manual_seed(1))


def naive_network(state, skeleton, archs, x, *, batch_statistics: bool, pool_norm: bool, mixture=None):
    """The network of DARTS from its description, on the plain weights of a state dict.

    Args:
        archs: One of 14 edges per cell.
        pool_norm: Whether batch norm follows a pool.
        mixture: `(14, 8)` weights of all operators, in place of archs.
    """

    def norm(x, name):
        mean, var = (None, None) if batch_statistics else (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        scale, shift = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        return F.batch_norm(x, mean, var, scale, shift, training=batch_statistics)

    def conv_bn(x, name, stride=1):
        kernel = state[f"{name}.0.weight"]
        return norm(F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2), f"{name}.1")

    def depthwise(x, name, stride, dilation):
        kernel = state[f"{name}.1.weight"]
        padding = dilation * (kernel.shape[-1] - 1) // 2
        x = F.conv2d(F.relu(x), kernel, None, stride, padding, dilation, groups=x.shape[1])
        return norm(F.conv2d(x, state[f"{name}.2.0.weight"]), f"{name}.2.1")

    def halve(x, name):
        even, odd = (F.conv2d(F.relu(x), state[f"{name}.{part}.weight"]) for part in ("even", "odd"))
        rows, columns = even[:, :, ::2, ::2].shape[2:]
        shifted = torch.zeros(*odd.shape[:2], rows, columns)
        part = odd[:, :, 1::2, 1::2]
        shifted[:, :, : part.shape[2], : part.shape[3]] = part
        return norm(torch.cat([even[:, :, ::2, ::2], shifted], 1), f"{name}.norm")

    def pool(x, op, name, stride):
        if op == MAX:
            x = F.pad(x, (1, 1, 1, 1), value=float("-inf")).unfold(2, 3, stride).unfold(3, 3, stride).amax((4, 5))
        else:
            sums = F.avg_pool2d(x, 3, stride, 1, divisor_override=1)
            x = sums / F.avg_pool2d(torch.ones_like(x), 3, stride, 1, divisor_override=1)
        return norm(x, f"{name}.1") if pool_norm else x

    def run(op, x, cell, edge, stride):
        name = f"{cell}.choices.{edge}.copies.{op}"
        if op in (MAX, AVG):
            return pool(x, op, f"{cell}.weightless.{edge}.{op}", stride)
        if op == SKIP:
            return x if stride == 1 else halve(x, name)
        if op in (DIL3, DIL5):
            return depthwise(x, name, stride, 2)
        return depthwise(depthwise(x, f"{name}.0", stride, 1), f"{name}.1", 1, 1)

    def cell(before, last, name, arch, reduction, halve_before):
        before = halve(before, f"{name}.inputs.0") if halve_before else conv_bn(F.relu(before), f"{name}.inputs.0.1")
        nodes = [before, conv_bn(F.relu(last), f"{name}.inputs.1.1")]
        edge = 0
        for target in range(2, 6):
            stride = 2 if reduction else 1
            total = torch.zeros_like(nodes[0][:, :, ::stride, ::stride])
            for source in range(target):
                weights = {arch[edge]: 1.0} if mixture is None else dict(enumerate(mixture[edge]))
                for op, weight in weights.items():
                    if op != NONE:
                        total = total + weight * run(op, nodes[source], name, edge, stride if source < 2 else 1)
                edge += 1
            nodes.append(total)
        assert edge == 14
        return torch.cat(nodes[2:], 1)

    if skeleton.stem == "cifar":
        before = last = conv_bn(x, "stem.first")
        halve_next = False
    else:
        before = conv_bn(F.relu(conv_bn(x, "stem.first.0", 2)), "stem.first.2", 2)
        last = conv_bn(F.relu(before), "stem.second.1", 2)
        halve_next = True
    for layer, arch in enumerate(archs):
        reduction = layer in skeleton.reductions
        before, last = last, cell(before, last, f"body.{layer}", arch, reduction, halve_next)
        halve_next = reduction
    return F.linear(last.flatten(2).mean(2), state["head.weight"], state["head.bias"])


def per_cell(arch, skeleton: DartsSkeleton) -> list[tuple[int, ...]]:
    """The 14 edges that each cell runs."""
    return [arch[-14:] if layer in skeleton.reductions else arch[:14] for layer in range(skeleton.layers)]


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE], ids=lambda space: space.name)
@pytest.mark.parametrize("skeleton", [SMALL, IMAGENET, ODD], ids=["cifar", "imagenet", "odd"])
def test_stand_alone_network_is_the_reference(skeleton, space, training):
    """No batch norm after pools, affine elsewhere."""
    for arch in some_archs(space, 8):
        network = build(space.only(arch), skeleton, affine=True).train(training)
        state = {name: value.clone() for name, value in network.state_dict().items()}
        with torch.no_grad():
            expected = naive_network(
                state,
                skeleton,
                per_cell(arch, skeleton),
                images(skeleton=skeleton),
                batch_statistics=training,
                pool_norm=False,
            )
            out = network(images(skeleton=skeleton), arch)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "running"])
@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE], ids=lambda space: space.name)
def test_supernet_path_is_the_reference_with_norms_after_pools(space, mode):
    network = build(space)
    state = network.state_dict()
    assert all(weight.dim() == 4 for weight in network.body.parameters())
    with torch.no_grad(), evaluation_mode(network, mode):
        for arch in some_archs(space, 12, seed=1):
            expected = naive_network(
                state, SMALL, per_cell(arch, SMALL), images(), batch_statistics=mode == "batch", pool_norm=True
            )
            torch.testing.assert_close(network(images(), arch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_any_number_of_inputs_may_run_and_a_node_without_is_zeros():
    network = build(DARTS)
    rng = np.random.default_rng(5)
    archs = [(NONE,) * 14, (NONE, NONE) + (SEP3,) * 12, *[tuple(rng.integers(8, size=14).tolist()) for _ in range(4)]]
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in archs:
            expected = naive_network(
                network.state_dict(), SMALL, [arch] * 5, images(), batch_statistics=True, pool_norm=True
            )
            torch.testing.assert_close(network(images(), arch), expected, rtol=1e-4, atol=1e-4)
        empty = network(images(), archs[0])
    torch.testing.assert_close(empty, network.head.bias.expand_as(empty))


@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE], ids=lambda space: space.name)
def test_a_path_may_name_one_arch_per_cell(space):
    network = build(thin(space))
    archs = some_archs(thin(space), 5, seed=2)
    mine = [per_cell(arch, SMALL)[layer] for layer, arch in enumerate(archs)]
    with torch.no_grad(), evaluation_mode(network, "batch"):
        expected = naive_network(network.state_dict(), SMALL, mine, images(), batch_statistics=True, pool_norm=True)
        torch.testing.assert_close(network(images(), tuple(archs)), expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(network(images(), [archs[0]] * 5), network(images(), archs[0]))
    assert network.choice_cells == 5


@pytest.mark.parametrize("training", [True, False])
def test_mixture_is_the_weighted_sum_of_all_operators(training):
    skeleton = DartsSkeleton(8, 3, in_channels=2, channels=2, layers=3, reductions=(1,))
    network = build(DARTS, skeleton).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    weights = torch.softmax(torch.randn(14, 8, generator=torch.Generator().manual_seed(0)), 1)
    with torch.no_grad():
        expected = naive_network(
            state,
            skeleton,
            [None] * 3,
            images(),
            batch_statistics=training,
            pool_norm=True,
            mixture=weights.tolist(),
        )
        torch.testing.assert_close(network(images(), weights), expected, rtol=1e-4, atol=1e-4)


def test_a_mixture_of_one_operator_is_its_path_and_separate_cells_take_their_halves():
    space = thin(DARTS_SEPARATE)
    network = build(space)
    arch = some_archs(space, 1)[0]
    weights = torch.eye(8)[list(arch)].requires_grad_()
    with evaluation_mode(network, "batch"):
        out = network(images(), weights)
        torch.testing.assert_close(out, network(images(), arch))
    out.square().sum().backward()
    assert all(
        (weights.grad[edge].nonzero().flatten().tolist() == [op]) == (op != NONE) for edge, op in enumerate(arch)
    )


def macs(network: torch.nn.Module, arch, skeleton: DartsSkeleton) -> float:
    """Multiply-adds as torch counts them: two operations each, the bias of the classifier left out."""
    x = torch.zeros(
        1, skeleton.in_channels, skeleton.resolution, skeleton.resolution, device=network.head.weight.device
    )
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(x, arch)
    return counter.get_total_flops() / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "flops_m", "params", "head"), [("cifar10", 528.359, 3349342, 476426), ("imagenet", 529.912, 4718752, 0)]
)
def test_published_costs_of_darts_v2_from_the_network(dataset, flops_m, params, head):
    """Without the auxiliary head, whose parameters on CIFAR are the difference to the 3.83M of the whole module."""
    skeleton = SKELETONS[dataset]
    with torch.device("meta"):
        network = DartsNetwork(DARTS_SEPARATE.only(V2), skeleton, affine=True)
        with_head = DartsNetwork(DARTS_SEPARATE.only(V2), skeleton, affine=True, auxiliary=True) if head else network
    assert count_parameters(network) == params
    assert count_parameters(with_head) - params == head
    assert round(macs(network, V2, skeleton) / 1e6, 3) == flops_m
    closed_form = darts_cost(skeleton, shared_cell=False)(np.array([V2]))
    assert macs(network, V2, skeleton) == round(1e6 * closed_form["flops_m"][0])


COUNTED = {
    "cifar": DartsSkeleton(16, 7, channels=6, layers=3, reductions=(1,)),
    "imagenet": DartsSkeleton(70, 7, in_channels=1, channels=5, layers=3, reductions=(0, 2), stem="imagenet"),
}
"""Of 70 pixels the stem's three halvings make 35, 18 and 9: the odd one is rounded up."""


@pytest.mark.slow
@pytest.mark.parametrize("space", [DARTS, DARTS_SEPARATE], ids=lambda space: space.name)
@pytest.mark.parametrize("skeleton", COUNTED.values(), ids=COUNTED)
def test_costs_are_those_of_the_network(skeleton, space):
    """Exactly, for 15 archs behind either stem; and for choices that are no arch, whose `none` is absent likewise."""
    no_arch = tuple(np.random.default_rng(0).integers(8, size=len(space.edges)).tolist())
    archs = [*some_archs(space, 15, seed=len(space.edges)), no_arch]
    cost = darts_cost(skeleton, shared_cell=space is DARTS)(np.array(archs, np.int8))
    for arch, flops_m, params in zip(archs, cost["flops_m"], cost["params"], strict=True):
        network = DartsNetwork(space.only(arch), skeleton, affine=True)
        assert count_parameters(network) == params
        assert macs(network, arch, skeleton) == round(flops_m * 1e6)


def test_only_the_path_gets_gradients():
    space = thin(DARTS)
    network = build(space)
    archs = some_archs(space, 5, seed=4)
    network(images(), archs).sum().backward()
    inside = 0
    for name, weight in network.named_parameters():
        head, dot, tail = name.partition(".copies.")
        if dot:
            _, layer, _, edge = head.split(".")
            used = tail.partition(".")[0] == str(archs[int(layer)][int(edge)])
            inside += used
            assert (weight.grad is not None) == used, name
        else:
            assert weight.grad is not None, name
    assert inside > 50


def merged(space: SearchSpace, threshold: int) -> SearchSpace:
    return space.with_groups(plan_groups(space, threshold))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0, 20])
def test_weights_off_the_path_do_not_move(threshold):
    """Not by weight decay, and not by the momentum that they have from before."""
    space = thin(DARTS)
    network = build(space)
    if threshold:
        expand(network, merged(space, threshold))
        assert network.expanded
    optimizer = make_optimizer(network, TrainingRecipe(lr=0.1, momentum=0.9, weight_decay=0.1))
    first, second = some_archs(space, 2, seed=6)
    for arch in (first, second):
        optimizer.zero_grad(set_to_none=True)
        network(images(), arch).square().mean().backward()
        if arch == second:
            before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
            idle = {name for name, weight in network.named_parameters() if weight.grad is None}
        descend(optimizer)
    weights = dict(network.named_parameters())
    assert any("momentum_buffer" in optimizer.state.get(weights[name], {}) for name in idle)
    for name, weight in weights.items():
        assert (name in idle) == torch.equal(weight, before[name]), name


def logits(network, archs, mode: str = "batch") -> torch.Tensor:
    with torch.no_grad(), evaluation_mode(network, mode):
        return torch.stack([network(images(), arch) for arch in archs])


def copies_of(network, arch) -> list[torch.nn.Module]:
    """The operators with weights that an arch uses, cell by cell."""
    modules = []
    for cell in network.body:
        for choice in cell.choices:
            key = "_".join(str(arch[edge]) for edge in choice.group)
            modules += [choice.copies[key]] if key in choice.copies else []
    return modules


@pytest.mark.slow
@pytest.mark.parametrize(("space", "threshold"), [(DARTS, 8), (DARTS, 50), (DARTS_SEPARATE, 30)])
def test_expanding_after_each_of_four_shrinks(space, threshold):
    """Groups only grow; a copy has one source; every arch that is left computes what it did, in all BN modes."""
    rule, rng = rule_of(space), np.random.default_rng(threshold)
    space = thin(space, seed=threshold)
    network = build(space, TINY)
    across = False
    for stage in range(4):
        randomize(network)  # "training": no two copies stay equal
        droppable = rule.droppable(space)
        scores = dict.fromkeys(space.alive(), float("inf")) | {pair: rng.random() for pair in droppable}
        free = {edge for edge, alive in enumerate(space.candidates) if len(alive) > 2}
        shrunk = shrink(space, scores, 7, max_per_edge=1, edges=free)
        shrunk = merged(shrunk, threshold)
        assert all(any(set(group) <= set(larger) for larger in shrunk.groups) for group in space.groups)
        archs = some_archs(shrunk, 8, seed=stage)
        before = {mode: logits(network, archs, mode) for mode in ("batch", "running")}
        used = [copies_of(network, arch) for arch in archs]
        old = {module: copy.deepcopy(module.state_dict()) for module in itertools.chain(*used)}
        predicted = expanded_parameters(network, shrunk)
        sources = expand(network, shrunk)
        assert predicted == count_parameters(network)
        origins: dict = {}
        for arch, modules in zip(archs, used, strict=True):
            now = copies_of(network, arch)
            assert len(now) == len(modules)
            for module, was in zip(now, modules, strict=True):
                origins.setdefault(module, set()).add(was)
        for module, (origin,) in origins.items():  # more than one source would not unpack
            assert all(torch.equal(module.state_dict()[name], value) for name, value in old[origin].items())
        for mode, expected in before.items():
            torch.testing.assert_close(logits(network, archs, mode), expected, rtol=0, atol=1e-6)
        assert set(sources) <= set(network.parameters())
        space = shrunk
        across |= any(group[0] < 14 <= group[-1] for group in space.groups)
    assert network.expanded and any(len(group) > (4 if threshold == 50 else 1) for group in space.groups)
    assert across == (len(space.edges) == 28)
    with pytest.raises(ValueError, match="expanded network has no mixture"):
        network(images(), torch.ones(len(space.edges), 8))


def test_gradients_separate_after_expanding():
    """Two archs with the same operators but on one edge of a group: nothing of the group is shared."""
    candidates = (*[(NONE, SEP3, DIL3)] * 2, *[(NONE, SEP3)] * 12)
    space = SearchSpace(DARTS.name, DARTS.operators, DARTS.edges, candidates).with_groups(
        ((0, 1, 2), *((edge,) for edge in range(3, 14)))
    )
    one = (SEP3, SEP3, SEP3, SEP3, NONE, SEP3, SEP3, NONE, NONE, SEP3, SEP3, NONE, NONE, NONE)
    other = (SEP3, DIL3, *one[2:])
    network = build(space.with_groups(()), TINY)
    optimizer = make_optimizer(network, TrainingRecipe())
    steps(network, optimizer, [one])
    momentum = {weight: state["momentum_buffer"] for weight, state in optimizer.state.items()}
    sources = expand(network, space)
    carried = make_optimizer(network, TrainingRecipe())
    carry_momentum(optimizer, carried, sources)
    for module in copies_of(network, one):
        for weight in module.parameters():
            assert torch.equal(carried.state[weight]["momentum_buffer"], momentum[sources.get(weight, weight)])
    before = {weight: weight.detach().clone() for weight in network.parameters()}
    steps(network, carried, [one])
    moved = {weight for weight in network.parameters() if not torch.equal(weight, before[weight])}
    for layer in range(3):
        mine, theirs = (
            [choice.module(arch) for choice in network.body[layer].choices if arch[choice.edge]]
            for arch in (one, other)
        )
        assert all(set(module.parameters()) <= moved for module in mine)
        assert not any(set(module.parameters()) & moved for module in theirs[:3])
        assert mine[3:] == theirs[3:], "edges that are not merged are shared"


def steps(network, optimizer, archs) -> None:
    network.train()
    for arch in archs:
        optimizer.zero_grad(set_to_none=True)
        network(images(), arch).square().mean().backward()
        descend(optimizer)


def test_a_group_across_both_cells_names_choices_of_both():
    """Normal cells then take their copy by a choice of the reduction cell, and the other way round."""
    candidates = tuple((NONE, SEP3, DIL3) if edge in (13, 14) else (NONE, SEP3) for edge in range(28))
    groups = (*((edge,) for edge in range(13)), (13, 14), *((edge,) for edge in range(15, 28)))
    space = SearchSpace(DARTS_SEPARATE.name, DARTS.operators, DARTS_SEPARATE.edges, candidates).with_groups(groups)
    network = build(space)
    keys = {"4_0", "4_4", "4_6", "6_0", "6_4", "6_6"}
    for layer, cell in enumerate(network.body):
        (choice,) = [choice for choice in cell.choices if choice.edge in (13, 14)]
        assert choice.edge == (14 if layer in (1, 3) else 13)
        assert set(choice.copies) == (keys if choice.edge == 13 else {"0_4", "0_6", "4_4", "4_6", "6_4", "6_6"})
    arch = [SEP3, SEP3, SEP3, SEP3, NONE, SEP3, SEP3, NONE, NONE, NONE, NONE, NONE, SEP3, SEP3] * 2
    arch[27] = SEP3
    one, other = tuple(arch), (*arch[:14], DIL3, *arch[15:])
    both = (copies_of(network, one), copies_of(network, other))
    shared = set(both[0]) & set(both[1])
    assert {len(set(modules) - shared) for modules in both} == {5}, "one operator in each of five cells"


def naive_scores(network, archs, ev: Evaluation):
    """The slow way: each arch on its own, with norms told what to do one by one."""
    accuracy, loglik = [], []
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for arch in archs:
        network.eval()
        for norm in norms if ev.bn_mode != "running" else ():
            norm.train()
        if ev.bn_mode == "recalibrate":
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
            for x in ev.calibration:
                network(x, arch)
            network.eval()
        rows = torch.cat([torch.log_softmax(network(x, arch), 1) for x, _ in ev.batches])
        labels = torch.cat([y for _, y in ev.batches])
        accuracy.append(100 * (rows.argmax(1) == labels).double().mean().item())
        loglik.append(rows[torch.arange(len(labels)), labels].double().mean().item())
    return np.array(accuracy), np.array(loglik)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "recalibrate", "running"])
@pytest.mark.parametrize("threshold", [0, 20])
def test_scores_are_those_of_archs_one_by_one(mode, threshold):
    space = thin(DARTS, seed=3, keep=2)
    network = build(space, TINY)
    if threshold:
        space = merged(space, threshold)
        expand(network, space)
        randomize(network)
    archs = some_archs(space, 10, seed=9)
    archs.append(archs[0])
    labels = torch.randint(0, 3, (2, 8), generator=torch.Generator().manual_seed(0))
    ev = Evaluation([(images(16)[8 * b : 8 * b + 8], labels[b]) for b in range(2)], mode, [images(24)[12:], images(6)])
    with torch.no_grad():
        expected = naive_scores(copy.deepcopy(network), archs, ev)
    accuracy, loglik, evaluated = score_archs(network, np.array(archs, np.int8), ev)
    np.testing.assert_allclose(accuracy, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(loglik, expected[1], rtol=0, atol=2e-5)
    assert evaluated == 10 == len(set(np.round(loglik, 4)))


def test_cache_computes_the_stem_once():
    space = thin(DARTS)
    network = build(space)
    calls = []
    network.stem.register_forward_hook(lambda *_: calls.append(1))
    cache = {}
    archs = some_archs(space, 3)
    with torch.no_grad(), evaluation_mode(network, "batch"):
        cached = [network(images(), arch, cache) for arch in archs]
        assert len(calls) == 1
        assert all(torch.equal(out, network(images(), arch)) for out, arch in zip(cached, archs, strict=True))


def test_drop_path_zeroes_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 2, 2)
    out = drop_path(x, 0.25)
    values = out.flatten(1)
    assert set(values.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert (values == values[:, :1]).all()
    assert float(out.mean()) == pytest.approx(1, abs=0.03)


def dropping(arch, **options) -> DartsNetwork:
    network = build(DARTS.only(arch), affine=True, **options)
    network.drop_path_prob = 0.5
    return network


def test_drop_path_is_off_at_evaluation():
    arch = some_archs(DARTS, 1)[0]
    network = dropping(arch).eval()
    with torch.no_grad():
        out = network(images(), arch)
        assert torch.equal(out, network(images(), arch))
        network.drop_path_prob = 0.0
        assert torch.equal(out, network(images(), arch))


SKIPS = (SKIP, SKIP, SKIP, SKIP, NONE, SKIP, SKIP, NONE, NONE, SKIP, SKIP, NONE, NONE, NONE)


@pytest.mark.parametrize(
    ("op", "reductions", "dropped"),
    [(SKIP, (), 0), (SKIP, (0,), 8), (MAX, (), 8), (SEP3, (), 8), (DIL5, (0,), 8)],
)
def test_drop_path_is_for_every_operator_but_the_identity(op, reductions, dropped, monkeypatch):
    """At stride 2 a skip is no identity."""
    calls = []
    monkeypatch.setattr("senas_bench.spaces.darts.network.drop_path", lambda x, p: (calls.append(p), x)[1])
    arch = tuple(op if skip else NONE for skip in SKIPS)
    skeleton = DartsSkeleton(8, 3, in_channels=2, channels=2, layers=1, reductions=reductions)
    network = build(DARTS.only(arch), skeleton, affine=True).train()
    network(images(), arch)
    assert not calls
    network.drop_path_prob = 0.3
    network(images(), arch)
    assert calls == [0.3] * dropped


def test_drop_path_acts_in_training():
    arch = some_archs(DARTS, 1)[0]
    network = dropping(arch).train()
    torch.manual_seed(1)
    outs = [network(images(), arch) for _ in range(2)]
    assert not torch.allclose(*outs)


AUXILIARY = {
    "cifar": DartsSkeleton(32, 3, in_channels=2, channels=2, layers=5),
    "imagenet": DartsSkeleton(224, 3, in_channels=2, channels=2, layers=3, reductions=(0, 1), stem="imagenet"),
}


@pytest.mark.parametrize("stem", AUXILIARY)
def test_the_auxiliary_head_reads_the_last_reduction_cell(stem):
    skeleton = AUXILIARY[stem]
    network = build(DARTS_SEPARATE.only(V2), skeleton, affine=True, auxiliary=True).eval()
    seen = []
    network.body[skeleton.reductions[-1]].register_forward_hook(lambda module, args, out: seen.append(out))
    x = images(2, skeleton)
    with torch.no_grad():
        main, auxiliary = network.forward_with_auxiliary(x, V2)
        assert torch.equal(main, network(x, V2))
        state = {name.removeprefix("auxiliary."): value for name, value in network.state_dict().items()}
        z = F.avg_pool2d(F.relu(seen[0]), 5, {"cifar": 3, "imagenet": 2}[stem])
        assert z.shape[2:] == (2, 2)
        z = F.conv2d(z, state["features.2.0.weight"])
        z = F.batch_norm(z, *[state[f"features.2.1.{s}"] for s in ("running_mean", "running_var", "weight", "bias")])
        z = F.conv2d(F.relu(z), state["features.4.weight"])
        if stem == "cifar":
            z = F.batch_norm(z, *[state[f"features.5.{s}"] for s in ("running_mean", "running_var", "weight", "bias")])
        expected = F.linear(F.relu(z).flatten(1), state["head.weight"], state["head.bias"])
    torch.testing.assert_close(auxiliary, expected, rtol=1e-4, atol=1e-4)
    assert auxiliary.shape == main.shape == (2, 3)


def test_forward_alone_leaves_the_auxiliary_head_without_gradient():
    network = build(DARTS_SEPARATE.only(V2), AUXILIARY["cifar"], affine=True, auxiliary=True)
    x = images(2, AUXILIARY["cifar"])
    network(x, V2).sum().backward()
    assert all(weight.grad is None for weight in network.auxiliary.parameters())
    sum(out.sum() for out in network.forward_with_auxiliary(x, V2)).backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_none_builds_nothing_and_stand_alone_pools_have_no_norm():
    network = build(DARTS_SEPARATE.only(V2), affine=True)
    edges = [choice for module in network.modules() if isinstance(module, ChoiceEdge) for choice in [module]]
    assert len(edges) == 5 * len(EDGES)
    assert all(not choice.copies for choice in edges if V2[choice.edge] in (NONE, MAX))
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(norm.affine for norm in norms)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for cell in network.body for m in cell.weightless.modules())


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ([(SEP3,) * 14] * 4, "4 archs for 5 cells"),
        ((SEP3,) * 28, "28 operators for 14 edges"),
        ([(SEP3,) * 14] * 4 + [(SEP3,) * 13], "13 operators for 14 edges"),
        (torch.ones(28, 8), "shape"),
        ((DIL5,) + (NONE,) * 13, "edge 0->2 has no operator 7"),
        ((NONE,) * 13 + (MAX,), "edge 4->5 has no operator 1"),
    ],
)
def test_impossible_paths(path, complaint):
    space = SearchSpace(DARTS.name, DARTS.operators, DARTS.edges, ((NONE, SEP3),) * 14)
    with pytest.raises(ValueError, match=complaint):
        build(space)(images(), path)


@pytest.mark.parametrize(
    ("skeleton", "complaint"),
    [
        (SMALL, "needs 8x8 pixels, but 2x2 arrive"),
        (DartsSkeleton(32, layers=2, reductions=()), "the skeleton has none"),
        (DartsSkeleton(96, layers=3, reductions=(1,), stem="imagenet"), "needs 7x7 pixels, but 6x6 arrive"),
    ],
)
def test_no_place_for_an_auxiliary_head(skeleton, complaint):
    with pytest.raises(ValueError, match=complaint), torch.device("meta"):
        DartsNetwork(DARTS_SEPARATE.only(V2), skeleton, affine=True, auxiliary=True)


def test_no_auxiliary_logits_without_a_head():
    arch = some_archs(DARTS, 1)[0]
    with pytest.raises(ValueError, match="auxiliary=True"):
        build(DARTS.only(arch)).forward_with_auxiliary(images(), arch)


def test_another_space_is_an_error():
    space = SearchSpace("toy", DARTS.operators, ("e0", "e1"), ((0, 4), (0, 4)))
    with pytest.raises(ValueError, match="a space of 2 edges"):
        DartsNetwork(space, SMALL)
