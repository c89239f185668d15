"""Lake Shore 425 gaussmeter, for the closed loop of a magnet.

Model 425 User's Manual, chapter 6: no SCPI and no error queue; what it could not understand shows in the
standard event status register (bit 5 command error, bit 4 execution error). It answers with its latest
reading, so a fresh one is waited for.
"""

from __future__ import annotations

import math

from pymeasure.instruments.lakeshore import LakeShore425

from quest_lab.clock import Clock
from quest_lab.errors import DeviceError
from quest_lab.instruments.visa import Line

READING_S = 0.1  # three readings at the 30 a second of its DC mode (assumed)
REFUSED = {1 << 5: "command error", 1 << 4: "execution error", 1 << 2: "query error"}
HIGHEST_T = 35.0  # 350 kG, the highest range of any probe (manual)


class Gaussmeter425:
    """Gaussmeter. `full_scale_t` chooses the fixed range, which must hold the magnet's field."""

    name = "425"

    def __init__(
        self,
        meter: LakeShore425,
        clock: Clock,
        *,
        full_scale_t: float = 0.35,
        reading_s: float = READING_S,
    ) -> None:
        self._meter, self._clock = meter, clock
        self._line = Line(self.name, meter)
        self._full_scale_t, self._reading_s = full_scale_t, reading_s

    def set_up(self) -> None:
        """Tesla, DC, a fixed range; refused settings raise."""
        self._line.identify()
        with self._line.step("set up"):
            self._meter.write("*CLS")
            self._meter.unit = "T"
            self._meter.dc_mode(wideband=False)
            self._meter.range = self._full_scale_t * 1e4
            unit = self._meter.unit
        if unit != "T":
            raise DeviceError(f"425: set up: unit reads back as {unit}, not T")
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
