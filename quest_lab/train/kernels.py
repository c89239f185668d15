"""The neurons' loops over time, fused: one pass over memory where torch needs a dozen (CPU, numba).

Arrays are (T, n), one column a neuron. h is the membrane before firing, in units of a level for quantised
neurons; everything else follows from it, so it is all that the backward pass keeps. Columns go in blocks
that stay in the cache, `first` to `stop` of them in one call (a thread's part), and the inner loops are
branch-free so that they become vector instructions.
quest_lab.train.steps is the same in torch operations.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Number = np.float32

BLOCK = 2048


@nb.njit(cache=True, nogil=True, error_model="numpy")
def quantised_forward(
    current: F32,
    limit: Number,
    charge: Number,
    top: Number,
    leak: Number,
    soft: bool,
    whole: bool,
    h: F32,
    spikes: F32,
    first: int,
    stop: int,
) -> None:
    """h = u + i; s = 1[h > limit]; u = rounded and clamped leak (h - s taken), taken = charge or h.

    `whole`: integer currents, held as float32; a convolution algorithm may leave 1e-6, which is rounded off.
    """
    steps, neurons = current.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    u = np.empty(BLOCK, np.float32)
    for block in range(first, stop):
        start = block * BLOCK
        width = min(BLOCK, neurons - start)
        u[:] = zero
        for t in range(steps):
            here, out, arriving = h[t, start:], spikes[t, start:], current[t, start:]
            for n in range(width):
                total = u[n] + (np.rint(arriving[n]) if whole else arriving[n])
                fired = total > limit
                here[n] = total
                out[n] = one if fired else zero
                taken = (charge if soft else total) if fired else zero
                u[n] = min(max(np.rint(leak * (total - taken)), -top), top)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def quantised_backward(
    grad: F32,
    h: F32,
    limit: Number,
    charge: Number,
    top: Number,
    leak: Number,
    soft: bool,
    scale: Number,
    theta: Number,
    out: F32,
    to_alpha: NDArray[np.float64],
    first: int,
    stop: int,
) -> None:
    """Gradient to the currents (in levels) into `out`, each block's share of that to alpha into `to_alpha`.

    With H = scale h and x = leak (h - s taken), u = rounded and clamped x:
    dL/dH[t] = dL/ds[t] max(0, 1 - |H - theta|) + dL/dU[t] dU/dH[t]; dU/dH = leak where |x| <= top (0 where a
    hard reset fired), else 0; dU/dalpha = (u - x) / top there, else sign(x); dH/dalpha = i / top.
    """
    steps, neurons = h.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    level_theta = theta / scale
    carried, slopes = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(first, stop):
        start = block * BLOCK
        width = min(BLOCK, neurons - start)
        carried[:], slopes[:] = zero, zero
        for back in range(steps):
            t = steps - 1 - back
            here, given, towards = h[t, start:], grad[t, start:], out[t, start:]
            before, later = h[max(t - 1, 0), start:], one if t > 0 else zero
            for n in range(width):
                now, past = here[n], before[n]
                fired, had_fired = now > limit, past > limit
                x = leak * (now - ((level_theta if soft else now) if fired else zero))
                rounded = np.rint(leak * (now - ((charge if soft else now) if fired else zero)))
                side = (min(max(rounded, -top), top) - x) / top
                inside = abs(x) <= top
                side = side if inside else (one if x > zero else -one)
                passed = leak if inside and (soft or not fired) else zero
                value = given[n] * max(one - abs(now * scale - theta), zero) + carried[n] * passed
                u = np.rint(leak * (past - ((charge if soft else past) if had_fired else zero)))
                u = later * min(max(u, -top), top)
                slopes[n] += carried[n] * side + value * (now - u) / top
                towards[n] = value * scale
                carried[n] = value
        to_alpha[block] = slopes[:width].astype(np.float64).sum()


@nb.njit(cache=True, nogil=True, error_model="numpy")
def float_forward(
    current: F32, theta: Number, leak: Number, soft: bool, spikes: F32, first: int, stop: int
) -> None:
    """FP32 neurons: h = u + i; s = 1[h > theta]; u = leak (h - s taken). `current` (T, n), or (1, n) at each step."""
    steps, neurons = spikes.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    u = np.empty(BLOCK, np.float32)
    for start in range(first * BLOCK, min(stop * BLOCK, neurons), BLOCK):
        width = min(BLOCK, neurons - start)
        u[:] = zero
        for t in range(steps):
            out, arriving = spikes[t, start:], current[min(t, len(current) - 1), start:]
            for n in range(width):
                total = u[n] + arriving[n]
                fired = total > theta
                out[n] = one if fired else zero
                u[n] = leak * (total - ((theta if soft else total) if fired else zero))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def float_backward(
    grad: F32, current: F32, theta: Number, leak: Number, soft: bool, out: F32, first: int, stop: int
) -> None:
    """Gradient to the current into `out`, (T, n) or (1, n) as `current`. h is computed again, block by block."""
    steps, neurons = grad.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    h, u = np.empty((steps, BLOCK), np.float32), np.empty(BLOCK, np.float32)
    for start in range(first * BLOCK, min(stop * BLOCK, neurons), BLOCK):
        width = min(BLOCK, neurons - start)
        u[:] = zero
        out[:, start : start + width] = zero
        for t in range(steps):
            here, arriving = h[t], current[min(t, len(current) - 1), start:]
            for n in range(width):
                total = u[n] + arriving[n]
                here[n] = total
                u[n] = leak * (total - ((theta if soft else total) if total > theta else zero))
        u[:] = zero  # from here on the gradient that later steps give to this one
        for back in range(steps):
            t = steps - 1 - back
            here, given, towards = h[t], grad[t, start:], out[min(t, len(out) - 1), start:]
            for n in range(width):
                value = given[n] * max(one - abs(here[n] - theta), zero)
                value += leak * u[n] if soft or here[n] <= theta else zero
                u[n] = value
                towards[n] += value
