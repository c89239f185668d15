"""A layer of the training graph: convolution of spikes with levels, perhaps batch norm, and its neurons."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from quest_lab.errors import BadInput, Diverged
from quest_lab.layers import FP32, Counts, LayerInfo, top_level
from quest_lab.neurons import Neuron, level_scale, sum_limit
from quest_lab.train.config import TrainConfig
from quest_lab.train.membrane import membrane_moves, no_moves
from quest_lab.train.neurons import fire_float, fire_memory_free, fire_quantised, mix
from quest_lab.train.norm import Norm
from quest_lab.train.places import on_kernels
from quest_lab.train.quantise import hold_weights, initial_alpha, quantise_weights, settle
from quest_lab.train.rule import Rule
from quest_lab.train.spike_convolution import convolve_spikes

_EXACT_BFLOAT16 = 2**8  # larger sums are rounded, but to neither side of a threshold below
_EXACT = 2**24  # float32 holds all integers below


class SpikingLayer(nn.Module):
    """A convolution (or linear layer, 1x1 on one place) without bias and its neurons.

    Levels with one learnable scale alpha = exp(log_alpha), kept above 0; in an FP32 network plain weights.
    With hysteresis the levels are kept from step to step, see quest_lab.train.quantise.settle. In the loop the
    forward pass uses `cells`, levels as memory cells hold them; gradients go straight through to the weights.
    """

    cells: Tensor | None

    def __init__(self, info: LayerInfo, config: TrainConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.bits, self.theta, self.time_steps = config.bits, config.theta, config.time_steps
        self.neuron = Neuron.parse(config.neuron)
        self.weight = nn.Parameter(kaiming(info.shape, rng))
        if self.bits != FP32:
            self._check_exact(info)
            self.log_alpha = nn.Parameter(torch.tensor(math.log(initial_alpha(self.weight, self.bits))))
        self.amp = config.amp
        self.hysteresis = 0.0 if self.bits == FP32 else config.hysteresis
        if self.hysteresis:
            self.register_buffer("held", quantise_weights(self.weight, self.alpha, self.bits).detach())
        self.register_buffer("cells", None, persistent=False)
        self.norm = Norm(info.shape[0]) if config.batch_norm else None

    def _check_exact(self, info: LayerInfo) -> None:
        largest = self.neuron.largest_sum(info.taps, top_level(self.bits))
        if largest >= _EXACT:
            raise BadInput(
                f"bits={self.bits}: {info.name} sums up to {largest} with {self.neuron} neurons, and float32 is exact "
                f"below {_EXACT}: take fewer bits, inputs or spikes of history"
            )

    @property
    def alpha(self) -> Tensor:
        """Scale of the levels; 1 in an FP32 network."""
        return self.weight.new_ones(()) if self.bits == FP32 else self.log_alpha.exp()

    def levels(self) -> Tensor:
        """Integer levels as floats, (c_out, c_in, kh, kw): what the weights ask for."""
        if self.hysteresis:
            return hold_weights(self.weight, self.alpha, self.bits, self.get_buffer("held"))
        return quantise_weights(self.weight, self.alpha, self.bits)

    def used(self) -> Tensor:
        """Levels of the forward pass: those of the cells in the loop, else `levels`."""
        asked = self.levels()
        return asked if self.cells is None else asked + (self.cells - asked).detach()

    def settle(self) -> None:
        """After an optimizer step: give up levels that the weights have left."""
        if self.hysteresis:
            settle(self.weight, self.alpha, self.bits, self.get_buffer("held"), self.hysteresis)

    def forward(self, spikes: Tensor) -> tuple[Tensor, Counts]:
        """Spikes (T, B, c_out, h, w) of this layer's neurons from those entering it; their membranes' moves."""
        weights = self.weight if self.bits == FP32 else self.used()
        top = None if self.bits == FP32 or self.amp else top_level(self.bits)
        with torch.autocast(spikes.device.type, torch.bfloat16, enabled=self.amp):
            current = convolve(spikes, weights, top=top).float()
        if self.neuron.history:
            return self._fire_memory_free(mix(current, self.neuron, self.time_steps)), no_moves(self.bits)
        if self.norm is not None and self.training and self.bits != FP32 and on_kernels(current):
            rule = Rule.of(self.neuron, self.alpha.item(), self.theta, self.bits, whole=False)
            return self.norm.fire(current, self.alpha, rule), no_moves(self.bits)
        if self.norm is not None:
            current = self.norm(current)
        if self.bits == FP32:
            return fire_float(current, self.theta, self.time_steps, self.neuron), no_moves(self.bits)
        whole = self.norm is None
        if not whole:
            current = current * (top_level(self.bits) / self.alpha)
        fired = fire_quantised(current, self.alpha, self.theta, self.bits, self.neuron, whole=whole)
        if not self.training:
            return fired, no_moves(self.bits)
        rule = Rule.of(self.neuron, self.alpha.item(), self.theta, self.bits, whole=whole)
        if self.amp and max(rule.limit, rule.charge) + 2 * rule.top >= _EXACT_BFLOAT16:
            raise Diverged(
                f"amp: a threshold of {rule.limit + 1:g} levels, bfloat16 is exact below {_EXACT_BFLOAT16}: "
                "train without it"
            )
        return fired, membrane_moves(current, fired, rule)

    def _fire_memory_free(self, total: Tensor) -> Tensor:
        """In training with batch norm the batch decides; else the integer limits of quest_lab.network."""
        if self.bits != FP32:
            total = total + (torch.round(total) - total).detach()
        scale = (self.alpha if self.bits == FP32 else self.alpha / top_level(self.bits)) / self.neuron.unit
        potential = scale * total if self.norm is None else self.norm(total)
        if self.norm is not None and self.training:
            return fire_memory_free(potential, (potential > self.theta).to(potential.dtype), self.theta)
        limit = torch.from_numpy(self.sum_limit()).to(total).reshape(-1, 1, 1)
        return fire_memory_free(potential, (total.detach() > limit).to(total.dtype), self.theta)

    def sum_limit(self) -> NDArray[np.float64]:
        """What the summed currents of memory-free neurons must exceed, (1,) or (c_out,)."""
        scale = level_scale(self.alpha.item(), self.bits) / self.neuron.unit
        limit = sum_limit(self.theta, scale, None if self.norm is None else self.norm.folded())
        return limit if self.bits == FP32 else np.floor(limit)


def convolve(x: Tensor, weights: Tensor, bias: Tensor | None = None, *, top: int | None = None) -> Tensor:
    """Same-padded convolution of (T, B, c, h, w), all steps in one batch; one place is a matrix product.

    `top`: x are spikes and `weights` levels of at most that.
    """
    flat, kernel = x.flatten(0, 1), weights.shape[-1]
    if kernel == 1 and x.shape[-2:] == (1, 1):
        return F.linear(flat.flatten(1), weights.flatten(1), bias).view(*x.shape[:2], -1, 1, 1)
    if top is not None and on_kernels(flat):
        out = convolve_spikes(flat, weights, top)
    else:
        weights = weights.contiguous(memory_format=torch.channels_last)
        out = F.conv2d(flat, weights, bias, padding=kernel // 2)
    return out.view(*x.shape[:2], *out.shape[1:])


def kaiming(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Normal weights of variance 2 / fan-in: without batch norm, this keeps deep layers firing."""
    fan_in = int(np.prod(shape[1:]))
    return torch.from_numpy(rng.normal(0.0, math.sqrt(2.0 / fan_in), shape).astype(np.float32))
