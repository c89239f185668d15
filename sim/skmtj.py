"""The skyrmionic magnetic tunnel junction: a staircase of states, as pure functions of its parameters.

With k = number of occupied states (0..K), a pulse of V volts and t seconds lands on
    k' = max(k, #{j : V >= V_th,j(t) (1 + d_cell + xi_pulse)}),
    V_th,j(t) = max((V_j - guard)(1 - ln(t / t_ref) / delta_set), floor V_j);
the resistance at bias V is
    R = R0_cell (1 + s TMR_cell / (1 + (V / v_half)^2) (k + zeta) / K),
and a field of the right polarity, at least `reset_field_t` for `reset_width_s`, empties the cell.

Seven states, stepwise by amplitude or width, reset by field: QUEST (arXiv 2504.00679). Every number here is
**assumed** (no public resistance, voltage, width or field of the device exists) and therefore a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import FieldPulse, Range, ReadPulse, Scope
from quest_lab.errors import BadInput
from quest_lab.sim.reliability import Faults, FieldLoop, Retention, Wear

Preset = Literal["lab", "scaled", "lab-ageing"]
_Volts = TypeVar("_Volts", float, float | NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class SkMTJ:
    """Parameters of the law, all assumed. Spreads are standard deviations, relative if without unit."""

    set_v: tuple[float, ...] = (
        0.50,
        0.55,
        0.60,
        0.65,
        0.70,
        0.75,
    )  # nominal amplitude of state 1..K, mid-plateau
    guard_v: float = 0.025
    delta_set: float = 20.0
    floor: float = 0.05
    t_ref_s: float = 1e-6
    d_cell: float = 0.02  # threshold spread between cells, fixed
    xi_pulse: float = 0.01  # threshold spread between pulses, shared by all thresholds of one pulse
    r0_ohm: float = 2000.0
    r0_spread: float = 0.05
    tmr: float = 0.30
    tmr_spread: float = 0.03
    v_half_v: float = 0.5  # bias at which the TMR has halved
    residual_states: float = 0.12  # landing residual zeta, frozen until the next landing
    sign: int = 1  # +1: resistance rises with k; -1: falls
    read_noise: float = 0.003
    reset_field_t: float = 0.08
    reset_width_s: float = 1e-3
    reset: FieldPulse = field(default_factory=lambda: FieldPulse(0.1, 10e-3))
    reset_scope: Scope = Scope.ARRAY
    reset_energy_j: float = 0.1  # a domain pulse for scope `array`, one cell for scope `cell`
    read: ReadPulse = field(default_factory=lambda: ReadPulse(0.2, 1e-6))
    faults: Faults = field(default_factory=Faults)
    loop: FieldLoop | None = None
    wear: Wear | None = None
    retention: Retention | None = None

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise BadInput(f"sign={self.sign}: want +1 (R rises with the state) or -1 (R falls)")
        if not self.set_v or any(b <= a for a, b in zip(self.set_v, self.set_v[1:], strict=False)):
            raise BadInput(f"set_v={self.set_v}: want ascending amplitudes in V, at least one")
        if self.set_v[0] <= self.guard_v:
            raise BadInput(f"set_v[0]={self.set_v[0]} V: must be above guard_v={self.guard_v} V")

    @classmethod
    def preset(cls, name: Preset, **changes: object) -> SkMTJ:
        """`lab`: µs pulses, array-wide reset, µJ scale of the paper. `scaled`: ns pulses, local reset.

        `lab-ageing`: `lab` with a field loop, lives of 10^5 pulses, thermal decay and 2 % faulty cells.
        """
        if name == "lab":
            base = cls()
        elif name == "scaled":
            base = cls(
                t_ref_s=20e-9,
                read=ReadPulse(0.1, 10e-9),
                reset_scope=Scope.CELL,
                reset_energy_j=1e-12,
            )
        elif name == "lab-ageing":
            base = cls(
                faults=Faults(open=0.005, short=0.005, stuck=0.01),
                loop=FieldLoop(),
                wear=Wear(life_pulses=1e5),
                retention=Retention(),
            )
        else:
            raise BadInput(f"preset {name!r}: want 'lab', 'scaled' or 'lab-ageing'")
        return replace(base, **changes)  # type: ignore[arg-type]  # names are checked by replace itself

    @property
    def set_amplitude_v(self) -> Range:
        """From below the first state's threshold to above the last one's: what a staircase covers."""
        return Range(0.35, 0.85)

    @property
    def states(self) -> int:
        """Number of states, K + 1."""
        return len(self.set_v) + 1

    def resets(self, pulse: FieldPulse) -> bool:
        """Whether this field empties a cell: right polarity, strong and long enough."""
        return pulse.field_t >= self.reset_field_t and pulse.width_s >= self.reset_width_s

    def can_disturb(self, amplitude_v: float, width_s: float) -> bool:
        """Whether a bias comes within ten standard deviations of the lowest threshold."""
        spread = float(np.hypot(self.d_cell, self.xi_pulse))
        return bool(amplitude_v >= thresholds_v(self, width_s)[0] * (1.0 - 10.0 * spread))


def thresholds_v(model: SkMTJ, width_s: float) -> NDArray[np.float64]:
    """Nominal thresholds V_th,j at this pulse width, volts, shape (K,)."""
    v = np.asarray(model.set_v)
    return np.maximum(
        (v - model.guard_v) * (1.0 - np.log(width_s / model.t_ref_s) / model.delta_set), model.floor * v
    )


@nb.njit(cache=True)
def count_reached(
    amplitude_v: float, thresholds: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Thresholds that a pulse reaches in each cell, `shift` = d_cell + xi_pulse; it lands on max(k, this)."""
    reached = np.zeros(shift.size, np.uint8)
    for j in range(thresholds.size):
        for i in range(shift.size):
            reached[i] += amplitude_v >= thresholds[j] * (1.0 + shift[i])
    return reached


@nb.njit(cache=True, inline="always")
def resistance_ohm(k: int, zeta: float, r0: float, signed_tmr: float, steps: int) -> float:
    """Resistance of state k; `signed_tmr` = s TMR_cell at the bias in question."""
    return r0 * (1.0 + signed_tmr * (k + zeta) / steps)


def tmr_at(model: SkMTJ, bias_v: _Volts) -> _Volts:
    """Factor by which the signed TMR of a cell is multiplied at this bias."""
    return model.sign / (1.0 + (bias_v / model.v_half_v) ** 2)
