"""Levels as normals, of stays that each have a measurement variance of their own.

A stay on level k has x_i ~ N(mu_k, tau_k^2 + v_i): mu_k the level's position, tau_k how far landings and cells
scatter around it, v_i the known variance of the stay's mean (reads averaged). The amplitude that brought a stay
about, where it is known, says which level it is too: a factor N(V_i; a_k, b_k^2); so does the level before it on the
staircase. Landings of a pulse meant for one level have weights of their own, since most come to that level. Neither
the levels nor the cuts between stays are seen: both are summed over (`segmentation`). Fitted by
expectation-maximisation; errors from the sandwich H^-1 (sum over cells of s s') H^-1 (White, Econometrica 50 (1982)
1), since one cell gives several x_i: the sum of the squares of H^-1 s, by which each cell moves the result. H is that
of the likelihood itself, so what the unseen levels and cuts leave open is in the errors (Louis, J. R. Stat. Soc. B 44
(1982) 226).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.segmentation import Observations, stay_densities, sum_paths

_ROUNDS = 300
_NEAR, _CLOSE = (
    1e-3,
    1e-4,
)  # of the log likelihood: a step that gains less is the last, of a first fit and of a refit
_LEAST_SHARE = 1e-6  # of the smallest measurement variance: tau is never quite 0
_FIRST_STD_V, _LEAST_STD_V = 0.02, 0.003  # of the amplitudes that bring a level about: a start, and a bound
_ANY_AMPLITUDE = 0.1  # density, 1/V: some 5 % of the stays begin anywhere, as where a pulse skips a level
_LEAST_WEIGHT = 0.05  # expected observations of a pulse on a level; fewer tell nothing of their share
_NONE = 1e-12  # share of what was not seen
_TWICE = 0.5  # a level that this share of its staircases stay on twice is two levels


@dataclass(frozen=True, slots=True)
class Order:
    """Which level a track opens on after each pulse, (P, S); which follows which on a staircase (S, S), and where it
    stops (S,): a row of both adds up to 1."""

    first: Floats
    move: Floats
    stop: Floats


@dataclass(frozen=True)
class Mixture:
    """Order of the levels; mean and variance tau^2, shape (S,); mean and deviation of the amplitudes; the log
    likelihood; what was `seen`."""

    order: Order
    mean: Floats
    variance: Floats
    volts: Floats
    volts_std: Floats
    log_likelihood: float
    seen: Observations

    @cached_property
    def share(self) -> Floats:
        """Probability of each stay being one, on each level, (n, S)."""
        at = _of_volts(self.seen, self.volts, self.volts_std)
        return _shares(self.seen, self.order, self.mean, self.variance, at)[0]

    @cached_property
    def influence(self) -> Floats:
        """Of each cell on means and variances, (cells, 2S), whose squares add up to those of their errors."""
        at = _of_volts(self.seen, self.volts, self.volts_std)
        return _influence(self.seen, self.order, self.mean, self.variance, at)

    @property
    def covariance(self) -> Floats:
        """Of means and variances, (2S, 2S)."""
        return np.asarray(self.influence.T @ self.influence)


def fit_mixture(seen: Observations, start: Floats, volts: Floats | None = None) -> Mixture:
    """The mixture with as many components as `start` has means; `volts` where they are known to differ."""
    n = start.size
    gap = float(np.diff(np.sort(start)).min()) if n > 1 else float(np.ptp(seen.x)) or 1.0
    at = np.ones((seen.x.size, n)) if volts is None else _of_volts(seen, volts, np.full(n, _FIRST_STD_V))
    return _climb(seen, _first_order(seen, n), start.copy(), np.full(n, (gap / 5) ** 2), at, _NEAR)


def refit_mixture(seen: Observations, last: Mixture) -> Mixture:
    """The mixture of other observations of the same levels."""
    at, order = _of_volts(seen, last.volts, last.volts_std), last.order
    new = _first_order(seen, last.mean.size).first[order.first.shape[0] :]  # of pulses not seen before
    return _climb(
        seen, replace(order, first=np.vstack([order.first, new])), last.mean, last.variance, at, _CLOSE
    )


def _climb(
    seen: Observations, order: Order, mean: Floats, variance: Floats, at: Floats, close: float
) -> Mixture:
    """Expectation-maximisation; `at`: see _of_volts."""
    known = ~np.isnan(seen.volts)
    least = _LEAST_SHARE * float(seen.v.min())
    last = -np.inf
    for _ in range(_ROUNDS):
        share, total, seen_order = _shares(seen, order, mean, variance, at)
        mass = share.sum(axis=0) + 1e-9
        kept = variance / (variance + seen.v[:, None])
        deviation = kept * (seen.x[:, None] - mean)
        shift = (share * deviation).sum(axis=0) / mass
        spread = (share * ((deviation - shift) ** 2 + kept * seen.v[:, None])).sum(axis=0) / mass
        order, mean, variance = seen_order, mean + shift, np.maximum(spread, least)
        of_known = share[known] / (share[known].sum(axis=0) + 1e-9)
        centre = of_known.T @ seen.volts[known]
        square = (of_known * (seen.volts[known, None] - centre) ** 2).sum(axis=0)
        width = np.maximum(np.sqrt(square), _LEAST_STD_V)
        at = _of_volts(seen, centre, width)
        if abs(total - last) < close:
            break
        last = total
    up = np.argsort(mean)
    order = Order(order.first[:, up], order.move[np.ix_(up, up)], order.stop[up])
    return Mixture(order, mean[up], variance[up], centre[up], width[up], total, seen)


def split_twice(fitted: Mixture, per_cell: float) -> Mixture:
    """With two levels for each on which many staircases stay twice, if that explains the observations better (BIC;
    `per_cell` observations of a cell count as one)."""
    seen = fitted.seen
    price = 2.5 * np.log(seen.x.size) * per_cell
    tried: set[float] = set()
    while (k := _twice(fitted, tried)) is not None:
        tried.add(float(fitted.mean[k]))
        mine = fitted.share.argmax(axis=1) == k
        later = _later(seen, mine)
        first = mine & ~later
        means = np.append(np.delete(fitted.mean, k), [seen.x[first].mean(), seen.x[later].mean()])
        volts = np.append(np.delete(fitted.volts, k), [seen.volts[first].mean(), seen.volts[later].mean()])
        more = fit_mixture(seen, means, volts)
        if more.log_likelihood - fitted.log_likelihood > price:
            fitted = more
    return fitted


def _twice(fitted: Mixture, tried: set[float]) -> int | None:
    level = fitted.share.argmax(axis=1)
    for k in range(fitted.mean.size):
        mine = level == k
        again = int(_later(fitted.seen, mine).sum())
        once = int(mine.sum()) - again
        if float(fitted.mean[k]) not in tried and again > _TWICE * once:
            return k
    return None


def _later(seen: Observations, mine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of `mine` that are not the first of their staircase."""
    which = np.flatnonzero(mine)
    order = which[np.argsort(seen.start[which])]
    out = np.zeros(seen.x.size, bool)
    out[order[1:]] = np.diff(seen.track[order]) == 0
    return out


def _of_volts(seen: Observations, volts: Floats, std: Floats) -> Floats:
    """Density of each observation's amplitude at each level, 1 where it is not known, (n, S)."""
    known = ~np.isnan(seen.volts)
    z = (seen.volts[known, None] - volts) / std
    at = np.ones((known.size, volts.size))
    at[known] = np.exp(-0.5 * z**2) / (std * np.sqrt(2 * np.pi)) + _ANY_AMPLITUDE
    return at


def shares(seen: Observations, fitted: Mixture) -> Floats:
    """Probability of each of other stays being one, on each level, (n, S)."""
    return replace(fitted, seen=seen).share


def _shares(
    seen: Observations, order: Order, mean: Floats, variance: Floats, at: Floats
) -> tuple[Floats, float, Order]:
    """Probability of each stay on each level, (n, S), the log likelihood, and the order that they show."""
    density = stay_densities(seen.x, seen.v, seen.inside, at, mean, variance)
    share, likelihood, moves, stops = sum_paths(
        seen.start, seen.end, seen.opens, seen.closes, seen.pulse, density, order.first, order.move, order.stop
    )  # fmt: skip
    first = _sums(share[seen.opens], seen.pulse[seen.opens], order.first.shape[0])
    after = np.maximum(moves.sum(axis=1) + stops, _NONE)
    return share, likelihood, Order(_shared(first), moves / after[:, None] + _NONE, stops / after + _NONE)


def _shared(mass: Floats) -> Floats:
    """Rows that add up to 1."""
    return np.asarray((mass + _NONE) / (mass + _NONE).sum(axis=1, keepdims=True))


def _first_order(seen: Observations, n: int) -> Order:
    """Even chances on the staircase, and half for the level that a pulse is meant for."""
    first = np.full((int(seen.pulse.max()) + 1, n), 1.0 / n)
    for k in range(1, first.shape[0]):
        first[k] = 0.5 / n
        first[k, k] += 0.5
    return Order(first, np.full((n, n), 1.0 / (n + 1)), np.full(n, 1.0 / (n + 1)))


def _scores(
    seen: Observations, group: NDArray[np.int64], parameters: Floats, order: Order, at: Floats
) -> Floats:
    """Gradient of the log likelihood by (mean, variance, log first weights), summed over the stays of each `group`,
    (groups, (2 + P) S)."""
    n = at.shape[1]
    mean, variance, logit = parameters[:n], parameters[n : 2 * n], parameters[2 * n :].reshape(-1, n)
    first = np.exp(logit - np.logaddexp.reduce(logit, axis=1, keepdims=True))
    share, _, _ = _shares(seen, replace(order, first=first), mean, variance, at)
    total = variance + seen.v[:, None]
    z = (seen.x[:, None] - mean) / total
    groups, pulses = int(group.max()) + 1, first.shape[0]
    parts = [_sums(share * z, group, groups), _sums(0.5 * share * (z**2 - 1 / total), group, groups)]
    which = np.flatnonzero(seen.opens)
    pulse, opening = seen.pulse[which], share[which]
    opening = opening - first[pulse] * opening.sum(axis=1, keepdims=True)
    of_pulses = _sums(opening, group[which] * pulses + pulse, groups * pulses)
    parts.append(of_pulses.reshape(groups, -1))
    return np.hstack(parts)


def _sums(rows: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    return np.array([np.bincount(group, column, groups) for column in rows.T], float).T.copy()


def _influence(seen: Observations, order: Order, mean: Floats, variance: Floats, volts: Floats) -> Floats:
    """Of each cell on means and variances. A variance at its bound has the error that its information alone gives."""
    n, weight = mean.size, order.first
    at = np.concatenate([mean, variance, np.log(weight).ravel()])
    share, _, _ = _shares(seen, order, mean, variance, volts)
    alone = 1.0 / np.maximum((share / (2 * (variance + seen.v[:, None]) ** 2)).sum(axis=0), 1e-300)
    tracks = np.bincount(seen.pulse[seen.opens], share[seen.opens].sum(axis=1), weight.shape[0])
    of_weights = tracks[:, None] * weight > _LEAST_WEIGHT
    of_weights[np.arange(weight.shape[0]), weight.argmax(axis=1)] = False  # the weights add up to 1
    free = np.concatenate([np.ones(n, bool), variance > 0.02 * np.sqrt(alone), of_weights.ravel()])
    clusters = _scores(seen, np.unique(seen.cell, return_inverse=True)[1], at, order, volts)[:, free]
    cells, everyone = clusters.shape[0], np.zeros(seen.x.size, np.int64)
    small = np.full(n, 1e-4)
    small_weights = np.full(weight.size, 1e-4)
    size = np.concatenate([small * np.sqrt(variance + seen.v.min()), 1e-3 * np.sqrt(alone), small_weights])
    steps = np.diag(size)[free]
    moved = np.vstack([_scores(seen, everyone, at + step, order, volts)[:, free] for step in steps])
    hessian = (moved - clusters.sum(axis=0)) / size[free, None]
    hessian = 0.5 * (hessian + hessian.T)
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    bread = scale[:, None] * np.linalg.pinv(scale[:, None] * hessian * scale) * scale
    out = np.tile(np.sqrt(np.concatenate([np.zeros(n), alone, np.zeros(weight.size)]) / cells), (cells, 1))
    out[:, free] = clusters @ bread * -np.sqrt(cells / max(cells - 1, 1))
    return np.asarray(out[:, : 2 * n])
