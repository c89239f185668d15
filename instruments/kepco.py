"""Kepco BOP bipolar supply as the current supply of a magnet; the voltage set point is the compliance."""

from __future__ import annotations

from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.clock import Clock
from quest_lab.errors import LimitExceeded
from quest_lab.instruments.magnet import FieldCalibration as FieldCalibration
from quest_lab.instruments.magnet import FieldMagnet
from quest_lab.instruments.roles import Gaussmeter, Setting
from quest_lab.instruments.visa import Line

MAXIMUM_A, MAXIMUM_V = 12.0, 36.0  # BOP 36-12M: its name


class KepcoSupply:
    """CurrentSupply on a BOP 36-12."""

    name = "Kepco"

    def __init__(self, supply: KepcoBOP3612) -> None:
        self._supply = supply
        self._line = Line(self.name, supply)

    def take_over(self) -> float:
        self._line.identify()
        with self._line.step("set up"):
            return float(self._supply.current) if self._supply.output_enabled else 0.0

    def enable(self, compliance_v: float) -> None:
        with self._line.step("set up"):
            self._supply.clear()
            self._supply.current_setpoint = 0.0
            self._supply.operating_mode = "CURR"
            self._supply.voltage_setpoint = compliance_v
        self._line.ask_ok("OUTP 1", "output on")

    def set_ampere(self, ampere: float, what: str) -> None:
        self._line.write(f"CURR {ampere:.6g}", what)

    def measure_ampere(self) -> float:
        with self._line.step("measure current"):
            return float(self._line.ask_checked("MEAS:CURR?", "measure current"))

    def read_back(self, compliance_v: float) -> list[Setting]:
        """What the supply says of its compliance and set point, against what was set."""
        with self._line.step("read back"):
            volts = float(self._line.ask("VOLT?", "read back"))
            ampere = float(self._line.ask("CURR?", "read back"))
        return [
            Setting("compliance", compliance_v, volts, "V"),
            Setting("current set point", 0.0, ampere, "A"),
        ]

    def open(self) -> None:
        self._line.write("OUTP 0", "output off")

    def close(self) -> None:
        self._line.close()


class KepcoMagnet(FieldMagnet):
    """FieldMagnet over a Kepco BOP 36-12. Raises LimitExceeded for a calibration beyond the supply."""

    def __init__(
        self,
        supply: KepcoBOP3612,
        calibration: FieldCalibration,
        clock: Clock,
        gaussmeter: Gaussmeter | None = None,
    ) -> None:
        if calibration.limit_a > MAXIMUM_A or calibration.compliance_v > MAXIMUM_V:
            raise LimitExceeded(
                f"magnet.limit_a={calibration.limit_a}, magnet.compliance_v={calibration.compliance_v}: "
                f"a BOP 36-12 gives up to {MAXIMUM_A} A and {MAXIMUM_V} V"
            )
        self._kepco = KepcoSupply(supply)
        super().__init__(self._kepco, calibration, clock, gaussmeter)

    def read_back(self) -> list[Setting]:
        """Compliance and set point as the supply tells them, and the gaussmeter's settings."""
        measured = self._gaussmeter.read_back() if self._gaussmeter else []
        return self._kepco.read_back(self.calibration.compliance_v) + measured
