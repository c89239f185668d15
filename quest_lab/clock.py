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


class RunningClock:
    """The clock of a simulated world that is served to others: it runs like the wall's, waits are skipped."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._skipped = 0.0

    def now(self) -> float:
        return time.monotonic() - self._start + self._skipped

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"seconds={seconds}: below 0 s")
        self._skipped += seconds
