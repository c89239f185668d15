"""The events of a run, streamed from the file: in the order of each cell, or of a range of its calls.

The first is a counting sort, linear in the length of the run: one pass counts each cell's events, a second puts them
in place in a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from tempfile import TemporaryFile
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import ReadPulse
from quest_lab.runfile import Run
from quest_lab.schema import EVENTS, Kind, Op, Outcome

Integers: TypeAlias = NDArray[np.int64]
CHUNK = 1 << 20  # events in memory at a time
EVENT = np.dtype([("operation", "u4"), ("call", "u4"), ("resistance_ohm", "f4")])


@dataclass(frozen=True, slots=True)
class Names:
    """A number for each operation met; share one among the runs that are compared."""

    numbers: dict[tuple[float, ...], int] = field(default_factory=dict)

    def number(self, calls: dict[str, NDArray[Any]]) -> NDArray[np.uint32]:
        """Number of each call's (kind, op, ambiguous, amplitude, width)."""
        ambiguous = (calls["kind"] == Kind.APPLY) & (calls["outcome"] != Outcome.DONE)
        each = (calls["kind"], calls["op"], ambiguous, calls["amplitude"], calls["width_s"])
        rows, which = np.unique(np.stack(each, axis=1).astype(np.float64), axis=0, return_inverse=True)
        numbers = [self.numbers.setdefault(tuple(row), len(self.numbers)) for row in rows.tolist()]
        return np.array(numbers, np.uint32)[which.ravel()]

    def text(self, number: int) -> str:
        """An operation as people say it."""
        kind, op, ambiguous, amplitude, width_s = list(self.numbers)[number]
        if kind == Kind.READ:
            return f"read at {amplitude:g} V for {width_s:g} s"
        pulse, unit = ("field", "T") if op == Op.FIELD else ("pulse", "V")
        return f"{pulse} of {amplitude:g} {unit} for {width_s:g} s{' (ambiguous)' if ambiguous else ''}"


@dataclass(frozen=True, slots=True)
class CellEvents:
    """Events of cell c, in order, are rows start[c] .. start[c + 1] - 1 of `rows` (dtype EVENT).

    What a cell did not get (failed) is no event; what it may have got is an operation of its own.
    """

    start: Integers
    rows: NDArray[Any]

    @property
    def cells(self) -> int:
        return len(self.start) - 1


def cell_events(run: Run, names: Names) -> CellEvents:
    """The run's events by cell."""
    counts = np.zeros(0, np.int64)
    for cells, _ in _chunks(run, names):
        counts = _sum(counts, np.bincount(cells))
    start = np.concatenate([[0], np.cumsum(counts)])
    with TemporaryFile() as file:  # the mapping keeps it
        rows = np.memmap(file, EVENT, "w+", shape=(max(int(start[-1]), 1),))
    free = start[:-1].copy()
    for cells, events in _chunks(run, names):
        order = np.argsort(cells, kind="stable")
        found, count = np.unique(cells, return_counts=True)
        rows[ranges(free[found], count)] = events[order]
        free[found] += count
    return CellEvents(start, rows[: start[-1]])


def pieces(
    calls: dict[str, NDArray[Any]], kind: Kind, begin: int, end: int, *, without: Op | None = None
) -> Iterator[tuple[int, int]]:
    """Ranges of rows, at most CHUNK long, of the events of the calls begin..end that are of one kind.

    `calls`: columns kind, op, first and count.
    """
    mine = calls["kind"][begin:end] == kind
    if without is not None:
        mine &= calls["op"][begin:end] != without
    first = calls["first"][begin:end][mine].astype(np.int64)
    last = first + calls["count"][begin:end][mine].astype(np.int64)
    if not first.size:
        return
    joined = np.flatnonzero(first[1:] != last[:-1])
    starts = first[np.concatenate([[0], joined + 1])]
    stops = last[np.concatenate([joined, [last.size - 1]])]
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        for piece in range(start, stop, CHUNK):
            yield piece, min(piece + CHUNK, stop)


def spent_j(run: Run, at: ReadPulse, begin: int) -> float:
    """Energy in joule of every pulse, field and read (as `at`) from call `begin` on, as far as the file knows it."""
    calls = run.columns("calls", ("kind", "op", "first", "count"))
    end = len(calls["kind"])
    given = sum(
        float(np.nansum(run.columns("applies", ("energy_j",), *piece)["energy_j"], dtype=float))
        for piece in pieces(calls, Kind.APPLY, begin, end)
    )
    read = sum(
        float(
            np.nansum(1.0 / run.columns("reads", ("resistance_ohm",), *piece)["resistance_ohm"], dtype=float)
        )
        for piece in pieces(calls, Kind.READ, begin, end)
    )
    return given + at.amplitude_v**2 * at.width_s * read


def ranges(first: Integers, count: Integers) -> Integers:
    """first[0], first[0] + 1, ... (count[0] of them), first[1], ...: concatenated ranges."""
    before = np.cumsum(count) - count
    return np.repeat(first - before, count) + np.arange(int(count.sum()))


def _sum(a: Integers, b: Integers) -> Integers:
    """Sum of two arrays, the shorter one filled up with zeros."""
    total = np.zeros(max(a.size, b.size), np.int64)
    total[: a.size] += a
    total[: b.size] += b
    return total


def _chunks(run: Run, names: Names) -> Iterator[tuple[Integers, NDArray[Any]]]:
    """Cells and events (dtype EVENT) of whole calls, about CHUNK at a time, in the order of the run."""
    there = {table: run.rows(table) for table, _ in EVENTS}
    for number, calls in _calls(run):
        count = np.where(_delivered(calls), calls["count"], 0).astype(np.int64)
        row, call = ranges(calls["first"].astype(np.int64), count), np.repeat(np.arange(count.size), count)
        cells, events = np.full(row.size, -1), np.zeros(row.size, EVENT)
        events["operation"], events["call"] = names.number(calls)[call], number + call
        events["resistance_ohm"] = np.nan
        for kind, (table, _) in enumerate(EVENTS):
            mine = np.flatnonzero(
                (calls["kind"][call] == kind) & (row < there[table])
            )  # a killed run lacks some
            if mine.size:
                columns = _take(run, table, row[mine])
                cells[mine] = columns["cell"]
                events["resistance_ohm"][mine] = columns.get("resistance_ohm", np.nan)
        yield cells[cells >= 0], events[cells >= 0]


def _delivered(calls: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Calls whose cells got a pulse, or may have, or were read."""
    done, read = calls["outcome"] == Outcome.DONE, calls["kind"] == Kind.READ
    return np.asarray(done | (~read & (calls["outcome"] != Outcome.FAILED)))


def _take(run: Run, table: str, rows: Integers) -> dict[str, NDArray[Any]]:
    """These rows of a table, which lie close together."""
    low = int(rows.min())
    return {name: values[rows - low] for name, values in run.slice(table, low, int(rows.max()) + 1).items()}


def _calls(run: Run) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """Row of the first call and columns of calls that have about CHUNK events together, at least one."""
    rows = run.rows("calls")
    for first in range(0, rows, CHUNK):
        calls = run.slice("calls", first, min(first + CHUNK, rows))
        part = np.cumsum(calls["count"].astype(np.int64)) // CHUNK
        cuts = [0, *(np.flatnonzero(np.diff(part)) + 1), part.size]
        for a, b in pairwise(cuts):
            yield first + a, {name: values[a:b] for name, values in calls.items()}
