"""Agilent/Keysight 33500 series as a pulse source: one burst of one cycle per trigger, on channel 1.

The displayed load is infinity unless told otherwise, so levels and limits are open-circuit volts and the
bench's signal path does the division; with another one they are converted on their way to the instrument.
Order: load, then limits, then levels (with limits on, the load is refused).
"""

from __future__ import annotations

import math

from pymeasure.instruments.agilent import Agilent33500

from quest_lab.datasheets import AGILENT33500
from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line

MINIMUM_WIDTH_S, MAXIMUM_WIDTH_S = AGILENT33500.width_s.low, AGILENT33500.width_s.high
MINIMUM_OPEN_V, MAXIMUM_OPEN_V = AGILENT33500.open_v.low, AGILENT33500.open_v.high  # single polarity
SOURCE_OHM = 50.0
SHOWN_AS_INFINITE = 9.9e37


class PulseGenerator33500:
    """PulseSource. `limit_v`: open-circuit volts that the instrument itself refuses to pass.

    `load_ohm`: the displayed load; it changes what is shown, never what is given.
    """

    def __init__(self, generator: Agilent33500, *, limit_v: float, load_ohm: float = math.inf) -> None:
        if not MINIMUM_OPEN_V <= limit_v <= MAXIMUM_OPEN_V:
            raise LimitExceeded(
                f"limit_v={limit_v}: a 33500 gives {MINIMUM_OPEN_V} to {MAXIMUM_OPEN_V} V open"
            )
        self._generator = generator
        self._line = Line("33500", generator)
        self._limit_v, self._load_ohm = limit_v, load_ohm
        self._shown = 1.0 if load_ohm == math.inf else load_ohm / (load_ohm + SOURCE_OHM)
        self._armed: tuple[float, float] | None = None

    def set_up(self) -> None:
        """Output off, known state, load, limits, then pulse bursts from the bus trigger."""
        self.off()
        self._line.identify()
        channel = self._generator.ch_1
        with self._line.step("set up"):
            self._generator.reset()
            self._generator.clear()
            channel.output_load = "INF" if self._load_ohm == math.inf else f"{self._load_ohm:.12g}"
            load_ohm = float(channel.output_load)
        wanted_ohm = min(self._load_ohm, SHOWN_AS_INFINITE)
        if not math.isclose(min(load_ohm, SHOWN_AS_INFINITE), wanted_ohm, rel_tol=1e-6):
            wanted = "infinity" if self._load_ohm == math.inf else f"{self._load_ohm:g} ohm"
            raise DeviceError(f"33500: set up: displayed load reads back as {load_ohm} ohm, not {wanted}")
        lowest, highest = self._volts(MINIMUM_OPEN_V), self._volts(self._limit_v)
        limits = f"SOUR1:VOLT:HIGH {lowest};LOW 0;LIM:HIGH {highest};LOW 0"
        self._line.ask_ok(limits + ";:SOUR1:VOLT:LIM:STAT 1", "set limits")
        with self._line.step("set up"):
            channel.shape = "PULS"
            channel.burst_state = True
            channel.burst_mode = "TRIG"
            channel.burst_ncycles = 1
            self._generator.trigger_source = "BUS"
        self._line.ask_ok("OUTP1:POL NORM", "set up")

    def arm(self, open_v: float, width_s: float) -> None:
        """Set level and width unless they are the last ones; one exchange. Raises LimitExceeded."""
        if (open_v, width_s) == self._armed:
            return
        if not MINIMUM_WIDTH_S <= width_s <= MAXIMUM_WIDTH_S:
            raise LimitExceeded(f"width_s={width_s}: a 33500 gives {MINIMUM_WIDTH_S} to {MAXIMUM_WIDTH_S} s")
        if not MINIMUM_OPEN_V <= open_v <= self._limit_v * (1.0 + 1e-12):  # one rounding of the divider
            raise LimitExceeded(
                f"open-circuit volts {open_v:.6g}: the 33500 is set to {MINIMUM_OPEN_V} to {self._limit_v} V"
            )
        changed = self._armed
        self._armed = None
        command = f"SOUR1:VOLT:HIGH {self._volts(open_v)};LOW 0"
        if changed is None or changed[1] != width_s:
            command += f";:SOUR1:FUNC:PULS:{_timing(width_s)}"
        self._line.ask_ok(command, f"arm {open_v:.6g} V, {width_s:.6g} s")
        self._armed = (open_v, width_s)

    def fire(self) -> None:
        """Output on, trigger, wait, output off and the error queue: one exchange."""
        self._line.ask_ok("OUTP1 1;*TRG;*WAI;OUTP1 0", "fire")

    def read_back(self) -> list[Setting]:
        """What the instrument says of its load and limits, against what was set."""

        def asked(command: str) -> float:
            with self._line.step("read back"):
                return float(self._line.ask(command, "read back"))

        load_ohm = min(self._load_ohm, SHOWN_AS_INFINITE)
        return [
            Setting("displayed load", load_ohm, asked("OUTP1:LOAD?"), "ohm"),
            Setting("voltage limits on", 1.0, asked("SOUR1:VOLT:LIM:STAT?"), ""),
            Setting("high limit", self._limit_v * self._shown, asked("SOUR1:VOLT:LIM:HIGH?"), "V"),
            Setting("low limit", 0.0, asked("SOUR1:VOLT:LIM:LOW?"), "V"),
            Setting("output on", 0.0, asked("OUTP1?"), ""),
        ]

    def off(self) -> None:
        self._armed = None
        self._line.write("OUTP1 0", "output off")

    def close(self) -> None:
        self._line.close()

    def _volts(self, open_v: float) -> str:
        """Open-circuit volts as the instrument shows them, digits enough to pass no limit by rounding."""
        return f"{open_v * self._shown:.12g}"


def _timing(width_s: float) -> str:
    """Width and a period that holds it, without passing through a pair that the instrument refuses."""
    period_s = max(2.0 * width_s, width_s + 1e-6)
    return f"WIDT {MINIMUM_WIDTH_S:.9g};PER {period_s:.9g};WIDT {width_s:.9g}"
