"""Keithley 2450 as a resistance meter and as a pulse source of its own, one instrument in both roles.

Model 2450 Reference Manual (2450-901-01), SCPI command set. A read turns the output on, measures and turns it
off in one message. A pulse is a trigger model of four blocks (output on, constant delay, measure, output off), so the
instrument itself ends it, whatever becomes of this program; the measurement takes the last 0.01 power line cycles of
the width and gives the energy of the pulse. Between the two the level stands at 0 V: a level
that the instrument refuses is then a pulse or read of 0 V with an error in the queue.
Instrument-side limits: overvoltage protection 2 V, fixed 2 V source range, current limit.
"""

from __future__ import annotations

from pymeasure.instruments.keithley import Keithley2450

from quest_lab.datasheets import KEITHLEY2450
from quest_lab.device import ReadPulse
from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.instruments.keithley import OVERFLOW, in_compliance, power_line_cycles, resistance_ohm
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line

RANGE_V = KEITHLEY2450.open_v.high  # source range; its protection is PROT2
HIGHEST_A = 1.05  # datasheet
PULSE_NPLC = 0.01  # the shortest aperture
MINIMUM_WIDTH_S, MAXIMUM_WIDTH_S = KEITHLEY2450.width_s.low, KEITHLEY2450.width_s.high


class SourceMeter2450:
    """ResistanceMeter; `pulses()` gives its PulseSource.

    `limit_v`, `limit_a`: highest bias and current of a read; `pulse_limit_v`, `pulse_limit_a`: of a pulse.
    """

    def __init__(
        self,
        meter: Keithley2450,
        *,
        limit_v: float = 0.1,
        limit_a: float = 1e-4,
        pulse_limit_v: float = 1.0,
        pulse_limit_a: float = 2e-3,
        line_hz: float = 50.0,
    ) -> None:
        for name, volts in (("limit_v", limit_v), ("pulse_limit_v", pulse_limit_v)):
            if not 0.0 < volts <= RANGE_V:
                raise LimitExceeded(f"{name}={volts}: the 2450 is protected at {RANGE_V} V on this bench")
        if not 0.0 < max(limit_a, pulse_limit_a) <= HIGHEST_A:
            raise LimitExceeded(
                f"limit_a={limit_a}, pulse_limit_a={pulse_limit_a}: a 2450 gives {HIGHEST_A} A"
            )
        self._meter = meter
        self.line = Line("2450", meter)
        self._limit_v, self._limit_a, self.line_hz = limit_v, limit_a, line_hz
        self.pulse_limit_v, self.pulse_limit_a = pulse_limit_v, pulse_limit_a
        self.armed: ReadPulse | float | None = None  # a read, or a pulse of this width, seconds

    def pulses(self) -> Pulses2450:
        """The same instrument as a pulse source."""
        return Pulses2450(self)

    def set_up(self) -> None:
        """Output off, known state, limits, then volts out and current in at fixed ranges. Idempotent."""
        self.off()
        self.line.identify()
        with self.line.step("set up"):
            self._meter.reset()
            self._meter.clear()
        if (language := self.line.ask("*LANG?", "command set")) != "SCPI":
            raise DeviceError(f"2450: set up: command set is {language}, not SCPI: choose it in its menu")
        limits = f":SOUR:FUNC VOLT;:SOUR:VOLT:PROT PROT2;:SOUR:VOLT:RANG {RANGE_V:g};:SOUR:VOLT:ILIM "
        self.line.ask_ok(limits + f"{self._limit_a:.9g}", "set limits")
        self.line.ask_ok(
            ":SENS:FUNC 'CURR';:SENS:CURR:RSEN OFF;:SENS:CURR:AZER OFF;:SOUR:VOLT:READ:BACK ON;"
            ":SOUR:VOLT:DEL 0;:SOUR:VOLT 0",
            "set up",
        )

    def arm(self, at: ReadPulse) -> None:
        """Set limit, range and aperture if the last operation was not such a read. Raises LimitExceeded."""
        if at == self.armed:
            return
        nplc = power_line_cycles("2450", at, limit_v=self._limit_v, line_hz=self.line_hz)
        self.armed = None
        a = f"{self._limit_a:.9g}"
        # in this order: a limit below a tenth of the range is refused
        command = f":SENS:CURR:RANG {a};:SOUR:VOLT:ILIM {a};:SENS:CURR:NPLC {nplc:.9g}"
        self.line.ask_ok(command, f"arm {at.amplitude_v:.6g} V")
        self.armed = at

    def measure(self) -> float:
        """One read, one exchange; ohm. Raises DeviceError in compliance and where no resistance results."""
        if not isinstance(self.armed, ReadPulse):
            raise DeviceError("2450: read: not armed")
        volts = self.armed.amplitude_v
        reply = self.line.ask(
            f":SOUR:VOLT {volts:.9g};:OUTP ON;:READ? 'defbuffer1',SOUR,READ;:OUTP OFF;:SOUR:VOLT 0;:SYST:ERR?",
            "read",
        )
        sourced_v, ampere = self.reading(reply, "read")
        return self._ohm(sourced_v, ampere, volts)

    def reading(self, reply: str, what: str) -> tuple[float, float]:
        """Volts and ampere of a reply that ends with the error queue; raises the instrument's own error."""
        found, _, error = reply.partition(";")
        try:
            volts, ampere = (float(field) for field in found.split(","))
        except ValueError:
            raise self._unreadable(reply, what) from None
        self.line.check(error, what)
        return volts, ampere

    def read_back(self) -> list[Setting]:
        """What the instrument says of its current limit, range and output, against what was set."""

        def asked(command: str) -> float:
            with self.line.step("read back"):
                return float(self.line.ask(command, "read back"))

        return [
            Setting("compliance", self._limit_a, asked(":SOUR:VOLT:ILIM?"), "A"),
            Setting("source range", RANGE_V, asked(":SOUR:VOLT:RANG?"), "V"),
            Setting("output on", 0.0, asked(":OUTP?"), ""),
        ]

    def off(self) -> None:
        """Ends a running trigger model and the output; no query."""
        self.armed = None
        self.line.write(":ABOR;:OUTP OFF", "output off")

    def close(self) -> None:
        self.line.close()

    def _unreadable(self, reply: str, what: str) -> DeviceError:
        """An error in the queue comes alone, without a reading before it."""
        self.line.check(reply, what)
        return DeviceError(f"2450: {what}: unreadable reply {reply!r}")

    def _ohm(self, sourced_v: float, ampere: float, asked_v: float) -> float:
        """From the sourced volts read back: in compliance they are less than asked for."""
        if abs(ampere) < OVERFLOW and abs(ampere) >= 0.99 * self._limit_a:
            raise in_compliance("2450", self._limit_a)
        if abs(sourced_v - asked_v) > 0.05 * abs(asked_v):
            raise DeviceError(f"2450: read: {sourced_v} V sourced, not {asked_v} V")
        return resistance_ohm("2450", sourced_v, ampere, limit_a=self._limit_a)


class Pulses2450:
    """PulseSource on a SourceMeter2450: its level is volts at the terminals, source impedance 0."""

    def __init__(self, unit: SourceMeter2450) -> None:
        self._unit = unit
        self._open_v = 0.0
        self._last = (0.0, 0.0)

    def set_up(self) -> None:
        self._unit.set_up()

    def arm(self, open_v: float, width_s: float) -> None:
        """Load the trigger model if the last operation was not such a pulse. Raises LimitExceeded."""
        unit = self._unit
        if not MINIMUM_WIDTH_S * (1 - 1e-9) <= width_s <= MAXIMUM_WIDTH_S:
            raise LimitExceeded(f"width_s={width_s}: a 2450 gives {MINIMUM_WIDTH_S} to {MAXIMUM_WIDTH_S} s")
        if abs(open_v) > unit.pulse_limit_v:
            raise LimitExceeded(f"open-circuit volts {open_v:.6g}: the 2450 is set to {unit.pulse_limit_v} V")
        self._open_v = open_v
        if unit.armed == width_s:
            return
        unit.armed = None
        a, wait_s = f"{unit.pulse_limit_a:.9g}", width_s - PULSE_NPLC / unit.line_hz
        command = (
            f":SOUR:VOLT:ILIM {a};:SENS:CURR:RANG {a};:SENS:CURR:NPLC {PULSE_NPLC:g};:TRIG:LOAD 'Empty';"
            f":TRIG:BLOC:SOUR:STAT 1,ON;:TRIG:BLOC:DEL:CONS 2,{wait_s:.9g};"
            ":TRIG:BLOC:MEAS 3,'defbuffer1';:TRIG:BLOC:SOUR:STAT 4,OFF"
        )
        unit.line.ask_ok(command, f"arm {open_v:.6g} V, {width_s:.6g} s")
        unit.armed = width_s

    def fire(self) -> None:
        """Level, trigger model, level back to 0 V, what was measured and the error queue: one exchange."""
        command = (
            f":SOUR:VOLT {self._open_v:.9g};:INIT;*WAI;:SOUR:VOLT 0;:FETC? 'defbuffer1',SOUR,READ;:SYST:ERR?"
        )
        what = f"fire {self._open_v:.6g} V"
        self._last = self._unit.reading(self._unit.line.ask(command, what), what)

    def last_pulse(self) -> tuple[float, float]:
        """As measured in the last 0.01 power line cycles of the pulse."""
        return self._last

    def off(self) -> None:
        self._unit.off()

    def close(self) -> None: ...
