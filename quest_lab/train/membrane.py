"""How often the membranes of a layer's neurons change their level: the writes of neurons made of memory cells.

QUEST's neurons are multi-state cells too: a membrane level is a state, firing resets it. Each neuron starts an image
at level 0 and is brought back to it for the next one; that move is counted as well.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quest_lab.layers import FP32, Counts, top_level
from quest_lab.train.places import rows
from quest_lab.train.rule import Rule


def no_moves(bits: int) -> Counts:
    """Of neurons that are not cells: memory-free ones, those of an FP32 network, those with batch norm."""
    levels = 3 if bits == FP32 else 2 * top_level(bits) + 1
    return np.zeros((levels, levels), np.int64)


@torch.no_grad()
def membrane_moves(current: Tensor, spikes: Tensor, rule: Rule) -> Counts:
    """Moves [from, to] between membrane levels -top..top; levels that stay are on the diagonal.

    `current` (T, ...) in units of a level, `spikes` (T, ...) that the neurons answered with.
    """
    counts = np.zeros((2 * rule.top + 1, 2 * rule.top + 1), np.int64)
    if current.device.type == "cpu":
        arriving, fired = (rows(x, len(x), -1) for x in (current, spikes))
        _count_moves(arriving, fired, rule.top, rule.leak, rule.soft, rule.charge, rule.whole, counts)
        return counts
    flat = [x.detach().reshape(len(x), -1) for x in (current, spikes)]
    before = torch.zeros_like(flat[0][0])
    for arriving, fired in zip(*flat, strict=True):
        h = before + (torch.round(arriving) if rule.whole else arriving)
        kept = h - fired * rule.charge if rule.soft else h * (1 - fired)
        after = torch.clamp(torch.round(rule.leak * kept), -rule.top, rule.top)
        counts += _pairs(before, after, counts)
        before = after
    return counts + _pairs(before, torch.zeros_like(before), counts)


def _pairs(before: Tensor, after: Tensor, counts: Counts) -> Counts:
    top = len(counts) // 2
    key = ((before + top) * len(counts) + after + top).to(torch.int64)
    return torch.bincount(key, minlength=counts.size).reshape(counts.shape).cpu().numpy()


@nb.njit(cache=True, nogil=True)
def _count_moves(
    current: NDArray[np.float32],
    spikes: NDArray[np.float32],
    top: int,
    leak: float,
    soft: bool,
    charge: float,
    whole: bool,
    counts: NDArray[np.int64],
) -> None:
    steps, neurons = current.shape
    before = np.zeros(neurons, np.int64)
    for t in range(steps):
        for n in range(neurons):
            h = before[n] + (np.rint(current[t, n]) if whole else current[t, n])
            kept = h - spikes[t, n] * charge if soft else h * (1 - spikes[t, n])
            after = int(min(max(np.rint(leak * kept), -top), top))
            counts[before[n] + top, after + top] += 1
            before[n] = after
    for n in range(neurons):
        counts[before[n] + top, top] += 1
