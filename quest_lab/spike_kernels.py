"""Convolution of spikes by the spikes that are there, and integer neurons, compiled (CPU, numba).

A spike of value 1 at input channel c and kernel position (i, j) adds one row of the weights, the levels of that tap
for every output channel, to the sums of an output place. So the work is that of the spikes present, an addition of
small integers each, many in one vector instruction; nothing is multiplied, nothing rounds, no order of summation
matters. Arrays are (batch, height, width, channels): the channels of a place lie together.

Compiled functions hold no lock: `in_threads` gives each thread its own part of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.blocks import SAME, Window
from quest_lab.vector_sum import LANES, sum_lanes

Spikes: TypeAlias = NDArray[np.uint8]
Rows: TypeAlias = NDArray[np.int8]
Floats: TypeAlias = NDArray[np.float32]
Sums: TypeAlias = NDArray[np.int16] | NDArray[np.int32]

TOGETHER = 8  # rows added in one pass over the sums
_BYTE = 127  # largest int8
_LINE = 64  # bytes of a cache line
_KEPT = 31 << 20  # bytes; glibc looks at blocks of up to 32 MB
_BLOCK = 2048  # neurons whose membranes stay in the cache


def cores() -> int:
    """Threads that this process may run at once (NUMBA_NUM_THREADS, else the cores it may use)."""
    return int(nb.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set as numba starts


def in_threads(work: Callable[[int, int], object], count: int, threads: int) -> None:
    """Run `work(start, stop)` over 0..count in equal parts, one a thread."""
    parts = min(threads, count)
    if parts <= 1:
        work(0, count)
        return
    bounds = [count * i // parts for i in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))


@cache
def keep_memory() -> None:
    """Let the C library keep memory that arrays gave back: asking the system for it again, page by page, is slow.

    glibc keeps twice the largest block that was ever freed (mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD); this
    one is never touched. Elsewhere it does nothing.
    """
    np.empty(_KEPT, np.uint8)


def aligned_empty(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """An array that begins with a cache line: a vector that lies across two takes up to 1.5 times as long."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + size].view(dtype).reshape(shape)


def tap_rows(levels: NDArray[np.int8]) -> Rows:
    """Levels (c_out, c_in, kh, kw) as one row a tap, (kh, kw, c_in) x c_out, and a last row of zeros.

    Columns of zeros fill the last LANES.
    """
    c_out, c_in, kh, kw = levels.shape
    rows = aligned_empty((kh * kw * c_in + 1, -(-c_out // LANES) * LANES), np.int8)
    rows[:] = 0
    rows[:-1, :c_out] = levels.transpose(2, 3, 1, 0).reshape(-1, c_out)
    return rows


def sum_type(largest: int) -> type[np.int16 | np.int32]:
    """The integers that hold sums of at most `largest`."""
    return np.int16 if largest < 2**15 else np.int32


def convolve(
    spikes: Spikes, rows: Rows, kernel: tuple[int, int], top: int, out: Sums, window: Window = SAME
) -> None:
    """Sums `out` (B, rows, columns, c_out) of the levels that `spikes` (B, height, width, c_in) meet.

    `rows` of `tap_rows`; `kernel` (kh, kw); levels of at most `top`; `out` of `sum_type`, as large as `window` says.
    """
    kh, kw = kernel
    _convolve(spikes, rows, kh, kw, window.stride, window.pad(kh), window.pad(kw), _BYTE // top, out)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def convolve_floats(
    x: Floats, rows: Floats, bias: Floats, kh: int, kw: int, stride: int, above: int, left: int, out: Floats
) -> None:
    """Convolution `out` (B, rows, columns, c_out) of `x` (B, height, width, c_in) in float32.

    `rows` as of `tap_rows`, then rows of zeros up to a multiple of `TOGETHER`; `bias` (c_out,). `above`, `left`: rows
    and columns of zeros before the image.
    """
    batch, height, width, c_in = x.shape
    down, across = out.shape[1], out.shape[2]
    padded = np.zeros(
        (max(height + above, (down - 1) * stride + kh), max(width + left, (across - 1) * stride + kw), c_in),
        np.float32,
    )
    lines, span = padded.reshape(len(padded), -1), kw * c_in  # what a row of the kernel meets lies together
    met = np.zeros(len(rows), np.float32)
    for b in range(batch):
        for y in range(height):
            for x0 in range(width):
                for c in range(c_in):
                    padded[y + above, x0 + left, c] = x[b, y, x0, c]
        for y in range(down):
            for x0 in range(across):
                for i in range(kh):
                    source, into = lines[y * stride + i, x0 * stride * c_in :], met[i * span :]
                    for n in range(span):
                        into[n] = source[n]
                _add_products(rows, met, bias, out[b, y, x0])


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_products(rows: Floats, met: Floats, bias: Floats, sums: Floats) -> None:
    for o in range(len(sums)):
        sums[o] = bias[o]
    for e in range(0, len(met), TOGETHER):
        r0, r1, r2, r3 = rows[e], rows[e + 1], rows[e + 2], rows[e + 3]
        r4, r5, r6, r7 = rows[e + 4], rows[e + 5], rows[e + 6], rows[e + 7]
        x0, x1, x2, x3 = met[e], met[e + 1], met[e + 2], met[e + 3]
        x4, x5, x6, x7 = met[e + 4], met[e + 5], met[e + 6], met[e + 7]
        for o in range(len(sums)):
            four = x0 * r0[o] + x1 * r1[o] + x2 * r2[o] + x3 * r3[o]
            sums[o] += four + (x4 * r4[o] + x5 * r5[o] + x6 * r6[o] + x7 * r7[o])


@nb.njit(cache=True, nogil=True, error_model="numpy")
def list_spikes(spikes: Spikes, channels: NDArray[np.int32], counts: NDArray[np.int32]) -> None:
    """The channels that spike at each place: `channels` (height, width, c_in) and how many, (height, width)."""
    height, width, c_in = spikes.shape
    for y in range(height):
        for x in range(width):
            here, found, n = spikes[y, x], channels[y, x], 0
            for c in range(c_in):
                found[n] = c
                n += here[c] != 0
            counts[y, x] = n


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_bytes(rows: Rows, met: NDArray[np.int32], n: int, fit: int, some: Rows, sums: Any) -> None:
    for o in range(len(sums)):
        sums[o] = 0
    for column in range(0, len(sums), LANES):
        into = sums[column : column + LANES]
        for e in range(0, n, fit):
            sum_lanes(rows, met, e, min(e + fit, n), column, some)
            for o in range(len(into)):
                into[o] += some[o]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _convolve(
    spikes: Spikes, rows: Rows, kh: int, kw: int, stride: int, above: int, left: int, fit: int, out: Any
) -> None:
    """`above`, `left`: padding before the image; `fit`: so many rows can be added in bytes without overflow."""
    batch, height, width, c_in = spikes.shape
    channels = np.empty((height, width, c_in), np.int32)
    counts = np.empty((height, width), np.int32)
    met, some = np.empty(kh * kw * c_in + TOGETHER, np.int32), np.empty(LANES, np.int8)
    for b in range(batch):
        list_spikes(spikes[b], channels, counts)
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                n, y0, x0 = 0, y * stride - above, x * stride - left
                for i in range(max(0, -y0), min(kh, height - y0)):
                    for j in range(max(0, -x0), min(kw, width - x0)):
                        py, px = y0 + i, x0 + j
                        first, there, into = np.int32((i * kw + j) * c_in), channels[py, px], met[n:]
                        for e in range(counts[py, px]):
                            into[e] = first + there[e]
                        n += counts[py, px]
                if fit >= TOGETHER:
                    _add_bytes(rows, met, n, fit, some, out[b, y, x])
                else:
                    met[n : n + TOGETHER] = len(rows) - 1  # rows of zeros fill the last group
                    _add_rows(rows, met, n, out[b, y, x])


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_rows(rows: Rows, met: NDArray[np.int32], n: int, sums: Any) -> None:
    for o in range(len(sums)):
        sums[o] = 0
    for e in range(0, n, TOGETHER):
        r0, r1, r2, r3 = rows[met[e]], rows[met[e + 1]], rows[met[e + 2]], rows[met[e + 3]]
        r4, r5, r6, r7 = rows[met[e + 4]], rows[met[e + 5]], rows[met[e + 6]], rows[met[e + 7]]
        for o in range(len(sums)):
            sums[o] += r0[o] + r1[o] + r2[o] + r3[o] + r4[o] + r5[o] + r6[o] + r7[o]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def fire(
    sums: Any,
    limit: np.float32,
    charge: np.float32,
    top: np.float32,
    leak: np.float32,
    soft: bool,
    out: Spikes,
) -> None:
    """Spikes `out` (T, n) of neurons with an integer membrane from `sums` (T, n).

    h = u + sum fires above `limit`; u = leak h - taken rounded half to even and clamped to -top..top, taken =
    `charge` with a soft reset, leak h with a hard one. `leak` is a multiple of 1/256, `charge` of 1/512: exact in
    float32 where u is not clamped.
    """
    steps, neurons = sums.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    u = np.empty(_BLOCK, np.float32)
    for start in range(0, neurons, _BLOCK):
        width = min(_BLOCK, neurons - start)
        u[:] = zero
        for t in range(steps):
            arriving, fired = sums[t, start:], out[t, start:]
            for n in range(width):
                h = u[n] + np.float32(arriving[n])
                s = one if h > limit else zero
                fired[n] = np.uint8(s)
                left = leak * h
                u[n] = min(max(np.rint(left - s * (charge if soft else left)), -top), top)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def fire_floats(
    current: NDArray[np.float32],
    theta: np.float32,
    charge: np.float32,
    leak: np.float32,
    soft: bool,
    out: Spikes,
) -> None:
    """Spikes `out` (T, n) of FP32 neurons: h = u + i fires above theta; u = leak h, less charge or all where it fired.

    `current` (T, n), or (1, n): the same at every step.
    """
    steps, neurons = out.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    u = np.empty(_BLOCK, np.float32)
    for start in range(0, neurons, _BLOCK):
        width = min(_BLOCK, neurons - start)
        u[:] = zero
        for t in range(steps):
            arriving, fired = current[min(t, len(current) - 1), start:], out[t, start:]
            for n in range(width):
                h = u[n] + arriving[n]
                s = one if h > theta else zero
                fired[n] = np.uint8(s)
                left = leak * h
                u[n] = left - s * (charge if soft else left)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def count_places(spikes: Spikes, counts: NDArray[np.int64]) -> None:
    """Add the spikes (B, n) of each place to `counts` (n,)."""
    batch, places = spikes.shape
    some = np.empty(places, np.uint8)
    for start in range(0, batch, 255):
        some[:] = 0
        for b in range(start, min(start + 255, batch)):
            here = spikes[b]
            for n in range(places):
                some[n] += here[n]
        for n in range(places):
            counts[n] += some[n]
