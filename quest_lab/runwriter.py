"""Writes a run file that survives its writer.

All groups and tables are made up front, unfiltered, in the default file format, and flushed batch by batch:
of 204 such writers killed at random times none lost an acknowledged row. The file is `name.h5.part` until
it is closed. Results go into a group of their own, so that a kill while one is added spoils no table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from quest_lab import nexus, provenance
from quest_lab.device import Cells
from quest_lab.diskspace import Room, disk_full
from quest_lab.errors import BadInput, Interrupted, QuestLabError
from quest_lab.journal import Journal, Kept, journal_of, read_journal
from quest_lab.run_tables import TABLES
from quest_lab.runstart import part_of, reopened, started
from quest_lab.schema import EVENTS, Kind, Op, Origin, Outcome, Result, Status
from quest_lab.tables import TableWriter, encoded, pieces, whole_rows

FLUSH_EVERY_S = 0.25


class RunWriter:
    """One open run file. Make it with `create`, use it as a context manager."""

    def __init__(
        self,
        path: Path,
        file: h5py.File,
        kind: str,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        rows: Mapping[str, int] | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.acknowledged: dict[str, int] = {}
        self._file = file
        self._wall = wall
        self._monotonic = monotonic
        self._set_time()
        self._closed = False
        self._room = Room(path, file)
        wanted = [table for table in TABLES.values() if table.belongs_to(kind)]
        entry = file["entry"]
        whole = {t.name: whole_rows(entry[t.name], t, cut_off=True) if t.name in entry else 0 for t in wanted}
        rows = {**whole, **(rows or {})}
        self._tables = {t.name: TableWriter(entry, t, self._room.writing, rows[t.name]) for t in wanted}
        self._journal: Journal | None = None
        self._calls = self._tables["calls"]
        self._events = tuple(self._tables[table] for table, _ in EVENTS)  # by Kind

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        kind: str,
        title: str,
        seed: int,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        origin: Mapping[str, str] | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Start `path`.part. An existing one is refused unless `overwrite`, and kept until the new closes.

        `origin`: texts to be kept with the provenance (a bench file). `wall` gives seconds
        since 1970, `monotonic` paces the flushes. Raises BadInput, DiskFull.
        """
        path = Path(path)
        with started(path, kind, title, seed, settings, origin or {}, overwrite=overwrite) as file:
            writer = cls(path, file, kind, wall, monotonic)
            writer.flush()
        return writer

    @classmethod
    def resume(
        cls,
        path: Path | str,
        *,
        kind: str,
        seed: int,
        settings: Mapping[str, Any],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Go on with a run that was killed or interrupted, behind the last row it acknowledged.

        Raises BadInput if there is none, if it is complete, or if kind, seed or a setting differ.
        """
        path = Path(path)
        absorb_journal(path)
        writer = cls(path, reopened(path, kind, seed, settings), kind, wall, monotonic)
        writer.mark("resumed", provenance.utc_now())
        return writer

    def keep_each_call(self) -> None:
        """From now on a kill loses no call, acknowledged or not: they are in a journal until they are."""
        self.flush()
        self._journal = Journal(self.path)
        self._journal.start(self.acknowledged)

    def intend(
        self, kind: Kind, op: Op, amplitude: float, width_s: float, clock_s: float, cells: Cells
    ) -> None:
        """Leave in the journal, if there is one, what is about to be done."""
        if self._journal is not None:
            what, unknown = (kind, op, Outcome.INTENT, Origin.NONE), np.full(len(cells), np.nan)
            self._journal.keep(Kept(*what, amplitude, width_s, clock_s, self.wall_time_s(), cells, unknown))

    def call(
        self,
        kind: Kind,
        op: Op,
        outcome: Outcome,
        origin: Origin,
        amplitude: float,
        width_s: float,
        clock_s: float,
        cells: Cells,
        values: NDArray[np.floating[Any]],
    ) -> int:
        """Append one call with its events (`values`: joule or ohm, shape of `cells`). Returns its row."""
        count = len(cells)
        events = self._events[kind]
        first, row = events.rows, self._calls.rows
        if count == 1:
            events.row(cells.item(), values.item())
        else:
            events.extend({"cell": cells, EVENTS[kind][1]: values}, count)
        now = self._monotonic()
        wall_time_s = now + self._wall_ahead
        self._calls.row(kind, op, outcome, origin, amplitude, width_s, count, first, wall_time_s, clock_s)
        if self._journal is not None:
            what = kind, op, outcome, origin
            self._journal.keep(Kept(*what, amplitude, width_s, clock_s, wall_time_s, cells, values))
        if now > self._flush_at:
            self.flush()
        return row

    def append(self, table: str, **columns: ArrayLike) -> None:
        """Append rows to `table`: arrays of one length, single values stand for all rows."""
        writer = self._table(table)
        if set(writer.table.names) != set(columns):
            raise BadInput(
                f"table {table!r}: want columns {sorted(writer.table.names)}, got {sorted(columns)}"
            )
        lengths = {np.size(values) for values in columns.values() if np.ndim(values)} or {1}
        if len(lengths) > 1:
            raise BadInput(f"table {table!r}: columns of different lengths {sorted(lengths)}")
        writer.extend(columns, lengths.pop())
        self.tick()

    def update(self, table: str, column: str, first: int, values: ArrayLike) -> None:
        """Overwrite rows from `first` on in one column."""
        self._table(table).update(column, first, np.atleast_1d(values))

    def rows(self, table: str) -> int:
        """Rows given to `table` so far, flushed or not."""
        return self._table(table).rows

    def mark(self, name: str, text: str = "") -> None:
        """Leave a note, and acknowledge everything before it."""
        self._text_rows("marks", text, name=name)
        self.flush()

    def wire(self, instrument: str, direction: str, message: str) -> None:
        """Keep words that went over an instrument's wire; `direction` is "write" or "read"."""
        self._text_rows("visa", message, instrument=instrument, direction=direction)
        self.tick()

    def add_result(self, result: Result, default: bool = False) -> None:
        """Add what the run found; `default` makes it (or else the first NXdata) what viewers plot."""
        with self._room.writing(sum(np.asarray(field.values).nbytes for field in result.fields.values())):
            group = self._file["entry/results"]
            nexus.write_result(group, result)
            if result.signal and (default or not group.attrs["default"]):
                group.attrs["default"] = result.name
        self.flush()

    def add_results(self, results: Iterable[Result]) -> None:
        """Add what the run found; the first is what viewers plot."""
        for i, result in enumerate(results):
            self.add_result(result, default=i == 0)

    def wall_time_s(self) -> float:
        """Seconds since 1970."""
        return self._monotonic() + self._wall_ahead

    def tick(self) -> None:
        """Flush if the last one is too long ago."""
        if self._monotonic() > self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Acknowledge every row given so far: a kill after this loses none of them."""
        for table in self._tables.values():
            table.drain()
        with self._room.writing(0):
            self._file.flush()
        self._room.flushed()
        self.acknowledged = {name: table.rows for name, table in self._tables.items()}
        if self._journal is not None:
            self._journal.start(self.acknowledged)
        self._set_time()

    def close(self, status: str = Status.COMPLETE) -> None:
        """Finish the file under its own name. After a write error it stays `.part`. Idempotent."""
        if self._closed:
            return
        self._closed = True
        problem = self._finish(Status(status))
        if not self._room.broken:
            part_of(self.path).replace(self.path)
            if self._journal is not None:
                self._journal.close()
        if problem is not None:
            raise problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BadInput) and not self._began():
            self._discard()
            return
        try:
            self.close(_status_of(error))
        except QuestLabError:
            if error is None:  # else the first error is the one to tell
                raise

    def _began(self) -> bool:
        """Whether any cell got or was asked for anything, or a note was left."""
        return any(self.rows(table) for table in ("applies", "reads", "marks"))

    def _discard(self) -> None:
        """Leave no file of a run that was refused before it began."""
        self._closed = True
        self._finish(Status.FAILED)
        part_of(self.path).unlink(missing_ok=True)
        if self._journal is not None:
            self._journal.close()

    def _set_time(self) -> None:
        """One clock read a row is enough: wall time is taken as far ahead of it as at the last flush."""
        now = self._monotonic()
        self._wall_ahead = self._wall() - now
        self._flush_at = now + FLUSH_EVERY_S

    def _finish(self, status: Status) -> QuestLabError | None:
        problem: QuestLabError | None = None
        try:
            self.flush()
        except QuestLabError as error:
            problem, status = error, Status.FAILED
        if self._room.broken:
            return problem  # HDF5 might crash on closing it
        try:
            self._file["entry/status"][()] = status.value.encode()
            self._file["entry/end_time"][()] = provenance.utc_now().encode()
            self._file.flush()
            length = self._file.id.get_filesize()
            self._file.close()
            os.truncate(part_of(self.path), length)  # gives back the room made ahead
        except (OSError, RuntimeError) as error:
            self._room.broken = True
            problem = problem or disk_full(self.path, error)
        return problem

    def _text_rows(self, table: str, text: str, **names: str) -> None:
        writer = self._table(table)
        spill = writer.table.spill
        widths = {column.name: column for column in writer.table.columns}
        fixed = {name: encoded(widths[name], value) for name, value in names.items()}
        wall_time_s = self.wall_time_s()
        for part, piece in enumerate(pieces(widths[spill.name], text) if spill else ()):
            writer.row(wall_time_s, part, *fixed.values(), piece)

    def _table(self, name: str) -> TableWriter:
        if name not in self._tables:
            raise BadInput(f"table {name!r}: a run of kind {self.kind!r} has only {sorted(self._tables)}")
        return self._tables[name]


def absorb_journal(path: Path) -> None:
    """Put the calls that the journal of a killed run at `path` kept into its file."""
    journal = journal_of(path)
    if not journal.is_file():
        return
    if part_of(path).is_file():
        rows, calls = read_journal(journal)
        with h5py.File(part_of(path), "r+") as file:
            kind = nexus.read_texts(file["entry"])["kind"]
            writer = RunWriter(path, file, kind, time.time, time.monotonic, rows)
            for kept in calls:
                row = writer.call(kept.kind, kept.op, kept.outcome, kept.origin, kept.amplitude, kept.width_s,
                                  kept.clock_s, kept.cells, kept.values)  # fmt: skip
                writer.update("calls", "wall_time_s", row, kept.wall_time_s)
            writer.flush()
    journal.unlink()


def _status_of(error: BaseException | None) -> Status:
    if error is None:
        return Status.COMPLETE
    return Status.ABORTED if isinstance(error, Interrupted | KeyboardInterrupt) else Status.FAILED
