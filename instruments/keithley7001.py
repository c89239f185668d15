"""Keithley 7001 switch system: a driver in pymeasure's style (it has none), and the switch over it."""

from __future__ import annotations

from typing import Any

from pymeasure.instruments import Instrument, SCPIMixin

from quest_lab.clock import Clock
from quest_lab.errors import DeviceError
from quest_lab.fixture import Crosspoint, Wiring
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line


class Keithley7001(SCPIMixin, Instrument):  # type: ignore[misc]  # pymeasure ships no types
    """Represents the Keithley 7001 switch system. `MatrixSwitch7001` has its words: one exchange a crosspoint."""

    def __init__(self, adapter: Any, name: str = "Keithley 7001 Switch System", **kwargs: Any) -> None:
        super().__init__(adapter, name, **kwargs)


class MatrixSwitch7001:
    """Switch. Every closure is read back: a pulse into the wrong cell cannot be taken back."""

    def __init__(self, matrix: Keithley7001, wiring: Wiring, clock: Clock, *, settle_s: float = 5e-3) -> None:
        self._line = Line("7001", matrix)
        self._wiring, self._clock, self._settle_s = wiring, clock, settle_s
        self._routed: Crosspoint | None = None

    def set_up(self) -> None:
        self.off()
        self._line.identify()
        self._line.ask_ok("*RST;*CLS", "set up")

    def route(self, row: int, cell: int) -> None:
        """Open all, close one, read back, wait for the relay: one exchange, none if it is closed already."""
        wanted = self._wiring.crosspoint(row, cell)
        if wanted == self._routed:
            return
        self._routed = None
        where = f"(@{'!'.join(map(str, wanted))})"  # slot!row!column
        closed = self._line.ask_checked(f":ROUT:OPEN ALL;CLOS {where};CLOS:STAT?", f"close {where}")
        if closed.replace(" ", "") != where:
            raise DeviceError(f"7001: close {where}: {closed} is closed")
        self._clock.sleep(self._settle_s)
        self._routed = wanted

    def read_back(self) -> list[Setting]:
        """How many relays the instrument says are closed, against none."""
        closed = self._line.ask(":ROUT:CLOS:STAT?", "read back")
        return [Setting("closed relays", 0.0, float(closed.count("!") // 2), "")]

    def off(self) -> None:
        self._routed = None
        self._line.write(":ROUT:OPEN ALL", "open all")

    def close(self) -> None:
        self._line.close()
