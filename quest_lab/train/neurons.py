"""Integrate-and-fire neurons with hard reset over all time steps at once, as torch functions.

Forward (MINT, arXiv 2305.09850): H = U + I; s = 1[H > theta]; U = quantise(H (1 - s)). In integers, the
same words as quest_lab.network: h = u + i, s = 1[h >= threshold], u = clamp(h (1 - s), -top, top).
Backward: surrogate ds/dH = max(0, 1 - |H - theta|); the reset passes no gradient to s; straight through
the rounding of U, outside its clamp the gradient goes to alpha alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quest_lab.layers import top_level
from quest_lab.network import integer_threshold
from quest_lab.train import kernels


class QuantisedNeurons(torch.autograd.Function):
    """Spikes (T, ...) of integer currents (T, ...) with scale alpha / top; see `fire_quantised`."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, alpha: Tensor, theta: float, bits: int) -> Tensor:
        top = top_level(bits)
        ctx.level, ctx.top = np.float32(integer_threshold(theta, alpha.item(), bits)), np.float32(top)
        ctx.scale, ctx.theta = np.float32(alpha.item() / top), np.float32(theta)
        current = current.contiguous()
        h, spikes = torch.empty_like(current), torch.empty_like(current)
        kernels.quantised_forward(_flat(current), ctx.level, ctx.top, _flat(h), _flat(spikes))
        ctx.save_for_backward(h, alpha)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        h, alpha = ctx.saved_tensors
        out = torch.empty_like(h)
        slope = kernels.quantised_backward(
            _flat(grads[0]), _flat(h), ctx.level, ctx.top, ctx.scale, ctx.theta, _flat(out)
        )
        return out, torch.full_like(alpha, slope), None, None


class EncoderNeurons(torch.autograd.Function):
    """FP32 spikes (T, ...) of one current (...) that repeats every step (direct coding)."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, theta: float, time_steps: int) -> Tensor:
        h = torch.empty((time_steps, *current.shape), dtype=current.dtype)
        spikes = torch.empty_like(h)
        ctx.theta = np.float32(theta)
        kernels.encoder_forward(current.contiguous().numpy().ravel(), ctx.theta, _flat(h), _flat(spikes))
        ctx.save_for_backward(h)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (h,) = ctx.saved_tensors
        out = torch.empty_like(h[0])
        kernels.encoder_backward(_flat(grads[0]), _flat(h), ctx.theta, out.numpy().ravel())
        return out, None, None


def _flat(tensor: Tensor) -> NDArray[np.float32]:
    """The memory of (T, ...) as (T, n); copies only what is not contiguous (a gradient, never an output)."""
    return tensor.detach().contiguous().numpy().reshape(len(tensor), -1)


def fire_quantised(current: Tensor, alpha: Tensor, theta: float, bits: int) -> Tensor:
    """Spikes (T, ...) of 0.0 and 1.0 from integer currents (T, ...), in units of a level."""
    return QuantisedNeurons.apply(current, alpha, theta, bits)  # type: ignore[no-untyped-call]  # torch


def fire_encoder(current: Tensor, theta: float, time_steps: int) -> Tensor:
    """Spikes (T, ...) of the FP32 encoder's neurons from one current (...) repeated every step."""
    return EncoderNeurons.apply(current, theta, time_steps)  # type: ignore[no-untyped-call]  # torch
