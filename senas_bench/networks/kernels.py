"""Loops in C for one CPU thread, on channels-last tensors and with their gradients: batch norm, sums, ReLU, pools and
narrow convolutions.

`torch` reads a tensor four times to normalise it, and again for each sum and each ReLU. These read it twice in all, and
twice on the way back. A convolution of a few channels takes torch longer than its arithmetic. `kernels.c` is compiled
once per machine where a C compiler is found; without one torch does it, more slowly and with other roundings, and a
warning says why.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from senas_bench.errors import DataError
from senas_bench.files import atomic_write, cache_home
from senas_bench.networks import pointwise

CHANNELS_LAST = torch.channels_last

WIDEST = 2048
"""Channels that the C code has room for, as there."""
MOST = 3
"""Tensors that it adds."""
FACTORS = 5
"""Rows of what it keeps of a batch norm: scale, shift, mean, inverse deviation, variance."""
SMALLEST = 100_000
"""Elements from which on single norms gain in training: below, torch's own functions cost less to call."""
VECTOR = 8
"""Channels that the convolutions go through at once."""
NARROW = 64
"""Channels up to which they take over from torch."""
MOST_PIXELS = 1024
"""Pixels of an image that they have room for, as there."""
GROUP = 256
"""Outputs of the images that they take at once, as there."""
SOURCE = Path(__file__).with_name("kernels.c")
DIGEST = hashlib.sha256().digest_size
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")


def usable(x: torch.Tensor) -> bool:
    """Whether the kernels can take over from `x` on: one thread, float32 in channels-last on a CPU.

    Not where torch looks on, to count FLOPs, trace or transform, say: it would not see them.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=CHANNELS_LAST)
        and not torch._C._len_torch_dispatch_stack()
        and not torch.jit.is_tracing()
        and torch._C._functorch.peek_interpreter_stack() is None
        and available()
    )


def available() -> bool:
    """Whether what runs on the CPU now can run here: on one thread, and with the compiled kernels."""
    return torch.get_num_threads() == 1 and library() is not None


def can_normalise(z: torch.Tensor, norm: nn.BatchNorm2d) -> bool:
    """Whether `normalise` and `combine` do to `z` `(B, C, H, W)` what `norm` does: by the statistics of the batch."""
    return norm.training and _fits(z, norm) and worth_it(z.numel()) and usable(z)


def _fits(z: torch.Tensor, norm: nn.BatchNorm2d) -> bool:
    """Whether torch would take `z` `(B, C, H, W)`, and the norm's tensors are as the loops read them."""
    several = z.dim() == 4 and z.shape[0] * z.shape[2] * z.shape[3] > 1
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    plain = all(t is None or (t.dtype == torch.float32 and t.is_contiguous()) for t in tensors)
    return several and z.shape[1] == norm.num_features <= WIDEST and plain


def worth_it(elements: int) -> bool:
    """Whether tensors of so many elements are faster here: all without gradients, large ones with them."""
    return elements >= SMALLEST or not torch.is_grad_enabled()


class Unavailable(Exception):
    """Why the compiled kernels cannot be had, in one line."""


class Forbidden(Unavailable):
    """They are not wanted."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where `SENAS_COMPILE=0` forbids them or, with a warning, they cannot be had."""
    try:
        return load()
    except Forbidden:
        return None
    except Unavailable as why:
        what = f"no loops in C: {why}; torch computes instead, more slowly and with other roundings"
        warnings.warn(f"{what} (SENAS_COMPILE=0 asks for that)", stacklevel=2)
        return None


def load() -> ctypes.CDLL:
    """The compiled kernels, from the cache or compiled into it; where it cannot be used, compiled for this process.

    Raises:
        Unavailable: There are none; see the message.
    """
    compiler = _compiler()
    try:
        path = cache_home() / "kernels" / f"{_key(compiler)}.so"
        return _with_types(_opened(path, compiler))
    except (
        OSError,
        AttributeError,
        RuntimeError,
        ValueError,
        DataError,
    ):  # unwritable, full, barred from code, nowhere
        return _temporary(compiler)


def _temporary(compiler: tuple[str, ...]) -> ctypes.CDLL:
    try:
        with tempfile.TemporaryDirectory(prefix="senas-bench-") as folder:  # what is loaded outlives its file
            return _with_types(_opened(Path(folder, "kernels.so"), compiler))
    except (OSError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise Unavailable(f"what `{shlex.join(compiler)}` compiled cannot be kept or loaded ({why})") from error


def _compiler() -> tuple[str, ...]:
    """The command of the C compiler: that of `CC`, else the first that is found."""
    if os.environ.get("SENAS_COMPILE") == "0":
        raise Forbidden("SENAS_COMPILE=0 forbids them")
    if platform.system() != "Linux":
        raise Unavailable(f"they need Linux, and this is {platform.system()}")
    try:
        command = tuple(shlex.split(os.environ.get("CC", "")))
    except ValueError as error:
        raise Unavailable(f"CC={os.environ['CC']} is no command ({error})") from error
    found = command or tuple(filter(shutil.which, ("cc", "gcc", "clang")))[:1]
    if not found:
        raise Unavailable("no C compiler is found; install gcc or clang, or name one with CC")
    return found


def _with_types(loaded: ctypes.CDLL) -> ctypes.CDLL:
    long, double, real, pointer = ctypes.c_long, ctypes.c_double, ctypes.c_float, ctypes.c_void_p
    loaded.statistics.argtypes = [pointer, long, long, double, pointer, pointer, double, *[pointer] * 3]
    loaded.combine.argtypes = [long, pointer, pointer, long, pointer, long, long, real, pointer, pointer]
    loaded.combine_backward.argtypes = [long, *[pointer] * 5, long, long, real, *[pointer] * 3]
    loaded.pool.argtypes = loaded.pool_backward.argtypes = [pointer, *[long] * 4, pointer, pointer]
    loaded.halve.argtypes = loaded.halve_backward.argtypes = [pointer, *[long] * 4, pointer]
    loaded.depthwise_backward.argtypes = [pointer, pointer, *[long] * 10, *[pointer] * 3]
    loaded.convolve.argtypes = [pointer, *[long] * 4, pointer, *[long] * 7, pointer, pointer]
    loaded.convolve_weights.argtypes = [pointer, pointer, *[long] * 8, pointer, pointer]
    return loaded


def _key(compiler: tuple[str, ...]) -> str:
    """Of the library that this compiler makes for this processor."""
    processor = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith(("flags", "Features"))][:1]
    parts = (SOURCE.read_text(), FLAGS, shlex.join(compiler), platform.machine(), processor)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _opened(path: Path, compiler: tuple[str, ...]) -> ctypes.CDLL:
    """The library at `path`, compiled there unless it is whole. A damaged one could kill the process that loads it."""
    if not _whole(path):
        _compile(path, compiler)
    return ctypes.CDLL(str(path))


def _whole(path: Path) -> bool:
    """Whether the file ends in the hash of what is before."""
    data = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(data[:-DIGEST]).digest() == data[-DIGEST:]


def _compile(path: Path, compiler: tuple[str, ...]) -> None:
    """The shared library of `kernels.c`, and its hash behind it, where the loader does not look."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        target = Path(folder, "kernels.so")
        _call((*compiler, *FLAGS, str(SOURCE), "-o", str(target), "-lm"))
        data = target.read_bytes()
        atomic_write(path, data + hashlib.sha256(data).digest())


def _call(command: tuple[str, ...]) -> None:
    """Run a compiler.

    Raises:
        Unavailable: It did not come to a good end.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error.strerror if isinstance(error, OSError) else "no end after 300 s"
        raise Unavailable(f"the C compiler {command[0]} cannot run ({why}); see CC") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        why = said[0].strip() if said else f"exit code {done.returncode}"
        raise Unavailable(f"the C compiler {command[0]} failed ({why}); see CC")


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


class Normalised(NamedTuple):
    """A tensor `(B, C, H, W)` and what its batch norm would do to it.

    Args:
        factors: `(FACTORS, C)`.
        weight, bias: `(C,)` of the batch norm, or None; already part of the factors, here for their gradients.
    """

    z: torch.Tensor
    factors: torch.Tensor
    weight: torch.Tensor | None
    bias: torch.Tensor | None


def normalise(z: torch.Tensor, norm: nn.BatchNorm2d) -> Normalised:
    """`z` `(B, C, H, W)` float32 by its own statistics, which the running ones of `norm` take in if it keeps such."""
    z = z.contiguous(memory_format=CHANNELS_LAST)
    channels = z.shape[1]
    weight, bias, share, mean, variance = norm.weight, norm.bias, norm.momentum, None, None
    if norm.track_running_stats:
        mean, variance = norm.running_mean, norm.running_var
        norm.num_batches_tracked.add_(1)
        if share is None:
            share = 1 / float(norm.num_batches_tracked)
    factors = torch.empty((FACTORS, channels), dtype=torch.float32)
    rows = z.numel() // channels
    tensors = *map(_pointer, (weight, bias)), share or 0.0, *map(_pointer, (mean, variance)), factors.data_ptr()
    library().statistics(z.data_ptr(), rows, channels, norm.eps, *tensors)
    return Normalised(z, factors, weight, bias)


def batch_norm(z: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """`norm(z)`, by the loops where they can."""
    return combine([normalise(z, norm)], [], True, False)[0] if can_normalise(z, norm) else norm(z)


Outputs = tuple[torch.Tensor | None, torch.Tensor | None]
"""A sum, and the sum rectified."""


def combine(
    normalised: Sequence[Normalised], plain: Sequence[torch.Tensor], value: bool, rect: bool, cap: float = math.inf
) -> Outputs:
    """The sum of all, which have one shape `(B, C, H, W)`, and the sum rectified; each if asked for, else None.

    Args:
        cap: Where the rectified sum ends: 6 for ReLU6.

    Raises:
        ValueError: More than `MOST` tensors, or of different shapes.
    """
    columns = list(zip(*normalised, strict=True)) or [()] * 4
    zs, factors, weights, biases = columns
    if torch.is_grad_enabled():
        return _Combine.apply(factors, value, rect, cap, *zs, *weights, *biases, *plain)
    return _combine(zs, factors, plain, value, rect, cap)


def _combine(
    zs: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor],
    plain: Sequence[torch.Tensor],
    value: bool,
    rect: bool,
    cap: float,
) -> Outputs:
    plain = [tensor.contiguous(memory_format=CHANNELS_LAST) for tensor in plain]
    tensors = (*zs, *plain)
    like = tensors[0]
    channels = like.shape[1]
    if len(tensors) > MOST or channels > WIDEST or any(tensor.shape != like.shape for tensor in tensors):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ValueError(f"cannot add tensors of shapes {shapes}: at most {MOST} of one shape, of {WIDEST} channels")
    outputs = [torch.empty_like(like) if wanted else None for wanted in (value, rect)]
    library().combine(
        len(zs),
        _pointers(zs),
        _pointers(factors),
        len(plain),
        _pointers(plain),
        like.numel() // channels,
        channels,
        cap,
        *map(_pointer, outputs),
    )
    return outputs[0], outputs[1]


class _Combine(torch.autograd.Function):
    """`combine` with gradients: for the tensors before batch norm, its weights and biases, and the plain tensors."""

    @staticmethod
    def forward(context, factors, value: bool, rect: bool, cap: float, *tensors: torch.Tensor | None) -> Outputs:
        count = len(factors)
        zs, plain = tensors[:count], tensors[3 * count :]
        outputs = _combine(zs, factors, plain, value, rect, cap)
        context.set_materialize_grads(False)
        context.save_for_backward(outputs[1], *zs)
        context.factors, context.cap, context.plain = factors, cap, len(plain)
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, dvalue: torch.Tensor | None, drect: torch.Tensor | None) -> tuple[Any, ...]:
        rect, *zs = context.saved_tensors
        count = len(zs)
        if dvalue is None and drect is None:
            return (None,) * (4 + 3 * count + context.plain)
        back, sums, total = combine_backward(zs, context.factors, rect, dvalue, drect, context.cap, context.plain > 0)
        wanted = context.needs_input_grad[4 + count : 4 + 3 * count]
        weights = [sums[i % count, i // count] if needed else None for i, needed in enumerate(wanted)]
        return None, None, None, None, *back, *weights, *[total] * context.plain


def combine_backward(
    zs: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor],
    rect: torch.Tensor | None,
    dvalue: torch.Tensor | None,
    drect: torch.Tensor | None,
    cap: float,
    plain: bool,
) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor | None]:
    """Gradients of `combine`, from what comes back for the sum, for the sum rectified, or for both.

    Args:
        rect: What `combine` made.
        plain: Whether plain tensors are part of the sum.

    Returns:
        Those of the tensors before batch norm; `(n, 2, C)` of their batch norms' weight and bias; and of each plain
        tensor. The last may be what came back itself.
    """
    given = [None if back is None else back.contiguous(memory_format=CHANNELS_LAST) for back in (dvalue, drect)]
    total = given[0] if given[1] is None else given[1]
    elements, channels = total.numel(), total.shape[1]
    kept = drect is not None and (plain or len(zs) > 1)
    if kept:
        total = torch.empty_like(total)
    back = [torch.empty_like(z) for z in zs]
    sums = torch.empty((len(zs), 2, channels), dtype=torch.float32)
    library().combine_backward(
        len(zs),
        _pointers(zs),
        _pointers(factors),
        *map(_pointer, given),
        _pointer(rect),
        elements // channels,
        channels,
        cap,
        _pointer(total if kept else None),
        _pointers(back),
        _pointer(sums),
    )
    return back, sums, total


def _pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _pointers(tensors: Sequence[torch.Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*[tensor.data_ptr() for tensor in tensors])


def pool(x: torch.Tensor) -> torch.Tensor:
    """3x3 average of `(B, C, H, W)` float32 at stride 1 that leaves padding out of the count; H and W from 2 up."""
    return _Pool.apply(x) if torch.is_grad_enabled() else _pool(x, "pool")


def _pool(x: torch.Tensor, name: str) -> torch.Tensor:
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=CHANNELS_LAST)
    out, line = torch.empty_like(x), x.new_empty(width * channels)
    getattr(library(), name)(x.data_ptr(), batch, height, width, channels, line.data_ptr(), out.data_ptr())
    return out


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(context, x: torch.Tensor) -> torch.Tensor:
        return _pool(x, "pool")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor) -> torch.Tensor:
        return pool_backward(gradient)


def pool_backward(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the input of `pool`, `(B, C, H, W)`."""
    return _pool(gradient, "pool_backward")


def halve(x: torch.Tensor) -> torch.Tensor:
    """2x2 average of `(B, C, H, W)` float32 at stride 2, H and W even; without gradients."""
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=CHANNELS_LAST)
    out = torch.empty((batch, channels, height // 2, width // 2), dtype=x.dtype, memory_format=CHANNELS_LAST)
    library().halve(x.data_ptr(), batch, height // 2, width // 2, channels, out.data_ptr())
    return out


def halve_backward(gradient: torch.Tensor) -> torch.Tensor:
    """Gradient of the input of `halve`."""
    batch, channels, height, width = gradient.shape
    out = torch.empty((batch, channels, 2 * height, 2 * width), dtype=gradient.dtype, memory_format=CHANNELS_LAST)
    gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
    library().halve_backward(gradient.data_ptr(), batch, height, width, channels, out.data_ptr())
    return out


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise `nn.Conv2d` without bias, whose weights' gradient is a loop of ours where `usable` says so.

    On a CPU torch takes up to thirty times as long for a 7x7 kernel on a few pixels, longer than all else in the layer.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kernel_size[0] in (3, 5, 7) and torch.is_grad_enabled() and usable(x):
            return _Depthwise.apply(x, self.weight, self.stride[0], self.padding[0], self.dilation[0])
        return super().forward(x)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        context, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, dilation: int
    ) -> torch.Tensor:
        context.save_for_backward(x, weight)
        context.settings = stride, padding, dilation
        return nn.functional.conv2d(x, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = context.saved_tensors
        stride, padding, dilation = context.settings
        gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
        dx = dw = None
        if context.needs_input_grad[0]:
            sides = ([stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], len(weight), [True, False, False])
            dx = torch.ops.aten.convolution_backward(gradient, x, weight, None, *sides)[0]
        if context.needs_input_grad[1]:
            dw = _depthwise_backward(x, gradient, weight.shape[2], stride, padding, dilation)
        return dx, dw, None, None, None


def _depthwise_backward(
    x: torch.Tensor, gradient: torch.Tensor, kernel: int, stride: int, padding: int, dilation: int
) -> torch.Tensor:
    batch, channels, height, width = x.shape
    line, part = x.new_zeros((width + 2 * padding) * channels), x.new_empty(kernel * kernel * channels)
    dw = x.new_zeros((kernel, kernel, channels))
    library().depthwise_backward(
        x.data_ptr(),
        gradient.data_ptr(),
        batch,
        height,
        width,
        channels,
        *gradient.shape[2:],
        kernel,
        stride,
        padding,
        dilation,
        line.data_ptr(),
        part.data_ptr(),
        dw.data_ptr(),
    )
    return dw.permute(2, 0, 1).unsqueeze(1).contiguous()


class Conv2d(nn.Conv2d):
    """A square `nn.Conv2d` with padding `kernel // 2` and without bias.

    A loop of ours where `usable` says so, the layer is narrow and its images are small. There are no gradients of its
    gradients.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)

    def by_loops(self, x: torch.Tensor) -> bool:
        """Whether the loops take it, if they are `usable` for `x` `(B, C, H, W)`."""
        if x.dim() != 4:
            return False
        channels, height, width = x.shape[1:]
        return (
            channels == self.in_channels
            and self.weight.dtype == torch.float32
            and self.out_channels % VECTOR == 0
            and max(self.in_channels, self.out_channels) <= NARROW
            and self.kernel_size[0] % 2 == 1
            and 0 < height * width <= MOST_PIXELS
            and height % self.stride[0] == width % self.stride[0] == 0
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.by_loops(x) or not usable(x):
            return pointwise.convolve(self, x)
        if torch.is_grad_enabled():
            return _Convolution.apply(x, self.weight, self.stride[0])
        return _convolve(x, self.weight, self.stride[0])


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context, x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
        context.save_for_backward(x, weight)
        context.stride = stride
        return _convolve(x, weight, stride)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = context.saved_tensors
        dx, dw = convolution_backward(gradient, x, weight, context.stride, True, *context.needs_input_grad[:2])
        return dx, dw, None


def convolution_backward(
    gradient: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    by_loops: bool,
    for_x: bool,
    for_weight: bool,
    dx: torch.Tensor | None = None,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Gradients of the input `(B, C_in, H, W)` and the weights of a `Conv2d`, from that of its output.

    Args:
        by_loops: What the layer's `by_loops` says of `x`; torch does it otherwise.
        for_x, for_weight: Which are asked for; the other is None.
        dx: To add the gradient of the input to, in place; it is returned then.
    """
    gradient = gradient.contiguous(memory_format=CHANNELS_LAST)
    ours = by_loops and x.shape[1] % VECTOR == 0, by_loops
    rest = [wanted and not mine for wanted, mine in zip((for_x, for_weight), ours, strict=True)]
    more = dw = None
    if any(rest):
        sides = ([stride] * 2, [weight.shape[2] // 2] * 2, [1, 1], False, [0, 0], 1, [*rest, False])
        more, dw, _ = torch.ops.aten.convolution_backward(gradient, x, weight, None, *sides)
    if for_x and ours[0]:
        dx = _convolve(gradient, weight, 1, stride, True, dx)
    elif for_x:
        dx = more if dx is None else dx.add_(more)
    if for_weight and ours[1]:
        dw = _convolve_weights(x, gradient, weight, stride)
    return dx, dw


def _convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    spread: int = 1,
    turned: bool = False,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """`turned`: the gradient of the input of a convolution of stride `spread`, from that of its output; added to `out`
    where that is given."""
    batch, channels, height, width = x.shape
    c_out, kernel = weight.shape[1 if turned else 0], weight.shape[2]
    weight, last = _dense(weight)
    add = out is not None
    if out is None:
        shape = (batch, c_out, height * spread // stride, width * spread // stride)
        out = torch.empty(shape, dtype=x.dtype, memory_format=CHANNELS_LAST)
    room = _room(x, weight, stride, spread)
    library().convolve(
        x.data_ptr(),
        batch,
        height,
        width,
        channels,
        weight.data_ptr(),
        last,
        c_out,
        kernel,
        stride,
        spread,
        turned,
        add,
        room.data_ptr(),
        out.data_ptr(),
    )
    return out


def _convolve_weights(x: torch.Tensor, gradient: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    batch, channels, height, width = x.shape
    weight, last = _dense(weight)
    dw, room = torch.empty_like(weight), _room(x, weight, stride)
    library().convolve_weights(
        x.data_ptr(),
        gradient.data_ptr(),
        batch,
        height,
        width,
        channels,
        last,
        *weight.shape[::2],
        stride,
        room.data_ptr(),
        dw.data_ptr(),
    )
    return dw


def _dense(weight: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """A weight without gaps, and whether it is channels-last."""
    if weight.is_contiguous():
        return weight, False
    return weight.contiguous(memory_format=CHANNELS_LAST), True


def _room(x: torch.Tensor, weight: torch.Tensor, stride: int, spread: int = 1) -> torch.Tensor:
    """For the weights and a group of padded images: what `lay_out` in C takes, by the same formulas."""
    _, channels, height, width = x.shape
    high, wide, border = height * spread, width * spread, weight.shape[2] - 1
    images = max(GROUP // (high // stride * (wide // stride)), 1)
    return x.new_empty(weight.numel() + images * (high + border) * (wide + border) * channels)
