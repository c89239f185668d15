"""Transition counts and pulse energies cell by cell, sparse: what tells how sure the pooled ones are.

Pulses of one cell are correlated (a weak cell misses again and again), so the cell is the independent unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CellCounts:
    """Row r: `cell[r]` (place in the sample) made `transition[r]` `count[r]` times, for `energy_j[r]` in all.

    A transition is the flat index of [operation, attempt, previous pulse missed, from, to].
    """

    cell: Ints
    transition: Ints
    count: Ints
    energy_j: Floats

    @classmethod
    def summed(cls, events: Sequence[tuple[Ints, Ints, Floats]]) -> CellCounts:
        """Of events (cells, transitions, energies in joule), a row for each cell and transition."""
        if not events:
            none = np.empty(0, np.int64)
            return cls(none, none, none, np.empty(0))
        cell, transition, energy = (np.concatenate(part) for part in zip(*events, strict=True))
        width = int(transition.max()) + 1
        pair, row, count = np.unique(cell * width + transition, return_inverse=True, return_counts=True)
        return cls(pair // width, pair % width, count, np.bincount(row, energy, pair.size).astype(np.float64))

    def of_cells(self, cells: Ints) -> CellCounts:
        """Of the `cells` (ascending places in the sample) alone, which are then the sample."""
        place = np.searchsorted(cells, self.cell)
        mine = (place < cells.size) & (cells[np.minimum(place, cells.size - 1)] == self.cell)
        return CellCounts(place[mine], self.transition[mine], self.count[mine], self.energy_j[mine])

    def pooled(self, times: Ints, shape: tuple[int, ...]) -> tuple[Ints, Floats]:
        """Counts and energies of the given shape, cell c taken `times[c]` times."""
        many = times[self.cell]
        size = int(np.prod(shape))
        counts = np.zeros(size, np.int64)
        np.add.at(counts, self.transition, many * self.count)
        energy = np.zeros(size)
        np.add.at(energy, self.transition, many * self.energy_j)
        return counts.reshape(shape), energy.reshape(shape)
