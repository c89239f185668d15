"""Which levels a single read can tell apart, and the largest set of them that it can.

The decoding error of two levels is the probability that a read of one falls on the other's side of a boundary
that is as many standard deviations from either: Phi(-z), z = (mean_j - mean_i) / (std_i + std_j). The spread is all
that a decoded read has: landing residual, read noise, the cell's baseline and its errors. A pair is told apart if
the whole 95 % interval of its error is at most the bound, cannot be if all of it is above, and is undecided
otherwise; the set goes by the errors themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from quest_lab.device import Floats
from quest_lab.estimates import Estimate, of_mean, of_variance, stacked, student_reach
from quest_lab.levels import Levels
from quest_lab.mixture import Mixture

BOUND = 0.01  # decoding error of a pair that counts as told apart
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Separation:
    """Every level found: position and spread of a single read, shape (L,); decoding error of each pair (L, L); and
    the indices of those `chosen`, ascending from 0."""

    mean: Estimate
    std: Estimate
    error: Estimate
    chosen: NDArray[np.int64]
    landings: Floats  # seen of each level, per cell

    @property
    def levels(self) -> Levels:
        """The chosen ones."""
        return Levels.of(self.mean.value[self.chosen], self.std.value[self.chosen])

    def inseparable(self) -> list[Pair]:
        """Pairs whose error is above the bound, decided or not."""
        return [(i, j) for i, j in self._pairs() if self.error.value[i, j] > BOUND]

    def undecided(self) -> list[Pair]:
        """Pairs whose interval holds the bound."""
        return [(i, j) for i, j in self._pairs() if self.error.low[i, j] <= BOUND < self.error.high[i, j]]

    def _pairs(self) -> list[Pair]:
        n = self.mean.value.size
        return [(i, j) for i in range(n) for j in range(i + 1, n)]


def separate(fitted: Mixture, read: Estimate, landings: Floats, cells: int) -> Separation:
    """From the levels' mixture and the variance that one read adds at each of them, `read` of shape (L,);
    `landings` seen of each on each of `cells` cells."""
    n = fitted.mean.size
    covariance = fitted.covariance
    reach = student_reach(cells)
    of_noise = read.half_width / reach  # one noise at all levels
    covariance[n:, n:] += np.multiply.outer(of_noise, of_noise)
    error = np.sqrt(np.diag(covariance))
    variance = fitted.variance + error[:n] ** 2 + read.value  # likelihood takes deviations from its own means
    mean = stacked([of_mean(float(m), float(e), cells) for m, e in zip(fitted.mean, error[:n], strict=True)])
    std = stacked([of_variance(float(v), float(e)) for v, e in zip(variance, error[n:], strict=True)])
    pairs = _errors(fitted.mean, np.sqrt(variance), covariance, reach)
    return Separation(mean, std, pairs, largest_set(pairs.value), landings)


def largest_set(error: Floats) -> NDArray[np.int64]:
    """Longest ascending chain from level 0 whose neighbours are told apart (BOUND); of equal ones that with the least
    largest error. Levels that are no neighbours in it are then told apart all the more."""
    n = error.shape[0]
    length, worst, before = np.zeros(n, int), np.zeros(n), np.full(n, -1)
    length[0] = 1
    for j in range(1, n):
        for i in range(j):
            if not length[i] or error[i, j] > BOUND:
                continue
            rank = (length[i] + 1, -max(worst[i], error[i, j]))
            if rank > (length[j], -worst[j]):
                length[j], worst[j], before[j] = rank[0], -rank[1], i
    end = max(range(n), key=lambda j: (length[j], -worst[j]))
    chain = [end]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return np.array(chain[::-1], np.int64)


def _errors(mean: Floats, std: Floats, covariance: Floats, reach: float) -> Estimate:
    """Phi(-z) of each pair; the interval is that of ln z, whose law is nearly symmetric."""
    n = mean.size
    value, low, high = (np.full((n, n), np.nan) for _ in range(3))
    for i in range(n):
        for j in range(i + 1, n):
            both = std[i] + std[j]
            z = (mean[j] - mean[i]) / both
            slope = np.zeros(2 * n)
            slope[[i, j]] = -1.0 / both, 1.0 / both
            slope[[n + i, n + j]] = -z / both / (2 * std[[i, j]])
            relative = reach * np.sqrt(max(float(slope @ covariance @ slope), 0.0)) / max(z, 1e-12)
            ends = ndtr(-z * np.exp(np.array([0.0, relative, -relative])))
            value[i, j], low[i, j], high[i, j] = ends
            value[j, i], low[j, i], high[j, i] = ends
    return Estimate(value, low, high)
