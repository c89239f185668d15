"""Keithley 7001 switch system with two 7012 matrix cards of 4 rows by 10 columns.

Channel lists name slot, row and column: `(@1!2!3,1!2!5)`, ranges `(@1!1!1:1!1!4)` along the columns. Relays
named more than once stay closed; closing leaves the others as they are.
"""

from __future__ import annotations

import re

from quest_lab.fixture import Crosspoint
from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import ScpiError, flag
from quest_lab.sim.world import World

IDENTITY = "KEITHLEY INSTRUMENTS INC.,MODEL 7001,0500001,B05  /A02"
SLOTS, ROWS, COLUMNS = 2, 4, 10
_RELAY = re.compile(r"\s*(\d+)\s*!\s*(\d+)\s*!\s*(\d+)\s*")


class Keithley7001:
    """The instrument: the world's matrix."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.scpi = Scpi(IDENTITY, self._commands(), reset=self.reset)

    def reset(self) -> None:
        self.world.switch(frozenset())

    def _commands(self) -> list[Command]:
        return [
            Command("[ROUTe:]CLOSe", self._close, lambda c: self._states(c, closed=True)),
            Command("[ROUTe:]CLOSe:STATe", query=lambda _: self._closed()),
            Command("[ROUTe:]OPEN", self._open, lambda c: self._states(c, closed=False)),
            Command("[ROUTe:]OPEN:ALL", write=lambda _: self.reset()),
        ]

    def _close(self, call: Call) -> None:
        self.world.switch(self.world.closed | set(channels(call.one())))

    def _open(self, call: Call) -> None:
        what = call.one()
        self.world.switch(frozenset() if what.upper() == "ALL" else self.world.closed - set(channels(what)))

    def _states(self, call: Call, *, closed: bool) -> str:
        return ",".join(flag((c in self.world.closed) == closed) for c in channels(call.one()))

    def _closed(self) -> str:
        return "(@" + ",".join("!".join(map(str, c)) for c in sorted(self.world.closed)) + ")"


def channels(text: str) -> list[Crosspoint]:
    """The relays of a channel list. Raises -102 for a malformed one, -222 for a relay that is not there."""
    if not (text.startswith("(@") and text.endswith(")")):
        raise ScpiError(-102)
    found: list[Crosspoint] = []
    for part in text[2:-1].split(","):
        first, _, last = part.partition(":")
        found += _between(_relay(first), _relay(last or first))
    return found


def _relay(text: str) -> Crosspoint:
    match = _RELAY.fullmatch(text)
    if not match:
        raise ScpiError(-102)
    slot, row, column = int(match[1]), int(match[2]), int(match[3])
    if not (1 <= slot <= SLOTS and 1 <= row <= ROWS and 1 <= column <= COLUMNS):
        raise ScpiError(-222)
    return slot, row, column


def _between(first: Crosspoint, last: Crosspoint) -> list[Crosspoint]:
    every = [(s, r, c) for s in range(1, 3) for r in range(1, ROWS + 1) for c in range(1, COLUMNS + 1)]
    return every[every.index(first) : every.index(last) + 1]
