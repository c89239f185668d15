"""The clock of a virtual laboratory that another process (or thread) serves, as the drivers' clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymeasure.instruments import Instrument, SCPIMixin

from quest_lab.errors import DeviceError
from quest_lab.instruments.visa import Line, open_instrument

IDENTITY = "quest-lab,laboratory clock"


class LaboratoryClock(SCPIMixin, Instrument):  # type: ignore[misc]  # pymeasure ships no types
    """Represents the timekeeper of a virtual laboratory."""

    def __init__(self, adapter: Any, name: str = "laboratory clock", **kwargs: Any) -> None:
        super().__init__(adapter, name, **kwargs)


class RemoteClock:
    """Clock. `barrier` is called before each wait, for lines on which what was sent may still be under way."""

    def __init__(self, address: str, *, timeout_s: float = 2.0) -> None:
        self._line = Line(
            "clock", open_instrument(LaboratoryClock, address, "@py", timeout_s=timeout_s, hardware=False)
        )
        self.barrier: Callable[[], None] = lambda: None
        found = self._line.identify()
        if not found.startswith(IDENTITY):
            self._line.close()
            raise DeviceError(f"{address}: {found!r} answers, no virtual laboratory's clock")

    def now(self) -> float:
        return float(self._line.ask("TIME?", "read the clock"))

    def sleep(self, seconds: float) -> None:
        """Let time pass in the laboratory; returns at once."""
        if seconds < 0:
            raise ValueError(f"seconds={seconds}: below 0 s")
        self.barrier()
        self._line.ask(f"TIME:WAIT {seconds!r};:TIME?", "wait")

    def move_probe(self, cell: int) -> None:
        """Land the laboratory's probe on this cell."""
        self.barrier()
        self._line.ask(f"PROB:MOVE {cell};:TIME?", "move the probe")

    def close(self) -> None:
        self._line.close()
