"""Whether two runs tell the same story: the parity of devices.

Equal: each cell's ordered sequence of (operation, decoded state) is the same, and resistances agree within
4 sigma of read noise. How events were grouped into calls, and when, is not compared. Stricter: identical event
tables, wall time left out, as equal fronts of one virtual bench give them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Floats
from quest_lab.errors import BadInput
from quest_lab.events import CHUNK, CellEvents, Integers, Names, cell_events, ranges
from quest_lab.runfile import Run

AGREEMENT_SIGMAS = 4.0
NO_STATE = -1  # a read of a cell without baseline, or one that failed
TABLES = ("calls", "applies", "reads")
_WALL_TIME = "wall_time_s"


@dataclass(frozen=True, slots=True)
class Decoder:
    """What turns a resistance into a state: of each cell, R0 and top (NaN where it has no baseline)."""

    baseline_ohm: Floats
    top_ohm: Floats
    boundary: Floats
    read_noise: float

    @classmethod
    def of(cls, found: Characterization, cells: int) -> Self:
        """For a chip of this many cells."""
        if found.cells.size and int(found.cells[-1]) >= cells:
            raise BadInput(
                f"characterization of {found.chip_id}: has a cell {int(found.cells[-1])}, the run only {cells} cells"
            )
        baseline, top = np.full(cells, np.nan), np.full(cells, np.nan)
        baseline[found.cells], top[found.cells] = found.baseline_ohm, found.top_ohm
        return cls(baseline, top, found.levels.boundary, found.read_noise)

    def states(self, cells: Integers, resistance_ohm: Floats) -> Integers:
        """State of each read, NO_STATE where there is none."""
        low = self.baseline_ohm[cells]
        position = (resistance_ohm - low) / (self.top_ohm[cells] - low)
        return np.where(np.isnan(position), NO_STATE, np.searchsorted(self.boundary, position))


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference in time: the cell's event (from 0), its call in each run, what was there."""

    cell: int
    event: int
    calls: tuple[int | None, int | None]
    what: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Parity:
    """Two runs compared; `sigma` is the relative standard deviation of one read that was used."""

    cells: int
    events: tuple[int, int]
    reads: int  # compared: both runs have a read there
    sigma: float
    different_cells: int
    other_sequence: int  # cells whose operations or states differ
    beyond: int  # reads further apart than AGREEMENT_SIGMAS
    farthest_sigmas: float
    first: Difference | None

    @property
    def equal(self) -> bool:
        return self.first is None


def compare(runs: tuple[Run, Run], decoders: tuple[Decoder, Decoder]) -> Parity:
    """The same cells, operation by operation and state by state. BadInput if they cannot be compared."""
    cells = check_comparable(runs)
    names = Names()
    events = [_of_all(cell_events(run, names), cells) for run in runs]
    return _Comparison(cells, (events[0], events[1]), decoders, names).result()


def check_comparable(runs: tuple[Run, Run]) -> int:
    """Cells of the chip. Raises BadInput for runs of different kinds or chips of different size."""
    a, b = runs
    if a.kind != b.kind:
        raise BadInput(f"{a.path} is a run of kind {a.kind!r}, {b.path} of kind {b.kind!r}: not comparable")
    cells = [_cells(run) for run in runs]
    if cells[0] != cells[1]:
        raise BadInput(f"{a.path} is of {cells[0]} cells, {b.path} of {cells[1]}: not comparable")
    return cells[0]


def _cells(run: Run) -> int:
    if "cells" not in run.settings:
        raise BadInput(f"{run.path}: settings name no `cells`: no run on a device")
    return int(run.settings["cells"])


def _of_all(found: CellEvents, cells: int) -> CellEvents:
    """With the cells that have no event; BadInput if an event is of a cell that the chip does not have."""
    if found.cells > cells:
        raise BadInput(f"a run of {cells} cells has events of cell {found.cells - 1}")
    return CellEvents(np.pad(found.start, (0, cells - found.cells), mode="edge"), found.rows)


class _Comparison:
    """Walks through both runs a block of cells at a time and adds up."""

    def __init__(
        self,
        cells: int,
        events: tuple[CellEvents, CellEvents],
        decoders: tuple[Decoder, Decoder],
        names: Names,
    ) -> None:
        self._cells, self._events, self._decoders, self._names = cells, events, decoders, names
        self._sigma = max(decoder.read_noise for decoder in decoders)
        self._different = np.zeros(cells, bool)
        self._other = np.zeros(cells, bool)
        self._reads, self._beyond, self._farthest = 0, 0, 0.0
        self._first: tuple[int, int, int] | None = None  # call in the first run that has it, cell, event

    def result(self) -> Parity:
        for low, high in self._blocks():
            self._pairs(low, high)
            self._ends(low, high)
        return Parity(
            self._cells, (len(self._events[0].rows), len(self._events[1].rows)), self._reads, self._sigma,
            int(self._different.sum()), int(self._other.sum()), self._beyond, self._farthest, self._difference(),
        )  # fmt: skip

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of cells with about CHUNK events together."""
        part = (self._events[0].start + self._events[1].start) // CHUNK
        cuts = [0, *(np.flatnonzero(np.diff(part[:-1])) + 1), self._cells]
        yield from pairwise(cuts)

    def _pairs(self, low: int, high: int) -> None:
        """Events that both runs have, one against the other."""
        starts = [events.start[low : high + 1] for events in self._events]
        count = np.minimum(*(np.diff(start) for start in starts))
        a, b = (e.rows[ranges(s[:-1], count)] for e, s in zip(self._events, starts, strict=True))
        cells, event = np.repeat(np.arange(low, high), count), ranges(np.zeros_like(count), count)
        other = a["operation"] != b["operation"]
        other |= self._states(0, cells, a) != self._states(1, cells, b)
        apart = self._apart(a, b)
        far = apart > AGREEMENT_SIGMAS
        self._reads += int(np.isfinite(apart).sum())
        self._beyond += int(far.sum())
        self._farthest = max(self._farthest, float(np.nanmax(apart, initial=0.0)))
        self._other[cells[other]] = self._different[cells[other | far]] = True
        self._found(a["call"][other | far], cells[other | far], event[other | far])

    def _states(self, which: int, cells: Integers, events: NDArray[Any]) -> Integers:
        return self._decoders[which].states(cells, events["resistance_ohm"].astype(np.float64))

    def _apart(self, a: NDArray[Any], b: NDArray[Any]) -> Floats:
        """Distance of two reads in sigma; NaN where either is no read."""
        ohm = a["resistance_ohm"].astype(np.float64)
        apart = np.abs(b["resistance_ohm"] - ohm)
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # cells without noise: any difference is too much
            return np.where(apart == 0.0, 0.0, apart / (self._sigma * np.abs(ohm)))

    def _ends(self, low: int, high: int) -> None:
        """Cells of which one run has more events."""
        counts = [np.diff(events.start[low : high + 1]) for events in self._events]
        longer = np.flatnonzero(counts[0] != counts[1])
        event = np.minimum(*counts)[longer]
        cells = low + longer
        self._different[cells] = self._other[cells] = True
        for which, events in enumerate(self._events):
            more = counts[which][longer] > event
            calls = events.rows["call"][events.start[cells[more]] + event[more]]
            self._found(calls, cells[more], event[more])

    def _found(self, calls: NDArray[Any], cells: Integers, event: Integers) -> None:
        """Keep the earliest."""
        if not cells.size:
            return
        i = int(np.argmin(calls))
        found = (int(calls[i]), int(cells[i]), int(event[i]))
        self._first = found if self._first is None else min(self._first, found)

    def _difference(self) -> Difference | None:
        if self._first is None:
            return None
        _, cell, event = self._first
        seen = [self._event(which, cell, event) for which in (0, 1)]
        return Difference(cell, event, (seen[0][0], seen[1][0]), (seen[0][1], seen[1][1]))

    def _event(self, which: int, cell: int, event: int) -> tuple[int | None, str]:
        """Call and words of one event."""
        events = self._events[which]
        row = int(events.start[cell]) + event
        if row >= events.start[cell + 1]:
            return None, "nothing more"
        one = events.rows[row]
        text, ohm = self._names.text(int(one["operation"])), float(one["resistance_ohm"])
        if not np.isnan(ohm):
            state = int(self._decoders[which].states(np.array([cell]), np.array([ohm]))[0])
            text += f": {ohm:.6g} ohm, " + (f"R{state}" if state != NO_STATE else "no state")
        return int(one["call"]), text


@dataclass(frozen=True, slots=True)
class TableDifference:
    """Where two event tables differ first; `values` as text."""

    table: str
    column: str
    row: int
    values: tuple[str, str]


def first_table_difference(runs: tuple[Run, Run]) -> TableDifference | None:
    """Of calls, applies and reads, to the last bit, wall time left out; None if there is none."""
    check_comparable(runs)
    for table in TABLES:
        if (found := _table_difference(runs, table)) is not None:
            return found
    return None


def _table_difference(runs: tuple[Run, Run], table: str) -> TableDifference | None:
    rows = [run.rows(table) for run in runs]
    for first in range(0, max(rows), CHUNK):
        stop = min(first + CHUNK, *rows)
        a, b = (run.slice(table, first, max(first, stop)) for run in runs)
        places = [(first + _unequal(a[name], b[name]), name) for name in a if name != _WALL_TIME]
        row, name = min(places)
        if row < stop:
            return TableDifference(table, name, row, (str(a[name][row - first]), str(b[name][row - first])))
        if rows[0] != rows[1] and stop == min(rows):
            return TableDifference(table, "rows", stop, (str(rows[0]), str(rows[1])))
    return None


def _unequal(a: NDArray[Any], b: NDArray[Any]) -> int:
    """First index at which they differ (NaN equals NaN), else their length."""
    same = (a == b) | ((a != a) & (b != b))
    return int(np.argmin(same)) if not np.all(same) else len(a)
