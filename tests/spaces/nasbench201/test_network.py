import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from senas_bench.kernels.door import Node, Torch
from senas_bench.networks.expansion import expand, plan_groups
from senas_bench.ranking.batchnorm import evaluation_mode
from senas_bench.spaces import SearchSpace
from senas_bench.spaces.nasbench201 import NB201, prune, prune_arch
from senas_bench.spaces.nasbench201.network import Cell, NB201Network
from senas_bench.training.loop import descend, make_optimizer
from senas_bench.training.recipe import TrainingRecipe

NONE, SKIP, CONV1, CONV3, POOL = range(5)
UNREACHED = (NONE, CONV3, CONV1, SKIP, CONV3, CONV1)  # node 1 is all zeros, and convolutions read it
USELESS = (CONV1, CONV3, CONV3, POOL, CONV1, NONE)  # nothing reads node 2


def build(space: SearchSpace = NB201, *, cells: int = 1, channels: int = 3, affine: bool = False) -> NB201Network:
    """A small network with weights, biases and running statistics all different from their defaults."""
    torch.manual_seed(0)
    network = NB201Network(space, channels, cells, in_channels=2, num_classes=4, affine=affine)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.normal_(0.1, 0.5)
    return network


def images(n: int = 5) -> torch.Tensor:
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def some_archs(n: int, seed: int = 0) -> list[tuple[int, ...]]:
    return [tuple(row) for row in NB201.sample_distinct(np.random.default_rng(seed), n).tolist()]


def naive_network(state, archs, x, *, batch_statistics: bool, width: int, copies=str) -> torch.Tensor:
    """The benchmark's network from its paper, on the plain weights of a state dict.

    Every edge is computed, whatever it reads; a node is the sum of all its edges; `none` gives zeros.

    Args:
        archs: One per cell.
        copies: Name of an operator's weights.
    """

    def conv_bn(x, name, stride=1):
        kernel = state[f"{name}.0.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, var = (
            (None, None) if batch_statistics else (state[f"{name}.1.{s}"] for s in ("running_mean", "running_var"))
        )
        scale, shift = state.get(f"{name}.1.weight"), state.get(f"{name}.1.bias")
        return F.batch_norm(x, mean, var, scale, shift, training=batch_statistics)

    def cell(x, name, arch):
        nodes, edge = [x], 0
        for target in (1, 2, 3):
            summands = []
            for source in range(target):
                value, op = nodes[source], arch[edge]
                if op == NONE:
                    summands.append(torch.zeros_like(value))
                elif op == SKIP:
                    summands.append(value)
                elif op == POOL:
                    ones = torch.ones_like(value)
                    total = 9 * F.avg_pool2d(value, 3, 1, 1, count_include_pad=True)
                    summands.append(total / (9 * F.avg_pool2d(ones, 3, 1, 1, count_include_pad=True)))
                else:
                    summands.append(conv_bn(F.relu(value), f"{name}.choices.{edge}.copies.{copies(op)}"))
                edge += 1
            nodes.append(sum(summands))
        return nodes[-1]

    def reduction(x, name):
        body = conv_bn(F.relu(x), f"{name}.first", stride=2)
        body = conv_bn(F.relu(body), f"{name}.second")
        return body + F.conv2d(F.avg_pool2d(x, 2, 2), state[f"{name}.shortcut.weight"])

    cells = len(archs) // 3
    x = conv_bn(x, "stem")
    block, archs = 0, iter(archs)
    for stage in range(3):
        if stage:
            x = reduction(x, f"body.{block}")
            block += 1
        for _ in range(cells):
            x = cell(x, f"body.{block}", next(archs))
            block += 1
    statistics = (None, None) if batch_statistics else (state["last.running_mean"], state["last.running_var"])
    x = F.batch_norm(x, *statistics, state["last.weight"], state["last.bias"], training=batch_statistics)
    x = F.relu(x)
    assert x.shape[1] == 4 * width
    return F.linear(x.flatten(2).mean(2), state["head.weight"], state["head.bias"])


STAND_ALONE = [UNREACHED, USELESS, (NONE,) * 6, (CONV3,) * 6, (POOL,) * 6, *some_archs(12)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("arch", STAND_ALONE)
def test_stand_alone_network_is_the_benchmarks(arch, training):
    network = build(NB201.only(arch), cells=2, affine=True).train(training)
    with torch.no_grad():
        state = {name: value.clone() for name, value in network.state_dict().items()}
        expected = naive_network(state, [arch] * 6, images(), batch_statistics=training, width=3)
        torch.testing.assert_close(network(images(), arch), expected, rtol=1e-5, atol=1e-5)


def test_supernet_path_is_the_benchmarks_network_without_affine_norms():
    """Dead edges are left out, which changes nothing: normalised zeros are zeros."""
    network = build()
    state = network.state_dict()
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in [UNREACHED, USELESS, (NONE,) * 6, *some_archs(25, seed=1)]:
            expected = naive_network(state, [arch] * 3, images(), batch_statistics=True, width=3)
            torch.testing.assert_close(network(images(), arch), expected, rtol=1e-5, atol=1e-5)


def test_dead_edges_do_not_matter_in_a_supernet():
    network = build()
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in some_archs(40, seed=2):
            network.skip_dead_edges = False
            whole = network(images(), arch)
            network.skip_dead_edges = True
            torch.testing.assert_close(network(images(), arch), whole, rtol=0, atol=1e-6)
            torch.testing.assert_close(network(images(), prune_arch(arch)), whole, rtol=0, atol=1e-6)


def test_only_a_supernet_leaves_dead_edges_out():
    assert build().skip_dead_edges
    assert not build(affine=True).skip_dead_edges


@pytest.mark.parametrize("affine", [False, True])
def test_affine_norms_inside_the_cells_only_where_asked(affine):
    network = build(affine=affine)
    cells = [block for block in network.body if isinstance(block, Cell)]
    norms = lambda module: [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]  # noqa: E731
    inside = [norm for cell in cells for norm in norms(cell)]
    assert len(cells) == network.choice_cells == 3
    assert len(inside) == 3 * 6 * 2
    assert all(norm.affine == affine for norm in inside)
    assert all(norm.affine for norm in norms(network) if norm not in inside)


def merged_space() -> SearchSpace:
    """Two candidates on most edges, in two merged groups and one that is not."""
    candidates = ((SKIP, CONV3), (NONE, CONV1), (CONV3, POOL), (NONE, CONV1, CONV3), (CONV1, CONV3), (NONE, CONV3))
    space = SearchSpace(NB201.name, NB201.operators, NB201.edges, candidates)
    return space.with_groups(plan_groups(space, 8))


def expanded() -> NB201Network:
    """An expanded network whose copies have drifted apart."""
    network = build()
    expand(network, merged_space())
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return network


def test_merged_space_is_what_it_says():
    assert merged_space().groups == ((0, 1, 2), (3, 4), (5,))


def reference_cell_outputs(cell: Cell, x: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    """Output of a cell for all archs from the 5 + 125 values that its inner nodes can take."""

    def run(edge, op, value):
        if op in (CONV1, CONV3):
            return cell.choices[edge].copies[str(op)](torch.relu(value))
        return {NONE: 0 * value, SKIP: value, POOL: F.avg_pool2d(value, 3, 1, 1, count_include_pad=False)}[op]

    ops = range(5)
    first = {a: run(0, a, x) for a in ops}
    second = {(a, b, c): run(1, b, x) + run(2, c, first[a]) for a, b, c in itertools.product(ops, repeat=3)}
    from_input = {d: run(3, d, x) for d in ops}
    from_first = {(a, e): run(4, e, first[a]) for a, e in itertools.product(ops, repeat=2)}
    from_second = {(*key, f): run(5, f, value) for key, value in second.items() for f in ops}
    return {
        (a, b, c, d, e, f): from_input[d] + from_first[a, e] + from_second[a, b, c, f]
        for a, b, c, d, e, f in itertools.product(ops, repeat=6)
    }


def test_cache_gives_the_output_of_every_arch_in_lexicographic_order():
    """The cell is where the cache works. Every arch, against a table that knows nothing of caches."""
    cell = build(channels=2).body[0]
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    for module in cell.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.track_running_stats = False
    with torch.inference_mode():
        reference = reference_cell_outputs(cell, x)
        cache = {}
        archs = list(NB201)
        pruned = map(tuple, prune(NB201.archs()).tolist())
        node, wanted = Node(Torch(), x), (True, False)
        nodes = [cell(node, arch, live, wanted, cache) for arch, live in zip(archs, pruned, strict=True)]
        outputs = torch.stack([node.value for node in nodes])
    torch.testing.assert_close(outputs, torch.stack([reference[arch] for arch in archs]), rtol=0, atol=1e-6)


def logits_with_and_without_cache(network, archs):
    cache = {}
    with torch.no_grad(), evaluation_mode(network, "batch"):
        cached = torch.stack([network(images(), arch, cache) for arch in archs])
        return cached, torch.stack([network(images(), arch) for arch in archs])


@pytest.mark.slow
@pytest.mark.parametrize("order", ["lexicographic", "random"])
def test_cache_does_not_change_logits(order):
    archs = some_archs(150, seed=4)
    cached, plain = logits_with_and_without_cache(build(), sorted(archs) if order == "lexicographic" else archs)
    torch.testing.assert_close(cached, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["lexicographic", "random"])
def test_cache_does_not_change_logits_of_an_expanded_network(order):
    """All its archs: an operator's output is kept by copy, not by operator."""
    archs = list(merged_space())
    if order == "random":
        np.random.default_rng(0).shuffle(archs)
        archs = [tuple(map(int, arch)) for arch in archs]
    network = expanded()
    cached, plain = logits_with_and_without_cache(network, archs)
    torch.testing.assert_close(cached, plain, rtol=0, atol=1e-6)
    for arch in archs[::7]:
        space = merged_space()
        state = {rename(name, arch, space): value for name, value in network.state_dict().items()}
        with torch.no_grad():
            expected = naive_network(state, [arch] * 3, images(), batch_statistics=True, width=3)
        torch.testing.assert_close(plain[archs.index(arch)], expected, rtol=1e-5, atol=1e-5)


def rename(name: str, arch, space: SearchSpace) -> str:
    """Names the copies that `arch` uses by their operator alone, so that the naive network finds them."""
    head, dot, tail = name.partition(".copies.")
    if not dot:
        return name
    key, _, rest = tail.partition(".")
    edge = int(head.rpartition(".")[2])
    mine = "_".join(str(arch[other]) for other in space.group_of(edge))
    return f"{head}.copies.{arch[edge] if key == mine else 'unused_' + key}.{rest}"


def test_cache_computes_the_stem_once():
    network = build()
    calls = []
    network.stem.register_forward_hook(lambda *_: calls.append(1))
    cache = {}
    with torch.no_grad(), evaluation_mode(network, "batch"):
        for arch in some_archs(5):
            network(images(), arch, cache)
    assert len(calls) == 1


def test_a_path_may_name_one_arch_per_cell():
    network = build(cells=2)
    archs = [UNREACHED, *some_archs(5, seed=5)]
    with torch.no_grad(), evaluation_mode(network, "batch"):
        expected = naive_network(network.state_dict(), archs, images(), batch_statistics=True, width=3)
        torch.testing.assert_close(network(images(), tuple(archs)), expected, rtol=1e-5, atol=1e-5)
        tied = network(images(), archs[1])
        assert torch.equal(network(images(), (archs[1],) * 6), tied)


def test_only_the_path_gets_gradients():
    network = build(cells=1)
    archs = ((CONV3,) * 6, (SKIP, CONV1, NONE, CONV1, POOL, CONV3), (CONV1,) * 6)
    network(images(), archs).sum().backward()
    for name, weight in network.named_parameters():
        head, dot, tail = name.partition(".copies.")
        if dot:
            block, _, edge = head.removeprefix("body.").partition(".choices.")
            arch = archs[{"0": 0, "2": 1, "4": 2}[block]]
            assert (weight.grad is not None) == (tail[0] == str(arch[int(edge)])), name
        else:
            assert weight.grad is not None, name


@pytest.mark.parametrize("network", [build, expanded])
def test_weights_off_the_path_do_not_move(network):
    """Not by weight decay, and not by the momentum that they have from before."""
    network = network()
    optimizer = make_optimizer(network, TrainingRecipe(lr=0.1, momentum=0.9, weight_decay=0.1))
    first, second = (CONV3, CONV1, CONV3, CONV3, CONV3, CONV3), (SKIP, CONV1, CONV3, CONV3, CONV3, CONV3)
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


def test_a_disconnected_arch_gives_the_same_logits_for_every_image():
    """Residual blocks still see zeros only, so nothing of the image is left."""
    network = build().eval()
    with torch.no_grad():
        out = network(images(), (NONE,) * 6)
    torch.testing.assert_close(out, out[:1].expand_as(out))


def test_signature_of_a_plain_supernet_joins_what_is_equal_in_exact_arithmetic():
    """Archs of one signature give the same logits in float64, those of two do not."""
    network = build().double().eval()
    network.load_state_dict({name: value for name, value in network.state_dict().items()})
    x = images().double()
    logits, pruned = {}, {}
    with torch.no_grad():
        for arch in some_archs(300, seed=6):
            signature = network.signature(arch)
            logits.setdefault(signature, []).append(network(x, arch))
            pruned.setdefault(signature, set()).add(prune_arch(arch))
    for same in logits.values():
        torch.testing.assert_close(torch.stack(same), same[0].expand(len(same), *same[0].shape), rtol=0, atol=1e-6)
    first = torch.stack([same[0].flatten() for same in logits.values()])
    assert (torch.cdist(first, first) + torch.eye(len(first)) > 1e-5).all()
    assert any(len(forms) > 1 for forms in pruned.values())


def test_signature_of_an_expanded_network_tells_copies_apart():
    """What runs the same operators with the same weights has one signature; what reads other weights has another."""
    network, space = expanded(), merged_space()

    def what_runs(arch):
        cell = network.body[0]
        live = prune_arch(arch)
        return tuple(
            (op, id(cell.choices[edge].module(arch)) if op in (CONV1, CONV3) else None) for edge, op in enumerate(live)
        )

    def weights(arch):
        return frozenset(module for op, module in what_runs(arch) if op in (CONV1, CONV3))

    pairs = {(network.signature(arch), what_runs(arch)) for arch in space}
    assert len(pairs) == len({runs for _, runs in pairs})
    held = {(network.signature(arch), weights(arch)) for arch in space}
    assert len(held) == len({signature for signature, _ in held})
    assert len({prune_arch(arch) for arch in space}) < len(held) <= space.size


@pytest.mark.parametrize("cells", [2, 4])
def test_a_path_with_another_number_of_cells_is_an_error(cells):
    network = NB201Network(NB201, channels=4, cells=1)
    with pytest.raises(ValueError, match=f"{cells} archs for 3 cells"):
        network(torch.zeros(2, 3, 8, 8), [(1,) * 6] * cells)


def some_weights(seed: int = 0) -> torch.Tensor:
    return torch.softmax(torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)), 1)


def one_hot(arch) -> torch.Tensor:
    return torch.eye(5)[list(arch)]


def naive_mixture(network, weights, x, *, batch_statistics: bool) -> torch.Tensor:
    """The naive network with a sum of all operators on every edge: weight times output, `none` giving zeros."""
    state = network.state_dict()

    def norm(x, name):
        mean, var = (None, None) if batch_statistics else (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        scale, shift = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        return F.batch_norm(x, mean, var, scale, shift, training=batch_statistics)

    def conv_bn(x, name, stride=1):
        kernel = state[f"{name}.0.weight"]
        return norm(F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2), f"{name}.1")

    def operators(x, name):
        yield torch.zeros_like(x)
        yield x
        yield conv_bn(F.relu(x), f"{name}.2")
        yield conv_bn(F.relu(x), f"{name}.3")
        yield F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def mixed(x, edge, name):
        outputs = operators(x, f"{name}.choices.{edge}.copies")
        return sum(weights[edge, op] * out for op, out in enumerate(outputs))

    def cell(x, name):
        first = mixed(x, 0, name)
        second = mixed(x, 1, name) + mixed(first, 2, name)
        return mixed(x, 3, name) + mixed(first, 4, name) + mixed(second, 5, name)

    x = conv_bn(x, "stem")
    for block, module in enumerate(network.body):
        name = f"body.{block}"
        if isinstance(module, Cell):
            x = cell(x, name)
        else:
            shortcut = F.conv2d(F.avg_pool2d(x, 2, 2), state[f"{name}.shortcut.weight"])
            body = conv_bn(F.relu(x), f"{name}.first", stride=2)
            x = conv_bn(F.relu(body), f"{name}.second") + shortcut
    x = F.relu(norm(x, "last")).flatten(2).mean(2)
    return F.linear(x, state["head.weight"], state["head.bias"])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cells", [1, 2])
def test_mixture_is_the_weighted_sum_of_all_operators(cells, training):
    network = build(cells=cells).train(training)
    for weights in (some_weights(), some_weights(1) - 0.3, torch.full((6, 5), 0.2)):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with torch.no_grad():
            expected = naive_mixture(network, weights, images(), batch_statistics=training)
            torch.testing.assert_close(network(images(), weights), expected, rtol=1e-5, atol=1e-5)
        network.load_state_dict(before)  # running statistics


def test_gradient_of_the_weights_is_the_naive_one():
    network = build().double().train()
    x, y = images().double(), torch.tensor([0, 1, 2, 3, 0])
    gradients = []
    for mixture in (network, lambda x, w: naive_mixture(network, w, x, batch_statistics=True)):
        weights = some_weights().double().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(mixture(x, weights), y), weights)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)
    assert (gradients[0][:, NONE] == 0).all()
    assert (gradients[0][:, NONE + 1 :] != 0).all()


@pytest.mark.parametrize("arch", [UNREACHED, USELESS, (NONE,) * 6, (CONV3,) * 6, (POOL,) * 6, *some_archs(12, seed=7)])
def test_one_hot_mixture_is_the_hard_path(arch):
    """On batch statistics, as in training. The mixture runs dead edges too, whose normalised zeros are zeros."""
    network = build().train()
    with torch.no_grad():
        torch.testing.assert_close(network(images(), one_hot(arch)), network(images(), arch), rtol=1e-5, atol=1e-5)


def watch_operators(network) -> list[tuple[int, int]]:
    """(edge, operator) of every operator with weights as it runs."""
    calls = []
    for cell in (block for block in network.body if isinstance(block, Cell)):
        for edge, choice in enumerate(cell.choices):
            for op, module in choice.copies.items():
                module.register_forward_hook(lambda *_, key=(edge, int(op)): calls.append(key))
    return calls


def test_operators_without_weight_are_not_run(monkeypatch):
    network, pools = build(), []
    calls = watch_operators(network)
    for cell in (block for block in network.body if isinstance(block, Cell)):
        cell.pool.register_forward_hook(lambda *_: pools.append(1))
    weights = some_weights()
    off = [(0, CONV3), (1, CONV1), (2, POOL), (3, CONV3), (3, CONV1), (4, POOL), (5, SKIP)]
    for edge, op in off:
        weights[edge, op] = 0
    network(images(), weights.requires_grad_()).sum().backward()
    expected = [(edge, op) for edge in range(6) for op in (CONV1, CONV3) if (edge, op) not in off]
    assert sorted(calls) == sorted(expected * 3)
    assert len(pools) == 3 * 2  # nodes 0 and 2 are pooled once each
    assert all(weights.grad[edge, op] == 0 for edge, op in off)
    for name, weight in network.named_parameters():
        _, inside, tail = name.partition(".choices.")
        edge, _, rest = tail.partition(".copies.")
        assert (weight.grad is None) == (bool(inside) and (int(edge), int(rest[0])) in off), name


def test_all_operators_run_once_in_a_mixture():
    network = build(cells=2)
    calls = watch_operators(network)
    network(images(), some_weights())
    assert sorted(calls) == sorted([(edge, op) for edge in range(6) for op in (CONV1, CONV3)] * 6)


def test_mixture_within_a_shrunk_space():
    """Weights of what was dropped are 0, and there is no such module."""
    space = SearchSpace(NB201.name, NB201.operators, NB201.edges, ((1, 3), (0,), (2, 4), (3,), (0, 1, 2), (1, 4)))
    network, weights = build(space), torch.zeros(6, 5)
    for edge, op in space.alive():
        weights[edge, op] = 0.3 + 0.1 * op
    whole = build()
    whole.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad(), evaluation_mode(network, "batch"), evaluation_mode(whole, "batch"):
        torch.testing.assert_close(network(images(), weights), whole(images(), weights), rtol=0, atol=1e-6)


def test_an_expanded_network_has_no_mixture():
    network = expanded()
    assert network.expanded and not build().expanded
    with pytest.raises(ValueError, match="an expanded network has no mixture"):
        network(images(), some_weights())


@pytest.mark.parametrize("shape", [(5, 5), (6, 4), (3, 6, 5), (30,)])
def test_operator_weights_of_another_shape_are_an_error(shape):
    with pytest.raises(ValueError, match=r"operator weights of shape \(.*\); \(6, 5\) are needed"):
        build()(images(), torch.ones(shape))
