"""Numbers as people read them: prefixes, per cent, short counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from quest_lab.quantity import ROUNDS_UP, prefix_for

_EXACT = 1e-6  # a relative interval this narrow is rounding


def quantity(value: float, unit: str = "J") -> str:
    """Three digits with the prefix that fits: 3.60 pJ."""
    if not np.isfinite(value):
        return "not known"
    factor, prefixed = prefix_for([value], unit)
    return f"{three(value / factor)} {prefixed}"


def measured(value: float, half: float, unit: str = "J") -> str:
    """A value with half of its 95 % interval in the prefix of the larger: 3.60 ± 0.04 pJ; NaN: no interval."""
    if not np.isfinite(value) or not half > _EXACT * abs(value):
        return quantity(value, unit)
    factor, prefixed = prefix_for([value, half], unit)
    width = half / factor
    text = f"{width:.0f}" if width >= 10 else f"{width:.2g}"
    return f"{three(value / factor)} ± {text} {prefixed}"


def three(value: float) -> str:
    """Three digits, no exponent for anything between 0.001 and a million."""
    if value == 0:
        return "0"
    if ROUNDS_UP * 1e3 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 1e-3 else f"{value:.2e}"


def percent(share: float) -> str:
    """A share as per cent; more digits where it is small."""
    if not np.isfinite(share):
        return "not known"
    value = 100.0 * share
    if value in (0.0, 100.0):
        return f"{value:.0f} %"
    return f"{value:.2f} %" if abs(value) >= 0.1 else f"{value:.2g} %"


def interval(ends: ArrayLike) -> str:
    """Two shares as per cent: 91.7 to 96.0 %."""
    low, high = 100.0 * np.asarray(ends, np.float64)
    return f"{low:.1f} to {high:.1f} %"


def points(change: float) -> str:
    """A difference of two shares in points of per cent, with its sign: −0.22."""
    return f"{100 * change:+.2f}".replace("-", "−")


def points_interval(ends: ArrayLike) -> str:
    """An interval of such a difference: −1.28 to +0.84."""
    low, high = np.asarray(ends, np.float64)
    return f"{points(low)} to {points(high)}"


def short(count: int) -> str:
    """A count in at most five characters, to stand in a matrix: 12345 as 12.3k."""
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 10 * factor:
            value = count / factor
            return f"{value:.0f}{letter}" if value >= 100 else f"{value:.1f}{letter}"
    return str(count)


def levels(count: int) -> list[str]:
    """Names of weight levels in ascending order: −1, 0, +1."""
    half = count // 2
    return [f"{v:+d}".replace("-", "−") if v else "0" for v in range(-half, half + 1)]


def state_names(states: ArrayLike) -> list[str]:
    return [f"R{int(s)}" for s in np.asarray(states)]


def pattern_name(states: ArrayLike) -> str:
    """(R3,R0,R6): the states of the levels from lowest to highest."""
    return "(" + ",".join(state_names(states)) + ")"
