"""What joins instruments and cells: the signal path of a pulse and the wiring of the switch matrix.

A bench believes in one path and compensates for it; the virtual bench divides volts by its own. Equal
descriptions give the volts that were asked for, a wrong displayed load or impedance does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from quest_lab.errors import BadInput

Crosspoint: TypeAlias = tuple[int, int, int]
"""Slot, row and column of one relay of a matrix, all counted from 1."""


_DIVIDER_STEPS = 12
"""Each step shrinks the error tenfold or more; a count ends where rounding would cycle for ever."""


@dataclass(frozen=True, slots=True)
class SignalPath:
    """From a generator's open-circuit volts to volts at the cell.

    `attenuation` is volts out per volt in (1: none, 0.1: 20 dB). `buffered`: a unity-gain buffer of high
    input and no output impedance stands at the fixture, so the cell does not load the source.
    """

    source_impedance_ohm: float = 50.0
    attenuation: float = 1.0
    series_ohm: float = 0.0
    buffered: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.attenuation <= 1.0:
            raise BadInput(f"attenuation={self.attenuation}: want 0 < volts out per volt in <= 1")
        if self.source_impedance_ohm < 0.0 or self.series_ohm < 0.0:
            raise BadInput(f"{self}: impedances must be at least 0 ohm")

    @property
    def in_series_ohm(self) -> float:
        """What the cell sees before it, ohm."""
        return 0.0 if self.buffered else self.source_impedance_ohm + self.series_ohm

    def cell_v(self, open_v: float, resistance_ohm: Callable[[float], float]) -> float:
        """Volts at a cell whose resistance depends on its own bias: the fixed point of the divider."""
        source_v = open_v * self.attenuation
        if not self.in_series_ohm:
            return source_v
        volts = source_v
        for _ in range(_DIVIDER_STEPS):
            ohm, before = resistance_ohm(volts), volts
            volts = source_v * ohm / (ohm + self.in_series_ohm)
            if abs(volts - before) <= 1e-12 * abs(source_v):
                break
        return volts

    def open_v(self, cell_v: float, resistance_ohm: float) -> float:
        """Open-circuit volts that put `cell_v` on a cell of this resistance."""
        return cell_v / self.attenuation * (1.0 + self.in_series_ohm / resistance_ohm)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Cells on the columns of matrix cards, in order; pulser and meter each on a row common to all cards.

    `places`: slot and column of each cell, where they are not in order.
    """

    cells: int
    slots: int = 2
    columns: int = 10
    pulser_row: int = 1
    meter_row: int = 2
    places: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.cells <= self.slots * self.columns:
            raise BadInput(
                f"cells={self.cells}: {self.slots} matrix cards of {self.columns} columns reach "
                f"1 to {self.slots * self.columns} cells"
            )
        if self.places and not len(set(self.places)) == len(self.places) == self.cells:
            raise BadInput(f"places={self.places}: want {self.cells} different ones, one for each cell")

    def crosspoint(self, row: int, cell: int) -> Crosspoint:
        """The relay that joins this row to this cell."""
        if self.places:
            slot, column = self.places[cell]
            return slot, row, column
        return 1 + cell // self.columns, row, 1 + cell % self.columns

    def cell(self, crosspoint: Crosspoint) -> int | None:
        """The cell on the column of this relay, None where no cell is wired."""
        slot, _, column = crosspoint
        if self.places:
            return self.places.index((slot, column)) if (slot, column) in self.places else None
        cell = (slot - 1) * self.columns + column - 1
        return cell if cell < self.cells else None
