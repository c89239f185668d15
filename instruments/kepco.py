"""Kepco BOP with a magnet: field by calibration, current ramped in steps, never opened while it flows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.clock import Clock
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line


@dataclass(frozen=True, slots=True)
class FieldCalibration:
    """A magnet as the bench knows it."""

    tesla_per_ampere: float = 0.02
    coil_ohm: float = 0.4
    limit_a: float = 7.5
    compliance_v: float = 36.0
    ramp_a_per_s: float = 1000.0
    ramp_step_a: float = 0.5
    settle_s: float = 2e-4  # from the last step of a ramp to the current being there
    tolerance: float = 0.01  # of the current, before the flat top begins
    polarity: int = 1  # sign of the field for a positive current

    def __post_init__(self) -> None:
        for name in ("tesla_per_ampere", "limit_a", "compliance_v", "ramp_a_per_s", "ramp_step_a"):
            if not getattr(self, name) > 0.0:
                raise BadInput(f"magnet.{name}={getattr(self, name)}: must be above 0")

    @property
    def limit_t(self) -> float:
        """Highest field, tesla."""
        return self.limit_a * self.tesla_per_ampere


class KepcoMagnet:
    """FieldSource on a Kepco BOP in current mode; the voltage set point is the compliance."""

    def __init__(self, supply: KepcoBOP3612, calibration: FieldCalibration, clock: Clock) -> None:
        self._supply = supply
        self._line = Line("Kepco", supply)
        self.calibration = calibration
        self._clock = clock
        self._ampere = 0.0  # last set point sent
        self._on = False

    def set_up(self) -> None:
        """Take over whatever current flows, ramp it away, then current mode at 0 A with the output on."""
        self._line.identify()
        with self._line.step("set up"):
            self._ampere = float(self._supply.current) if self._supply.output_enabled else 0.0
        self.off()
        with self._line.step("set up"):
            self._supply.clear()
            self._supply.current_setpoint = 0.0
            self._supply.operating_mode = "CURR"
            self._supply.voltage_setpoint = self.calibration.compliance_v
        self._line.ask_ok("OUTP 1", "output on")
        self._on = True

    def pulse(self, field_t: float, width_s: float) -> float:
        """Ramp, check the current, hold, ramp to zero; returns I^2 R t of the flat top, joule."""
        ampere = self.calibration.polarity * field_t / self.calibration.tesla_per_ampere
        if abs(ampere) > self.calibration.limit_a * (1 + 1e-9):
            raise LimitExceeded(f"field_t={field_t}: above {self.calibration.limit_t} T of this magnet")
        if not self._on:
            self.set_up()
        try:
            self._ramp(ampere)
            self._confirm(ampere)
            self._clock.sleep(width_s)
            self._ramp(0.0)
        except BaseException:  # nobody reads cells in a field that stayed on
            self.off()
            raise
        return ampere**2 * self.calibration.coil_ohm * width_s

    def read_back(self) -> list[Setting]:
        """What the supply says of its compliance and current, against what was set."""
        with self._line.step("read back"):
            volts = float(self._line.ask("VOLT?", "read back"))
            ampere = float(self._line.ask("CURR?", "read back"))
        compliance_v = self.calibration.compliance_v
        return [
            Setting("compliance", compliance_v, volts, "V"),
            Setting("current set point", 0.0, ampere, "A"),
        ]

    def off(self) -> None:
        """Ramp from the last set point, then open. If 0 A cannot be sent, twice, the output stays closed."""
        try:
            self._ramp(0.0)
        except DeviceError:
            self._ramp(0.0)  # a set point may be sent again, unlike a trigger
        self._line.write("OUTP 0", "output off")
        self._on = False

    def close(self) -> None:
        self._line.close()

    def _ramp(self, ampere: float) -> None:
        """Steps from the last set point; a last step of the target itself even if nothing is to do."""
        start = self._ampere
        steps = max(math.ceil(abs(ampere - start) / self.calibration.ramp_step_a - 1e-9), 1)
        for step in range(1, steps + 1):
            target = start + (ampere - start) * step / steps
            if step > 1:
                self._clock.sleep(abs(ampere - start) / steps / self.calibration.ramp_a_per_s)
            self._line.write(f"CURR {target:.6g}", f"ramp to {ampere:.4g} A")
            self._ampere = target
        self._clock.sleep(self.calibration.settle_s)

    def _confirm(self, ampere: float) -> None:
        with self._line.step("measure current"):
            found = float(self._line.ask("MEAS:CURR?", "measure current"))
        if abs(found - ampere) > self.calibration.tolerance * abs(ampere):
            raise DeviceError(f"Kepco: magnet current is {found:.4g} A, not {ampere:.4g} A")
