"""Batch norm over time, samples and places, whose gain stays above 0 so that it folds into thresholds."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from quest_lab.train.fused import fire_normalised, moments
from quest_lab.train.places import rows
from quest_lab.train.rule import Rule

_EPS, _MOMENTUM = 1e-5, 0.1


class Norm(nn.Module):
    """exp(log_gain) (x - mean) / std + bias of each channel of (T, B, c, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; with the batch's statistics in training, else the running ones."""
        running = self.get_buffer("mean"), self.get_buffer("variance")
        out = F.batch_norm(
            x.flatten(0, 1), *running, self.log_gain.exp(), self.bias, self.training, _MOMENTUM, _EPS
        )
        return out.view_as(x)

    def fire(self, x: Tensor, alpha: Tensor, rule: Rule) -> Tensor:
        """Spikes of quantised neurons behind the norm, in training on the CPU: the same in one pass over memory."""
        mean, variance = moments(rows(x, -1, x.shape[-3]))
        count = x.numel() // len(mean)
        self.get_buffer("mean").lerp_(mean.float(), _MOMENTUM)
        self.get_buffer("variance").lerp_((variance * (count / (count - 1))).float(), _MOMENTUM)
        std = torch.sqrt(variance + _EPS)
        return fire_normalised(x, self.log_gain.exp(), self.bias, alpha, mean, std, rule)

    @torch.no_grad()
    def folded(self) -> NDArray[np.float64]:
        """Gain and offset (2, channels) of the running statistics: gain x + offset."""
        gain = self.log_gain.double().exp() / torch.sqrt(self.get_buffer("variance").double() + _EPS)
        return torch.stack([gain, self.bias.double() - gain * self.get_buffer("mean")]).cpu().numpy()
