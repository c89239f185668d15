"""The laboratory's clock as one more instrument, so that a program elsewhere can wait in virtual time.

`TIME?` answers seconds; `TIME:WAIT <s>` lets them pass at once. `OUTPuts?` answers 0 if nothing is energised
(sources off, matrix open, no current in the magnet), else 1; `AMPeres?` the magnet's current; `PULSes?` how
many pulses reached cells; `VIOLations?` how often bad practice was noticed and what, as strings. Where a probe
stands on the cells, `PROBe:MOVE <cell>` lands it on another one, as a hand would. No instrument that one could
buy.
"""

from __future__ import annotations

from quest_lab.sim.scpi import Call, Command, Scpi
from quest_lab.sim.scpi_arguments import number
from quest_lab.sim.world import World

IDENTITY = "quest-lab,laboratory clock,0,1"
LONGEST_WAIT_S = 1e9


class Timekeeper:
    """The instrument: reads and advances the clock of the world, tells what can be seen from outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        commands = [
            Command("TIME", query=lambda _: repr(world.clock.now())),
            Command("TIME:WAIT", write=self._wait),
            Command("OUTPuts", query=lambda _: str(int(not world.outputs_off))),
            Command("AMPeres", query=lambda _: repr(world.magnet.current_a(world.clock.now()))),
            Command("PULSes", query=lambda _: str(len(world.delivered))),
            Command("VIOLations", query=lambda _: _told(world.violations)),
        ]
        if world.probed is not None:
            commands.append(Command("PROBe:MOVE", write=self._move))
        self.scpi = Scpi(IDENTITY, commands, reset=lambda: None)

    def _wait(self, call: Call) -> None:
        self._world.clock.sleep(number(call.one(), 0.0, LONGEST_WAIT_S, unit="S"))

    def _move(self, call: Call) -> None:
        self._world.land(int(number(call.one(), 0.0, self._world.array.cells - 1)))


def _told(violations: list[str]) -> str:
    return ",".join([str(len(violations)), *(f'"{text}"' for text in violations)])
