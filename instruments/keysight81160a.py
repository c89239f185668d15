"""Keysight 81160A as a pulse source: one pulse per trigger on channel 1, down to nanoseconds.

81160A User's Guide §3.1: in triggered mode exactly one cycle per trigger, the pulse period is ignored (§3.4.1).
Order: output off, load, limits, levels. Levels and limits are given in displayed volts: with a displayed load of
50 ohm half of the open-circuit volts that this adapter is asked for. Ranges: datasheet, as in pymeasure's
Keysight81160A.
"""

from __future__ import annotations

from pymeasure.instruments.keysight import Keysight81160A

from quest_lab.datasheets import KEYSIGHT81160A, LOAD_81160A_OHM
from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line

MINIMUM_WIDTH_S, MAXIMUM_WIDTH_S = KEYSIGHT81160A.width_s.low, KEYSIGHT81160A.width_s.high
MINIMUM_OPEN_V, MAXIMUM_OPEN_V = KEYSIGHT81160A.open_v.low, KEYSIGHT81160A.open_v.high  # single polarity
SOURCE_OHM = 50.0


class PulseGenerator81160A:
    """PulseSource. `limit_v`: open-circuit volts that the instrument itself refuses to pass.

    `load_ohm`: the displayed load; it changes what is shown, never what is given.
    """

    def __init__(self, generator: Keysight81160A, *, limit_v: float, load_ohm: float = 50.0) -> None:
        if not MINIMUM_OPEN_V <= limit_v <= MAXIMUM_OPEN_V:
            raise LimitExceeded(
                f"limit_v={limit_v}: an 81160A gives {MINIMUM_OPEN_V} to {MAXIMUM_OPEN_V} V open"
            )
        if not LOAD_81160A_OHM.low <= load_ohm <= LOAD_81160A_OHM.high:
            raise LimitExceeded(
                f"load_ohm={load_ohm}: an 81160A is told {LOAD_81160A_OHM.low} to {LOAD_81160A_OHM.high} ohm"
            )
        self._generator = generator
        self._line = Line("81160A", generator)
        self._limit_v, self._load_ohm = limit_v, load_ohm
        self._shown = load_ohm / (load_ohm + SOURCE_OHM)
        self._armed: tuple[float, float] | None = None

    def set_up(self) -> None:
        """Output off, known state, load, limits, then single pulses from the bus trigger."""
        self.off()
        self._line.identify()
        with self._line.step("set up"):
            self._generator.reset()
            self._generator.clear()
            self._generator.ch_1.output_load = self._load_ohm
            load_ohm = float(self._generator.ch_1.output_load)
        if abs(load_ohm - self._load_ohm) > 1e-3 * self._load_ohm:
            raise DeviceError(
                f"81160A: set up: displayed load reads back as {load_ohm} ohm, not {self._load_ohm}"
            )
        top = self._volts(self._limit_v)
        levels = f":VOLT1:HIGH {self._volts(MINIMUM_OPEN_V)};:VOLT1:LOW 0"
        self._line.ask_ok(f"{levels};:VOLT1:LIM:HIGH {top};:VOLT1:LIM:LOW 0;:VOLT1:LIM:STAT 1", "set limits")
        single = ":FUNC1 PULS;:ARM:SOUR1 MAN;:TRIG1:COUN 1;:OUTP1:POL NORM"
        self._line.ask_ok(single, "set up")

    def arm(self, open_v: float, width_s: float) -> None:
        """Set level and width unless they are the last ones; one exchange. Raises LimitExceeded."""
        if (open_v, width_s) == self._armed:
            return
        if not MINIMUM_WIDTH_S <= width_s <= MAXIMUM_WIDTH_S:
            raise LimitExceeded(
                f"width_s={width_s}: an 81160A gives {MINIMUM_WIDTH_S} to {MAXIMUM_WIDTH_S} s"
            )
        if not MINIMUM_OPEN_V <= open_v <= self._limit_v * (1.0 + 1e-12):  # one rounding of the divider
            raise LimitExceeded(
                f"open-circuit volts {open_v:.6g}: the 81160A is set to {MINIMUM_OPEN_V} to {self._limit_v} V"
            )
        self._armed = None
        command = f":VOLT1:HIGH {self._volts(open_v)};:VOLT1:LOW 0;:PULS:WIDT1 {width_s:.9g}"
        self._line.ask_ok(command, f"arm {open_v:.6g} V, {width_s:.6g} s")
        self._armed = (open_v, width_s)

    def fire(self) -> None:
        """Output on, trigger, wait, output off and the error queue: one exchange."""
        self._line.ask_ok(":OUTP1 1;*TRG;*WAI;:OUTP1 0", "fire")

    def read_back(self) -> list[Setting]:
        """What the instrument says of its load and limits, against what was set."""

        def asked(command: str) -> float:
            with self._line.step("read back"):
                return float(self._line.ask(command, "read back"))

        return [
            Setting("displayed load", self._load_ohm, asked(":OUTP1:LOAD?"), "ohm"),
            Setting("voltage limits on", 1.0, asked(":VOLT1:LIM:STAT?"), ""),
            Setting("high limit", self._limit_v * self._shown, asked(":VOLT1:LIM:HIGH?"), "V"),
            Setting("low limit", 0.0, asked(":VOLT1:LIM:LOW?"), "V"),
            Setting("output on", 0.0, asked(":OUTP1?"), ""),
        ]

    def off(self) -> None:
        self._armed = None
        self._line.write(":OUTP1 0", "output off")

    def close(self) -> None:
        self._line.close()

    def _volts(self, open_v: float) -> str:
        """Open-circuit volts as the instrument shows them, digits enough to pass no limit by rounding."""
        return f"{open_v * self._shown:.12g}"
