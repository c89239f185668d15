"""Keithley 2700 multimeter/switch with two 7709 matrix modules (6 rows by 8 columns): multiple channel operation.

Model 2700 User's Manual section 2 and Model 7709 User's Manual: channel SCH = 100 slot + (row - 1) * 8 + column,
49 and 50 join rows to the multimeter; ROUTe:MULTiple:CLOSe leaves other channels as they are; a channel that is
not there is -222. The multimeter and system channel operation (ROUTe:CLOSe) are not modelled (-113).
"""

from __future__ import annotations

import re
from typing import Any

from quest_lab.fixture import Crosspoint
from quest_lab.sim.scpi import Call, Command, Scpi, setting
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag
from quest_lab.sim.world import World

IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 2700,0900001,B09  /A02"
SLOTS, ROWS, COLUMNS = 2, 6, 8
LAST = 50  # 48 crosspoints, then two relays to the multimeter
_CHANNEL = re.compile(r"\s*(\d)(\d\d)\s*")


class Keithley2700:
    """The instrument: the world's matrix."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.backplane: set[int] = set()  # relays to the multimeter that are closed
        self.values: dict[str, Any] = {"text_on": False, "text": '""'}
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self.reset)

    def reset(self) -> None:
        self.backplane.clear()
        self.world.switch(frozenset())

    def _commands(self) -> list[Command]:
        multiple = "ROUTe:MULTiple"
        return [
            Command(multiple + ":CLOSe", self._close, lambda _: self._closed()),
            Command(multiple + ":CLOSe:STATe", query=self._states),
            Command(multiple + ":OPEN", self._open),
            Command("ROUTe:OPEN:ALL", write=lambda _: self.reset()),
            Command("*OPT", query=lambda _: "7709,7709"),
            Command("STATus:PRESet", write=lambda _: None),
            Command("STATus:QUEue:CLEar", write=lambda _: self.scpi.receive("*CLS")),
            Command("SYSTem:BEEPer[:STATe]", write=lambda _: None),
            setting(self.values, "DISPlay:TEXT:STATe", "text_on", boolean, flag),
            setting(self.values, "DISPlay:TEXT:DATA", "text", str, str),
        ]

    def _close(self, call: Call) -> None:
        self._set(self._all() | set(channels(call.one())))

    def _open(self, call: Call) -> None:
        self._set(self._all() - set(channels(call.one())))

    def _states(self, call: Call) -> str:
        return ",".join(flag(c in self._all()) for c in channels(call.one()))

    def _closed(self) -> str:
        return "(@" + ",".join(map(str, sorted(self._all()))) + ")"

    def _all(self) -> set[int]:
        return {number_of(c) for c in self.world.closed} | self.backplane

    def _set(self, numbers: set[int]) -> None:
        self.backplane = {n for n in numbers if n % 100 > ROWS * COLUMNS}
        self.world.switch(frozenset(crosspoint(n) for n in numbers - self.backplane))


def channels(text: str) -> list[int]:
    """The channels of a list `(@101, 103:105)`. Raises -102 for a malformed one, -222 for one not there."""
    if not (text.startswith("(@") and text.endswith(")")):
        raise ScpiError(-102)
    found: list[int] = []
    for part in text[2:-1].split(","):
        first, _, last = part.partition(":")
        found += range(_number(first), _number(last or first) + 1)
    return found


def number_of(point: Crosspoint) -> int:
    slot, row, column = point
    return 100 * slot + (row - 1) * COLUMNS + column


def crosspoint(channel: int) -> Crosspoint:
    row, column = divmod(channel % 100 - 1, COLUMNS)
    return channel // 100, row + 1, column + 1


def _number(text: str) -> int:
    match = _CHANNEL.fullmatch(text)
    if not match:
        raise ScpiError(-102)
    slot, channel = int(match[1]), int(match[2])
    if not (1 <= slot <= SLOTS and 1 <= channel <= LAST):
        raise ScpiError(-222)
    return 100 * slot + channel
