"""Keithley 2700 with 7709 matrix modules (6 rows by 8 columns each) as a switch.

Multiple channel operation, Model 2700 User's Manual section 2: ROUTe:MULTiple:CLOSe leaves other channels as
they are (pymeasure's docstring says it opens them), ROUTe:OPEN:ALL opens every one. Channel numbers of a 7709
(its User's Manual): slot, then (row - 1) * 8 + column in two digits; 49 and 50 join rows to the multimeter.
"""

from __future__ import annotations

import re
from typing import Any

from pymeasure.instruments import keithley as pymeasure

from quest_lab.clock import Clock
from quest_lab.datasheets import GRIDS
from quest_lab.errors import BadInput, DeviceError
from quest_lab.fixture import Crosspoint, Wiring
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import Line

SLOTS, ROWS, COLUMNS = GRIDS["keithley2700"].firsts, GRIDS["keithley2700"].rows, GRIDS["keithley2700"].seconds
MODULE = "7709"


class Keithley2700(pymeasure.Keithley2700):  # type: ignore[misc]  # pymeasure ships no types
    """pymeasure's driver without the questions of its constructor: nothing is asked before outputs are off.

    `determine_valid_channels` must be called before its methods for rows and columns are used.
    """

    def __init__(
        self, adapter: Any, name: str = "Keithley 2700 MultiMeter/Switch System", **kwargs: Any
    ) -> None:
        super(pymeasure.Keithley2700, self).__init__(adapter, name, **kwargs)


class MatrixSwitch2700:
    """Switch. Every closure is read back: a pulse into the wrong cell cannot be taken back."""

    def __init__(self, matrix: Keithley2700, wiring: Wiring, clock: Clock, *, settle_s: float = 5e-3) -> None:
        if (
            wiring.slots > SLOTS
            or wiring.columns > COLUMNS
            or max(wiring.pulser_row, wiring.meter_row) > ROWS
        ):
            raise BadInput(f"{wiring}: a 2700 holds {SLOTS} modules of {ROWS} rows and {COLUMNS} columns")
        self._line = Line("2700", matrix)
        self._wiring, self._clock, self._settle_s = wiring, clock, settle_s
        self._routed: Crosspoint | None = None

    def set_up(self) -> None:
        """Everything open, known state, and a matrix module in every slot that has cells."""
        self.off()
        self._line.identify()
        self._line.ask_ok("*RST;*CLS", "set up")
        modules = [word.strip() for word in self._line.ask("*OPT?", "modules").split(",")]
        needed = {self._wiring.crosspoint(1, cell)[0] for cell in range(self._wiring.cells)}
        for slot in sorted(needed):
            if modules[slot - 1 : slot] != [MODULE]:
                raise DeviceError(
                    f"2700: set up: modules {modules}: slot {slot} has cells and needs one of type {MODULE}"
                )

    def route(self, row: int, cell: int) -> None:
        """Open all, close one, read back, wait for the relay: one exchange, none if it is closed already."""
        wanted = self._wiring.crosspoint(row, cell)
        if wanted == self._routed:
            return
        self._routed = None
        where = f"(@{channel(wanted)})"
        command = f":ROUT:OPEN:ALL;:ROUT:MULT:CLOS {where};:ROUT:MULT:CLOS?"
        closed = self._line.ask(command, f"close {where}")
        if re.sub(r"\s", "", closed) != where:
            raise DeviceError(f"2700: close {where}: {closed} is closed")
        self._clock.sleep(self._settle_s)
        self._routed = wanted

    def read_back(self) -> list[Setting]:
        """How many channels the instrument says are closed, against none."""
        closed = re.findall(r"\d+", self._line.ask(":ROUT:MULT:CLOS?", "read back"))
        return [Setting("closed relays", 0.0, float(len(closed)), "")]

    def off(self) -> None:
        self._routed = None
        self._line.write(":ROUT:OPEN:ALL", "open all")

    def close(self) -> None:
        self._line.close()


def channel(crosspoint: Crosspoint) -> int:
    """The number of a 7709's crosspoint, as 112 for slot 1, row 2, column 4."""
    slot, row, column = crosspoint
    return 100 * slot + (row - 1) * COLUMNS + column
