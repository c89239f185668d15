"""Pulses that a protocol gives, counted cell by cell, and what it may still give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Applied, Capabilities, Cells, Device, Operation, Reading, ReadPulse
from quest_lab.errors import LimitExceeded


class Metered:
    """A Device that counts the pulses of each cell, resets included. `budget` is what a cell may get here,
    `ledger` what is left of its life."""

    def __init__(
        self, device: Device, budget: int | None, ledger: Callable[[Cells], NDArray[np.int64]] | None
    ) -> None:
        self._device, self._budget, self._ledger = device, budget, ledger
        self.pulses = np.zeros(device.capabilities.cells, np.int64)

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def left(self, cells: Cells) -> int:
        """Pulses that each of `cells` may still get."""
        return int(self._left(cells).min())

    def check(self, cells: Cells, pulses: int, what: str) -> None:
        """LimitExceeded with the shortfall unless each of `cells` may get this many more."""
        left = self._left(cells)
        worst = int(left.argmin())
        if left[worst] < pulses:
            raise LimitExceeded(
                f"budget: cell {cells[worst]}: {what} needs at least {pulses} pulses a cell, {left[worst]} are left: "
                f"{pulses - left[worst]} too few"
            )

    def _left(self, cells: Cells) -> NDArray[np.int64]:
        free = np.full(cells.size, np.iinfo(np.int64).max)
        mine = free if self._budget is None else self._budget - self.pulses[cells]
        return mine if self._ledger is None else np.minimum(mine, self._ledger(cells))

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        self.pulses[cells] += 1
        return self._device.apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self._device.read(cells, at)

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        self._device.close()
