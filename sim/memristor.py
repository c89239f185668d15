"""A filamentary memristor: a conducting filament with a gap at its tip, as pure functions of its parameters.

The Stanford/ASU model (Guan, Yu, Wong, IEEE EDL 33, 1405, 2012; version 1.0.0, doi 10.4231/D37H1DN48), at one
temperature and with its exponent alpha = 1, for which a pulse has a closed form. The current at gap g is
    I = I0_cell exp(-g / g0) sinh(V / V0);
the gap moves where the field at the filament exceeds a least one, gamma |V| >= F_min L, gamma = gamma0 - beta g,
    dg/dt = +-v0 / 2 exp(-Ea / kT) exp(gamma a0 q |V| / (L kT)).
V > 0 opens the gap (the model's reset) and V < 0 closes it (its set): what a staircase of rising amplitudes
grades is the opening, since gamma falls as the gap grows: **gradual**, a logarithm of time, at rest at the gap
where F_min is no longer reached, which the amplitude selects. Closing makes gamma grow: a run-away, **abrupt**.
So one strong negative pulse is the reset of a protocol; it closes the gap to `gap_min_m`, scattered by
`closing_std_m`. The cell feels V / (1 + d_cell + xi_pulse); no state is a step of a staircase.

**Found** in the published model, version 1.0.0: gamma0, v0, Ea, a0, L, F_min, V0, both ends of the gap. **Derived**:
beta, the secant of its 0.8 g^3 between gap 0 and 1.7 nm. **Assumed**: g0 (published: 0.25 nm, a window of 400) and
I0 (published: 1 mA), for cells of 20 kohm and up with a window of 20; every spread; the pulses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numba as nb

from quest_lab.device import FieldPulse, Operation, Range, ReadPulse, Scope, VoltagePulse
from quest_lab.errors import BadInput

BOLTZMANN_EV_PER_K = 8.617333e-5


@dataclass(frozen=True, slots=True)
class Memristor:
    """Parameters of the law. Spreads are standard deviations, relative if without unit."""

    gap_min_m: float = 0.2e-9
    gap_max_m: float = 1.7e-9
    g0_m: float = 0.5e-9
    i0_a: float = 10e-6
    v0_v: float = 0.25
    velocity_m_per_s: float = 10.0
    activation_ev: float = 0.6
    gamma0: float = 16.0
    beta_per_m: float = 2.3e9
    atom_m: float = 0.25e-9
    oxide_m: float = 12e-9
    least_field_v_per_m: float = 1.4e9
    temperature_k: float = 300.0
    d_cell: float = 0.01  # of the volts a cell feels, fixed
    xi_pulse: float = 0.005  # of the volts a pulse is felt as
    i0_spread: float = 0.05
    closing_std_m: float = 0.004e-9
    read_noise: float = 0.003
    t_ref_s: float = 10e-6
    set_amplitude_v: Range = field(default_factory=lambda: Range(1.0, 1.36))  # from no move to the widest gap
    reset: VoltagePulse = field(default_factory=lambda: VoltagePulse(-1.5, 10e-6))
    reset_scope: Scope = Scope.CELL
    read: ReadPulse = field(default_factory=lambda: ReadPulse(0.1, 1e-6))

    def __post_init__(self) -> None:
        if not 0.0 < self.gap_min_m < self.gap_max_m:
            raise BadInput(
                f"gap_min_m={self.gap_min_m}, gap_max_m={self.gap_max_m}: want 0 m < gap_min_m < gap_max_m"
            )
        for name in ("g0_m", "i0_a", "v0_v", "velocity_m_per_s", "temperature_k", "beta_per_m", "t_ref_s"):
            if not getattr(self, name) > 0.0:
                raise BadInput(f"{name}={getattr(self, name)}: must be above 0")
        if not self.resets(self.reset):
            raise BadInput(
                f"reset={self.reset}: does not close the widest gap of a cell four standard deviations weak; "
                "want a more negative amplitude or a longer width"
            )

    @property
    def r0_ohm(self) -> float:
        """Resistance with the gap closed, at a vanishing bias."""
        return self.v0_v / self.i0_a * math.exp(self.gap_min_m / self.g0_m)

    @property
    def window(self) -> float:
        """Highest over lowest resistance."""
        return math.exp((self.gap_max_m - self.gap_min_m) / self.g0_m)

    @property
    def reset_energy_j(self) -> float:
        """Energy of a reset field: there is none."""
        return 0.0

    @property
    def least_v(self) -> float:
        """gamma |V| below which nothing moves."""
        return self.least_field_v_per_m * self.oxide_m

    @property
    def kinetics(self) -> tuple[float, float, float, float, float]:
        """What `moved_m` needs: gamma0, beta (1/m), least gamma |V|, a0 / (L kT) (1/V), rate (m/s)."""
        thermal_v = BOLTZMANN_EV_PER_K * self.temperature_k
        rate = 0.5 * self.velocity_m_per_s * math.exp(-self.activation_ev / thermal_v)
        per_volt = self.atom_m / self.oxide_m / thermal_v
        return self.gamma0, self.beta_per_m, self.least_v, per_volt, rate

    def resets(self, operation: Operation) -> bool:
        """Whether this closes any gap for certain, in a cell that feels four standard deviations less than given."""
        if isinstance(operation, FieldPulse) or operation.amplitude_v >= 0.0:
            return False
        felt_v = operation.amplitude_v / (1.0 + 4.0 * math.hypot(self.d_cell, self.xi_pulse))
        end_m: float = moved_m(self.gap_max_m, felt_v, operation.width_s, *self.kinetics, self.gap_min_m)
        return end_m <= self.gap_min_m


@nb.njit(cache=True, inline="always")
def moved_m(
    gap_m: float,
    felt_v: float,
    width_s: float,
    gamma0: float,
    beta_per_m: float,
    least_v: float,
    per_volt: float,
    rate_m_per_s: float,
    gap_min_m: float,
) -> float:
    """Gap after a pulse that the cell feels as `felt_v`: the integral of dg/dt, up to where F_min ends it."""
    volts = abs(felt_v)
    if (gamma0 - beta_per_m * gap_m) * volts < least_v:
        return gap_m
    slope = per_volt * beta_per_m * volts  # 1/m
    gain = slope * rate_m_per_s * width_s * math.exp(per_volt * gamma0 * volts - slope * gap_m)
    if felt_v > 0.0:
        stop_m = (gamma0 - least_v / volts) / beta_per_m
        return min(gap_m + math.log1p(gain) / slope, stop_m)
    if gain >= 1.0:
        return gap_min_m  # the run-away has no end of its own
    return max(gap_m + math.log1p(-gain) / slope, gap_min_m)


@nb.njit(cache=True, inline="always")
def resistance_ohm(gap_m: float, bias_v: float, i0_a: float, g0_m: float, v0_v: float) -> float:
    """V / I at this bias; its limit at none."""
    x = abs(bias_v) / v0_v
    shape = x / math.sinh(x) if x > 1e-6 else 1.0
    return v0_v / i0_a * shape * math.exp(gap_m / g0_m)
