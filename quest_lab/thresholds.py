"""Cells with thresholds: what one pulse does to a cell whose thresholds were met before.

A pulse of V volts brings a cell from state k to

    max(k, #{j : V >= T_j + s_j y}),    y = sqrt(rho) u + sqrt(1 - rho) w,

u ~ N(0, 1) the offset of the cell (device-to-device), w ~ N(0, 1) that of the pulse (cycle-to-cycle). A read decodes
with the errors of the levels. T_j, s_j and rho have the greatest likelihood of all pulses of the write trials,

    sum over cells of log integral phi(u) prod over its pulses P(landing | u) du,

found by Fisher scoring with the scores of the cells (Berndt, Hall, Hall and Hausman, 1974), whose information also
gives the errors. What a writer remembers of a cell is a normal belief about its u, rounded to a small grid of means
and deviations, so that an optimal policy can be solved for it; each landing between two thresholds tells an interval
of y (truncated normal, matched moments).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, logsumexp, ndtr

from quest_lab.cellcounts import CellCounts
from quest_lab.characterization import MIN_EVIDENCE, Characterization
from quest_lab.device import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_RARE = 1e-3  # a landing rarer than this tells that it was misread, or one before it
_FLOOR = 1e-4  # share of landings that no law explains
_OFFSETS = np.linspace(-4.5, 4.5, 181)  # u; hundreds of pulses tell a cell's to 0.06: coarser sums are wrong
_ROUNDS = 12  # of Fisher scoring, at most
_CLOSE = 0.01  # squared step in standard errors that ends it
_STEP = 1e-6  # of a parameter, for a score: one-sided, so the curvature (up to 1e4) must not show
_LEAST = 4.0  # least information on a parameter: a standard error is at most half its unit


@dataclass(frozen=True, slots=True)
class ThresholdLaw:
    """Thresholds `volts[S-1]` with their `spread_v[S-1]` over cells and pulses; `shared`: rho, the part of the
    variance that is the cell's own.

    `errors[parameter, direction]`: standard errors of its parameters, uncorrelated directions. Parameters: the
    thresholds in their spreads, the logarithms of the spreads, the logit of rho.
    """

    volts: Floats
    spread_v: Floats
    shared: float
    errors: Floats

    @classmethod
    def fit(cls, found: Characterization) -> Self | None:
        """Of greatest likelihood, from the staircase's thresholds on. `found` is of all states.

        None where hardly a cell has all thresholds, or the trials were not kept cell by cell.
        """
        known = found.threshold_v[~np.isnan(found.threshold_v).any(axis=1)]
        if len(known) < MIN_EVIDENCE or found.by_cell is None:
            return None
        shared, spread = _shared_variance(known, found.threshold_repeat_v)
        size = 2 * spread.size + 1
        spread = np.maximum(spread, 1e-3 * found.attempt_step_v + 1e-9)
        law, pulses = (
            cls(known.mean(axis=0), spread, shared, np.zeros((size, size))),
            _pulses(found, found.by_cell),
        )
        for _ in range(_ROUNDS):
            score = law._scores(found, pulses)
            information = score.T @ score + _LEAST * np.eye(size)
            step = np.linalg.solve(information, score.sum(axis=0))
            law = law._uphill(step, found, pulses)
            if step @ information @ step < _CLOSE:
                break
        return cls(law.volts, law.spread_v, law.shared, np.linalg.cholesky(np.linalg.inv(information)))

    def moved(self, step: Floats) -> Self:
        """The law with its parameters changed by `step`."""
        n = self.volts.size
        shared = float(np.clip(expit(logit(self.shared) + step[-1]), 0.02, 0.98))
        return type(self)(
            self.volts + step[:n] * self.spread_v, self.spread_v * np.exp(step[n:-1]), shared, self.errors
        )

    def alternatives(self) -> list[Self]:
        """Laws one standard error away, each in a direction of its own."""
        return [self.moved(step) for step in self.errors.T]

    def of_groups(self, fold: NDArray[np.int64]) -> Self:
        """The law of states that count as one: `fold[state]`. A group begins at its lowest state."""
        first = np.flatnonzero(np.diff(fold))
        return type(self)(self.volts[first], self.spread_v[first], self.shared, self.errors)

    def _scores(self, found: Characterization, pulses: csr_matrix) -> Floats:
        """Derivatives of each cell's log-likelihood by the parameters, [cell, parameter]."""
        here = self._likelihood(found, pulses)
        steps = _STEP * np.eye(2 * self.volts.size + 1)
        return np.stack([self.moved(s)._likelihood(found, pulses) - here for s in steps], axis=1) / _STEP

    def _uphill(self, step: Floats, found: Characterization, pulses: csr_matrix) -> Self:
        """The law after as much of `step` as makes the pulses likelier."""
        now = self._likelihood(found, pulses).sum()
        for part in 0.5 ** np.arange(8):
            law = self.moved(part * step)
            if law._likelihood(found, pulses).sum() > now:
                return law
        return self

    def _likelihood(self, found: Characterization, pulses: csr_matrix) -> Floats:
        """Log-likelihood of each cell, of which `pulses[cell, transition]` were seen."""
        wide = np.full(_OFFSETS.size, 1.0 - self.shared)
        landing = self.landing(_amplitudes(found), np.sqrt(self.shared) * _OFFSETS, wide)
        given = np.flatnonzero(pulses.getnnz(axis=0))
        seen = (landing @ decoded(found)).reshape(_OFFSETS.size, -1)[:, given]
        by_offset = pulses[:, given] @ np.log((1.0 - _FLOOR) * seen + _FLOOR / found.states).T
        return np.asarray(logsumexp(by_offset - 0.5 * _OFFSETS**2, axis=1))

    def cuts(self, volts: Floats) -> Floats:
        """Largest y at which a pulse reaches each state: [..., S+1], from inf (state 0) to -inf (none above)."""
        inside = (volts[..., None] - self.volts) / self.spread_v
        low = np.minimum.accumulate(inside, axis=-1)  # thresholds are met in their order
        edge = np.full((*volts.shape, 1), np.inf)
        return np.concatenate([edge, low, -edge], axis=-1)

    def landing(self, volts: Floats, mean: Floats, variance: Floats) -> Floats:
        """Probability [mean, *volts, from, to] of true states, for y ~ N(mean, variance)."""
        wide = (..., *(None,) * (volts.ndim + 1))
        z = (self.cuts(volts) - mean[wide]) / np.sqrt(variance)[wide]
        single = ndtr(z[..., :-1]) - ndtr(z[..., 1:])
        n = self.volts.size + 1
        out = np.where(np.arange(n) > np.arange(n)[:, None], single[..., None, :], 0.0)
        out[..., np.arange(n), np.arange(n)] = np.cumsum(single, axis=-1)
        return out

    def learned(
        self, volts: Floats, mean: float, deviation: float
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Belief about u after a landing, its mean and deviation [volts, from, to], and whether it goes with the one
        before: one that had all but ruled the landing out came from a misread, or does now.

        A landing below the state before is a misread of a cell that stayed.
        """
        v = self.shared * deviation**2 + 1.0 - self.shared
        z = (self.cuts(volts) - np.sqrt(self.shared) * mean) / np.sqrt(v)
        n = self.volts.size + 1
        start, to = np.indices((n, n))
        high = np.where(to > start, z[:, to], np.inf)
        low = z[:, np.maximum(start, to) + 1]
        share, first, second = _truncated(low, high)
        gain = np.sqrt(self.shared) * deviation**2 / np.sqrt(v)
        return mean + gain * first, np.sqrt(deviation**2 - gain**2 * (1.0 - second)), share > _RARE

    def offsets(self, threshold_v: Floats) -> tuple[Floats, Floats]:
        """Offset of cells whose thresholds were measured, [cell, S-1], and how well it is known (deviation)."""
        known = ~np.isnan(threshold_v)
        count = np.maximum(known.sum(axis=1), 1)
        y = (threshold_v - np.nanmean(threshold_v, axis=0)) / self.spread_v
        noise = (1.0 - self.shared) / count
        gain = self.shared / (self.shared + noise)
        mean = np.where(known, y, 0.0).sum(axis=1) / count
        offset = np.where(known.any(axis=1), gain * mean / np.sqrt(self.shared), np.nan)
        return offset, np.sqrt(1.0 - gain)

    def misfit(self, found: Characterization) -> float:
        """Share of first tries that landed elsewhere than the law says, above what so many tries give by chance.

        Total variation, weighted by pulses; its mean under the law is that of normal residuals.
        """
        seen = found.counts[1:, :, 0].astype(np.float64)
        said = self.landing(_amplitudes(found), np.zeros(1), np.ones(1))[0] @ decoded(found)
        total = seen.sum(axis=-1, keepdims=True)
        chance = np.sqrt(2.0 / np.pi * total * said * (1.0 - said))
        return float(0.5 * (abs(seen - total * said) - chance).sum() / total.sum())


def decoded(found: Characterization, std: Floats | None = None) -> Floats:
    """Probability that a cell in one of all found states is read as a used one, [true, read].

    `std`: spreads of a single read, other than the measured ones.
    """
    edge, levels = np.array([np.inf]), (found.whole or found).levels
    wide = levels.std if std is None else std
    z = (np.concatenate([-edge, found.levels.boundary, edge]) - levels.mean[:, None]) / wide[:, None]
    return np.diff(ndtr(z), axis=1)


def _amplitudes(found: Characterization) -> Floats:
    """Volts of each set operation at each attempt, [operation - 1, attempt]."""
    shift = (np.arange(found.attempts) - found.attempts // 2) * found.attempt_step_v
    return np.maximum(found.set_v[:, None] + shift, found.attempt_step_v)


def _pulses(found: Characterization, by_cell: CellCounts) -> csr_matrix:
    """How often each sampled cell made each transition by a set pulse: [cell, (operation - 1, attempt, from, to)]."""
    from scipy.sparse import csr_matrix  # slow to load: only who fits pays for it

    op, attempt, _, start, to = np.unravel_index(by_cell.transition, found.counts.shape)
    mine = op > 0
    shape = (found.states - 1, found.attempts, found.states, found.states)
    flat = np.ravel_multi_index((op[mine] - 1, attempt[mine], start[mine], to[mine]), shape)
    size = (found.sample.size, int(np.prod(shape)))
    return csr_matrix((by_cell.count[mine], (by_cell.cell[mine], flat)), shape=size)


def _shared_variance(thresholds: Floats, repeat_v: float) -> tuple[float, Floats]:
    """rho and the total spread of each threshold: thresholds of one cell move together where the cell is the cause."""
    variance = thresholds.var(axis=0, ddof=1)
    n = variance.size
    together = np.cov(thresholds.T)[~np.eye(n, dtype=bool)].mean() if n > 1 else variance[0]
    within = float(np.nan_to_num(repeat_v)) ** 2
    total = max(together, 0.0) + within
    return float(np.clip(max(together, 0.0) / total, 0.05, 0.95)) if total else 0.5, np.sqrt(
        variance + within
    )


def _truncated(low: Floats, high: Floats) -> tuple[Floats, Floats, Floats]:
    """Share, mean and variance of a standard normal between `low` and `high`; 0, 0, 1 where nothing is left."""
    share = ndtr(high) - ndtr(low)
    left, right = (np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi) for z in (low, high))
    safe = np.where(share > 1e-9, share, np.inf)
    first = (left - right) / safe
    edges = np.where(np.isinf(low), 0.0, low) * left - np.where(np.isinf(high), 0.0, high) * right
    return share, first, 1.0 + edges / safe - first**2
