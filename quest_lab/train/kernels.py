"""The neurons' loops over time, fused: one pass over memory where torch needs a dozen (CPU, numba).

Arrays are (T, n), one column a neuron. h is the membrane before firing, in units of a level for quantised
neurons; everything else follows from it, so it is all that the backward pass keeps. Columns go in blocks
that stay in the cache, and the inner loops are branch-free so that they become vector instructions.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Number = np.float32

_BLOCK = 2048


@nb.njit(cache=True, nogil=True, error_model="numpy")
def quantised_forward(current: F32, level: Number, top: Number, h: F32, spikes: F32) -> None:
    """h = u + i; s = 1[h >= level]; u = clamp(h, -top, top) (1 - s), integers held as float32."""
    steps, neurons = current.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    u = np.empty(_BLOCK, np.float32)
    for start in range(0, neurons, _BLOCK):
        width = min(_BLOCK, neurons - start)
        u[:] = zero
        for t in range(steps):
            here, out, arriving = h[t, start:], spikes[t, start:], current[t, start:]
            for n in range(width):
                # The current is exact already; a convolution algorithm may leave 1e-6.
                total = u[n] + np.rint(arriving[n])
                quiet = total < level
                here[n] = total
                out[n] = zero if quiet else one
                u[n] = min(max(total, -top), top) if quiet else zero


@nb.njit(cache=True, nogil=True, error_model="numpy")
def quantised_backward(
    grad: F32, h: F32, level: Number, top: Number, scale: Number, theta: Number, out: F32
) -> float:
    """Gradient to the integer currents into `out`; returns the one to alpha (blocks summed in float64).

    With H = scale h: dL/dH[t] = dL/ds[t] max(0, 1 - |H - theta|) + dL/dU[t] dU/dH[t], dU/dH = 1 for a
    quiet neuron inside the levels, else 0; dU/dalpha = sign(h) for a quiet one outside; dH/dalpha = i / top.
    """
    steps, neurons = h.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    carried, slopes = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    slope = 0.0
    for start in range(0, neurons, _BLOCK):
        width = min(_BLOCK, neurons - start)
        carried[:], slopes[:] = zero, zero
        for back in range(steps):
            t = steps - 1 - back
            here, given, towards = h[t, start:], grad[t, start:], out[t, start:]
            before, first = h[max(t - 1, 0), start:], t == 0
            for n in range(width):
                now, past = here[n], before[n]
                inside = now < level and abs(now) <= top
                side = (one if now > zero else -one) if now < level and not inside else zero
                value = given[n] * max(one - abs(now * scale - theta), zero)
                value += carried[n] if inside else zero
                u = zero if first or past >= level else min(max(past, -top), top)
                slopes[n] += carried[n] * side + value * (now - u) / top
                towards[n] = value * scale
                carried[n] = value
        slope += slopes[:width].astype(np.float64).sum()
    return slope


@nb.njit(cache=True, nogil=True, error_model="numpy")
def encoder_forward(current: F32, theta: Number, h: F32, spikes: F32) -> None:
    """FP32 neurons with the same `current` (n,) at each step: h = u + i; s = 1[h > theta]; u = h (1 - s)."""
    steps, neurons = h.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    for t in range(steps):
        here, out, past = h[t], spikes[t], h[max(t - 1, 0)]
        for n in range(neurons):
            u = zero if t == 0 or past[n] > theta else past[n]
            total = u + current[n]
            here[n] = total
            out[n] = one if total > theta else zero


@nb.njit(cache=True, nogil=True, error_model="numpy")
def encoder_backward(grad: F32, h: F32, theta: Number, out: F32) -> None:
    """Gradient to the repeated current into `out` (n,)."""
    steps, neurons = h.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    carried = np.zeros(neurons, np.float32)
    out[:] = zero
    for back in range(steps):
        t = steps - 1 - back
        here, given = h[t], grad[t]
        for n in range(neurons):
            value = given[n] * max(one - abs(here[n] - theta), zero)
            value += carried[n] if here[n] <= theta else zero
            carried[n] = value
            out[n] += value
