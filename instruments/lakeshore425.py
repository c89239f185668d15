"""Lake Shore 425 gaussmeter, for the closed loop of a magnet.

Model 425 User's Manual, chapter 6: no SCPI and no error queue; what it could not understand shows in the
standard event status register (bit 5 command error, bit 4 execution error). It wants 30 ms of silence after
each message (§6.2.5), and answers with its latest reading, so a fresh one is waited for.
"""

from __future__ import annotations

import math
from typing import Any

from pymeasure.instruments.lakeshore import LakeShore425

from quest_lab.clock import Clock
from quest_lab.datasheets import GAUSSMETER_RANGES_T
from quest_lab.errors import BadInput, DeviceError
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line

SILENCE_S = 35e-3  # 30 ms (manual) and some
READING_S = 0.1  # three readings at the 30 a second of its DC mode (assumed)
REFUSED = {1 << 5: "command error", 1 << 4: "execution error", 1 << 2: "query error"}
HIGHEST_T = 35.0  # 350 kG, the highest range of any probe (manual)


class _Unhurried:
    """The instrument, with the silence that it wants before each message."""

    def __init__(self, meter: LakeShore425, clock: Clock) -> None:
        self._meter, self._clock = meter, clock
        self.adapter = meter.adapter

    def write(self, command: str) -> None:
        self._clock.sleep(SILENCE_S)
        self._meter.write(command)

    def ask(self, command: str) -> Any:
        self._clock.sleep(SILENCE_S)
        return self._meter.ask(command)


class Gaussmeter425:
    """Gaussmeter. `full_scale_t` chooses the fixed range, which must hold the magnet's field."""

    name = "425"

    def __init__(
        self, meter: LakeShore425, clock: Clock, *, full_scale_t: float = 0.35, reading_s: float = READING_S
    ) -> None:
        if full_scale_t not in GAUSSMETER_RANGES_T:
            raise BadInput(
                f"full_scale_t={full_scale_t}: a 425 has {', '.join(map(str, GAUSSMETER_RANGES_T))} T"
            )
        self._clock = clock
        self._line = Line(self.name, _Unhurried(meter, clock))
        self._range, self._reading_s = GAUSSMETER_RANGES_T.index(full_scale_t) + 1, reading_s

    def set_up(self) -> None:
        """Tesla, DC with the narrow band, a fixed range; refused settings raise."""
        self._line.identify()
        for command in ("*CLS", "UNIT 2", "RDGMODE 1,0,2", f"RANGE {self._range}"):
            self._line.write(command, "set up")
        if (unit := self._line.ask("UNIT?", "set up")) != "2":
            raise DeviceError(f"425: set up: unit reads back as {unit}, not 2 (tesla)")
        self._check("set up")

    def field_t(self) -> float:
        """Wait for a reading that began after this call, then take it, tesla."""
        self._clock.sleep(self._reading_s)
        reply = self._line.ask("RDGFIELD?", "read field")
        try:
            field_t = float(reply)
        except ValueError:
            raise DeviceError(f"425: read field: unreadable reply {reply!r}") from None
        if not math.isfinite(field_t) or abs(field_t) > HIGHEST_T:
            raise DeviceError(f"425: read field: {reply} is no field: probe missing or range exceeded?")
        return field_t

    def read_back(self) -> list[Setting]:
        """Range and unit as the instrument says they stand."""
        with self._line.step("read back"):
            chosen = float(self._line.ask("RANGE?", "read back"))
            unit = float(self._line.ask("UNIT?", "read back"))
        return [Setting("range", self._range, chosen, ""), Setting("unit", 2.0, unit, "")]

    def close(self) -> None:
        self._line.close()

    def _check(self, what: str) -> None:
        reply = self._line.ask("*ESR?", what)
        try:
            status = int(reply)
        except ValueError:
            raise DeviceError(f"425: {what}: unreadable reply {reply!r}") from None
        if found := [text for bit, text in REFUSED.items() if status & bit]:
            raise DeviceError(f"425: {what}: {', '.join(found)} (event status {status})")
