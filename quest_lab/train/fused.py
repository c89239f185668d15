"""Fused torch functions of the CPU: batch norm with quantised neurons, and the pooling of spikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quest_lab.spike_kernels import in_threads
from quest_lab.train import norm_kernels as kernels
from quest_lab.train.places import empty_rows, rows
from quest_lab.train.rule import Rule

F32 = NDArray[np.float32]


Number: TypeAlias = np.float32


def _numbers(rule: Rule) -> tuple[Number, Number, Number, Number, bool]:
    """What the kernels take of a rule: limit, charge, top, leak, soft."""
    return Number(rule.limit), Number(rule.charge), Number(rule.top), Number(rule.leak), rule.soft


def _threaded(work: Callable[[int, int], object], count: int) -> None:
    in_threads(work, count, torch.get_num_threads())


def moments(x: F32) -> tuple[Tensor, Tensor]:
    """Mean and variance (channels,), float64, of (rows, channels)."""
    parts = np.empty((-(-len(x) // kernels.PLACES), 2, x.shape[1]))
    _threaded(lambda a, b: kernels.block_moments(x, a, b, parts), len(parts))
    mean, square = parts.sum(0) / len(x)
    return torch.from_numpy(mean), torch.from_numpy(np.maximum(square - mean**2, 0.0))


class NormalisedNeurons(torch.autograd.Function):
    """Spikes (T, B, c, h, w) from sums of levels x of that shape; see `fire_normalised`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, bias: Tensor, alpha: Tensor, mean: Tensor, std: Tensor, rule: Rule
    ) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x, gain, bias, alpha, mean, std)
        spikes, (slope, offset) = empty_rows(x), _affine(gain, bias, mean, std, rule)
        source, out = _places(x), _places(spikes)
        _threaded(
            lambda a, b: kernels.forward(source, slope, offset, *_numbers(rule), a, b, out), source.shape[1]
        )
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, bias, alpha, mean, std = ctx.saved_tensors
        rule = ctx.rule
        out, (slope, offset) = empty_rows(x), _affine(gain, bias, mean, std, rule)
        source, given, towards = _places(x), _places(grads[0]), _places(out)
        sums = np.empty((-(-source.shape[1] // kernels.PLACES), 3, source.shape[2]))
        units = np.float32(rule.scale), np.float32(rule.theta)
        _threaded(
            lambda a, b: kernels.backward(
                given, source, slope, offset, *_numbers(rule), *units, a, b, towards, sums
            ),
            len(sums),
        )
        plain, product, to_alpha = torch.from_numpy(sums.sum(0))
        to_gain = (product - mean * plain) / std
        count = source.shape[0] * source.shape[1]
        a = gain.double() / std
        b = -a * to_gain / std / count
        d = -a * plain / count - b * mean
        coefficients = a.float().numpy(), b.float().numpy(), d.float().numpy()
        flat, into = source.reshape(count, -1), towards.reshape(count, -1)
        _threaded(lambda i, j: kernels.towards_input(flat, *coefficients, i, j, into), count)
        return out, to_gain.to(gain), plain.to(bias), to_alpha.sum().to(alpha), None, None, None


def _places(x: Tensor) -> NDArray[Any]:
    return rows(x, len(x), -1, x.shape[-3])


def _affine(gain: Tensor, bias: Tensor, mean: Tensor, std: Tensor, rule: Rule) -> tuple[F32, F32]:
    """Gain and offset of x, in levels."""
    slope = gain.detach().double() / std / rule.scale
    offset = bias.detach().double() / rule.scale - slope * mean
    return slope.float().numpy(), offset.float().numpy()


class SpikePool(torch.autograd.Function):
    """2x2 maximum of spikes (B, c, h, w); the gradient goes to the first of the largest, as in torch."""

    @staticmethod
    def forward(ctx: Any, spikes: Tensor) -> Tensor:
        n, channels, height, width = spikes.shape
        out = empty_rows(spikes[:, :, : height // 2, : width // 2])
        source = rows(spikes, n, height, width, channels)
        into = rows(out, n, height // 2, width // 2, channels)
        _threaded(lambda a, b: kernels.pool_forward(source, a, b, into), n)
        ctx.save_for_backward(torch.from_numpy(source.astype(np.uint8)))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (present,) = ctx.saved_tensors
        n, height, width, channels = present.shape
        out = torch.zeros((n, height, width, channels)).movedim(-1, -3)
        given = rows(grads[0], n, height // 2, width // 2, channels)
        source, into = present.numpy(), rows(out, n, height, width, channels)
        _threaded(lambda a, b: kernels.pool_backward(given, source, a, b, into), n)
        return out


def fire_normalised(
    x: Tensor, gain: Tensor, bias: Tensor, alpha: Tensor, mean: Tensor, std: Tensor, rule: Rule
) -> Tensor:
    """Spikes (T, B, c, h, w) of neurons whose currents are gain (x - mean) / std + bias, x sums of levels.

    `mean` and `std` (c,), float64, must be those of x: the gradient takes them as functions of it.
    """
    return NormalisedNeurons.apply(x, gain, bias, alpha, mean, std, rule)  # type: ignore[no-untyped-call]  # torch


def pool_spikes(spikes: Tensor) -> Tensor:
    """2x2 maximum of spikes (B, c, h, w) of 0.0 and 1.0 on the CPU."""
    return SpikePool.apply(spikes)  # type: ignore[no-untyped-call]  # torch
