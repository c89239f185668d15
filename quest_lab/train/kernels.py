"""The neurons' loops over time, fused: one pass over memory where torch needs a dozen (CPU, numba).

Arrays are (T, n), one column a neuron. h is the membrane before firing, in units of a level for quantised
neurons; everything else follows from it, so it is all that the backward pass keeps.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def quantised_forward(current: F32, level: float, top: float, h: F32, spikes: F32) -> None:
    """h = u + i; s = 1[h >= level]; u = clamp(h, -top, top) (1 - s), integers held as float32."""
    steps, neurons = current.shape
    for n in range(neurons):
        u = np.float32(0.0)
        for t in range(steps):
            # Exact already; a convolution algorithm may leave 1e-6.
            total = u + np.rint(current[t, n])
            fired = total >= level
            h[t, n] = total
            spikes[t, n] = np.float32(1.0) if fired else np.float32(0.0)
            u = np.float32(0.0) if fired else np.float32(min(max(total, -top), top))


@nb.njit(cache=True, nogil=True, error_model="numpy")
def quantised_backward(
    grad: F32, h: F32, level: float, top: float, scale: float, theta: float, out: F32
) -> float:
    """Gradient to the integer currents into `out`; returns the one to alpha (summed in float64).

    With H = scale h: dL/dH[t] = dL/ds[t] max(0, 1 - |H - theta|) + dL/dU[t] dU/dH[t], dU/dH = 1 for a
    quiet neuron inside the levels, else 0; dU/dalpha = sign(h) for a quiet one outside.
    """
    steps, neurons = h.shape
    slope = 0.0
    for n in range(neurons):
        carried = np.float32(0.0)
        for back in range(steps):
            t = steps - 1 - back
            here = h[t, n]
            near = np.float32(1.0) - abs(here * np.float32(scale) - np.float32(theta))
            towards = grad[t, n] * max(near, np.float32(0.0))
            if here < level:
                if abs(here) <= top:
                    towards += carried
                else:
                    slope += carried * np.sign(here)
            before = np.float32(0.0)
            if t > 0 and h[t - 1, n] < level:
                before = np.float32(min(max(h[t - 1, n], -top), top))
            slope += towards * (here - before) / top
            out[t, n] = towards * np.float32(scale)
            carried = towards
    return slope


@nb.njit(cache=True, nogil=True, error_model="numpy")
def encoder_forward(current: F32, theta: float, h: F32, spikes: F32) -> None:
    """FP32 neurons with the same `current` (n,) at each step: h = u + i; s = 1[h > theta]; u = h (1 - s)."""
    steps, neurons = h.shape
    for n in range(neurons):
        u = np.float32(0.0)
        for t in range(steps):
            u = np.float32(u + current[n])
            h[t, n] = u
            fired = u > np.float32(theta)
            spikes[t, n] = np.float32(1.0) if fired else np.float32(0.0)
            if fired:
                u = np.float32(0.0)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def encoder_backward(grad: F32, h: F32, theta: float, out: F32) -> None:
    """Gradient to the repeated current into `out` (n,)."""
    steps, neurons = h.shape
    for n in range(neurons):
        carried = total = np.float32(0.0)
        for back in range(steps):
            t = steps - 1 - back
            near = np.float32(1.0) - abs(h[t, n] - np.float32(theta))
            quiet = h[t, n] <= np.float32(theta)
            carried = grad[t, n] * max(near, np.float32(0.0)) + (carried if quiet else np.float32(0.0))
            total += carried
        out[n] = total
