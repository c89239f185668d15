"""Thresholds of a population of cells from staircases, by maximum likelihood.

A pulse of V volts brings cell c over the threshold if V >= u_c + e, with u_c ~ N(mean, cells^2) fixed and
e ~ N(0, cycles^2) anew at each pulse. A staircase V_1 < V_2 < ... is first over it at step i with probability
    F_i prod_{m<i} (1 - F_m),   F_i = Phi((V_i - u_c) / cycles),
so the step that did it says between which amplitudes, and all pulses before it count (a threshold met on many
fine steps is met early). Staircases of one cell share u_c (integrated on a grid). Intervals from the profile of
the likelihood on a grid (Student's quantile for the few cells): an end at 0 says that the steps are too coarse to
see the spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from quest_lab.device import Floats
from quest_lab.estimates import Estimate, stacked, student_reach

_SIZES = (7, 7, 11)  # points of each axis, round by round
_NARROWEST = 0.05  # of a step: no smaller spread can be told from none
_REACH = 4.0  # standard deviations of the cells that the integral covers
_MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Mean over the population, spread from cell to cell, spread from pulse to pulse; volts, one of each state."""

    mean_v: Estimate
    cells_v: Estimate
    cycles_v: Estimate

    @classmethod
    def of_states(cls, parts: list[Thresholds]) -> Thresholds:
        return cls(*(stacked([getattr(p, n) for p in parts]) for n in ("mean_v", "cells_v", "cycles_v")))


def fit_threshold(first: NDArray[np.integer], amplitude_v: Floats, stray: float) -> Thresholds:
    """`first[repeat, cell]`: step that first was over the threshold, `amplitude_v.size` if none was. `stray` is the
    probability that a landing was taken for a state above it, whatever the threshold."""
    step = float(amplitude_v[1] - amplitude_v[0])
    steps = amplitude_v.size
    low, high = max(int(first.min()) - 8, 0), min(int(first.max()) + 1, steps)
    seen = _Seen(np.clip(first - low, 0, high - low), amplitude_v[low:high], stray / steps)
    centre, half = _start(first, amplitude_v, step)
    drop = 0.5 * student_reach(first.shape[1]) ** 2  # of the log likelihood at the ends of an interval
    axes: list[Floats] = []
    for size in _SIZES:
        axes = [_axis(c, h, size, i, step) for i, (c, h) in enumerate(zip(centre, half, strict=True))]
        surface = seen.surface(*axes)
        centre, half = _zoom(surface, axes, 2.2 * drop)
    return Thresholds(*(_interval(surface, axes, i, step, drop) for i in range(3)))


class _Seen:
    """The steps that were seen, cell by cell."""

    def __init__(self, first: NDArray[np.integer], amplitude_v: Floats, stray: float) -> None:
        cells = first.shape[1]
        counts = np.zeros((cells, amplitude_v.size + 1))
        np.add.at(counts, (np.arange(cells), first), 1.0)
        self._counts, self._times = np.unique(counts, axis=0, return_counts=True)
        self._amplitude_v, self._stray, self._repeats = amplitude_v, stray, first.shape[0]

    def surface(self, mean: Floats, cells: Floats, cycles: Floats) -> Floats:
        """Log likelihood on the grid of the three parameters (the spreads as logarithms), with the term that
        makes that of the spreads free of the unknown mean (Patterson & Thompson, Biometrika 58 (1971) 545)."""
        widest = float(np.exp(cells[-1]))
        low, high = mean[0] - _REACH * widest, mean[-1] + _REACH * widest
        u = np.linspace(low, high, min(int((high - low) / np.exp(cells[0])) + 25, _MOST_POINTS))
        spread = np.exp(cells)[None, :, None]
        weights = np.exp(-0.5 * ((u - mean[:, None, None]) / spread) ** 2).reshape(-1, u.size)
        weights /= weights.sum(axis=1, keepdims=True)
        planes = [self._plane(u, weights, float(np.exp(c))) for c in cycles]
        surface = np.stack(planes, axis=-1).reshape(mean.size, cells.size, cycles.size)
        of_mean = np.exp(2 * cells)[:, None] + np.exp(2 * cycles) / self._repeats
        return np.asarray(surface + 0.5 * np.log(of_mean))

    def _plane(self, u: Floats, weights: Floats, cycles: float) -> Floats:
        """Log likelihood for each row of `weights`, the law of the cells' thresholds on the points `u`."""
        z = (self._amplitude_v - u[:, None]) / cycles
        log_p = np.zeros((u.size, self._amplitude_v.size + 1))
        log_p[:, :-1] = log_ndtr(z)
        log_p[:, 1:] += np.cumsum(log_ndtr(-z), axis=1)
        log_p = np.logaddexp(log_p, np.log(self._stray)) if self._stray > 0 else log_p
        each = self._counts @ log_p.T
        highest = each.max(axis=1, keepdims=True)
        total = np.log(np.exp(each - highest) @ weights.T + 1e-300) + highest
        return np.asarray(self._times @ total)


def _start(first: NDArray[np.integer], amplitude_v: Floats, step: float) -> tuple[list[float], list[float]]:
    """Middle and half width of the first grid: (mean, ln cells, ln cycles)."""
    volts = amplitude_v[np.minimum(first, amplitude_v.size - 1)] - 0.5 * step
    middle = np.median(volts)
    within = max(float(volts.std(axis=0, ddof=1).mean()), 0.4 * step) if first.shape[0] > 1 else step
    between = max(float(volts.mean(axis=0).std(ddof=1)), 0.4 * step)
    reach = within + between / np.sqrt(first.shape[1]) * 6
    return [float(middle + 0.6 * within), np.log(between), np.log(within)], [float(reach), 1.8, 1.8]


def _axis(centre: float, half: float, size: int, which: int, step: float) -> Floats:
    low, high = centre - half, centre + half
    if which:
        low = max(low, np.log(_NARROWEST * step))
        high = max(high, low + 0.1)
    return np.linspace(low, high, size)


def _zoom(surface: Floats, axes: list[Floats], drop: float) -> tuple[list[float], list[float]]:
    """A grid around all that is within reach of the best point."""
    near = surface > surface.max() - drop
    centre, half = [], []
    for i, axis in enumerate(axes):
        inside = np.flatnonzero(near.any(axis=tuple(j for j in range(3) if j != i)))
        margin = 0.6 * (axis[1] - axis[0])
        low, high = axis[inside[0]] - margin, axis[inside[-1]] + margin
        centre.append(0.5 * float(low + high))
        half.append(0.5 * float(high - low))
    return centre, half


def _interval(surface: Floats, axes: list[Floats], which: int, step: float, drop: float) -> Estimate:
    """Best value and interval of one parameter, the others at their best."""
    from scipy.interpolate import CubicSpline  # half a second: only who fits pays for it

    axis = axes[which]
    profile = surface.max(axis=tuple(j for j in range(3) if j != which))
    fine = np.linspace(axis[0], axis[-1], 1001)
    smooth = CubicSpline(axis, profile)(fine)
    best = int(smooth.argmax())
    inside = np.flatnonzero(smooth > smooth[best] - drop)
    value, low, high = fine[best], fine[inside[0]], fine[inside[-1]]
    if not which:
        return Estimate(np.asarray(value), np.asarray(low), np.asarray(high))
    floor = np.log(_NARROWEST * step) + 1e-9
    ends = [0.0 if x <= floor else float(np.exp(x)) for x in (value, low, high)]
    return Estimate(*(np.asarray(x) for x in ends))
