"""The laboratory's clock as one more instrument, so that a program elsewhere can wait in virtual time.

`TIME?` answers seconds; `TIME:WAIT <s>` lets them pass at once. No instrument that one could buy.
"""

from __future__ import annotations

from quest_lab.clock import Clock
from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import number

IDENTITY = "quest-lab,laboratory clock,0,1"
LONGEST_WAIT_S = 1e9


class Timekeeper:
    """The instrument: reads and advances the clock of the world."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        commands = [
            Command("TIME", query=lambda _: repr(clock.now())),
            Command("TIME:WAIT", write=self._wait),
        ]
        self.scpi = Scpi(IDENTITY, commands, reset=lambda: None)

    def _wait(self, call: Call) -> None:
        self._clock.sleep(number(call.one(), 0.0, LONGEST_WAIT_S, unit="S"))
