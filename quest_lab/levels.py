"""Finding resistance levels in data: stays, a one-dimensional Gaussian mixture, boundaries, decoding error.

Positions are x = (R/R0 - 1) / (R_top/R0 - 1) of each cell against its own baseline: 0 at R0, 1 at the top,
whichever way the resistance runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from quest_lab.device import Floats

_MAX_LEVELS = 16
_MOST_OBSERVATIONS = 3000  # more change no centre, only the time
_PATIENCE = 3  # numbers of levels to try beyond the best
_FEW = 600  # observations; among so few, several levels may have to be split at once to be worth it
_CUT = 12.0  # squared standard errors that two stays must differ by


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels in ascending position: `mean` and `std` of a single read, shape (S,); `boundary`: (S-1,)."""

    mean: Floats
    std: Floats
    boundary: Floats

    @classmethod
    def of(cls, mean: Floats, std: Floats) -> Levels:
        """With boundaries as many standard deviations from either side."""
        return cls(mean, std, (mean[:-1] * std[1:] + mean[1:] * std[:-1]) / (std[:-1] + std[1:]))

    @property
    def decoding_error(self) -> Floats:
        """Probability that a read of either of two neighbours falls on the wrong side, shape (S-1,)."""
        low = ndtr(-(self.boundary - self.mean[:-1]) / self.std[:-1])
        high = ndtr(-(self.mean[1:] - self.boundary) / self.std[1:])
        return 0.5 * (low + high)


def stays(tracks: Floats, noise: Floats) -> NDArray[np.int64]:
    """Which stay each read of each track belongs to, counted from 0, shape (reads, tracks).

    Consecutive reads of one landing share its residual, so they count as one observation. Cuts each track where
    the sum of squares, in units of the track's read `noise`, plus a price for each cut is least (optimal
    partitioning: Jackson et al., IEEE Signal Proc. Lett. 12 (2005) 105).
    """
    reads, count = tracks.shape
    scaled = np.vstack([np.zeros(count), tracks]) / noise
    total, squares = np.cumsum(scaled, axis=0), np.cumsum(scaled**2, axis=0)
    best, start = np.zeros((reads + 1, count)), np.zeros((reads + 1, count), np.int64)
    best[0] = -_CUT
    for t in range(1, reads + 1):
        long = t - np.arange(t)[:, None]
        cost = squares[t] - squares[:t] - (total[t] - total[:t]) ** 2 / long + best[:t] + _CUT
        start[t] = cost.argmin(axis=0)
        best[t] = cost[start[t], np.arange(count)]
    cut, end = np.zeros((reads + 1, count), bool), np.full(count, reads)
    while np.any(end > 0):
        end = start[end, np.arange(count)]
        cut[end, np.arange(count)] = True
    return np.cumsum(cut[:-1], axis=0) - 1


def find_levels(observations: Floats, floor: float, per_cell: float = 1.0) -> Floats:
    """Centres of the mixture of normals that explains the observations best (BIC), ascending, shape (S,).

    `floor` is the smallest standard deviation that a level can have (the read noise). Centres that no single
    read could tell apart (closer than two standard deviations) are one level. Where a cell gives `per_cell`
    observations of each level, their common offset makes them count as one.
    """
    x = np.sort(observations)
    x = x[:: -(-x.size // _MOST_OBSERVATIONS)]
    best_bic, best = np.inf, np.array([x.mean()])
    last_fit: list[Floats] = []
    for n in range(1, min(_MAX_LEVELS, x.size // 5) + 1):
        if x.size > _FEW and n > best.size + _PATIENCE:
            break
        starts = (_by_gaps(x, n), np.linspace(x[0], x[-1], n), _split(*last_fit)) if n > 1 else (best,)
        fits = [_fit(x, start, floor) for start in starts]
        _, *last_fit, _ = max(fits, key=lambda fit: fit[3])
        for weight, mean, std, log_likelihood in fits:
            bic = (3 * n - 1) * np.log(x.size / per_cell) * per_cell - 2.0 * log_likelihood
            if bic < best_bic and _distinct(weight, mean, std, x.size):
                best_bic, best = bic, np.sort(mean)
    return best


def _by_gaps(x: Floats, n: int) -> Floats:
    """Means of the pieces between the n-1 widest gaps."""
    cuts = np.sort(np.argsort(np.diff(x))[-(n - 1) :] + 1) if n > 1 else np.empty(0, int)
    return np.array([piece.mean() for piece in np.split(x, cuts)])


def _split(mean: Floats, std: Floats) -> Floats:
    """The centres, with the broadest component taken for two: where one stray read misleads the gaps."""
    broad = int(std.argmax())
    return np.append(np.delete(mean, broad), mean[broad] + std[broad] * np.array([-1.0, 1.0]))


def _fit(x: Floats, start: Floats, floor: float) -> tuple[Floats, Floats, Floats, float]:
    """Expectation-maximisation from the given centres; returns weights, means, deviations, log likelihood."""
    n = start.size
    mean, weight = start.copy(), np.full(n, 1.0 / n)
    std = np.full(n, max(float(np.ptp(x)) / (4 * n), floor))
    powers = np.stack([np.ones(x.size), x, x**2])
    last = -np.inf
    for _ in range(200):
        narrow = std**-2.0
        height = np.log(weight / (std * np.sqrt(2 * np.pi))) - 0.5 * narrow * mean**2
        joint = np.stack([height, narrow * mean, -0.5 * narrow], axis=1) @ powers  # ln w N(x; mean, std^2)
        highest = joint.max(axis=0)
        share = np.exp(joint - highest)
        likelihood = share.sum(axis=0)
        count, first, second = (share @ (powers / likelihood).T).T  # moments of what each component holds
        mass = count + 1e-9
        weight, mean = mass / mass.sum(), first / mass
        square = (second - 2 * mean * first + mean**2 * count) / mass
        std = np.maximum(np.sqrt(np.maximum(square, 0.0)), floor)
        total = float((highest + np.log(likelihood)).sum())
        if total - last < 1e-6 * abs(total):
            break
        last = total
    return weight, mean, std, total


def _distinct(weight: Floats, mean: Floats, std: Floats, count: int) -> bool:
    """Whether every component holds at least three observations and no two overlap within two deviations."""
    order = np.argsort(mean)
    apart = np.diff(mean[order]) >= std[order][1:] + std[order][:-1]
    return bool(np.all(weight * count >= 3.0) and np.all(apart))
