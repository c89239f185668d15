"""Cells with thresholds: what one pulse does to a cell whose thresholds were met before.

A pulse of V volts brings a cell from state k to

    max(k, #{j : V >= T_j + s_j y}),    y = sqrt(rho) u + sqrt(1 - rho) w,

u ~ N(0, 1) the offset of the cell (device-to-device), w ~ N(0, 1) that of the pulse (cycle-to-cycle). T_j and s_j are
fitted to the counted first tries of write trials (probit), rho to the thresholds of the sampled cells. A read decodes
with the errors of the levels. What a writer remembers of a cell is a normal belief about its u, rounded to a small
grid of means and deviations, so that an optimal policy can be solved for it and evaluated exactly, cell type by cell
type; each landing between two thresholds tells an interval of y (truncated normal, matched moments).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from quest_lab.characterization import MIN_EVIDENCE, Characterization
from quest_lab.device import Floats

_RARE = 1e-3  # a landing rarer than this is taken for a misread


@dataclass(frozen=True, slots=True)
class ThresholdLaw:
    """Thresholds `volts[S-1]` with their `spread_v[S-1]` over cells and pulses; `shared`: rho, the part of the
    variance that is the cell's own; `cells`: number of cells that this was learned from."""

    volts: Floats
    spread_v: Floats
    shared: float
    cells: int

    @classmethod
    def fit(cls, found: Characterization) -> Self | None:
        """From the first tries of the write trials, with the staircase's thresholds as a weak prior.

        None where hardly a cell has all thresholds.
        """
        known = found.threshold_v[~np.isnan(found.threshold_v).any(axis=1)]
        if len(known) < MIN_EVIDENCE:
            return None
        shared, spread = _shared_variance(known, found.threshold_repeat_v)
        tries, landed = _first_tries(found)
        volts, out = _amplitudes(found), np.empty((2, found.states - 1))
        error = float(np.clip(found.levels.decoding_error.max(), 1e-6, 0.1))
        least = 1e-3 * found.attempt_step_v + 1e-9
        for j in range(found.states - 1):
            hits = landed[:, :, j + 1 :].sum(axis=-1)
            out[:, j] = _probit(volts, tries, hits, float(known[:, j].mean()), max(spread[j], least), error)
        return cls(out[0], out[1], shared, int(found.sample.size))

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

    def decoded(self, found: Characterization) -> Floats:
        """Probability that a cell in a state is read as another, [true, read]."""
        edge, levels = np.array([np.inf]), found.levels
        z = (np.concatenate([-edge, levels.boundary, edge]) - levels.mean[:, None]) / levels.std[:, None]
        return np.diff(ndtr(z), axis=1)

    def learned(
        self, volts: Floats, mean: float, deviation: float
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Belief about u after a landing, its mean and deviation [volts, from, to], and whether it tells anything.

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
        """Share of first tries that landed elsewhere than the law says: total variation, weighted by pulses."""
        seen = found.counts[1:, :, 0].astype(np.float64)
        said = self.landing(_amplitudes(found), np.zeros(1), np.ones(1))[0] @ self.decoded(found)
        total = seen.sum(axis=-1, keepdims=True)
        return float(0.5 * abs(seen - total * said).sum() / total.sum())


def _amplitudes(found: Characterization) -> Floats:
    """Volts of each set operation at each attempt, [operation - 1, attempt]."""
    shift = (np.arange(found.attempts) - found.attempts // 2) * found.attempt_step_v
    return np.maximum(found.set_v[:, None] + shift, found.attempt_step_v)


def _first_tries(found: Characterization) -> tuple[Floats, Floats]:
    """Pulses from R0 whose write had missed nothing before: [operation - 1, attempt], and where they landed."""
    landed = found.counts[1:, :, 0, 0].astype(np.float64)
    return landed.sum(axis=-1), landed


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


def _probit(
    volts: Floats, tries: Floats, hits: Floats, mean_v: float, spread_v: float, error: float
) -> tuple[float, float]:
    """Threshold and spread of greatest posterior probability; a share `error` of the reads is wrong."""
    from scipy.optimize import minimize  # half a second: only who fits pays for it

    def loss(x: Floats) -> float:
        z = (volts - mean_v - x[0] * spread_v) / (spread_v * np.exp(x[1]))
        short = np.logaddexp(np.log(error), np.log1p(-2 * error) + log_ndtr(-z))
        reached = np.logaddexp(np.log(error), np.log1p(-2 * error) + log_ndtr(z))
        return float(-(hits * reached + (tries - hits) * short).sum() + 0.5 * (x[0] ** 2 + (x[1] / 0.2) ** 2))

    x = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4}).x
    return mean_v + float(x[0]) * spread_v, spread_v * float(np.exp(x[1]))
