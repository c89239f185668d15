"""A domain-wall cell: a wall on a track with equally spaced constrictions, as pure functions of its parameters.

The wall rests at site k (0..K) of a track of length L, at x = k L/K + residual. Its conductance is
    G = G0_cell (1 + swing_cell x / L).
A pulse of V volts overcomes j = #{i : |V| >= (V_i - guard)(1 + d_cell)} constrictions (0: nothing moves). It
drives the wall to site t = j from the left end (V > 0) or to t = K - j, j sites from the right end (V < 0); there
it lands at
    x ~ N(t L/K, landing_std)
and snaps to the nearest site, with a new residual ~ N(0, residual_std). A pulse pushes one way only: V > 0
never moves the wall left, V < 0 never right, and a wall that would end where it is does not move at all. From
`end_v` on the wall is pressed against the end of its track: no scatter, no residual. So one strong negative
pulse is the reset, and no field is needed. A pulse shorter than `t_ref_s` does not move the wall.

Stochastic landing on sites, few states, few fJ a write: Dhull et al., TNNLS 2025; arXiv 2010.10076 and
2111.07284. Every number here, and how the amplitude selects the site, is **assumed** and a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import FieldPulse, Operation, Range, ReadPulse, Scope, VoltagePulse
from quest_lab.errors import BadInput

SITES = (3, 5, 7, 9)


@dataclass(frozen=True, slots=True)
class DomainWall:
    """Parameters of the law, all assumed. Spreads are standard deviations, relative if without unit.

    0.5 to 0.8 V for 10 ns at 1 µS spend 2.5 to 6.4 fJ: the 5 fJ of a write.
    """

    sites: int = 5
    track_m: float = 600e-9
    landing_std_m: float = 20e-9
    residual_std_m: float = 2e-9
    first_v: float = 0.5  # nominal amplitude of site 1
    last_v: float = 0.8  # and of site K; the others lie between them at equal steps
    guard_v: float = 0.02  # from a nominal amplitude down to its threshold
    end_v: float = 0.95
    pinning_spread: float = 0.0  # d_cell, how much stronger a cell pins at all its constrictions, fixed
    t_ref_s: float = 10e-9
    r0_ohm: float = 1e6
    r0_spread: float = 0.05
    swing: float = 0.3  # (G_K - G_0) / G_0
    swing_spread: float = 0.03
    read_noise: float = 0.003
    reset: VoltagePulse = field(default_factory=lambda: VoltagePulse(-1.0, 10e-9))
    reset_scope: Scope = Scope.CELL
    read: ReadPulse = field(default_factory=lambda: ReadPulse(0.1, 10e-9))

    def __post_init__(self) -> None:
        if self.sites not in SITES:
            raise BadInput(f"sites={self.sites}: want one of {', '.join(map(str, SITES))}")
        if not 0.0 < self.first_v < self.last_v < self.end_v:
            raise BadInput(
                f"first_v={self.first_v}, last_v={self.last_v}, end_v={self.end_v}: want 0 V < first < last "
                "< end"
            )
        if not 0.0 < self.guard_v < min(self.first_v, self.set_v[1] - self.set_v[0]):
            raise BadInput(f"guard_v={self.guard_v}: must be above 0 V, below first_v and the ladder's step")
        if not 0.0 <= self.pinning_spread <= 0.05:  # else -1 V would not empty the most strongly pinned cells
            raise BadInput(f"pinning_spread={self.pinning_spread}: want 0 to 0.05")
        if not self.resets(self.reset):
            raise BadInput(
                f"reset={self.reset}: want at most -{self.end_v} V for at least {self.t_ref_s} s, which "
                "brings the wall to the left end"
            )

    @property
    def set_amplitude_v(self) -> Range:
        """From below the first state's threshold to above the last one's: what a staircase covers."""
        return Range(0.35, 0.85)

    @property
    def states(self) -> int:
        """Number of states, K + 1."""
        return self.sites

    @property
    def pitch_m(self) -> float:
        """Distance of neighbouring sites."""
        return self.track_m / (self.sites - 1)

    @property
    def set_v(self) -> tuple[float, ...]:
        """Nominal amplitude of each site 1..K."""
        return tuple(np.linspace(self.first_v, self.last_v, self.sites - 1).tolist())

    def resets(self, operation: Operation) -> bool:
        """Whether this brings any state to 0 for certain."""
        if isinstance(operation, FieldPulse):
            return False
        return operation.amplitude_v <= -self.end_v and operation.width_s >= self.t_ref_s

    @property
    def reset_energy_j(self) -> float:
        """Energy of a reset field: there is none."""
        return 0.0


def thresholds_v(model: DomainWall) -> NDArray[np.float64]:
    """Least |V| that overcomes constriction 1..K, shape (K,)."""
    return np.asarray(model.set_v) - model.guard_v


@nb.njit(cache=True, inline="always")
def overcome(amplitude_v: float, thresholds: NDArray[np.float64]) -> int:
    """Constrictions that a pulse overcomes, 0..K."""
    count = 0
    while count < thresholds.size and abs(amplitude_v) >= thresholds[count]:
        count += 1
    return count


@nb.njit(cache=True, inline="always")
def landing(k: int, amplitude_v: float, thresholds: NDArray[np.float64], scatter_pitches: float) -> int:
    """Site after a pulse on a wall at site k; `scatter_pitches` = (x - x_target) / pitch."""
    last = thresholds.size
    j = overcome(amplitude_v, thresholds)
    if j == 0:
        return k
    target = j if amplitude_v > 0.0 else last - j
    site = min(max(int(np.floor(target + scatter_pitches + 0.5)), 0), last)
    return max(k, site) if amplitude_v > 0.0 else min(k, site)


@nb.njit(cache=True, inline="always")
def conductance_s(k: int, residual_m: float, pitch_m: float, g0: float, swing_per_m: float) -> float:
    """Conductance of a wall at site k, linear in its place."""
    return g0 * (1.0 + swing_per_m * (k * pitch_m + residual_m))
