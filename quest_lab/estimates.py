"""Values with their 95 % intervals, where cells are the independent units: what is seen twice of one cell counts once.

Variances over cells follow a scaled chi-squared law whose degrees of freedom come from the scatter itself
(Satterthwaite, Biometrics Bulletin 2 (1946) 110); shares take an effective number of tries from the scatter of the
cells (Korn & Graubard, Survey Methodology 24 (1998) 193) and Wilson's interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri, stdtrit

from quest_lab.device import Floats

COVERAGE = 0.95
_TAILS = np.array([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
Z = float(ndtri(_TAILS[1]))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity, or an array of one, with the ends of its 95 % intervals; NaN where it is not known."""

    value: Floats
    low: Floats
    high: Floats

    def take(self, which: NDArray[np.intp]) -> Estimate:
        """Some entries of the first axis."""
        return Estimate(self.value[which], self.low[which], self.high[which])

    @property
    def half_width(self) -> Floats:
        return np.asarray(0.5 * (self.high - self.low))


def stacked(parts: list[Estimate]) -> Estimate:
    """Estimates one after the other along a new first axis."""
    return Estimate(*(np.array([getattr(p, name) for p in parts]) for name in ("value", "low", "high")))


def mean_over_cells(each: Floats) -> Estimate:
    """Mean of one value a cell, `each` of shape (cells,); NaN where a cell has none."""
    known = each[~np.isnan(each)]
    if known.size < 2:
        return _unknown(float(known.mean()) if known.size else np.nan)
    return of_mean(float(known.mean()), float(known.std(ddof=1) / np.sqrt(known.size)), known.size)


def of_mean(value: float, error: float, cells: int) -> Estimate:
    """A mean with its standard error over `cells` cells (Student's t)."""
    reach = student_reach(cells) * error
    return Estimate(np.asarray(value), np.asarray(value - reach), np.asarray(value + reach))


def ratio_over_cells(total: Floats, count: Floats | NDArray[np.integer[Any]]) -> Estimate:
    """Mean of all values where cell c holds `count[c]` of them that add up to `total[c]`."""
    seen = np.flatnonzero(count)
    n = float(count.sum())
    if seen.size < 2:
        return _unknown(float(total.sum() / n) if n else np.nan)
    mean = float(total.sum() / n)
    error = np.sqrt(((total - mean * count) ** 2).sum() * seen.size / (seen.size - 1)) / n
    return of_mean(mean, float(error), seen.size)


def of_variance(value: float, error: float) -> Estimate:
    """Standard deviation from a variance and the standard error of that."""
    if np.isnan(value) or np.isnan(error):
        return _unknown(float(np.sqrt(max(value, 0.0))))
    if not value > 0:
        upper = np.sqrt(Z * error)  # how far below 0 it came by chance says nothing of how small it is
        return Estimate(np.asarray(0.0), np.asarray(0.0), np.asarray(upper))
    freedom = 2.0 * (value / max(error, 1e-9 * value)) ** 2
    if freedom < 8:  # hardly more than its error: zero is possible, and chi-squared no guide
        low, high = max(value - Z * error, 0.0), value + Z * error
    else:
        high, low = value * freedom / chi_squared(freedom, _TAILS)
    return Estimate(np.sqrt(value), np.sqrt(low), np.sqrt(high))


def between_cells(each: Floats, noise: float = 0.0, noise_error: float = 0.0) -> Estimate:
    """Standard deviation over cells of `each`, shape (cells,); `noise`: mean variance of each by measurement, with
    its standard error."""
    known = each[~np.isnan(each)]
    if known.size < 2:
        return _unknown(np.nan)
    total = float(known.var(ddof=1))
    kurtosis = float(((known - known.mean()) ** 4).mean() / known.var() ** 2) if total > 0 else 3.0
    error = total * np.sqrt(max(kurtosis - 1.0, 2.0) / (known.size - 1))
    return of_variance(total - noise, float(np.hypot(error, noise_error)))


def share_over_cells(hits: NDArray[np.integer[Any]], tries: NDArray[np.integer[Any]]) -> Estimate:
    """Share of tries that hit, `hits[cell]` of `tries[cell]`; NaN without any."""
    total, cells = int(tries.sum()), int(np.count_nonzero(tries))
    if not total:
        return _unknown(np.nan)
    share = hits.sum() / total
    scatter = ((hits - share * tries) ** 2).sum() * cells / max(cells - 1, 1) / total**2
    effective = min(share * (1 - share) / scatter, total) if scatter > 0 else cells
    effective *= (Z / student_reach(cells)) ** 2
    middle = (share + Z * Z / (2 * effective)) / (1 + Z * Z / effective)
    reach = (
        Z * np.sqrt(share * (1 - share) / effective + (Z / (2 * effective)) ** 2) / (1 + Z * Z / effective)
    )
    return Estimate(np.asarray(share), np.asarray(middle - reach), np.asarray(middle + reach))


def student_reach(cells: int) -> float:
    """Standard errors to each side of a mean over `cells` cells."""
    return float(stdtrit(max(cells - 1, 1), _TAILS[1]))


def chi_squared(freedom: float, below: float | Floats) -> Floats:
    """Quantiles of the chi-squared law, with `below` of it below them. (scipy.stats takes a second to load.)"""
    return np.asarray(2.0 * gammaincinv(0.5 * freedom, below))


def _unknown(value: float) -> Estimate:
    return Estimate(np.asarray(value), np.asarray(np.nan), np.asarray(np.nan))
