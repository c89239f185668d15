"""What field, use, time and fabrication do to Sk-MTJ cells beside their law: parameters and pure functions.

Each effect is a field of `SkMTJ`, off by default. `found` names a public source, all else is **assumed**.

- `FieldLoop`: skyrmions shrink in a positive field and are annihilated at the cell's own `reset_field_t`; in a
  negative one they grow, until at the nucleation field the free layer is uniform the other way. Coming back it
  breaks up into all K skyrmions. So the R-H loop has two branches between the two fields, and at remanence
  the cell is in state 0 or K.
- `Wear`: breakdown of the barrier limits endurance (found: Carboni et al., IEEE TED 65, 2470, 2018), lifetimes are
  Weibull-distributed (found, for naturally oxidised MgO: STT-MRAM breakdown with perpendicular MTJs), and fall
  exponentially with the voltage, the E-model (found, for positive bias: reliability study of MTJs with naturally
  oxidised MgO, 2012). Pulses add up linearly: dose = t / t_ref exp(acceleration (|V| - V_ref)).
- `Retention`: each of k skyrmions is lost at the rate exp(-barrier T_ref / T) / attempt time (Arrhenius; barrier
  60: facts of the house).
- `Faults`: cells that were open, shorted or stuck from the beginning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.errors import BadInput

SOUND, STUCK, OPEN, SHORT = range(4)  # what a cell's column `stuck` says


@dataclass(frozen=True, slots=True)
class FieldLoop:
    """The loop of the resistance over the field. Spreads are relative standard deviations between cells."""

    annihilation_spread: float = 0.05  # of SkMTJ.reset_field_t
    nucleation_t: float = -0.06
    nucleation_spread: float = 0.10
    shrinkage: float = (
        0.85  # of the signal up to annihilation: diameter 260 to 100 nm (found, arXiv 1706.01065)
    )
    contrast: float = 0.45  # all skyrmions over the uniform state: 0.2 to 0.7 (found, arXiv 2302.08020)

    def __post_init__(self) -> None:
        if not self.nucleation_t < 0.0:
            raise BadInput(f"nucleation_t={self.nucleation_t}: must be below 0 T")
        if not 0.0 <= self.shrinkage <= 1.0 or not 0.0 < self.contrast <= 1.0:
            raise BadInput(
                f"shrinkage={self.shrinkage}, contrast={self.contrast}: want 0..1, a contrast above 0"
            )

    def signal(self, field_t: float, annihilation_t: float) -> float:
        """Signal of a skyrmion in this field over that in none."""
        return max(1.0 - self.shrinkage * field_t / annihilation_t, 0.0)


@dataclass(frozen=True, slots=True)
class Wear:
    """Endurance: lives in pulses of `reference_v` and t_ref, and what a cell is before and after its end."""

    life_pulses: float = 1e9  # 63 % are broken by then
    shape: float = 1.5  # of the Weibull distribution
    reference_v: float = 0.75
    acceleration_per_v: float = 20.0
    tmr_loss: float = 0.1  # share of the TMR that is lost towards the end of life
    threshold_rise: float = 0.05  # share by which thresholds rise until then
    short_share: float = 0.8  # of the broken cells; the rest stick in their state
    open_share: float = 0.05

    def __post_init__(self) -> None:
        if not (self.life_pulses > 0.0 and self.shape > 0.0):
            raise BadInput(f"life_pulses={self.life_pulses}, shape={self.shape}: must be above 0")
        if min(self.short_share, self.open_share) < 0.0 or self.short_share + self.open_share > 1.0:
            raise BadInput(f"short_share={self.short_share}, open_share={self.open_share}: want shares of 1")

    def dose(self, amplitude_v: float, width_s: float, t_ref_s: float) -> float:
        """Pulses of the reference that wear as much as this one."""
        return width_s / t_ref_s * math.exp(self.acceleration_per_v * (abs(amplitude_v) - self.reference_v))

    def lives(self, uniform: Floats) -> Floats:
        """Weibull lives of cells, pulses, from uniform draws in (0, 1)."""
        return np.asarray(self.life_pulses * (-np.log(uniform)) ** (1.0 / self.shape))

    def ends(self, uniform: Floats) -> NDArray[np.uint8]:
        """How each cell ends: SHORT, OPEN or STUCK."""
        edges = [self.short_share, self.short_share + self.open_share]
        return np.array([SHORT, OPEN, STUCK], np.uint8)[np.searchsorted(edges, uniform, side="right")]


@dataclass(frozen=True, slots=True)
class Retention:
    """Thermal loss of skyrmions; `barrier` in kT at `reference_k`, the same energy at every temperature."""

    barrier: float = 60.0
    barrier_spread: float = 0.05  # relative, between cells
    attempt_s: float = 1e-9
    reference_k: float = 300.0
    temperature_k: float = 300.0

    def __post_init__(self) -> None:
        for name in ("attempt_s", "reference_k", "temperature_k"):
            if not getattr(self, name) > 0.0:
                raise BadInput(f"{name}={getattr(self, name)}: must be above 0")

    def lifetime_s(self, barrier: Floats) -> Floats:
        """Mean life of one skyrmion behind this barrier."""
        in_kt = barrier * self.reference_k / self.temperature_k
        return np.asarray(self.attempt_s * np.exp(np.clip(in_kt, 0.0, 600.0)))


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of the cells that were fabricated open, shorted, or stuck in a state drawn evenly."""

    open: float = 0.0
    short: float = 0.0
    stuck: float = 0.0
    open_ohm: float = 1e9  # also of cells that broke in use
    short_ohm: float = 20.0

    def __post_init__(self) -> None:
        if min(self.open, self.short, self.stuck) < 0.0 or self.open + self.short + self.stuck > 1.0:
            raise BadInput(
                f"open={self.open}, short={self.short}, stuck={self.stuck}: want shares, at most 1 together"
            )

    def kinds(self, uniform: Floats) -> NDArray[np.uint8]:
        """SOUND, STUCK, OPEN or SHORT for each cell from uniform draws in (0, 1)."""
        edges = np.cumsum([self.open, self.short, self.stuck])
        return np.array([OPEN, SHORT, STUCK, SOUND], np.uint8)[np.searchsorted(edges, uniform, side="right")]
