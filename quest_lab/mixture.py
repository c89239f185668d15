"""Levels as a mixture of normals, of observations that each have a measurement variance of their own.

x_i ~ sum_k w_k N(mu_k, tau_k^2 + v_i): mu_k the level's position, tau_k how far landings and cells scatter around
it, v_i the known variance of observation i (reads averaged). Fitted by expectation-maximisation; errors from the
sandwich H^-1 (sum over cells of s s') H^-1 (White, Econometrica 50 (1982) 1), since one cell gives several x_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats

_ROUNDS = 300
_LEAST_SHARE = 1e-6  # of the smallest measurement variance: tau is never quite 0


@dataclass(frozen=True, slots=True)
class Observations:
    """Positions `x` with variances `v` of their measurement, of which `cell`; all of shape (n,)."""

    x: Floats
    v: Floats
    cell: NDArray[np.int64]

    def joined(self, other: Observations) -> Observations:
        return Observations(
            np.append(self.x, other.x), np.append(self.v, other.v), np.append(self.cell, other.cell)
        )


@dataclass(frozen=True, slots=True)
class Mixture:
    """Weight, mean and variance tau^2 of each component, shape (S,); `covariance` of means and variances (2S, 2S)."""

    weight: Floats
    mean: Floats
    variance: Floats
    covariance: Floats


def fit_mixture(seen: Observations, start: Floats) -> Mixture:
    """The mixture with as many components as `start` has means, ascending."""
    gap = float(np.diff(start).min()) if start.size > 1 else float(np.ptp(seen.x)) or 1.0
    mean, variance = start.copy(), np.full(start.size, (gap / 5) ** 2)
    weight, least = np.full(start.size, 1.0 / start.size), _LEAST_SHARE * float(seen.v.min())
    last = -np.inf
    for _ in range(_ROUNDS):
        share, total = _shares(seen, weight, mean, variance)
        mass = share.sum(axis=0) + 1e-9
        kept = variance / (variance + seen.v[:, None])
        deviation = kept * (seen.x[:, None] - mean)
        shift = (share * deviation).sum(axis=0) / mass
        spread = (share * ((deviation - shift) ** 2 + kept * seen.v[:, None])).sum(axis=0) / mass
        weight, mean, variance = mass / mass.sum(), mean + shift, np.maximum(spread, least)
        if total - last < 1e-7 * abs(total):
            break
        last = total
    order = np.argsort(mean)
    weight, mean, variance = weight[order], mean[order], variance[order]
    return Mixture(weight, mean, variance, _covariance(seen, weight, mean, variance))


def most_likely(seen: Observations, fitted: Mixture) -> NDArray[np.intp]:
    """Component of each observation, shape (n,)."""
    return _shares(seen, fitted.weight, fitted.mean, fitted.variance)[0].argmax(axis=1)


def _shares(seen: Observations, weight: Floats, mean: Floats, variance: Floats) -> tuple[Floats, float]:
    """Probability of each component given each observation, (n, S), and the log likelihood."""
    total = variance + seen.v[:, None]
    joint = np.log(weight) - 0.5 * ((seen.x[:, None] - mean) ** 2 / total + np.log(2 * np.pi * total))
    highest = joint.max(axis=1, keepdims=True)
    share = np.exp(joint - highest)
    norm = share.sum(axis=1, keepdims=True)
    return share / norm, float((highest + np.log(norm)).sum())


def _scores(seen: Observations, parameters: Floats) -> Floats:
    """Gradient of each observation's log likelihood by (mean, variance, log weight), shape (n, 3 S)."""
    mean, variance, logit = np.split(parameters, 3)
    weight = np.exp(logit - np.logaddexp.reduce(logit))
    share, _ = _shares(seen, weight, mean, variance)
    total = variance + seen.v[:, None]
    z = (seen.x[:, None] - mean) / total
    return np.hstack([share * z, 0.5 * share * (z**2 - 1 / total), share - weight])


def _covariance(seen: Observations, weight: Floats, mean: Floats, variance: Floats) -> Floats:
    """Of means and variances. A variance at its bound has the error that its information alone gives."""
    n = mean.size
    at = np.concatenate([mean, variance, np.log(weight)])
    share, _ = _shares(seen, weight, mean, variance)
    alone = 1.0 / np.maximum((share / (2 * (variance + seen.v[:, None]) ** 2)).sum(axis=0), 1e-300)
    free = np.concatenate([np.ones(n, bool), variance > 0.02 * np.sqrt(alone), np.ones(n, bool)])
    free[2 * n] = False  # the weights add up to 1
    clusters = _sums(_scores(seen, at)[:, free], seen.cell)
    cells = clusters.shape[0]
    meat = clusters.T @ clusters * cells / max(cells - 1, 1)
    size = np.concatenate([np.full(n, 1e-4) * np.sqrt(variance + seen.v.min()), 1e-3 * np.sqrt(alone), np.full(n, 1e-4)])
    hessian = np.array([_slope(seen, at, i, size[i])[free] for i in np.flatnonzero(free)])
    hessian = 0.5 * (hessian + hessian.T)
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    bread = scale[:, None] * np.linalg.pinv(scale[:, None] * hessian * scale) * scale
    out = np.diag(np.concatenate([np.zeros(n), alone, np.zeros(n)]))
    out[np.ix_(free, free)] = bread @ meat @ bread
    return np.asarray(out[: 2 * n, : 2 * n])


def _slope(seen: Observations, at: Floats, i: int, size: float) -> Floats:
    """Derivative of the total score by parameter i."""
    step = np.zeros(at.size)
    step[i] = min(size, 0.1 * at[i]) if at.size // 3 <= i < 2 * (at.size // 3) else size
    up, down = _scores(seen, at + step).sum(axis=0), _scores(seen, at - step).sum(axis=0)
    return np.asarray((up - down) / (2 * step[i]))


def _sums(rows: Floats, cell: NDArray[np.int64]) -> Floats:
    """Sum of the rows of each cell."""
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    return np.asarray(np.add.reduceat(rows[order], starts, axis=0))
