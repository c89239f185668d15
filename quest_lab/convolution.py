"""Convolution, neurons and pooling of a layer's arrays; they end in (height, width, channels)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab import spike_kernels as kernels
from quest_lab.bit_kernels import convolve_bits, counts_bits, level_planes, words_of
from quest_lab.blocks import SAME, Window
from quest_lab.layers import Counts
from quest_lab.neurons import Neuron
from quest_lab.spike_kernels import Floats, Spikes, in_threads
from quest_lab.vector_sum import LANES, PLACES

Array = NDArray[Any]

_COLUMN_BYTES = 1 << 26  # memory of one block of convolution columns
# measured, in spikes whose levels are added, LANES outputs each, in the same time
_ROWS_A_WORD = 5 if counts_bits() else 18  # one bit of 64 inputs
_ROWS_A_LIST = 16  # listing the spikes of a place


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


def over_time(x: Array, weights: Array, dtype: np.dtype[Any], window: Window = SAME) -> Array:
    """Convolution of (T, N, height, width, c_in): all steps in one batch."""
    out = _convolve(x.reshape(-1, *x.shape[2:]), weights, dtype, window)
    return out.reshape(*x.shape[:2], *out.shape[1:])


def sum_floats(x: Floats, weights: Floats, bias: Floats, window: Window = SAME) -> Floats:
    """Convolution (..., rows, columns, c_out) of `x` (..., height, width, c_in) with (c_out, c_in, kh, kw), and bias.

    Compiled, not a matrix product of numpy's: its threads wait for each other between products and take the cores
    from ours.
    """
    c_out, c_in, kh, kw = weights.shape
    taps = c_in * kh * kw
    rows = kernels.aligned_empty((taps + -taps % kernels.TOGETHER, c_out), np.float32)
    rows[:taps], rows[taps:] = weights.transpose(2, 3, 1, 0).reshape(-1, c_out), 0
    out = kernels.aligned_empty(_out_shape(x, weights, window), np.float32)
    kernels.convolve_floats(_images(x), rows, bias, kh, kw, *_moves(weights, window), _images(out))
    return out


def sum_levels(
    spikes: Spikes, levels: NDArray[np.int8], top: int, threads: int = 1, window: Window = SAME
) -> Array:
    """Integer sums (..., rows, columns, c_out) of `levels` (c_out, c_in, kh, kw), at most `top`, over spikes."""
    _, c_in, kh, kw = levels.shape
    out = kernels.aligned_empty(_out_shape(spikes, levels, window), kernels.sum_type(c_in * kh * kw * top))
    source, sums, bits = _images(spikes), _images(out), top.bit_length() + 1
    if _many(spikes, len(levels), bits):
        planes, moves = level_planes(levels, bits), _moves(levels, window)
        in_threads(
            lambda a, b: convolve_bits(source[a:b], planes, kh, kw, *moves, sums[a:b]), len(sums), threads
        )
    else:
        rows = kernels.tap_rows(levels)
        in_threads(
            lambda a, b: kernels.convolve(source[a:b], rows, (kh, kw), top, sums[a:b], window),
            len(sums),
            threads,
        )
    return out


def _out_shape(x: Array, weights: Array, window: Window) -> tuple[int, ...]:
    """(..., rows, columns, c_out) of a convolution."""
    c_out, _, kh, kw = weights.shape
    *batch, height, width, _ = x.shape
    return *batch, window.places(height, kh), window.places(width, kw), c_out


def _moves(weights: Array, window: Window) -> tuple[int, int, int]:
    """Stride, and the rows and columns of zeros before an image."""
    return window.stride, window.pad(weights.shape[2]), window.pad(weights.shape[3])


def _images(x: Array) -> Array:
    return x.reshape(-1, *x.shape[-3:])


def _many(spikes: Spikes, c_out: int, bits: int) -> bool:
    """Whether counting the bits of all inputs is faster than listing those that spike and adding their levels."""
    width, c_in = spikes.shape[-2:]
    places = spikes[..., 0].size
    counted = places * (width + width % PLACES) // width
    listing = _ROWS_A_LIST * places / -(-c_out // LANES)
    return bool(np.count_nonzero(spikes) + listing > _ROWS_A_WORD * bits * words_of(c_in) * counted)


def fire_integers(sums: Array, neuron: Neuron, *, limit: float, charge: float, top: int) -> Spikes:
    """Spikes (T, ...) of neurons with an integer membrane; see quest_lab.neurons.fire."""
    out = np.empty(sums.shape, np.uint8)
    numbers = np.float32(limit), np.float32(charge), np.float32(top), np.float32(neuron.leak)
    kernels.fire(_flat(sums), *numbers, neuron.soft, _flat(out))
    return out


def fire_encoder(current: NDArray[np.float32], neuron: Neuron, theta: float, time_steps: int) -> Spikes:
    """Spikes (T, ...) of FP32 neurons from currents (T, ...), or (1, ...): the same at every step."""
    out = np.empty((time_steps, *current.shape[1:]), np.uint8)
    numbers = np.float32(theta), np.float32(neuron.taken(theta)), np.float32(neuron.leak)
    kernels.fire_floats(_flat(current), *numbers, neuron.soft, _flat(out))
    return out


def _flat(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(len(x), -1)


def places(spikes: Spikes) -> Counts:
    """Spikes of (T, N, height, width, channels) per (step, channel, row, column)."""
    counts = np.zeros((len(spikes), spikes[0, 0].size), np.int64)
    for own, step in zip(counts, spikes, strict=True):
        kernels.count_places(np.ascontiguousarray(step).reshape(len(step), -1), own)
    return to_first(counts.reshape(len(spikes), *spikes.shape[2:]))


def _convolve(x: Array, weights: Array, dtype: np.dtype[Any], window: Window) -> Array:
    """Convolution of (N, height, width, c_in) with (c_out, c_in, kh, kw), in blocks."""
    c_out, _, *kernel = weights.shape
    matrix = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, c_out), dtype)
    out = np.empty(_out_shape(x, weights, window), dtype)
    pads = [(0, 0), *(_around(n, k, window) for n, k in zip(x.shape[1:3], kernel, strict=True)), (0, 0)]
    block = max(1, _COLUMN_BYTES // max(1, out[0, :, :, 0].size * len(matrix) * dtype.itemsize))
    for start in range(0, len(x), block):
        padded = np.pad(x[start : start + block].astype(dtype, copy=False), pads)
        views = np.lib.stride_tricks.sliding_window_view(padded, kernel, (1, 2))
        views = views[:, :: window.stride, :: window.stride]
        columns = views.transpose(0, 1, 2, 4, 5, 3).reshape(-1, len(matrix))
        out[start : start + block] = (columns @ matrix).reshape(-1, *out.shape[1:])
    return out


def _around(size: int, kernel: int, window: Window) -> tuple[int, int]:
    """Zeros before and after an axis of an image, so that its last output place has a whole kernel."""
    before = window.pad(kernel)
    whole = (window.places(size, kernel) - 1) * window.stride + kernel
    return before, max(0, whole - size - before)
