"""A probe that is moved from cell to cell, by a prober or by hand: the switch of a bench without a matrix."""

from __future__ import annotations

from collections.abc import Callable

from quest_lab.clock import Clock
from quest_lab.errors import DeviceError
from quest_lab.instruments.roles import Setting


class MovedProbe:
    """Switch. `move(cell)` lands the probe there; it is called only when another cell is wanted.

    Pulser and meter are both joined to the probe (bias tee, or one source-meter), so rows mean nothing here,
    and there is nothing to open: with both sources off a landed probe is safe.
    """

    def __init__(self, move: Callable[[int], None], clock: Clock, *, settle_s: float = 0.1) -> None:
        self._move, self._clock, self._settle_s = move, clock, settle_s
        self._cell: int | None = None

    def set_up(self) -> None:
        self._cell = None

    def route(self, row: int, cell: int) -> None:  # noqa: ARG002  # both rows are the probe
        if cell == self._cell:
            return
        self._cell = None
        self._move(cell)
        self._clock.sleep(self._settle_s)
        self._cell = cell

    def read_back(self) -> list[Setting]:
        """A probe tells nothing."""
        return []

    def off(self) -> None: ...

    def close(self) -> None: ...


def moved_by_hand(cell: int) -> None:
    """Ask on the terminal for the probe to be moved. Raises DeviceError where nobody is there to do it."""
    try:
        input(f"move the probe to cell {cell}, then press Enter: ")
    except EOFError:
        raise DeviceError(f"probe: move to cell {cell}: nobody at the terminal to do it") from None
