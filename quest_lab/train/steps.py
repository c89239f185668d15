"""The neurons' loops over time in torch operations, for devices where numba's (quest_lab.train.kernels) do not run.

The same numbers: tensors (T, ...), h the membrane before firing, in levels for quantised neurons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quest_lab.train.rule import Rule


def quantised_forward(current: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """h and spikes (T, ...) from currents (T, ...) in levels."""
    h = torch.round(current) if rule.whole else current.clone()
    u = torch.zeros_like(h[0])
    for now in h:
        now += u
        u = _kept(now, rule)
    return h, (h > rule.limit).to(h.dtype)


def _left(h: Tensor, rule: Rule, charge: float) -> Tensor:
    """What a step leaves: leak (h - s taken)."""
    fired = h > rule.limit
    return rule.leak * (h - fired * charge if rule.soft else h * ~fired)


def _kept(h: Tensor, rule: Rule) -> Tensor:
    """What the membrane holds then: rounded and clamped."""
    return torch.clamp(torch.round(_left(h, rule, rule.charge)), -rule.top, rule.top)


def quantised_backward(grad: Tensor, h: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """Gradients to the currents, (T, ...), and to alpha, (); see kernels.quantised_backward."""
    out = torch.empty_like(h)
    carried = torch.zeros_like(h[0])
    slope = torch.zeros((), dtype=torch.float64, device=h.device)
    for t in reversed(range(len(h))):
        now = h[t]
        x = _left(now, rule, rule.theta / rule.scale)
        inside = x.abs() <= rule.top
        side = torch.where(inside, (_kept(now, rule) - x) / rule.top, torch.sign(x))
        passed = inside if rule.soft else inside & (now <= rule.limit)
        value = grad[t] * _surrogate(now * rule.scale, rule.theta) + rule.leak * carried * passed
        arrived = now - _kept(h[t - 1], rule) if t else now
        slope += (carried * side + value * arrived / rule.top).sum(dtype=torch.float64)
        out[t] = value * rule.scale
        carried = value
    return out, slope


def float_forward(
    current: Tensor, theta: float, steps: int, leak: float, soft: bool
) -> tuple[Tensor, Tensor]:
    """h and spikes (T, ...) of FP32 neurons from currents (T, ...), or (1, ...) at each step."""
    h: list[Tensor] = []
    u = torch.zeros_like(current[0])
    for t in range(steps):
        h.append(u + current[min(t, len(current) - 1)])
        fired = h[-1] > theta
        u = leak * (h[-1] - fired * theta if soft else h[-1] * ~fired)
    every = torch.stack(h)
    return every, (every > theta).to(every.dtype)


def float_backward(grad: Tensor, h: Tensor, theta: float, leak: float, soft: bool, rows: int) -> Tensor:
    """Gradient to the currents, (T, ...), or (1, ...) with `rows` = 1."""
    out = torch.zeros((rows, *h.shape[1:]), dtype=h.dtype, device=h.device)
    carried = torch.zeros_like(h[0])
    for t in reversed(range(len(h))):
        kept = leak * carried if soft else leak * carried * (h[t] <= theta)
        carried = grad[t] * _surrogate(h[t], theta) + kept
        out[min(t, rows - 1)] += carried
    return out


def _surrogate(h: Tensor, theta: float) -> Tensor:
    return torch.clamp(1 - (h - theta).abs(), min=0)
