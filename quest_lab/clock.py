"""Time as an argument: nobody sleeps or reads a wall clock on their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class WallClock:
    """The lab's clock, for real instruments."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class VirtualClock:
    """The clock of a simulated world: waiting costs nothing and is exact."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now = start_s

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"seconds={seconds}: below 0 s")
        self._now += seconds


class RunningClock(VirtualClock):
    """The clock of a simulated world that is served to others: between messages it runs like the wall's.

    Waits cost nothing, and while a message is executed time passes by waits alone: what a measurement does to a
    cell does not depend on how long it takes to compute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen = time.monotonic()

    def catch_up(self) -> None:
        """Let the wall's time since the last call pass."""
        seen, self._seen = self._seen, time.monotonic()
        self.sleep(self._seen - seen)
