"""Keysight 81160A as a pulse source: one pulse per trigger on channel 1, down to nanoseconds.

81160A User's Guide §3.1: in triggered mode exactly one cycle per trigger, the pulse period is ignored (§3.4.1).
Order: output off, load, limits, levels. The displayed load is 50 ohm, so displayed volts are half of the
open-circuit volts that this adapter is asked for, and limits are given in displayed volts. Ranges: datasheet,
as in pymeasure's Keysight81160A.
"""

from __future__ import annotations

from pymeasure.instruments.keysight import Keysight81160A

from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.instruments.visa import Line

MINIMUM_WIDTH_S, MAXIMUM_WIDTH_S = 1.5e-9, 1e6
MINIMUM_OPEN_V, MAXIMUM_OPEN_V = 0.1, 10.0  # 50 mVpp to 5 Vpp into 50 ohm, single polarity: high above 0 V
LOAD_OHM = SOURCE_OHM = 50.0
SHOWN_PER_OPEN = LOAD_OHM / (LOAD_OHM + SOURCE_OHM)


class PulseGenerator81160A:
    """PulseSource. `limit_v`: open-circuit volts that the instrument itself refuses to pass."""

    def __init__(self, generator: Keysight81160A, *, limit_v: float) -> None:
        if not MINIMUM_OPEN_V <= limit_v <= MAXIMUM_OPEN_V:
            raise LimitExceeded(
                f"limit_v={limit_v}: an 81160A gives {MINIMUM_OPEN_V} to {MAXIMUM_OPEN_V} V open"
            )
        self._generator = generator
        self._line = Line("81160A", generator)
        self._limit_v = limit_v
        self._armed: tuple[float, float] | None = None

    def set_up(self) -> None:
        """Output off, known state, load, limits, then single pulses from the bus trigger."""
        self.off()
        self._line.identify()
        with self._line.step("set up"):
            self._generator.reset()
            self._generator.clear()
            self._generator.ch_1.output_load = LOAD_OHM
            load_ohm = float(self._generator.ch_1.output_load)
        if abs(load_ohm - LOAD_OHM) > 1e-3 * LOAD_OHM:
            raise DeviceError(f"81160A: set up: displayed load reads back as {load_ohm} ohm, not {LOAD_OHM}")
        top = self._limit_v * SHOWN_PER_OPEN
        levels = f":VOLT1:HIGH {MINIMUM_OPEN_V * SHOWN_PER_OPEN:.9g};:VOLT1:LOW 0"
        self._line.ask_ok(
            f"{levels};:VOLT1:LIM:HIGH {top:.9g};:VOLT1:LIM:LOW 0;:VOLT1:LIM:STAT 1", "set limits"
        )
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
        if not MINIMUM_OPEN_V <= open_v <= self._limit_v:
            raise LimitExceeded(
                f"open-circuit volts {open_v:.6g}: the 81160A is set to {MINIMUM_OPEN_V} to {self._limit_v} V"
            )
        self._armed = None
        command = f":VOLT1:HIGH {open_v * SHOWN_PER_OPEN:.9g};:VOLT1:LOW 0;:PULS:WIDT1 {width_s:.9g}"
        self._line.ask_ok(command, f"arm {open_v:.6g} V, {width_s:.6g} s")
        self._armed = (open_v, width_s)

    def fire(self) -> None:
        """Output on, trigger, wait, output off and the error queue: one exchange."""
        self._line.ask_ok(":OUTP1 1;*TRG;*WAI;:OUTP1 0", "fire")

    def off(self) -> None:
        self._armed = None
        self._line.write(":OUTP1 0", "output off")

    def close(self) -> None:
        self._line.close()
