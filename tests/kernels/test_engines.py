import pytest
import torch

from senas_bench.errors import RunError
from senas_bench.kernels import ENGINES, build, engines, processor
from senas_bench.kernels.convolutions import Conv2d
from senas_bench.kernels.door import Torch
from senas_bench.kernels.tape import Tape
from senas_bench.networks.operations import AveragePool3x3, ConvBN
from senas_bench.spaces.nasbench201 import NB201
from senas_bench.spaces.nasbench201.network import NB201Network


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if build.library() is None:
        pytest.skip("no C compiler here")
    yield
    torch.set_num_threads(threads)


def channels_last(*shape: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


def test_an_engine_holds_while_it_is_used():
    assert engines.available()
    with engines.using("torch"):
        assert not engines.usable(channels_last(1, 8, 2, 2))
        with engines.using("compiled"):
            assert engines.usable(channels_last(1, 8, 2, 2))
        assert not engines.available()
    with pytest.raises(KeyError), engines.using("torch"):
        raise KeyError
    with engines.using(None):
        assert engines.available()


def test_compiled_is_refused_where_it_cannot_be_had(monkeypatch):
    """And never replaced: a spec that names it stands for its numbers."""
    with pytest.raises(RunError, match="one CPU thread, not on cuda"), engines.using("compiled", "cuda"):
        pass
    torch.set_num_threads(2)
    with pytest.raises(RunError, match="not on cpu with 2; use --engine torch"), engines.using("compiled"):
        pass
    torch.set_num_threads(1)
    monkeypatch.setenv("SENAS_COMPILE", "0")
    with pytest.raises(RunError, match="SENAS_COMPILE=0 forbids them"), engines.using("compiled"):
        pass


@pytest.mark.parametrize(
    ("words", "instructions", "lanes", "bfloat16"),
    [
        ("fpu avx2 fma", "avx2", 8, False),
        ("fpu avx2 avx512f", "avx512", 16, False),
        ("fpu avx2 avx512f avx512_bf16", "avx512", 16, True),
        ("fpu avx2 avx512f amx_tile amx_bf16", "amx", 16, True),
        ("fp asimd", "other", 16, False),
        (None, "other", 16, False),
    ],
)
def test_what_a_processor_can_do(monkeypatch, tmp_path, words, instructions, lanes, bfloat16):
    if words is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {words}\nprocessor\t: 1\nflags\t\t: {words}\n")
    monkeypatch.setattr(processor, "Path", lambda name: tmp_path / "cpuinfo")
    for cached in (processor.flags, processor.instructions):
        cached.cache_clear()
    assert (processor.instructions(), processor.lanes()) == (instructions, lanes)
    assert processor.multiplies_bfloat16() == bfloat16
    assert processor.recommend_precision().startswith("native" if bfloat16 else "not recommended")
    assert ("half the time" in processor.recommend_precision()) == (instructions == "amx")
    assert instructions in engines.LIMITS
    for cached in (processor.flags, processor.instructions):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("instructions", "channels", "side", "training", "scoring"),
    [
        ("avx2", 8, 8, True, True),
        ("avx2", 16, 32, True, True),
        ("avx512", 8, 8, True, True),
        ("avx512", 8, 16, True, True),
        ("avx512", 16, 32, False, True),
        ("amx", 8, 16, True, True),
        ("amx", 16, 32, False, True),
    ],
)
def test_the_table_says_who_takes_a_pass(monkeypatch, instructions, channels, side, training, scoring):
    monkeypatch.setattr(engines, "instructions", lambda: instructions)
    network, x = NB201Network(NB201, channels=channels, cells=1), channels_last(2, 3, side, side)
    assert network.by_loops(x) == training
    with torch.no_grad():
        assert network.by_loops(x) == scoring
    with engines.using("torch"):
        assert not network.by_loops(x)


def test_the_table_says_who_convolves(monkeypatch):
    layer = Conv2d(16, 16, 3)
    for instructions, side, expected in [("avx2", 32, True), ("avx512", 32, False), ("avx512", 8, True)]:
        monkeypatch.setattr(engines, "instructions", lambda name=instructions: name)
        assert layer.by_loops(channels_last(1, 16, side, side)) == expected


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("instructions", ["avx2", "amx"])
def test_gradients_are_the_same_by_any_row_of_the_table(monkeypatch, instructions, side):
    monkeypatch.setattr(engines, "instructions", lambda: instructions)
    layer, x = Conv2d(16, 32, 3, 2), channels_last(4, 16, side, side).requires_grad_()
    output = layer(x)
    with engines.using("torch"):
        expected = layer(x)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    back = channels_last(*output.shape)
    got, wanted = (torch.autograd.grad(out, (x, layer.weight), back) for out in (output, expected))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_both_do_the_same():
    """Every operation of the door, on batch statistics."""
    x, module, pool = channels_last(4, 8, 8, 8), ConvBN(8, 8, 3), AveragePool3x3(8)
    made = []
    with torch.no_grad():
        for engine in (Torch(), Tape(back=False)):
            one, other = engine.operate(module, x), engine.normalise(engine.convolve(module[0], x), module[1])
            outputs = [engine.pool(pool, x), engine.halve(x), *engine.combine([], [x], False, True)]
            made.append(
                [*outputs, *engine.combine([one, other], [x], True, True), *engine.combine([one], [], True, False)]
            )
            made[-1].append(engine.average(x))  # the end of a pass: now all is there
    for ours, theirs in zip(*made, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_doctor_has_words_for_every_processor(monkeypatch):
    assert ENGINES == ("torch", "compiled")
    for name in engines.LIMITS:
        monkeypatch.setattr(engines, "instructions", lambda name=name: name)
        assert name in engines.recommend()
