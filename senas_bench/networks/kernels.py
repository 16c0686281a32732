"""Three loops in C, for ranking on one CPU thread: batch norm, sums and pools of channels-last tensors.

`torch` reads a tensor four times to normalise it, and again for each sum and each ReLU. These read it twice in all.
They are compiled once per machine where a C compiler is found; without one nothing changes but the speed.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from senas_bench.files import atomic_write, cache_home

CHANNELS_LAST = torch.channels_last

SOURCE = r"""
#include <math.h>
#include <stddef.h>
#define BLOCK 4096
#define WIDEST 1024

/* Narrow rows are taken several at a time: how many make a row of 64 floats. */
static long together(long rows, long c) {
    return c < 64 && 64 % c == 0 && rows % (64 / c) == 0 ? 64 / c : 1;
}

/* Batch norm of z (rows, c) as z * scale + shift. Sums are taken of differences to the first row, which lies near the
   mean, in float over 64 wide rows and in double beyond. gamma and beta may be null. */
void statistics(const float *z, long rows, long c, double eps, const float *gamma, const float *beta,
                float *scale, float *shift) {
    long fold = together(rows, c), width = c * fold, wide = rows / fold;
    double sums[WIDEST] = {0}, squares[WIDEST] = {0};
    float s[WIDEST], q[WIDEST], first[WIDEST];
    for (long i = 0; i < width; i++) first[i] = z[i % c];
    for (long start = 0; start < wide; start += 64) {
        long end = start + 64 < wide ? start + 64 : wide;
        for (long i = 0; i < width; i++) s[i] = q[i] = 0;
        for (long r = start; r < end; r++) {
            const float *row = z + r * width;
            for (long i = 0; i < width; i++) {
                float d = row[i] - first[i];
                s[i] += d;
                q[i] += d * d;
            }
        }
        for (long i = 0; i < width; i++) {
            sums[i % c] += s[i];
            squares[i % c] += q[i];
        }
    }
    for (long i = 0; i < c; i++) {
        double mean = sums[i] / rows, variance = squares[i] / rows - mean * mean;
        double factor = (gamma ? gamma[i] : 1.0) / sqrt((variance > 0 ? variance : 0) + eps);
        scale[i] = (float)factor;
        shift[i] = (float)((beta ? beta[i] : 0.0) - (mean + first[i]) * factor);
    }
}

/* Sum of n tensors z * scale + shift, at most 3, and of m plain ones, all (rows, c); to value, and rectified to rect,
   where these are not null. */
void combine(long n, const float **z, const float **scale, const float **shift, long m, const float **plain,
             long rows, long c, float *value, float *rect) {
    float block[BLOCK], a[3][WIDEST], b[3][WIDEST];
    long fold = together(rows, c), width = c * fold, wide = rows / fold, step = BLOCK / width;
    for (long k = 0; k < n; k++)
        for (long i = 0; i < width; i++) {
            a[k][i] = scale[k][i % c];
            b[k][i] = shift[k][i % c];
        }
    for (long start = 0; start < wide; start += step) {
        long count = start + step < wide ? step : wide - start, size = count * width;
        for (long k = 0; k < n; k++) {
            const float *in = z[k] + start * width;
            if (k == 0)
                for (long r = 0; r < count; r++)
                    for (long i = 0; i < width; i++) block[r * width + i] = in[r * width + i] * a[0][i] + b[0][i];
            else
                for (long r = 0; r < count; r++)
                    for (long i = 0; i < width; i++) block[r * width + i] += in[r * width + i] * a[k][i] + b[k][i];
        }
        for (long k = 0; k < m; k++) {
            const float *in = plain[k] + start * width;
            if (n + k == 0)
                for (long i = 0; i < size; i++) block[i] = in[i];
            else
                for (long i = 0; i < size; i++) block[i] += in[i];
        }
        if (value)
            for (long i = 0; i < size; i++) value[start * width + i] = block[i];
        if (rect)
            for (long i = 0; i < size; i++) rect[start * width + i] = block[i] > 0 ? block[i] : 0;
    }
}

/* 3x3 average at stride 1 over the pixels that are there; x and out (b, h, w, c), line (w * c). */
void pool(const float *x, long b, long h, long w, long c, float *line, float *out) {
    long width = w * c;
    for (long image = 0; image < b; image++)
        for (long y = 0; y < h; y++) {
            const float *row = x + (image * h + y) * width;
            float *to = out + (image * h + y) * width;
            long rows = 1 + (y > 0) + (y + 1 < h);
            for (long i = 0; i < width; i++) line[i] = row[i];
            if (y > 0)
                for (long i = 0; i < width; i++) line[i] += row[i - width];
            if (y + 1 < h)
                for (long i = 0; i < width; i++) line[i] += row[i + width];
            float inside = 1.0f / (3 * rows), side = 1.0f / (2 * rows);
            for (long i = c; i < width - c; i++) to[i] = (line[i - c] + line[i] + line[i + c]) * inside;
            for (long i = 0; i < c; i++) {
                to[i] = (line[i] + line[i + c]) * side;
                to[width - c + i] = (line[width - c + i] + line[width - 2 * c + i]) * side;
            }
        }
}
"""
WIDEST = 1024
"""Channels that the C code has room for."""
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")


def usable(x: torch.Tensor) -> bool:
    """Whether the kernels can take over from `x` on: one thread, no gradients, float32 in channels-last on a CPU."""
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.get_num_threads() == 1
        and x.is_contiguous(memory_format=CHANNELS_LAST)
        and library() is not None
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None without a compiler, or where `SENAS_COMPILE=0` forbids it."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if os.environ.get("SENAS_COMPILE") == "0" or not compiler or platform.system() != "Linux":
        return None
    try:
        path = _compiled(compiler)
        loaded = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None
    long, double, pointer = ctypes.c_long, ctypes.c_double, ctypes.c_void_p
    loaded.statistics.argtypes = [pointer, long, long, double, *[pointer] * 4]
    loaded.combine.argtypes = [long, pointer, pointer, pointer, long, pointer, long, long, pointer, pointer]
    loaded.pool.argtypes = [pointer, *[long] * 4, pointer, pointer]
    return loaded


def _compiled(compiler: str) -> Path:
    """The shared library of this source for this processor, from the cache or compiled into it."""
    processor = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith(("flags", "Features"))][:1]
    key = hashlib.sha256(repr((SOURCE, FLAGS, compiler, platform.machine(), processor)).encode()).hexdigest()[:16]
    path = cache_home() / "kernels" / f"{key}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source, target = Path(folder, "kernels.c"), Path(folder, "kernels.so")
        source.write_text(SOURCE)
        command = [compiler, *FLAGS, str(source), "-o", str(target), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        atomic_write(path, target.read_bytes())
    return path


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


Normalised = tuple[torch.Tensor, torch.Tensor]
"""A tensor `(B, C, H, W)` and the `(2, C)` scale and shift that normalise it."""


def normalise(z: torch.Tensor, norm: nn.BatchNorm2d) -> Normalised:
    """`z` `(B, C, H, W)` float32 with what batch norm on its own statistics would do to it."""
    z = z.contiguous(memory_format=CHANNELS_LAST)
    factors = torch.empty((2, z.shape[1]))
    weights = [0 if weight is None else weight.data_ptr() for weight in (norm.weight, norm.bias)]
    scale = factors.data_ptr()
    library().statistics(
        z.data_ptr(), z.numel() // z.shape[1], z.shape[1], norm.eps, *weights, scale, scale + 4 * z.shape[1]
    )
    return z, factors


def combine(
    normalised: Sequence[Normalised], plain: Sequence[torch.Tensor], value: bool, rect: bool
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The sum of all, which have one shape `(B, C, H, W)`, and the sum rectified; each if asked for, else None."""
    plain = [tensor.contiguous(memory_format=CHANNELS_LAST) for tensor in plain]
    like = normalised[0][0] if normalised else plain[0]
    channels = like.shape[1]
    outputs = [torch.empty_like(like) if wanted else None for wanted in (value, rect)]
    scales = [factors.data_ptr() for _, factors in normalised]
    library().combine(
        len(normalised),
        _pointers([z.data_ptr() for z, _ in normalised]),
        _pointers(scales),
        _pointers([scale + 4 * channels for scale in scales]),
        len(plain),
        _pointers([tensor.data_ptr() for tensor in plain]),
        like.numel() // channels,
        channels,
        *[None if tensor is None else tensor.data_ptr() for tensor in outputs],
    )
    return outputs[0], outputs[1]


def _pointers(addresses: list[int]) -> ctypes.Array:
    return (ctypes.c_void_p * len(addresses))(*addresses)


def pool(x: torch.Tensor) -> torch.Tensor:
    """3x3 average of `(B, C, H, W)` float32 at stride 1 that leaves padding out of the count."""
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=CHANNELS_LAST)
    out, line = torch.empty_like(x), torch.empty(width * channels)
    library().pool(x.data_ptr(), batch, height, width, channels, line.data_ptr(), out.data_ptr())
    return out
