"""Lifetimes that are only known to lie between two looks, or beyond the last one: maximum likelihood.

A life in (low, high] has the likelihood S(low) - S(high), with high infinite where nothing had happened yet; S is
the survival function. Intervals are Wald's, on the parameters' logarithms (Meeker & Escobar, Statistical Methods for
Reliability Data, 1998, ch. 8): for a handful of failures they are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from quest_lab.device import Floats
from quest_lab.errors import BadInput
from quest_lab.findings import Finding

Interval: TypeAlias = tuple[float, float, float]  # value, lower and upper end
LEAST_FAILURES = 3  # fewer say nothing about two parameters
_Z = 1.959964
_STEP = 1e-3  # of the numerical second derivatives
_NODE, _WEIGHT = np.polynomial.hermite_e.hermegauss(80)
_WEIGHT = _WEIGHT / _WEIGHT.sum()


@dataclass(frozen=True, slots=True)
class Lives:
    """Lives of cells in any unit of time, shape (cells,): each lies in (low, high]."""

    low: Floats
    high: Floats

    @property
    def failures(self) -> int:
        return int(np.isfinite(self.high).sum())

    def survival(self, at: Floats) -> Floats:
        """Share of cells known to live at each of the looks `at`."""
        return np.asarray((self.low[None, :] >= at[:, None]).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Fit:
    """Two parameters with the ends of their 95 % intervals, and the survival function."""

    value: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    survival: Callable[[Floats], Floats]

    def finding(self, index: int, what: str, unit: str, note: str = "") -> Finding:
        return Finding(what, unit, self.value[index], self.low[index], self.high[index], note)


def weibull(scale: float, shape: float, t: Floats) -> Floats:
    """Survival exp(-(t / scale)^shape)."""
    return np.asarray(np.exp(-((np.maximum(t, 0.0) / scale) ** shape)))


def thermal(barrier: float, spread: float, attempt_s: float, t: Floats) -> Floats:
    """Survival of cells that escape at the rate exp(-barrier) / attempt_s, barriers normally spread, both in kT."""
    life_s = attempt_s * np.exp(barrier + spread * _NODE)
    return np.asarray(np.exp(-np.maximum(t, 0.0)[..., None] / life_s) @ _WEIGHT)


def fit_weibull(lives: Lives) -> Fit | None:
    """Characteristic life (63 % have failed) and shape; None below three failures."""
    return _fit(
        lives, lambda p: lambda t: weibull(np.exp(p[0]), np.exp(p[1]), t), np.log(_middle(lives)), np.exp
    )


def fit_barrier(lives_s: Lives, attempt_s: float) -> Fit | None:
    """Mean and standard deviation of the barriers in kT at the temperature of the cells; None below three failures."""
    start = np.log(_middle(lives_s) / attempt_s)
    return _fit(lives_s, lambda p: lambda t: thermal(p[0], np.exp(p[1]), attempt_s, t), start, lambda x: x)


@dataclass(frozen=True, slots=True)
class Arrhenius:
    """Attempt time in s, barrier and its spread over cells in kT at `reference_k`, with 95 % intervals."""

    attempt_s: Interval
    barrier: Interval
    spread: Interval
    reference_k: float


def fit_arrhenius(
    lives_s: Sequence[Lives], temperature_k: Sequence[float], reference_k: float = 300.0
) -> Arrhenius | None:
    """Lives of the same cells, in order, at two temperatures or more: life = attempt time exp(E / k_B T), with E
    normal over cells. A cell's barrier is the same at each, so its lives are one observation. None below three
    failures at two temperatures. Raises BadInput where all temperatures are equal."""
    at_k = np.asarray(temperature_k, np.float64)
    if np.unique(at_k).size < 2 or not np.all(at_k > 0.0):
        raise BadInput(f"temperature_k={list(temperature_k)}: want two different ones at least, above 0 K")
    if sum(lives.failures >= LEAST_FAILURES for lives in lives_s) < 2:
        return None

    def loss(p: Floats) -> float:
        log_s, barrier, spread = p[0], p[1], np.exp(p[2])
        each = np.ones((lives_s[0].low.size, _NODE.size))
        for lives, ratio in zip(lives_s, reference_k / at_k, strict=True):
            rate = np.exp(-log_s - (barrier + spread * _NODE) * ratio)
            each *= np.exp(-np.outer(lives.low, rate)) - _beyond(lives, rate)
        return -float(np.log(np.maximum(each @ _WEIGHT, 1e-300)).sum())

    slope, log_s = np.polyfit(reference_k / at_k, [np.log(_middle(lives)) for lives in lives_s], 1)
    best, error = _likeliest(loss, np.array([log_s, slope, 0.0]))
    low, high = best - _Z * error, best + _Z * error
    attempt, spread = (_interval(*np.exp([best[i], low[i], high[i]])) for i in (0, 2))
    return Arrhenius(attempt, _interval(best[1], low[1], high[1]), spread, reference_k)


def _beyond(lives: Lives, rate: Floats) -> Floats:
    """Probability to live beyond the look at which each cell had moved, shape (cells, rates)."""
    moved = np.isfinite(lives.high)
    return np.asarray(
        np.where(moved[:, None], np.exp(-np.outer(np.where(moved, lives.high, 0.0), rate)), 0.0)
    )


def _interval(value: float, low: float, high: float) -> Interval:
    return float(value), float(low), float(high)


def _middle(lives: Lives) -> float:
    """A first guess of a typical life."""
    known = lives.high[np.isfinite(lives.high)]
    return float(np.median(known)) if known.size else 1.0


def _fit(
    lives: Lives,
    survival: Callable[[Floats], Callable[[Floats], Floats]],
    start: float,
    first: Callable[[Floats], Floats],
) -> Fit | None:
    """`survival(p)` of two parameters: `first(p[0])` and exp(p[1])."""
    if lives.failures < LEAST_FAILURES:
        return None

    def loss(p: Floats) -> float:
        s = survival(p)
        high = np.where(np.isfinite(lives.high), s(np.where(np.isfinite(lives.high), lives.high, 0.0)), 0.0)
        return -float(np.log(np.maximum(s(lives.low) - high, 1e-300)).sum())

    best, error = _likeliest(loss, np.array([start, 0.0]))
    ends = [
        np.array([first(np.asarray(p[0])), np.exp(p[1])])
        for p in (best, best - _Z * error, best + _Z * error)
    ]
    value, low, high = ((float(e[0]), float(e[1])) for e in ends)
    return Fit(value, low, high, survival(best))


def _likeliest(loss: Callable[[Floats], float], start: Floats) -> tuple[Floats, Floats]:
    """Where -log likelihood is least, and the parameters' standard errors."""
    from scipy.optimize import minimize  # half a second: only who fits pays for it

    options = {"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000}
    best = minimize(loss, start, method="Nelder-Mead", options=options).x
    return best, np.sqrt(np.diag(np.linalg.pinv(_curvature(loss, best))))


def _curvature(loss: Callable[[Floats], float], at: Floats) -> Floats:
    """Second derivatives of `loss`, shape (parameters, parameters)."""
    step = _STEP * np.eye(at.size)
    return np.array([
        [
            (loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)) / (4.0 * _STEP**2)
            for b in step
        ]
        for a in step
    ])  # fmt: skip
