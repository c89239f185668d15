"""Convolution, neurons and pooling of a layer's arrays; they end in (height, width, channels)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab import spike_kernels as kernels
from quest_lab.layers import Counts
from quest_lab.neurons import Neuron
from quest_lab.spike_kernels import Spikes

Array = NDArray[Any]

_COLUMN_BYTES = 1 << 26  # memory of one block of convolution columns


def max_pool(spikes: Array) -> Array:
    """2x2 maximum of (..., height, width, channels); an odd last row or column is dropped."""
    height, width = spikes.shape[-3] // 2 * 2, spikes.shape[-2] // 2 * 2
    rows = np.maximum(spikes[..., 0:height:2, :, :], spikes[..., 1:height:2, :, :])
    return np.maximum(rows[..., 0:width:2, :], rows[..., 1:width:2, :])


def to_last(x: Array) -> Array:
    """(..., channels, height, width) as (..., height, width, channels), contiguous."""
    return np.ascontiguousarray(np.moveaxis(x, -3, -1))


def to_first(x: Array) -> Array:
    """(..., height, width, channels) as a view (..., channels, height, width)."""
    return np.moveaxis(x, -1, -3)


def over_time(x: Array, weights: Array, dtype: np.dtype[Any]) -> Array:
    """Convolution of (T, N, height, width, c_in): all steps in one batch."""
    out = _convolve(x.reshape(-1, *x.shape[2:]), weights, dtype)
    return out.reshape(*x.shape[:2], *out.shape[1:])


def sum_levels(spikes: Spikes, levels: NDArray[np.int8], top: int) -> Array:
    """Integer sums (T, N, height, width, c_out) of `levels` (c_out, c_in, kh, kw), at most `top`, over spikes."""
    rows = kernels.tap_rows(levels)
    flat = spikes.reshape(-1, *spikes.shape[2:])
    out = np.empty((*flat.shape[:3], len(levels)), kernels.sum_type((len(rows) - 1) * top))
    kernels.convolve(flat, rows, (levels.shape[2], levels.shape[3]), top, out)
    return out.reshape(*spikes.shape[:2], *out.shape[1:])


def fire_integers(sums: Array, neuron: Neuron, *, limit: float, charge: float, top: int) -> Spikes:
    """Spikes (T, ...) of neurons with an integer membrane; see quest_lab.neurons.fire."""
    out = np.empty(sums.shape, np.uint8)
    numbers = np.float32(limit), np.float32(charge), np.float32(top), np.float32(neuron.leak)
    kernels.fire(_flat(sums), *numbers, neuron.soft, _flat(out))
    return out


def fire_encoder(current: NDArray[np.float32], neuron: Neuron, theta: float, time_steps: int) -> Spikes:
    """Spikes (T, ...) of FP32 neurons from currents (T, ...), or (1, ...): the same at every step."""
    out = np.empty((time_steps, *current.shape[1:]), np.uint8)
    kernels.fire_floats(_flat(current), np.float32(theta), np.float32(neuron.leak), neuron.soft, _flat(out))
    return out


def _flat(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(len(x), -1)


def places(spikes: Spikes) -> Counts:
    """Spikes of (T, N, height, width, channels) per (step, channel, row, column)."""
    counts = np.zeros((len(spikes), spikes[0, 0].size), np.int64)
    for own, step in zip(counts, spikes, strict=True):
        kernels.count_places(np.ascontiguousarray(step).reshape(len(step), -1), own)
    return to_first(counts.reshape(len(spikes), *spikes.shape[2:]))


def _convolve(x: Array, weights: Array, dtype: np.dtype[Any]) -> Array:
    """Stride-1, same-padded convolution of (N, height, width, c_in) with (c_out, c_in, kh, kw), in blocks."""
    c_out, c_in, kh, kw = weights.shape
    n, height, width, _ = x.shape
    matrix = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, c_out), dtype)
    out = np.empty((n, height, width, c_out), dtype)
    pads = ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0))
    block = max(1, _COLUMN_BYTES // (height * width * len(matrix) * dtype.itemsize))
    for start in range(0, n, block):
        padded = np.pad(x[start : start + block].astype(dtype, copy=False), pads)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), (1, 2))
        columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * c_in)
        out[start : start + block] = (columns @ matrix).reshape(-1, height, width, c_out)
    return out
