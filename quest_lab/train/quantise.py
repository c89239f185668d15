"""MINT's quantisation (arXiv 2305.09850): uniform, symmetric, one learnable scale a layer.

q = round(clamp(tanh(w) / alpha, -1, 1) * top), top = 2**(bits-1) - 1, half to even. Straight-through
gradient through the rounding, none outside the clamp. The weight used is q * alpha / top.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quest_lab.layers import top_level


def quantise_weights(weights: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """Integer levels of `weights` as floats, same shape; gradient straight through to weights and alpha."""
    top = top_level(bits)
    scaled = torch.clamp(torch.tanh(weights) / alpha, -1.0, 1.0) * top
    return scaled + (torch.round(scaled) - scaled).detach()


def hold_weights(weights: Tensor, alpha: Tensor, bits: int, held: Tensor) -> Tensor:
    """Levels `held` from the step before, as floats, with the gradients of `quantise_weights`."""
    top = top_level(bits)
    scaled = torch.clamp(torch.tanh(weights) / alpha, -1.0, 1.0) * top
    return scaled + (held - scaled).detach()


@torch.no_grad()
def settle(weights: Tensor, alpha: Tensor, bits: int, held: Tensor, hysteresis: float) -> None:
    """Move `held` to the nearest levels where a weight is more than 1/2 + `hysteresis` levels away from it.

    A weight that swings around a boundary by less than `hysteresis` levels to either side is then not written
    again and again: the noise-tolerance margin of in-memory training, applied to the rounding.
    """
    top = top_level(bits)
    scaled = torch.clamp(torch.tanh(weights) / alpha, -1.0, 1.0) * top
    held.copy_(torch.where((scaled - held).abs() > 0.5 + hysteresis, torch.round(scaled), held))


def initial_alpha(weights: Tensor, bits: int) -> float:
    """MINT's start: 2 mean|w| / sqrt(top); about half of the levels are then 0 at 2 bits.

    Beyond 4 bits that clamps nearly every weight and the layer falls silent: there 2 mean|w| (ours).
    """
    start = 2.0 * float(weights.detach().abs().mean())
    return start / math.sqrt(top_level(bits)) if bits <= 4 else start
