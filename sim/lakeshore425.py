"""Lake Shore 425 gaussmeter in the gap of the magnet.

Model 425 User's Manual, chapter 6: no SCPI tree and no error queue (SYST:ERR? is unknown to it); what it cannot
understand sets the command error bit of the event status register. UNIT 1 gauss, 2 tesla, 3 oersted, 4 A/m;
RANGE 1..4 are 35 G to 35 kG with a high sensitivity probe. It answers with the field of this instant (a real
one with its latest reading, 30 a second: who wants a fresh one waits). Resolution 1e-5 of range, noise of as
much, and the word OL beyond the range: assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

from quest_lab.sim.scpi import Call, Command, Scpi, setting
from quest_lab.sim.scpi_arguments import ScpiError, number
from quest_lab.sim.world import World

IDENTITY = "LSCI,MODEL425,4250022,1.0"
FULL_SCALE_T = {1: 3.5e-3, 2: 35e-3, 3: 0.35, 4: 3.5}
PER_TESLA = {1: 1e4, 2: 1.0, 3: 1e4, 4: 1e7 / (4.0 * pi)}
RESOLUTION = 1e-5
HIGH_SENSITIVITY_PROBE = 40
SILENCE_S = 30e-3


class StatusOnly(Scpi):
    """Common commands and status registers, no error queue to read; says when messages come too fast."""

    def __init__(self, world: World, commands: list[Command], *, reset: Callable[[], None]) -> None:
        super().__init__(IDENTITY, commands, reset=reset)
        self._world, self._free_at = world, 0.0

    def receive(self, message: str) -> None:
        now = self._world.clock.now()
        if now < self._free_at - 1e-9:
            self._world.violate("425 addressed within 30 ms of its last message")
        self._free_at = now + SILENCE_S
        super().receive(message)

    def _common(self) -> tuple[Command, ...]:
        return tuple(c for c in super()._common() if c.header.startswith("*"))


def _defaults() -> dict[str, Any]:
    return {"unit": 1, "range": 4, "auto": 0, "mode": (1, 0, 1), "zero_t": 0.0, "highest_t": 0.0}


class LakeShore425:
    """The instrument: looks at the world's magnet, drives nothing."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.values = _defaults()
        self.scpi: Scpi = StatusOnly(world, self._commands(), reset=self.reset)

    def reset(self) -> None:
        self.values.update(_defaults())

    def _commands(self) -> list[Command]:
        return [
            setting(self.values, "UNIT", "unit", lambda a: int(number(a, 1, 4)), str),
            Command("RANGE", self._set_range, lambda _: str(self._range())),
            setting(self.values, "AUTO", "auto", lambda a: int(number(a, 0, 1)), str),
            Command("RDGMODE", self._set_mode, lambda _: ",".join(map(str, self.values["mode"]))),
            Command("RDGFIELD", query=lambda _: self._shown(self._field_t())),
            Command("RDGMX", query=lambda _: self._shown(self.values["highest_t"])),
            Command("ZPROBE", write=lambda _: self.values.update(zero_t=self._at_probe_t())),
            Command("TYPE", query=lambda _: str(HIGH_SENSITIVITY_PROBE)),
        ]

    def _set_range(self, call: Call) -> None:
        self.values.update(range=int(number(call.one(), 1, 4)), auto=0)

    def _set_mode(self, call: Call) -> None:
        if len(call.arguments) != 3:
            raise ScpiError(-109)
        mode, filtered, band = (int(number(a, 0, 2)) for a in call.arguments)
        if mode == 0 or band == 0:
            raise ScpiError(-222)
        self.values["mode"] = (mode, filtered, band)

    def _range(self) -> int:
        if not self.values["auto"]:
            return int(self.values["range"])
        return next((r for r, full in FULL_SCALE_T.items() if abs(self._at_probe_t()) <= full), 4)

    def _at_probe_t(self) -> float:
        return self.world.magnet.field_t(self.world.clock.now())

    def _field_t(self) -> float:
        field_t = self._at_probe_t() - self.values["zero_t"]
        step = RESOLUTION * FULL_SCALE_T[self._range()]
        if self.world.meter_noise is not None:
            field_t += step * self.world.meter_noise.standard_normal()
        field_t = round(field_t / step) * step
        if self.values["mode"][0] == 1:
            self.values["highest_t"] = max(self.values["highest_t"], abs(field_t))
            return field_t
        return 0.0  # AC: a standing field has none

    def _shown(self, field_t: float) -> str:
        if abs(field_t) > FULL_SCALE_T[self._range()] * 1.0001:
            return "OL"
        return f"{field_t * PER_TESLA[self.values['unit']]:+.5E}"
