"""Keithley 2400 as a resistance meter: sources volts, measures current, output on only while it measures.

:SOURce:CLEar:AUTO turns the output on for one source-delay-measure cycle, so a read is one exchange and a
crash of this program leaves nothing on the cell. Autozero is off: it would keep the bias on for three times
the aperture (read disturb).
"""

from __future__ import annotations

from pymeasure.instruments.keithley import Keithley2400

from quest_lab.device import ReadPulse
from quest_lab.errors import DeviceError
from quest_lab.instruments.keithley import in_compliance, power_line_cycles, resistance_ohm
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line

IN_COMPLIANCE = 1 << 3  # status word


class SourceMeter2400:
    """ResistanceMeter. `limit_v`, `limit_a`: highest bias and compliance of a read; `line_hz`: mains."""

    def __init__(
        self, meter: Keithley2400, *, limit_v: float = 0.1, limit_a: float = 1e-4, line_hz: float = 50.0
    ) -> None:
        self._meter = meter
        self._line = Line("2400", meter)
        self._limit_v, self._limit_a, self._line_hz = limit_v, limit_a, line_hz
        self._armed: ReadPulse | None = None

    def set_up(self) -> None:
        """Output off, known state, compliance and range, then the single-cycle mode."""
        self.off()
        self._line.identify()
        meter = self._meter
        with self._line.step("set up"):
            meter.reset()
            meter.clear()
            meter.reset_data_format()
            meter.source_mode = "voltage"
            meter.compliance_current = self._limit_a
            meter.current_range = self._limit_a
            meter.auto_zero_enabled = False
            meter.source_delay = 0.0
            meter.auto_output_off_enabled = True
        self._line.ask_ok(":SENS:FUNC 'CURR'", "set up")

    def arm(self, at: ReadPulse) -> None:
        """Set volts and aperture if they differ from the last ones; one exchange. Raises LimitExceeded."""
        if at == self._armed:
            return
        nplc = power_line_cycles("2400", at, limit_v=self._limit_v, line_hz=self._line_hz)
        self._armed = None
        command = f":SENS:CURR:NPLC {nplc:.9g};:SOUR:VOLT {at.amplitude_v:.12g}"  # no rounding past a limit
        self._line.ask_ok(command, f"arm {at.amplitude_v:.6g} V")
        self._armed = at

    def measure(self) -> float:
        """One read, one exchange; ohm. Raises DeviceError in compliance and where no resistance results."""
        reply = self._line.ask_checked(":READ?", "read")
        try:
            volts, ampere, _, _, status = (float(field) for field in reply.split(","))
        except ValueError:
            raise DeviceError(f"2400: read: unreadable reply {reply!r}") from None
        if int(status) & IN_COMPLIANCE:
            raise in_compliance("2400", self._limit_a)
        return resistance_ohm("2400", volts, ampere, limit_a=self._limit_a)

    def read_back(self) -> list[Setting]:
        """What the instrument says of its compliance and output, against what was set."""
        with self._line.step("read back"):
            limit_a = float(self._line.ask(":SENS:CURR:PROT?", "read back"))
            on = float(self._line.ask(":OUTP?", "read back"))
        return [Setting("compliance", self._limit_a, limit_a, "A"), Setting("output on", 0.0, on, "")]

    def off(self) -> None:
        self._armed = None
        self._line.write(":OUTP 0", "output off")

    def close(self) -> None:
        self._line.close()
