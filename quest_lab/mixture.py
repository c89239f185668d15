"""Levels as a mixture of normals, of observations that each have a measurement variance of their own.

x_i ~ sum_k w_k N(mu_k, tau_k^2 + v_i): mu_k the level's position, tau_k how far landings and cells scatter around
it, v_i the known variance of observation i (reads averaged). The amplitude that brought a stay about, where it is
known, says which level it is too: a factor N(V_i; a_k, b_k^2). Landings of a pulse meant for one level have weights
of their own, since most come to that level. Fitted by expectation-maximisation; errors from the sandwich
H^-1 (sum over cells of s s') H^-1 (White, Econometrica 50 (1982) 1), since one cell gives several x_i: the sum of the
squares of H^-1 s, by which each cell moves the result.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats

_ROUNDS = 300
_LEAST_SHARE = 1e-6  # of the smallest measurement variance: tau is never quite 0
_FIRST_STD_V, _LEAST_STD_V = 0.02, 0.003  # of the amplitudes that bring a level about: a start, and a bound
_ANY_AMPLITUDE = 0.1  # density, 1/V: some 5 % of the stays begin anywhere, as where a pulse skips a level
_LEAST_WEIGHT = 0.05  # expected observations of a pulse on a level; fewer tell nothing of their share
_TWICE = 0.5  # a level that this share of its staircases stay on twice is two levels


@dataclass(frozen=True, slots=True)
class Observations:
    """Positions `x` with variances `v` of their measurement, of which `cell`, since which amplitude (NaN: not known),
    on which staircase (-1: none); brought about by which pulse (0: a staircase, k: one meant for level k); all of
    shape (n,)."""

    x: Floats
    v: Floats
    cell: NDArray[np.int64]
    volts: Floats
    track: NDArray[np.int64]
    pulse: NDArray[np.int64]

    def joined(self, other: Observations) -> Observations:
        return Observations(*(np.append(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Mixture:
    """Weight of each component after each pulse, (P, S); mean and variance tau^2, shape (S,); mean and deviation of
    the amplitudes; the log likelihood; `influence` of each cell on means and variances, (cells, 2S), whose squares
    add up to those of their errors."""

    weight: Floats
    mean: Floats
    variance: Floats
    volts: Floats
    volts_std: Floats
    log_likelihood: float
    influence: Floats

    @property
    def covariance(self) -> Floats:
        """Of means and variances, (2S, 2S)."""
        return np.asarray(self.influence.T @ self.influence)


def fit_mixture(seen: Observations, start: Floats, volts: Floats | None = None) -> Mixture:
    """The mixture with as many components as `start` has means; `volts` where they are known to differ."""
    return _with_influence(seen, _likeliest(seen, start, volts))


def _likeliest(seen: Observations, start: Floats, volts: Floats | None = None) -> Mixture:
    """The mixture without any cell's influence, which takes as long again."""
    n, known = start.size, ~np.isnan(seen.volts)
    gap = float(np.diff(np.sort(start)).min()) if n > 1 else float(np.ptp(seen.x)) or 1.0
    mean, variance = start.copy(), np.full(n, (gap / 5) ** 2)
    weight, least = _first_weights(seen, n), _LEAST_SHARE * float(seen.v.min())
    at = np.zeros((n, seen.x.size)) if volts is None else _of_volts(seen, volts, np.full(n, _FIRST_STD_V))
    known_volts = seen.volts[known]
    centre, width = np.zeros(n), np.zeros(n)
    last = -np.inf
    for _ in range(_ROUNDS):
        share, total = _shares(seen, weight, mean, variance, at)
        mass = share.sum(axis=1) + 1e-9
        kept = variance[:, None] / (variance[:, None] + seen.v)
        deviation = kept * (seen.x - mean[:, None])
        shift = (share * deviation).sum(axis=1) / mass
        spread = (share * ((deviation - shift[:, None]) ** 2 + kept * seen.v)).sum(axis=1) / mass
        weight, mean, variance = _weights(seen, share), mean + shift, np.maximum(spread, least)
        of_known = share[:, known]
        of_known /= of_known.sum(axis=1, keepdims=True) + 1e-9
        centre = of_known @ known_volts
        square = (of_known * (known_volts - centre[:, None]) ** 2).sum(axis=1)
        width = np.maximum(np.sqrt(square), _LEAST_STD_V)
        at = _of_volts(seen, centre, width)
        if abs(total - last) < 1e-7 * abs(total):
            break
        last = total
    order = np.argsort(mean)
    weight, mean, variance, nobody = weight[:, order], mean[order], variance[order], np.empty((0, 2 * n))
    return Mixture(weight, mean, variance, centre[order], width[order], total, nobody)


def split_twice(seen: Observations, fitted: Mixture, per_cell: float) -> Mixture:
    """With two levels for each on which many staircases stay twice, if that explains the observations better (BIC;
    `per_cell` observations of a cell count as one)."""
    price = 2.5 * np.log(seen.x.size) * per_cell
    tried: set[float] = set()
    while (k := _twice(seen, fitted, tried)) is not None:
        tried.add(float(fitted.mean[k]))
        later = _later(seen, shares(seen, fitted).argmax(axis=1) == k)
        first = (shares(seen, fitted).argmax(axis=1) == k) & ~later & (seen.track >= 0)
        means = np.append(np.delete(fitted.mean, k), [seen.x[first].mean(), seen.x[later].mean()])
        volts = np.append(np.delete(fitted.volts, k), [seen.volts[first].mean(), seen.volts[later].mean()])
        more = _likeliest(seen, means, volts)
        if more.log_likelihood - fitted.log_likelihood > price:
            fitted = more
    return fitted if fitted.influence.size else _with_influence(seen, fitted)


def _twice(seen: Observations, fitted: Mixture, tried: set[float]) -> int | None:
    level = shares(seen, fitted).argmax(axis=1)
    for k in range(fitted.mean.size):
        mine = (level == k) & (seen.track >= 0)
        again = int(_later(seen, mine).sum())
        once = int(mine.sum()) - again
        if float(fitted.mean[k]) not in tried and again > _TWICE * once:
            return k
    return None


def _later(seen: Observations, mine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of `mine` that are not the first of their staircase."""
    which = np.flatnonzero(mine & (seen.track >= 0))
    order = which[np.lexsort((seen.volts[which], seen.track[which]))]
    out = np.zeros(seen.x.size, bool)
    out[order[1:]] = np.diff(seen.track[order]) == 0
    return out


def _of_volts(seen: Observations, volts: Floats, std: Floats) -> Floats:
    """Log density of each observation's amplitude at each level, 0 where it is not known, (S, n)."""
    known = ~np.isnan(seen.volts)
    z = (seen.volts[known] - volts[:, None]) / std[:, None]
    at = np.zeros((volts.size, known.size))
    at[:, known] = np.log(np.exp(-0.5 * z**2) / (std[:, None] * np.sqrt(2 * np.pi)) + _ANY_AMPLITUDE)
    return at


def shares(seen: Observations, fitted: Mixture) -> Floats:
    """Probability of each component given each observation, (n, S)."""
    at = _of_volts(seen, fitted.volts, fitted.volts_std)
    return _shares(seen, fitted.weight, fitted.mean, fitted.variance, at)[0].T


def _shares(
    seen: Observations, weight: Floats, mean: Floats, variance: Floats, at: Floats
) -> tuple[Floats, float]:
    """Probability of each component given each observation, (S, n), and the log likelihood; `at`: see _of_volts."""
    total = variance[:, None] + seen.v
    joint = (seen.x - mean[:, None]) ** 2 / total + np.log(2 * np.pi * total)
    joint = at + np.log(weight.T)[:, seen.pulse] - 0.5 * joint
    highest = joint.max(axis=0)
    share = np.exp(joint - highest)
    norm = share.sum(axis=0)
    return share / norm, float((highest + np.log(norm)).sum())


def _first_weights(seen: Observations, n: int) -> Floats:
    """Even ones of the staircase, and half for the level that a pulse is meant for."""
    weight = np.full((int(seen.pulse.max()) + 1, n), 1.0 / n)
    for k in range(1, weight.shape[0]):
        weight[k] = 0.5 / n
        weight[k, k] += 0.5
    return weight


def _weights(seen: Observations, share: Floats) -> Floats:
    """Mean share of each component after each pulse, (P, S)."""
    mass = _by_pulse(seen, share + 1e-12)
    return np.asarray(mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-300) + 1e-12)


def _by_pulse(seen: Observations, share: Floats) -> Floats:
    """Sum of the shares after each pulse, (P, S)."""
    pulses = int(seen.pulse.max()) + 1
    return np.stack([np.bincount(seen.pulse, each, pulses) for each in share], axis=1)


def _slopes(seen: Observations, parameters: Floats, at: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Gradients of each observation's log likelihood by mean and by variance, its shares, (S, n), and the weights."""
    n = at.shape[0]
    mean, variance, logit = parameters[:n], parameters[n : 2 * n], parameters[2 * n :].reshape(-1, n)
    weight = np.exp(logit - np.logaddexp.reduce(logit, axis=1, keepdims=True))
    share, _ = _shares(seen, weight, mean, variance, at)
    total = variance[:, None] + seen.v
    z = (seen.x - mean[:, None]) / total
    return share * z, 0.5 * share * (z**2 - 1 / total), share, weight


def _scores(seen: Observations, parameters: Floats, at: Floats) -> Floats:
    """Gradient of each observation's log likelihood by (mean, variance, log weights), ((2 + P) S, n)."""
    by_mean, by_variance, share, weight = _slopes(seen, parameters, at)
    by_weight = [(share - weight[k][:, None]) * (seen.pulse == k) for k in range(weight.shape[0])]
    return np.concatenate([by_mean, by_variance, *by_weight])


def _score(seen: Observations, parameters: Floats, at: Floats) -> Floats:
    """Sum of `_scores` over the observations, ((2 + P) S,)."""
    by_mean, by_variance, share, weight = _slopes(seen, parameters, at)
    count = np.bincount(seen.pulse, minlength=weight.shape[0])
    by_weight = _by_pulse(seen, share) - count[:, None] * weight
    return np.concatenate([by_mean.sum(axis=1), by_variance.sum(axis=1), by_weight.ravel()])


def _with_influence(seen: Observations, fitted: Mixture) -> Mixture:
    """With that of each cell on means and variances. A variance at its bound has the error that its information alone
    gives."""
    weight, mean, variance, n = fitted.weight, fitted.mean, fitted.variance, fitted.mean.size
    volts = _of_volts(seen, fitted.volts, fitted.volts_std)
    at = np.concatenate([mean, variance, np.log(weight).ravel()])
    share, _ = _shares(seen, weight, mean, variance, volts)
    alone = 1.0 / np.maximum((share / (2 * (variance[:, None] + seen.v) ** 2)).sum(axis=1), 1e-300)
    of_weights = np.bincount(seen.pulse, minlength=weight.shape[0])[:, None] * weight > _LEAST_WEIGHT
    of_weights[np.arange(weight.shape[0]), weight.argmax(axis=1)] = False  # the weights add up to 1
    free = np.concatenate([np.ones(n, bool), variance > 0.02 * np.sqrt(alone), of_weights.ravel()])
    clusters = _sums(_scores(seen, at, volts)[free].T, seen.cell)
    cells = clusters.shape[0]
    small = np.full(n, 1e-4)
    small_weights = np.full(weight.size, 1e-4)
    size = np.concatenate([small * np.sqrt(variance + seen.v.min()), 1e-3 * np.sqrt(alone), small_weights])
    hessian = np.array([_slope(seen, at, volts, i, size[i])[free] for i in np.flatnonzero(free).tolist()])
    hessian = 0.5 * (hessian + hessian.T)
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    bread = scale[:, None] * np.linalg.pinv(scale[:, None] * hessian * scale) * scale
    out = np.tile(np.sqrt(np.concatenate([np.zeros(n), alone, np.zeros(weight.size)]) / cells), (cells, 1))
    out[:, free] = clusters @ bread * -np.sqrt(cells / max(cells - 1, 1))
    return replace(fitted, influence=out[:, : 2 * n])


def _slope(seen: Observations, at: Floats, volts: Floats, i: int, size: float) -> Floats:
    """Derivative of the total score by parameter i."""
    step = np.zeros(at.size)
    n = volts.shape[0]
    step[i] = min(size, 0.1 * at[i]) if n <= i < 2 * n else size
    up, down = (_score(seen, at + s, volts) for s in (step, -step))
    return np.asarray((up - down) / (2 * step[i]))


def _sums(rows: Floats, cell: NDArray[np.int64]) -> Floats:
    """Sum of the rows of each cell."""
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    return np.asarray(np.add.reduceat(rows[order], starts, axis=0))
