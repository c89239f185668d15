"""A magnet around the chip: field by calibration, ramped within its limit, never opened while current flows.

The layer is the same over every current supply. With a gaussmeter the current is corrected until the field
itself is what was asked for; the correction is remembered, so that the next pulse of this field needs one look.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from quest_lab.clock import Clock
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.instruments.access import all_off
from quest_lab.instruments.roles import CurrentSupply, Gaussmeter

LOOP_STEPS = 8
CONFIRM_TRIES = 3


@dataclass(frozen=True, slots=True)
class FieldCalibration:
    """A magnet as the bench knows it. The tighter of the two ramp limits holds."""

    tesla_per_ampere: float = 0.02
    coil_ohm: float = 0.4
    limit_a: float = 7.5
    compliance_v: float = 36.0
    ramp_a_per_s: float = 1000.0
    ramp_step_a: float = 0.5
    settle_s: float = 2e-4  # from the last step of a ramp to the current being there
    tolerance: float = 0.01  # of the current (of the field, with a gaussmeter), before the flat top begins
    ramp_t_per_s: float = math.inf
    field_tolerance_t: float = 1e-4  # with a gaussmeter: less than this is no error, also of small fields
    polarity: int = 1  # sign of the field at the chip for a positive current
    standing_t: float = 0.0  # what stands in the gap without any current: a pulse comes on top of it

    def __post_init__(self) -> None:
        names = ("tesla_per_ampere", "limit_a", "compliance_v", "ramp_a_per_s", "ramp_step_a", "ramp_t_per_s")
        for name in names:
            if not getattr(self, name) > 0.0:
                raise BadInput(f"magnet.{name}={getattr(self, name)}: must be above 0")

    @property
    def limit_t(self) -> float:
        """Highest field, tesla."""
        return self.limit_a * self.tesla_per_ampere

    def ampere(self, field_t: float) -> float:
        """The current that the calibration gives for this field."""
        return self.polarity * field_t / self.tesla_per_ampere

    @property
    def slew_a_per_s(self) -> float:
        """What both ramp limits allow, ampere per second."""
        return min(self.ramp_a_per_s, self.ramp_t_per_s / self.tesla_per_ampere)


class FieldMagnet:
    """FieldSource over a supply in current mode, with or without a gaussmeter in the gap."""

    def __init__(
        self,
        supply: CurrentSupply,
        calibration: FieldCalibration,
        clock: Clock,
        gaussmeter: Gaussmeter | None = None,
    ) -> None:
        self._supply, self._gaussmeter, self._clock = supply, gaussmeter, clock
        self.calibration = calibration
        self._ampere = 0.0  # last set point sent
        self._learned_a: dict[float, float] = {}  # the current that gave a field, tesla: ampere
        self._on = False

    def set_up(self) -> None:
        """Take over whatever current flows, ramp it away, then current mode at 0 A with the output on."""
        self._ampere = self._supply.take_over()
        self.off()
        if self._gaussmeter:
            self._gaussmeter.set_up()
        self._supply.enable(self.calibration.compliance_v)
        self._on = True

    def pulse(self, field_t: float, width_s: float, on_top: Callable[[], None] | None = None) -> float:
        """Ramp, check current or field, hold, ramp to zero; returns I^2 R t of the flat top, joule."""
        ampere = self._learned_a.get(field_t, self.calibration.ampere(field_t))
        if abs(field_t) > self.calibration.limit_t * (1 + 1e-9):
            raise LimitExceeded(f"field_t={field_t}: above {self.calibration.limit_t} T of this magnet")
        if not self._on:
            self.set_up()
        try:
            self._ramp(ampere)
            self._confirm(ampere)
            before_s = self._close_loop(field_t)
            self._clock.sleep(width_s)
            held_s = self._clock.now()
            if on_top:
                on_top()
            ampere, after_s = self._ampere, self._clock.now() - held_s
            self._ramp(0.0)
        except BaseException:  # nobody reads cells in a field that stayed on
            self.off()
            raise
        return ampere**2 * self.calibration.coil_ohm * (before_s + width_s + after_s)

    def off(self) -> None:
        """Ramp from the last set point, then open. If 0 A cannot be sent, twice, the output stays closed."""
        try:
            self._ramp(0.0)
        except DeviceError:
            self._ramp(0.0)  # a set point may be sent again, unlike a trigger
        self._supply.open()
        self._on = False

    def close(self) -> None:
        all_off((self._supply.close, *((self._gaussmeter.close,) if self._gaussmeter else ())))

    def _ramp(self, ampere: float) -> None:
        """Steps from the last set point; a last step of the target itself even if nothing is to do."""
        start = self._ampere
        steps = max(math.ceil(abs(ampere - start) / self.calibration.ramp_step_a - 1e-9), 1)
        for step in range(1, steps + 1):
            target = start + (ampere - start) * step / steps
            if step > 1:
                self._clock.sleep(abs(ampere - start) / steps / self.calibration.slew_a_per_s)
            self._supply.set_ampere(target, f"ramp to {ampere:.4g} A")
            self._ampere = target
        self._clock.sleep(self.calibration.settle_s)

    def _confirm(self, ampere: float) -> None:
        """Look again where it has not arrived yet: a set point may have waited on the line."""
        for _ in range(CONFIRM_TRIES):
            found = self._supply.measure_ampere()
            if abs(found - ampere) <= self.calibration.tolerance * abs(ampere):
                return
            self._clock.sleep(self.calibration.settle_s)
        raise DeviceError(f"{self._supply.name}: magnet current is {found:.4g} A, not {ampere:.4g} A")

    def _close_loop(self, field_t: float) -> float:
        """Correct the current until the gaussmeter agrees; returns how long that took, seconds."""
        if self._gaussmeter is None:
            return 0.0
        begun = self._clock.now()
        for _ in range(LOOP_STEPS):
            missing_t = field_t - (self._gaussmeter.field_t() - self.calibration.standing_t)
            if abs(missing_t) <= max(
                self.calibration.tolerance * abs(field_t), self.calibration.field_tolerance_t
            ):
                self._learned_a[field_t] = self._ampere
                return self._clock.now() - begun
            self._correct(field_t, missing_t)
        self._learned_a.pop(field_t, None)
        raise DeviceError(
            f"{self._gaussmeter.name}: field is {field_t - missing_t:.4g} T, not {field_t:.4g} T, "
            f"after {LOOP_STEPS} corrections"
        )

    def _correct(self, field_t: float, missing_t: float) -> None:
        """One step towards the field. Raises DeviceError where the current's limit forbids it."""
        ampere = self._ampere + self.calibration.ampere(missing_t)
        if abs(ampere) > self.calibration.limit_a * (1 + 1e-9):
            self._learned_a.pop(field_t, None)
            raise DeviceError(
                f"{self._supply.name}: {field_t - missing_t:.4g} T measured at {self._ampere:.4g} A: "
                f"{field_t:.4g} T would need {ampere:.4g} A, above the limit of {self.calibration.limit_a} A"
            )
        self._ramp(ampere)
