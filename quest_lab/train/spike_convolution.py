"""Convolution of spikes in training: forward and gradient of the weights by the spikes that are there (CPU).

The forward pass is that of inference, quest_lab.convolution.sum_levels: small integers, exact. The gradient of a
weight is the sum of the gradients at the places its tap's spikes reach: additions alone, as many as there are spikes.
Only the gradient towards the spikes, dense in both, is left to torch. What is saved is one byte a spike.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.grad import conv2d_weight

from quest_lab.convolution import sum_levels
from quest_lab.spike_kernels import Spikes, in_threads

Floats = NDArray[np.float32]

_TOGETHER = 4  # gradients added in one pass over a tap's row
_DENSE_RATE = 0.4  # above it torch's dense gradient of the weights is faster


class SpikeConvolution(torch.autograd.Function):
    """Sums (B, c_out, h, w) of integer `levels` (c_out, c_in, kh, kw) over spikes (B, c_in, h, w)."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, levels: Tensor, top: int) -> Tensor:
        present = spikes.detach().permute(0, 2, 3, 1).to(torch.uint8).contiguous()
        ctx.save_for_backward(present, levels)
        whole = levels.detach().to(torch.int8).numpy()
        sums = sum_levels(present.numpy(), whole, top, torch.get_num_threads())
        return torch.from_numpy(sums).to(spikes.dtype).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        present, levels = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        towards, weights = ctx.needs_input_grad[:2]
        return (
            _towards_spikes(grad, levels) if towards else None,
            _towards_weights(grad, present, levels) if weights else None,
            None,
        )


def _padding(levels: Tensor) -> tuple[int, int]:
    return levels.shape[2] // 2, levels.shape[3] // 2


def _towards_spikes(grad: Tensor, levels: Tensor) -> Tensor:
    levels = levels.contiguous(memory_format=torch.channels_last)
    return F.conv_transpose2d(grad, levels, padding=_padding(levels))


def _towards_weights(grad: Tensor, present: Tensor, levels: Tensor) -> Tensor:
    if torch.count_nonzero(present) > _DENSE_RATE * present.numel():
        spikes = present.permute(0, 3, 1, 2).to(grad.dtype)
        return conv2d_weight(spikes, list(levels.shape), grad, padding=_padding(levels))  # type: ignore[no-untyped-call]  # torch
    c_out, c_in, kh, kw = levels.shape
    out = np.zeros((c_in, kh * kw, c_out), np.float32)
    given, source = grad.permute(0, 2, 3, 1).numpy(), present.numpy()
    in_threads(lambda a, b: weight_gradient(source, given, kh, kw, a, b, out), c_in, torch.get_num_threads())
    return torch.from_numpy(out).view(c_in, kh, kw, c_out).permute(3, 0, 1, 2)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def weight_gradient(
    spikes: Spikes, grad: Floats, kh: int, kw: int, first: int, stop: int, out: Floats
) -> None:
    """Add the gradients `grad` (B, h, w, c_out) that the spikes (B, h, w, c_in) of channels first..stop reach.

    `out` (c_in, kh * kw, c_out). Each channel's sum runs over the batch in order, whatever the other channels do.
    """
    batch, height, width, _ = spikes.shape
    wide = width + kw - 1
    padded = np.zeros(((height + kh - 1) * wide, grad.shape[3]), np.float32)
    places = np.empty((stop - first, height * width), np.int32)
    counts = np.empty(stop - first, np.int32)
    for b in range(batch):
        counts[:] = 0
        for y in range(height):
            for x in range(width):
                here, place = spikes[b, y, x, first:stop], np.int32(y * wide + x)
                padded[(y + kh // 2) * wide + x + kw // 2] = grad[b, y, x]
                for c in range(stop - first):
                    places[c, counts[c]] = place
                    counts[c] += here[c] != 0
        for c in range(stop - first):
            for tap in range(kh * kw):
                # the output that a spike at y reaches through tap row i is y + kh // 2 - i, here in padded rows
                shift = (kh - 1 - tap // kw) * wide + kw - 1 - tap % kw
                _add_places(padded, places[c], counts[c], shift, out[first + c, tap])


@nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _add_places(rows: Floats, places: NDArray[np.int32], n: int, shift: int, sums: Floats) -> None:
    whole = n - n % _TOGETHER
    for e in range(0, whole, _TOGETHER):
        r0, r1 = rows[places[e] + shift], rows[places[e + 1] + shift]
        r2, r3 = rows[places[e + 2] + shift], rows[places[e + 3] + shift]
        for o in range(len(sums)):
            sums[o] += r0[o] + r1[o] + r2[o] + r3[o]
    for e in range(whole, n):
        row = rows[places[e] + shift]
        for o in range(len(sums)):
            sums[o] += row[o]


def convolve_spikes(spikes: Tensor, levels: Tensor, top: int) -> Tensor:
    """Sums (B, c_out, h, w) of `levels` (integers up to `top`) over spikes (B, c_in, h, w) of 0.0 and 1.0; exact."""
    return SpikeConvolution.apply(spikes, levels, top)  # type: ignore[no-untyped-call]  # torch
