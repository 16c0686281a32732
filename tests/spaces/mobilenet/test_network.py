import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from senas_bench.networks.expansion import count_parameters, expand, expanded_parameters, plan_groups
from senas_bench.ranking.batchnorm import batch_norms, evaluation_mode
from senas_bench.ranking.score_archs import Evaluation, score_archs
from senas_bench.shrinking import shrink
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.mobilenet import (
    IDENTITY,
    KNOWN_NETWORKS,
    MOBILENET,
    TABLE2,
    MobileSkeleton,
    mobilenet_cost,
    mobilenet_space,
    small_image,
)
from senas_bench.spaces.mobilenet.network import MobileNetwork
from senas_bench.spaces.paths import UniformPath
from senas_bench.training.loop import carry_momentum, descend, make_optimizer
from senas_bench.training.recipe import TrainingRecipe

TINY = MobileSkeleton(
    resolution=9,
    num_classes=4,
    in_channels=2,
    stem=4,
    stem_stride=1,
    first=6,
    widths=(6, 4, 4),
    repeats=(2, 3, 1),
    strides=(2, 2, 1),
    last=10,
)
"""Stage 1 begins at equal width with a stride, stage 3 at equal width without: only there is a residual."""
SPACE = mobilenet_space(TINY)
SPACE_G2 = mobilenet_space(TINY, group2=True)
BLOCK = {0: (3, 3, 1), 1: (3, 6, 1), 2: (5, 3, 1), 3: (5, 6, 1), 4: (7, 3, 1), 5: (7, 6, 1)}
BLOCK |= {7: (3, 6, 2), 8: (5, 6, 2), 9: (7, 6, 2)}
"""(kernel, expansion, groups) by operator."""


def build(
    space: SearchSpace = SPACE_G2, skeleton: MobileSkeleton = TINY, *, affine: bool = False, seed: int = 0
) -> MobileNetwork:
    """A small network in double precision with weights, biases and running statistics away from their defaults."""
    torch.manual_seed(seed)
    network = MobileNetwork(space, skeleton, affine).double()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.normal_(0.2, 1)
    return network


def images(n: int = 5, skeleton: MobileSkeleton = TINY) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(
        n, skeleton.in_channels, skeleton.resolution, skeleton.resolution, generator=generator, dtype=torch.float64
    )


def some_archs(n: int, space: SearchSpace = SPACE_G2, seed: int = 0) -> list[tuple[int, ...]]:
    return [tuple(row) for row in space.sample_distinct(np.random.default_rng(seed), n).tolist()]


class Naive:
    """The network from the papers, on the plain weights of a state dict; knows nothing of spaces.

    Args:
        copies: Name of the weights that a layer takes for an operator.
    """

    def __init__(self, network, skeleton=TINY, *, batch_statistics: bool, copies=lambda layer, op: str(op)) -> None:
        self.state = {name: value.clone() for name, value in network.state_dict().items()}
        self.skeleton, self.batch_statistics, self.copies = skeleton, batch_statistics, copies

    def conv_bn(self, x, name, stride=1, groups=1):
        kernel = self.state[f"{name}.0.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        statistics = [self.state[f"{name}.1.running_{s}"] for s in ("mean", "var")]
        scale, shift = self.state.get(f"{name}.1.weight"), self.state.get(f"{name}.1.bias")
        if self.batch_statistics:
            statistics = [None, None]
        return F.batch_norm(x, *statistics, scale, shift, training=self.batch_statistics)

    def block(self, x, name, kernel, expansion, groups, c_out, stride):
        hidden = x
        if expansion > 1:
            hidden = F.hardtanh(self.conv_bn(x, f"{name}.expand", groups=groups), 0, 6)
        assert hidden.shape[1] == expansion * x.shape[1]
        assert self.state[f"{name}.depthwise.0.weight"].shape == (hidden.shape[1], 1, kernel, kernel)
        hidden = F.hardtanh(self.conv_bn(hidden, f"{name}.depthwise", stride, hidden.shape[1]), 0, 6)
        out = self.conv_bn(hidden, f"{name}.project", groups=groups)
        assert out.shape[1] == c_out
        return out + x if stride == 1 and x.shape[1] == c_out else out

    def layers(self):
        """(channels out, stride) layer by layer."""
        for width, repeats, stride in zip(
            self.skeleton.widths, self.skeleton.repeats, self.skeleton.strides, strict=True
        ):
            yield from [(width, stride), *[(width, 1)] * (repeats - 1)]

    def operator(self, x, layer, op, c_out, stride):
        if op == IDENTITY:
            return x
        return self.block(x, f"choices.{layer}.copies.{self.copies(layer, op)}", *BLOCK[op], c_out, stride)

    def __call__(self, x, choose) -> torch.Tensor:
        """`choose` is an arch, or weights `(layers, operators)`."""
        x = F.hardtanh(self.conv_bn(x, "stem", self.skeleton.stem_stride), 0, 6)
        x = self.block(x, "first", 3, 1, 1, self.skeleton.first, 1)
        for layer, (c_out, stride) in enumerate(self.layers()):
            if isinstance(choose, tuple):
                x = self.operator(x, layer, choose[layer], c_out, stride)
            else:
                row = enumerate(choose[layer])
                x = sum(w * self.operator(x, layer, op, c_out, stride) for op, w in row if w != 0)
        x = F.hardtanh(self.conv_bn(x, "last"), 0, 6).flatten(2).mean(2)
        return F.linear(x, self.state["head.weight"], self.state["head.bias"])


def assert_same(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


IDENTITIES = (0, IDENTITY, 5, IDENTITY, IDENTITY, 3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("arch", [IDENTITIES, (7, 8, 9, 7, 8, 9), *some_archs(8)])
def test_stand_alone_network_is_that_of_the_papers(arch, training):
    network = build(SPACE_G2.only(arch), affine=True).train(training)
    naive = Naive(network, batch_statistics=training)
    with torch.no_grad():
        assert_same(network(images(), arch), naive(images(), arch))


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_supernet_path_is_that_network_without_affine_norms(stem_stride):
    skeleton = MobileSkeleton(**{**vars(TINY), "stem_stride": stem_stride, "stem": 6, "resolution": 16})
    network = build(skeleton=skeleton)
    naive = Naive(network, skeleton, batch_statistics=True)
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in [IDENTITIES, *some_archs(20, seed=1)]:
            assert_same(network(images(skeleton=skeleton), arch), naive(images(skeleton=skeleton), arch))


@pytest.mark.parametrize("affine", [False, True])
def test_affine_norms_in_the_choices_only_where_asked(affine):
    network = build(affine=affine)
    inside = batch_norms(network.choices)
    assert len(inside) == 3 * sum(len(alive) - (IDENTITY in alive) for alive in SPACE_G2.candidates)
    assert all(norm.affine == affine for norm in inside)
    others = [norm for norm in batch_norms(network) if norm not in inside]
    assert len(others) == 4 and all(norm.affine for norm in others)


def test_a_supernet_is_the_default():
    with torch.device("meta"):
        network = MobileNetwork(MOBILENET)
    assert not any(norm.affine for norm in batch_norms(network.choices))
    assert network.choice_cells == 1 and not network.expanded
    assert network.head.weight.shape == (1000, 1728)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3)])
def test_small_images_train_with_the_same_code(size, channels):
    skeleton = small_image(size, 10, channels, factor=0.1)
    network = MobileNetwork(MOBILENET, skeleton)
    maps = []
    network.last.register_forward_hook(lambda module, inputs, output: maps.append(output.shape))
    x, y = torch.randn(3, channels, size, size), torch.tensor([1, 2, 3])
    logits = network(x, MOBILENET.sample(np.random.default_rng(0)))
    F.cross_entropy(logits, y).backward()
    assert logits.shape == (3, 10)
    assert maps == [(3, skeleton.last, 4, 4)]


def on_meta(arch, skeleton: MobileSkeleton, space: SearchSpace) -> MobileNetwork:
    """A stand-alone network without memory for its weights."""
    with torch.device("meta"):
        return MobileNetwork(space.only(arch), skeleton, affine=True).eval()


def built_cost(arch, skeleton: MobileSkeleton, space: SearchSpace) -> tuple[int, int]:
    """Multiply-adds and parameters of the built network: each kernel times the pixels that it writes.

    An empty batch has the shapes of a full one, and costs no time.
    """
    network = on_meta(arch, skeleton, space).to_empty(device="cpu")
    flops = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda m, _, out: flops.append(m.weight.numel() * out.shape[2:].numel()))
    with torch.no_grad():
        network(torch.zeros(0, skeleton.in_channels, skeleton.resolution, skeleton.resolution), arch)
    return sum(flops), count_parameters(network)


def torch_flops(arch, skeleton: MobileSkeleton, space: SearchSpace) -> float:
    """Multiply-adds as torch counts them: it counts two operations for each, and none for a bias."""
    image = torch.zeros(1, skeleton.in_channels, skeleton.resolution, skeleton.resolution, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        on_meta(arch, skeleton, space)(image, arch)
    return counter.get_total_flops() / 2


def closed_form(arch, skeleton: MobileSkeleton) -> tuple[int, int]:
    cost = mobilenet_cost(skeleton)(np.array([arch], np.int8))
    return round(cost["flops_m"].item() * 1e6), cost["params"].item()


PUBLISHED = {
    "mobilenetv2-1.0": (300.774, 3.504872),
    "proxyless-gpu": (465.260, 7.1198),
    "proxyless-mobile": (320.428, 4.0805),
    "proxyless-cpu": (439.244, 4.3616),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_costs_are_those_of_the_built_network(name):
    skeleton, arch = KNOWN_NETWORKS[name]
    flops, params = built_cost(arch, skeleton, mobilenet_space(skeleton))
    digits = 6 if name == "mobilenetv2-1.0" else 4
    assert (round(flops / 1e6, 3), round(params / 1e6, digits)) == PUBLISHED[name]
    assert (flops, params) == closed_form(arch, skeleton)
    assert flops == torch_flops(arch, skeleton, mobilenet_space(skeleton))


ODD = MobileSkeleton(27, 7, 2, 6, 5, (3, 8), (2, 2), (2, 1), 9, 2)
SKELETONS = {
    "table 2": (TABLE2, False, 25),
    "table 2, group 2": (TABLE2, True, 25),
    "mobilenetv2": (KNOWN_NETWORKS["mobilenetv2-1.0"].skeleton, True, 10),
    "digits": (small_image(8, 10, 1, factor=0.2), True, 10),
    "odd": (ODD, False, 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SKELETONS)
def test_closed_form_is_the_built_network(name):
    skeleton, group2, archs = SKELETONS[name]
    space, rng = mobilenet_space(skeleton, group2), np.random.default_rng(3)
    for arch in (space.sample(rng) for _ in range(archs)):
        assert closed_form(arch, skeleton) == built_cost(arch, skeleton, space)
    assert closed_form(arch, skeleton)[0] == torch_flops(arch, skeleton, space)


def test_sizes_of_the_supernet():
    """docs/method.md 2.2: merging pairs takes it from some 25M to some 141M weights."""
    with torch.device("meta"):
        network = MobileNetwork(MOBILENET)
    groups = plan_groups(MOBILENET, 50)
    assert groups == (*((i, i + 1) for i in range(0, 20, 2)), (20,))
    assert count_parameters(network.choices) == pytest.approx(25e6, abs=0.5e6)
    assert expanded_parameters(network, MOBILENET.with_groups(groups)) == pytest.approx(141e6, abs=0.5e6)


def merged_space() -> SearchSpace:
    """Three groups, identity in each but the last, which is not merged."""
    candidates = ((0, 3), (1, IDENTITY), (2, 7), (0, 5, IDENTITY), (4, IDENTITY), (1, 8, 9))
    space = SearchSpace(SPACE_G2.name, SPACE_G2.operators, SPACE_G2.edges, candidates)
    return space.with_groups(((0, 1), (2, 3, 4), (5,)))


def drift(network: MobileNetwork, seed: int = 5) -> None:
    """Train, so to say: no two copies stay equal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))


def expanded() -> MobileNetwork:
    network = build()
    expand(network, merged_space())
    drift(network)
    return network


def copy_of(arch, space: SearchSpace):
    """Names of the weights that an arch takes in an expanded network, from the definition of a partial model."""
    return lambda layer, op: "_".join(str(arch[other]) for other in space.group_of(layer))


def with_and_without_cache(network, archs) -> tuple[torch.Tensor, torch.Tensor]:
    cache = {}
    with torch.no_grad(), evaluation_mode(network, "batch"):
        cached = torch.stack([network(images(), arch, cache) for arch in archs])
        return cached, torch.stack([network(images(), arch) for arch in archs])


@pytest.mark.parametrize("order", ["lexicographic", "random"])
def test_cache_does_not_change_logits(order):
    archs = some_archs(60, seed=4)
    cached, plain = with_and_without_cache(build(), sorted(archs) if order == "lexicographic" else archs)
    assert torch.equal(cached, plain)
    assert len({tuple(row.tolist()) for row in plain.flatten(1)}) == len(archs)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["lexicographic", "random"])
def test_cache_does_not_change_logits_of_an_expanded_network(order):
    """All its archs: an early layer of a group takes another copy when a later one is chosen differently."""
    space = merged_space()
    archs = list(space)
    if order == "random":
        archs = [archs[i] for i in np.random.default_rng(0).permutation(len(archs))]
    network = expanded()
    cached, plain = with_and_without_cache(network, archs)
    assert torch.equal(cached, plain)
    for arch, got in list(zip(archs, plain, strict=True))[::8]:
        naive = Naive(network, batch_statistics=True, copies=copy_of(arch, space))
        assert_same(got, naive(images(), arch))


def test_cache_computes_what_archs_share_once():
    network = build()
    calls = []
    network.stem.register_forward_hook(lambda *_: calls.append("stem"))
    for depth, choice in enumerate(network.choices):
        for name, module in choice.copies.items():
            module.register_forward_hook(lambda *_, key=f"{depth}:{name}": calls.append(key))
    archs = [(0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 5, 5), (0, 1, 2, IDENTITY, 0, 1), (0, 1, 2, IDENTITY, 0, 2)]
    cache = {}
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in archs:
            network(images(), arch, cache)
    assert calls == ["stem", "0:0", "1:1", "2:2", "3:3", "4:4", "5:5", "4:5", "5:5", "4:0", "5:1", "5:2"]


def test_without_a_cache_nothing_is_kept():
    network = build().eval()
    with torch.no_grad():
        first = network(images(), IDENTITIES)
        assert not torch.equal(network(2 * images(), IDENTITIES), first)
        assert torch.equal(network(images(), IDENTITIES), first)


def a_batch(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 9, 9, generator=generator).double(), torch.randint(0, 4, (n,), generator=generator)


def evaluation(mode: str) -> Evaluation:
    return Evaluation([a_batch(16, s) for s in range(2)], mode, [a_batch(12, 10 + s)[0] for s in range(2)])


def one_by_one(network, archs, ev: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy in percent and log-likelihood, one arch after the other; no cache, no sharing."""
    net = copy.deepcopy(network).eval()
    labels = torch.cat([y for _, y in ev.batches])
    accuracy, loglik = [], []
    for arch in map(tuple, archs.tolist()):
        if ev.bn_mode != "running":
            for norm in batch_norms(net):
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
        if ev.bn_mode == "recalibrate":
            for x in ev.calibration:
                net(x, arch)
            net.eval()
        logits = torch.cat([torch.log_softmax(net(x, arch), 1) for x, _ in ev.batches])
        accuracy.append(100 * (logits.argmax(1) == labels).double().mean().item())
        loglik.append(logits[torch.arange(len(labels)), labels].mean().item())
    return np.array(accuracy), np.array(loglik)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["batch", "recalibrate", "running"])
@pytest.mark.parametrize("make", [build, expanded])
def test_scores_are_those_of_a_naive_loop(make, mode):
    space = SPACE_G2 if make is build else merged_space()
    archs = space.sample_distinct(np.random.default_rng(0), 15)
    archs = np.concatenate([archs, archs[:3]])
    network = make()
    with torch.no_grad():
        expected = one_by_one(network, archs, evaluation(mode))
    accuracy, loglik, evaluated = score_archs(network, archs, evaluation(mode))
    assert evaluated == 15
    np.testing.assert_allclose(accuracy, expected[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(loglik, expected[1], rtol=1e-6, atol=1e-6)
    assert len(set(np.round(loglik, 5))) == 15


@pytest.mark.parametrize("make", [build, expanded])
def test_signature_tells_what_runs(make):
    """Exactly the archs that run the same operators with the same weights are equal."""
    network = make()
    archs = some_archs(300, seed=6) if make is build else list(merged_space())

    def what_runs(arch):
        return tuple(
            None if op == IDENTITY else id(choice.module(arch))
            for op, choice in zip(arch, network.choices, strict=True)
        )

    pairs = {(network.signature(arch), what_runs(arch)) for arch in archs}
    assert len(pairs) == len({signature for signature, _ in pairs}) == len({runs for _, runs in pairs})
    assert network.signature(list(archs[0])) == network.signature(archs[0])


def test_a_path_may_be_a_sequence_of_one_arch():
    """As `UniformPath` draws them for one cell."""
    network = build().eval()
    ((arch,),) = UniformPath(SPACE_G2, network.choice_cells)(np.random.default_rng(0))
    with torch.no_grad():
        assert torch.equal(network(images(), (arch,)), network(images(), arch))
        with pytest.raises(ValueError, match="2 archs for a network that takes one"):
            network(images(), (arch, arch))


def test_only_the_path_gets_gradients():
    network = build()
    arch = (1, IDENTITY, 9, 3, IDENTITY, 0)
    network(images(), arch).square().sum().backward()
    for name, weight in network.named_parameters():
        head, dot, tail = name.partition(".copies.")
        on_path = not dot or tail.split(".")[0] == str(arch[int(head.removeprefix("choices."))])
        assert (weight.grad is not None) == on_path, name


@pytest.mark.parametrize("make", [build, expanded])
def test_weights_off_the_path_do_not_move(make):
    """Not by weight decay, and not by the momentum that they have from before."""
    network = make()
    optimizer = make_optimizer(network, TrainingRecipe(lr=0.1, momentum=0.9, weight_decay=0.1))
    first, second = (0, 1, 2, 5, 4, 8), (0, IDENTITY, 2, 0, 4, 1)
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


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ((0, 1, 2, 3, 4), "an arch of 5 operators for 6 layers"),
        ((0, 1, 2, 3, 4, 5, 0), "an arch of 7 operators for 6 layers"),
        ((0, 1, 2, 3, 4, 7), r"layer 3\.1 has no operator 7; one of: 0, 1, 2, 3, 4, 5$"),
        ((IDENTITY, 1, 2, 3, 4, 5), r"layer 1\.1 has no operator identity; one of: 0, 1, 2, 3, 4, 5$"),
        ((0, 7, 2, 3, 4, 5), r"layer 1\.2 has no operator 7; one of: 0, 1, 2, 3, 4, 5, identity$"),
    ],
)
def test_a_path_that_the_network_does_not_have_is_an_error(arch, message):
    with pytest.raises(ValueError, match=message):
        build(SPACE)(images(), arch)


def test_space_and_skeleton_must_have_the_same_layers():
    with pytest.raises(ValueError, match=r"the space has layers \('1.1', .*, the skeleton \('1.1', '1.2', '2.1'"):
        MobileNetwork(MOBILENET, TINY)


def test_identity_cannot_be_where_a_stage_begins():
    """Not even where its stride is 1 and the width stays."""
    candidates = [*SPACE.candidates[:5], (0, IDENTITY)]
    space = SearchSpace(SPACE.name, SPACE.operators, SPACE.edges, tuple(candidates))
    with pytest.raises(ValueError, match=r"identity cannot be a candidate on layer 3\.1"):
        MobileNetwork(space, TINY)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="divisible by groups"):
        MobileNetwork(mobilenet_space(ODD, group2=True), ODD)


def test_dropout_is_before_the_classifier_and_only_in_training():
    network = MobileNetwork(SPACE.only(IDENTITIES), TINY, affine=True, dropout=0.5)
    network.last[1].bias.data.fill_(3)  # hardly a channel that is 0 by itself
    seen = []
    network.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        for training in (True, False):
            network.train(training)(images(100).float(), IDENTITIES)
    assert [round((x == 0).double().mean().item(), 1) for x in seen] == [0.5, 0]
    assert build().dropout.p == 0


def shrunk_stages(space: SearchSpace, drops: int, threshold: int, seed: int):
    """Four stages of random drops, each merged."""
    rng = np.random.default_rng([seed, threshold])
    for _ in range(4):
        space = shrink(space, {pair: rng.random() for pair in space.alive()}, drops)
        space = space.with_groups(plan_groups(space, threshold))
        yield space


def logits(network, archs) -> torch.Tensor:
    with torch.no_grad(), evaluation_mode(network, "batch"):
        return torch.stack([network(images(), arch) for arch in archs])


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "seed"), [(6, 0), (20, 1), (50, 2)])
def test_four_stages_of_shrinking(threshold, seed):
    """Every path that is left computes what it did; nothing idle is kept; partial models share no operator."""
    network, rng = build(SPACE, seed=seed), np.random.default_rng(seed)
    merged = False
    for stage, space in enumerate(shrunk_stages(SPACE, 7, threshold, seed)):
        drift(network, seed=stage)
        archs = list({space.sample(rng) for _ in range(20)})
        before, predicted = logits(network, archs), expanded_parameters(network, space)
        old = set(network.parameters())
        sources = expand(network, space)
        assert set(sources.values()) <= old and not set(sources) & old
        torch.testing.assert_close(logits(network, archs), before, rtol=0, atol=1e-6)
        assert count_parameters(network) == predicted
        for edge, choice in enumerate(network.choices):
            partials = space.partial_models(space.group_of(edge))
            names = {"_".join(map(str, p)) for p in partials if p[space.group_of(edge).index(edge)] != IDENTITY}
            assert set(choice.copies) == names
        assert network.expanded == any(len(group) > 1 for group in space.groups)
        merged |= network.expanded
    assert merged and len(space.alive()) == 39 - 28


@pytest.mark.slow
def test_expanding_the_whole_skeleton():
    """21 layers in pairs, both spaces' operators, at tiny widths."""
    skeleton = small_image(8, 4, 2, factor=0.05)
    network = MobileNetwork(MOBILENET, skeleton).double()
    space = MOBILENET.with_groups(plan_groups(MOBILENET, 50))
    archs = some_archs(12, MOBILENET, seed=8)
    x = images(4, skeleton)
    with torch.no_grad(), evaluation_mode(network, "batch"):
        before = torch.stack([network(x, arch) for arch in archs])
        expand(network, space)
        assert network.expanded
        torch.testing.assert_close(torch.stack([network(x, arch) for arch in archs]), before, rtol=0, atol=1e-6)


def test_gradients_separate_after_expanding():
    network, space = build(), merged_space()
    expand(network, space)
    one, other = (0, 1, 2, 0, 4, 1), (0, IDENTITY, 2, 0, IDENTITY, 1)  # the same blocks but for two identities
    network(images(), one).square().mean().backward()
    weights = lambda edge: list(network.choices[edge].module(other).parameters())  # noqa: E731
    assert all(weight.grad is None for edge in (0, 2, 3) for weight in weights(edge))
    assert all(weight.grad is not None for weight in weights(5)), "layer 5 is not merged: both share its operator"
    assert all(w.grad is not None for edge in range(6) for w in network.choices[edge].module(one).parameters())


def test_momentum_follows_the_copies():
    network = build()
    old = make_optimizer(network, TrainingRecipe())
    trained = (0, 1, 2, 0, 4, 1)
    network(images(), trained).square().mean().backward()
    descend(old)
    kernel = network.choices[0].module(trained).depthwise[0].weight
    momentum = old.state[kernel]["momentum_buffer"].clone()
    sources = expand(network, merged_space())
    new = make_optimizer(network, TrainingRecipe())
    carry_momentum(old, new, sources)
    copies = [network.choices[0].copies[key].depthwise[0].weight for key in ("0_1", f"0_{IDENTITY}")]
    assert all(torch.equal(new.state[weight]["momentum_buffer"], momentum) for weight in copies)
    assert "momentum_buffer" not in new.state.get(network.choices[0].copies["3_1"].depthwise[0].weight, {})


def some_weights(space: SearchSpace = SPACE, seed: int = 0) -> torch.Tensor:
    """`(layers, operators)`: a softmax over what each layer has."""
    scores = torch.randn(len(space.edges), len(space.operators), generator=torch.Generator().manual_seed(seed)).double()
    for edge, alive in enumerate(space.candidates):
        scores[edge, [op for op in range(len(space.operators)) if op not in alive]] = -torch.inf
    return torch.softmax(scores, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("space", [SPACE, SPACE_G2])
def test_mixture_is_the_weighted_sum_of_all_operators(space, training):
    network = build(space).train(training)
    naive = Naive(network, batch_statistics=training)
    for weights in (some_weights(space), -2 * some_weights(space, 1)):
        with torch.no_grad():
            network.load_state_dict(naive.state)  # running statistics
            assert_same(network(images(), weights), naive(images(), weights))


def test_a_mixture_of_one_operator_is_the_path_and_runs_it_alone():
    network = build(SPACE)
    weights = torch.eye(7).double()[list(IDENTITIES)].requires_grad_()
    out = network(images(), weights)
    out.square().mean().backward()
    running = {name for name, weight in network.named_parameters() if weight.grad is not None}
    network.zero_grad(set_to_none=True)
    path = network(images(), IDENTITIES)
    path.square().mean().backward()
    assert running == {name for name, weight in network.named_parameters() if weight.grad is not None}
    assert_same(out, path)
    assert (weights.grad != 0).sum() == len(IDENTITIES)


def test_gradient_of_the_weights_is_the_naive_one():
    network = build(SPACE).train()
    naive = Naive(network, batch_statistics=True)
    y = torch.tensor([0, 1, 2, 3, 0])
    gradients = []
    for mixture in (network, naive):
        weights = some_weights().requires_grad_()
        gradients += torch.autograd.grad(F.cross_entropy(mixture(images(), weights), y), weights)
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[:5], r"operator weights of shape \(5, 7\); \(6, 7\) are needed"),
        (lambda w: w[:, :6], r"\(6, 6\); \(6, 7\) are needed"),
        (lambda w: w * torch.tensor([[1.0]] * 3 + [[0.0]] * 3), r"layer 2\.2: all operator weights are 0"),
        (lambda w: w + 0.1, r"layer 1\.1 has no operator identity"),
    ],
)
def test_bad_operator_weights(change, message):
    with pytest.raises(ValueError, match=message):
        build(SPACE)(images(), change(some_weights()))


def test_an_expanded_network_has_no_mixture():
    with pytest.raises(ValueError, match="an expanded network has no mixture"):
        expanded()(images(), some_weights(SPACE_G2))
