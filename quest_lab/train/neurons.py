"""Neurons over all time steps at once, as torch functions; their arithmetic is that of quest_lab.neurons.

Forward (MINT, arXiv 2305.09850): H = U + I; s = 1[H > theta]; U = quantise(leak H (1 - s)) with hard reset,
quantise(leak (H - s theta)) with soft. In integers, the same words as quest_lab.network. Backward: surrogate
ds/dH = max(0, 1 - |H - theta|); the reset passes no gradient to s; straight through the rounding of U, outside its
clamp the gradient goes to alpha alone. Written by hand: fused over time on the CPU, steps of torch elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quest_lab.neurons import IF_HARD, Neuron
from quest_lab.train import kernels, steps
from quest_lab.train.rule import Rule

KERNEL_DEVICE = "cpu"  # where numba's kernels run


class QuantisedNeurons(torch.autograd.Function):
    """Spikes (T, ...) of currents (T, ...) in levels of alpha / top; see `fire_quantised`."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, alpha: Tensor, rule: Rule) -> Tensor:
        ctx.rule = rule
        h, spikes = _quantised_forward(current.detach(), rule)
        ctx.save_for_backward(h, alpha)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        h, alpha = ctx.saved_tensors
        out, slope = _quantised_backward(grads[0], h, ctx.rule)
        return out, slope.to(alpha), None


def _quantised_forward(current: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    if current.device.type != KERNEL_DEVICE:
        return steps.quantised_forward(current, rule)
    current = current.contiguous()
    h, spikes = torch.empty_like(current), torch.empty_like(current)
    kernels.quantised_forward(
        _flat(current), np.float32(rule.limit), np.float32(rule.charge), np.float32(rule.top),
        np.float32(rule.leak), rule.soft, rule.whole, _flat(h), _flat(spikes),
    )  # fmt: skip
    return h, spikes


def _quantised_backward(grad: Tensor, h: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    if h.device.type != KERNEL_DEVICE:
        return steps.quantised_backward(grad, h, rule)
    out = torch.empty_like(h)
    slope = kernels.quantised_backward(
        _flat(grad), _flat(h), np.float32(rule.limit), np.float32(rule.charge), np.float32(rule.top),
        np.float32(rule.leak), rule.soft, np.float32(rule.scale), np.float32(rule.theta), _flat(out),
    )  # fmt: skip
    return out, torch.tensor(slope)


class FloatNeurons(torch.autograd.Function):
    """FP32 spikes (T, ...) of currents (T, ...), or of one current (1, ...) that repeats every step."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, theta: float, time_steps: int, neuron: Neuron) -> Tensor:
        ctx.theta, ctx.neuron, ctx.rows = theta, neuron, len(current)
        h, spikes = float_membranes(current.detach(), theta, time_steps, neuron)
        ctx.save_for_backward(h)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (h,) = ctx.saved_tensors
        leak, soft = ctx.neuron.leak, ctx.neuron.soft
        if h.device.type != KERNEL_DEVICE:
            return steps.float_backward(grads[0], h, ctx.theta, leak, soft, ctx.rows), None, None, None
        out = h.new_empty((ctx.rows, *h.shape[1:]))
        kernels.float_backward(
            _flat(grads[0]), _flat(h), np.float32(ctx.theta), np.float32(leak), soft, _flat(out)
        )
        return out, None, None, None


def float_membranes(current: Tensor, theta: float, time_steps: int, neuron: Neuron) -> tuple[Tensor, Tensor]:
    """Membranes before firing and spikes, (T, ...), of FP32 neurons."""
    if current.device.type != KERNEL_DEVICE:
        return steps.float_forward(current, theta, time_steps, neuron.leak, neuron.soft)
    h = current.new_empty((time_steps, *current.shape[1:]))
    spikes = torch.empty_like(h)
    kernels.float_forward(
        _flat(current), np.float32(theta), np.float32(neuron.leak), neuron.soft, _flat(h), _flat(spikes)
    )
    return h, spikes


class Surrogate(torch.autograd.Function):
    """`fired` with the gradient max(0, 1 - |H - theta|) to the potential H."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor, fired: Tensor, theta: float) -> Tensor:
        ctx.theta = theta
        ctx.save_for_backward(potential)
        return fired

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (potential,) = ctx.saved_tensors
        return grads[0] * torch.clamp(1 - (potential - ctx.theta).abs(), min=0), None, None


def _flat(tensor: Tensor) -> NDArray[np.float32]:
    """The memory of (T, ...) as (T, n); copies only what is not contiguous (a gradient, never an output)."""
    return tensor.detach().contiguous().numpy().reshape(len(tensor), -1)


def fire_quantised(
    current: Tensor, alpha: Tensor, theta: float, bits: int, neuron: Neuron = IF_HARD, *, whole: bool = True
) -> Tensor:
    """Spikes (T, ...) of 0.0 and 1.0 from currents (T, ...) in units of a level, integers if `whole`."""
    rule = Rule.of(neuron, alpha.item(), theta, bits, whole=whole)
    return QuantisedNeurons.apply(current, alpha, rule)  # type: ignore[no-untyped-call]  # torch


def fire_float(current: Tensor, theta: float, time_steps: int, neuron: Neuron = IF_HARD) -> Tensor:
    """Spikes (T, ...) of FP32 neurons from currents (T, ...), or (1, ...) repeated every step."""
    return FloatNeurons.apply(current, theta, time_steps, neuron)  # type: ignore[no-untyped-call]  # torch


def fire_memory_free(potential: Tensor, fired: Tensor, theta: float) -> Tensor:
    """Spikes as `fired` says, with the surrogate's gradient to H, both (T, ...)."""
    return Surrogate.apply(potential, fired, theta)  # type: ignore[no-untyped-call]  # torch


def mix(current: Tensor, neuron: Neuron, time_steps: int) -> Tensor:
    """unit H = A I over time (T, ...) of memory-free neurons, from (T, ...), or (1, ...) at each step."""
    mixing = torch.from_numpy(neuron.mixing(time_steps)).to(current)
    return torch.tensordot(mixing, current.expand(time_steps, *current.shape[1:]), 1)
