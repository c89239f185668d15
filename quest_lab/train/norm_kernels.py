"""Batch norm and quantised neurons in one: loops over (T, places, channels), channels together in memory (CPU, numba).

y = gain x + offset is a current in the units of the threshold; h = u + y / scale in levels, then as in
quest_lab.train.kernels. Nothing but x is kept for the backward pass: h is computed again, a place at a time.
Sums over places are taken in blocks of a fixed size and added in order, so threads change no bit of a result.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Number = np.float32

PLACES = 256  # of a block


@nb.njit(cache=True, nogil=True, error_model="numpy")
def block_moments(x: F32, first: int, stop: int, out: F64) -> None:
    """Sums of x and of x squared over each block of rows of `x` (rows, channels), `out` (blocks, 2, channels)."""
    rows, channels = x.shape
    total, square = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for block in range(first, stop):
        total[:], square[:] = np.float32(0.0), np.float32(0.0)
        for r in range(block * PLACES, min((block + 1) * PLACES, rows)):
            here = x[r]
            for c in range(channels):
                total[c] += here[c]
                square[c] += here[c] * here[c]
        for c in range(channels):
            out[block, 0, c] = total[c]
            out[block, 1, c] = square[c]


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _step(h: Number, limit: Number, charge: Number, top: Number, leak: Number, soft: bool) -> Number:
    """What the membrane keeps of h."""
    taken = (charge if soft else h) if h > limit else np.float32(0.0)
    return min(max(np.rint(leak * (h - taken)), -top), top)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def forward(
    x: F32, gain: F32, offset: F32, limit: Number, charge: Number, top: Number, leak: Number, soft: bool,
    first: int, stop: int, spikes: F32,
) -> None:  # fmt: skip
    """Spikes (T, places, channels) of places first..stop; `gain` and `offset` in levels."""
    steps, _, channels = x.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    u = np.empty(channels, np.float32)
    for p in range(first, stop):
        u[:] = zero
        for t in range(steps):
            here, out = x[t, p], spikes[t, p]
            for c in range(channels):
                h = u[c] + (gain[c] * here[c] + offset[c])
                out[c] = one if h > limit else zero
                u[c] = _step(h, limit, charge, top, leak, soft)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def backward(
    grad: F32, x: F32, gain: F32, offset: F32, limit: Number, charge: Number, top: Number, leak: Number,
    soft: bool, scale: Number, theta: Number, first: int, stop: int, out: F32, sums: F64,
) -> None:  # fmt: skip
    """Gradient to y into `out`, and of each block first..stop the sums over places, `sums` (blocks, 3, channels):
    of that gradient, of it times x, and of the gradient to alpha through the clamp and the rounding of U."""
    steps, places, channels = x.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    h, carried = np.empty((steps, channels), np.float32), np.empty(channels, np.float32)
    u, some = np.empty(channels, np.float32), np.empty((3, channels), np.float32)
    plain, product, slope = some[0], some[1], some[2]
    for block in range(first, stop):
        some[:] = zero
        for p in range(block * PLACES, min((block + 1) * PLACES, places)):
            u[:], carried[:] = zero, zero
            for t in range(steps):
                here, now = x[t, p], h[t]
                for c in range(channels):
                    now[c] = u[c] + (gain[c] * here[c] + offset[c])
                    u[c] = _step(now[c], limit, charge, top, leak, soft)
            for back in range(steps):
                t = steps - 1 - back
                here, now, given, towards = x[t, p], h[t], grad[t, p], out[t, p]
                for c in range(channels):
                    value = now[c]
                    fired = value > limit
                    left = leak * (value - ((charge if soft else value) if fired else zero))
                    inside = abs(left) <= top
                    clamped = (min(max(np.rint(left), -top), top) - left) / top
                    side = clamped if inside else (one if left > zero else -one)
                    slope[c] += carried[c] * side
                    passed = leak if inside and (soft or not fired) else zero
                    new = given[c] * max(one - abs(value * scale - theta), zero) + carried[c] * passed
                    plain[c] += new
                    product[c] += new * here[c]
                    towards[c] = new
                    carried[c] = new
        for k in range(3):
            for c in range(channels):
                sums[block, k, c] = some[k, c]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def towards_input(x: F32, a: F32, b: F32, d: F32, first: int, stop: int, out: F32) -> None:
    """out = a out + b x + d of each channel, rows first..stop of (rows, channels)."""
    channels = x.shape[1]
    for r in range(first, stop):
        here, grad = x[r], out[r]
        for c in range(channels):
            grad[c] = a[c] * grad[c] + b[c] * here[c] + d[c]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def pool_forward(x: F32, first: int, stop: int, out: F32) -> None:
    """2x2 maximum of images first..stop of (B, height, width, channels); an odd last row or column is dropped."""
    _, height, width, channels = out.shape
    for b in range(first, stop):
        for i in range(height):
            for j in range(width):
                p, q = x[b, 2 * i, 2 * j], x[b, 2 * i, 2 * j + 1]
                r, s = x[b, 2 * i + 1, 2 * j], x[b, 2 * i + 1, 2 * j + 1]
                pooled = out[b, i, j]
                for c in range(channels):
                    pooled[c] = max(max(p[c], q[c]), max(r[c], s[c]))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def pool_backward(grad: F32, spikes: NDArray[np.uint8], first: int, stop: int, out: F32) -> None:
    """Each gradient to the first of the four places that has the maximum; `out` must be zero."""
    _, height, width, channels = grad.shape
    zero = np.float32(0.0)
    for b in range(first, stop):
        for i in range(height):
            for j in range(width):
                p, q = spikes[b, 2 * i, 2 * j], spikes[b, 2 * i, 2 * j + 1]
                r, s = spikes[b, 2 * i + 1, 2 * j], spikes[b, 2 * i + 1, 2 * j + 1]
                to_p, to_q = out[b, 2 * i, 2 * j], out[b, 2 * i, 2 * j + 1]
                to_r, to_s = out[b, 2 * i + 1, 2 * j], out[b, 2 * i + 1, 2 * j + 1]
                given = grad[b, i, j]
                for c in range(channels):
                    silent = (p[c] | q[c] | r[c] | s[c]) == 0
                    at_p = silent or p[c] != 0
                    at_q = not at_p and q[c] != 0
                    at_r = not at_p and not at_q and r[c] != 0
                    to_p[c] = given[c] if at_p else zero
                    to_q[c] = given[c] if at_q else zero
                    to_r[c] = given[c] if at_r else zero
                    to_s[c] = zero if at_p or at_q or at_r else given[c]
