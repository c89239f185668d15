"""Neurons over all time steps at once, as torch functions; their arithmetic is that of quest_lab.neurons.

Forward (MINT, arXiv 2305.09850): H = U + I; s = 1[H > theta]; U = quantise(leak H (1 - s)) with hard reset,
quantise(leak (H - s theta)) with soft. In integers, the same words as quest_lab.network. Backward: surrogate
ds/dH = max(0, 1 - |H - theta|); the reset passes no gradient to s; straight through the rounding of U, outside its
clamp the gradient goes to alpha alone. Written by hand: fused over time on the CPU, steps of torch elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quest_lab.neurons import IF_HARD, Neuron
from quest_lab.spike_kernels import in_threads
from quest_lab.train import kernels, steps
from quest_lab.train.places import empty_rows, rows
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
    h, spikes = empty_rows(current), empty_rows(current)
    arriving, membranes, out = _flat(current), _flat(h), _flat(spikes)
    limit, charge, top, leak = _float32(rule.limit, rule.charge, rule.top, rule.leak)
    _in_blocks(
        lambda a, b: kernels.quantised_forward(
            arriving, limit, charge, top, leak, rule.soft, rule.whole, membranes, out, a, b
        ),
        membranes.shape[1],
    )
    return h, spikes


def _quantised_backward(grad: Tensor, h: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    if h.device.type != KERNEL_DEVICE:
        return steps.quantised_backward(grad, h, rule)
    out = empty_rows(h)
    given, membranes, towards = _flat(grad), _flat(h), _flat(out)
    to_alpha = np.zeros(-(-membranes.shape[1] // kernels.BLOCK))
    limit, charge, top, leak = _float32(rule.limit, rule.charge, rule.top, rule.leak)
    scale, theta = _float32(rule.scale, rule.theta)
    _in_blocks(
        lambda a, b: kernels.quantised_backward(
            given, membranes, limit, charge, top, leak, rule.soft, scale, theta, towards, to_alpha, a, b
        ),
        membranes.shape[1],
    )
    return out, torch.tensor(to_alpha.sum())


class FloatNeurons(torch.autograd.Function):
    """FP32 spikes (T, ...) of currents (T, ...), or of one current (1, ...) that repeats every step.

    The backward pass computes the membranes again: with direct coding they are T times the current's memory.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, theta: float, time_steps: int, neuron: Neuron) -> Tensor:
        ctx.theta, ctx.neuron, ctx.time_steps = theta, neuron, time_steps
        ctx.save_for_backward(current)
        leak, soft = neuron.leak, neuron.soft
        if current.device.type != KERNEL_DEVICE:
            return steps.float_forward(current.detach(), theta, time_steps, leak, soft)[1]
        spikes = empty_rows(current[:1].expand(time_steps, *current.shape[1:]))
        arriving, out, (limit, kept) = _flat(current), _flat(spikes), _float32(theta, leak)
        _in_blocks(lambda a, b: kernels.float_forward(arriving, limit, kept, soft, out, a, b), out.shape[1])
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (current,) = ctx.saved_tensors
        leak, soft = ctx.neuron.leak, ctx.neuron.soft
        if current.device.type != KERNEL_DEVICE:
            h = float_membranes(current, ctx.theta, ctx.time_steps, ctx.neuron)
            out = steps.float_backward(grads[0], h, ctx.theta, leak, soft, len(current))
            return out, None, None, None
        out = empty_rows(current)
        given, arriving, towards = _flat(grads[0]), _flat(current), _flat(out)
        limit, kept = _float32(ctx.theta, leak)
        _in_blocks(
            lambda a, b: kernels.float_backward(given, arriving, limit, kept, soft, towards, a, b),
            given.shape[1],
        )
        return out, None, None, None


def float_membranes(current: Tensor, theta: float, time_steps: int, neuron: Neuron) -> Tensor:
    """Membranes (T, ...) of FP32 neurons before firing."""
    return steps.float_forward(current.detach(), theta, time_steps, neuron.leak, neuron.soft)[0]


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
    """The memory of (T, ...) as (T, n), channels last; copies only what lies otherwise."""
    return rows(tensor, len(tensor), -1)


def _float32(*numbers: float) -> tuple[Any, ...]:
    return tuple(np.float32(number) for number in numbers)


def _in_blocks(work: Callable[[int, int], object], neurons: int) -> None:
    in_threads(work, -(-neurons // kernels.BLOCK), torch.get_num_threads())


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
