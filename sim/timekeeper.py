"""The laboratory's clock as one more instrument, so that a program elsewhere can wait in virtual time.

`TIME?` answers seconds; `TIME:WAIT <s>` lets them pass at once. Where a probe stands on the cells,
`PROBe:MOVE <cell>` lands it on another one, as a hand would. No instrument that one could buy.
"""

from __future__ import annotations

from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import number
from quest_lab.sim.world import World

IDENTITY = "quest-lab,laboratory clock,0,1"
LONGEST_WAIT_S = 1e9


class Timekeeper:
    """The instrument: reads and advances the clock of the world, and moves its probe if there is one."""

    def __init__(self, world: World) -> None:
        self._world = world
        commands = [
            Command("TIME", query=lambda _: repr(world.clock.now())),
            Command("TIME:WAIT", write=self._wait),
        ]
        if world.probed is not None:
            commands.append(Command("PROBe:MOVE", write=self._move))
        self.scpi = Scpi(IDENTITY, commands, reset=lambda: None)

    def _wait(self, call: Call) -> None:
        self._world.clock.sleep(number(call.one(), 0.0, LONGEST_WAIT_S, unit="S"))

    def _move(self, call: Call) -> None:
        self._world.land(int(number(call.one(), 0.0, self._world.array.cells - 1)))
