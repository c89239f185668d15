"""The answered calls of a run that was cut off, in order: what its protocol is told when it is run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Cells, FieldPulse, Floats, Operation, Reading, ReadPulse
from quest_lab.errors import BadInput
from quest_lab.protocols.learned import got_it
from quest_lab.runfile import Run, open_run
from quest_lab.runwriter import absorb_journal
from quest_lab.schema import EVENTS, Kind, Op, Origin, Outcome

_Columns: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks of its cells."""

    kind: Kind
    op: Op
    amplitude: float
    width_s: float

    @classmethod
    def pulse(cls, operation: Operation) -> Asked:
        if isinstance(operation, FieldPulse):
            return cls(Kind.APPLY, Op.FIELD, operation.field_t, operation.width_s)
        return cls(Kind.APPLY, Op.VOLTAGE, operation.amplitude_v, operation.width_s)

    @classmethod
    def read(cls, at: ReadPulse, *, on_top: bool = False) -> Asked:
        """`on_top`: while a field stands."""
        return cls(Kind.READ, Op.FIELD if on_top else Op.NONE, at.amplitude_v, at.width_s)

    def __str__(self) -> str:
        what = "read" if self.kind is Kind.READ else "pulse"
        unit = "T" if self.kind is Kind.APPLY and self.op is Op.FIELD else "V"
        return f"a {what} of {self.amplitude:g} {unit}, {self.width_s:g} s"


@dataclass(frozen=True, slots=True)
class Answer:
    """Of which of the cells asked the answer is known, and their values, NaN elsewhere. `unsound_ohm`: what the next
    of them gave, which no sound cell has (None: there was no such read)."""

    known: NDArray[np.bool_]
    values: Floats
    measured: bool = False
    unsound_ohm: float | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """What was under way when the run was cut off: events without an answer, and the cells that may have got a pulse.

    `row`: its row in the log's calls, -1 if there are none or several; `before_ohm`: what was last read of each cell
    before it, NaN where nothing was.
    """

    pulses: int
    reads: int
    cells: Cells
    row: int
    asked: Asked | None
    before_ohm: Floats

    def received(self, found: Characterization, ohm: Floats) -> int:
        """How many of the cells have the pulse, the first of its call, by what was read of them after the cut."""
        then, now = np.zeros((2, self.cells.size), np.int8)
        known = np.isfinite(self.before_ohm) & np.isfinite(ohm) & np.isin(self.cells, found.cells)
        for states, read in ((then, self.before_ohm), (now, ohm)):
            states[known] = found.decode(Reading(self.cells[known], read[known], read[known], found.read))
        return got_it(then, now, at_once=self.asked is not None and self.asked.op is Op.FIELD)


@dataclass
class CallLog:
    """Calls that were answered, each told once; `cells` and `values` of all events by Kind.

    Left out are calls without an answer, and the reads of cells in doubt (rows that table `resumes` names), but for
    what is seen to have been given (`settle`).
    `rows`: whole rows of `calls`, those before the log too; `reopened`: a resume was cut off while it read the cells in
    doubt, its reads do not count. `ahead_s`, `end_s`, `end_wall_s`: how far the run's time was ahead of the bench's
    clock when the last call ended, and when that was, on the run's time and the wall's.
    """

    path: Path
    calls: _Columns
    cells: list[Cells]
    values: list[Floats]
    unsound: dict[int, float]
    doubt: Doubt
    rows: int
    reopened: bool
    ahead_s: float
    end_s: float
    end_wall_s: float
    _at: int = 0

    @property
    def left(self) -> bool:
        """Whether there is a call still to be told."""
        return self._at < self.calls["row"].size

    @property
    def next_s(self) -> float:
        """When the next call was made, on the bench's clock."""
        return float(self.calls["clock_s"][self._at])

    def is_next(self, asked: Asked) -> bool:
        """Whether the next call asks this."""
        return self.left and self._asked(self._at) == asked

    def pulses_to_tell(self, cells: int) -> NDArray[np.int64]:
        """Pulses of each of so many cells in what is still to be told."""
        events = self._events_to_tell(without=None)
        return np.bincount(self.cells[Kind.APPLY][events], minlength=cells)

    def energy_to_tell_j(self, cells: int) -> Floats:
        """Their energies, joule, without those of fields."""
        events = self._events_to_tell(without=Op.FIELD)
        energy_j = np.nan_to_num(self.values[Kind.APPLY][events])
        return np.bincount(self.cells[Kind.APPLY][events], energy_j, minlength=cells).astype(np.float64)

    def settle(self, found: Characterization, ohm: Floats) -> None:
        """Tell also, after what there is, the pulse in doubt of the cells that have it (its energy is not known: 0 J)
        and their readings; `ohm` was read of the cells in doubt. A writer may not look behind a field at once: of a
        field no reading is told."""
        if self.doubt.asked is not None and (count := self.doubt.received(found, ohm)):
            cells = self.doubt.cells[:count]
            self._add(self.doubt.asked, cells, np.zeros(count))
            if self.doubt.asked.op is not Op.FIELD:
                self._add(Asked.read(found.read), cells, ohm[:count].astype(np.float32).astype(np.float64))

    def _add(self, asked: Asked, cells: Cells, values: Floats) -> None:
        kind = asked.kind
        row = {
            "row": self.rows, "kind": kind, "op": asked.op, "outcome": Outcome.DONE, "origin": Origin.COMPUTED,
            "amplitude": asked.amplitude, "width_s": asked.width_s, "count": cells.size, "first": self.cells[kind].size,
            "wall_time_s": self.end_wall_s, "clock_s": self.end_s,
        }  # fmt: skip
        self.calls = {name: np.append(column, row[name]) for name, column in self.calls.items()}
        self.cells[kind], self.values[kind] = (
            np.append(self.cells[kind], cells),
            np.append(self.values[kind], values),
        )

    def _events_to_tell(self, *, without: Op | None) -> NDArray[np.bool_]:
        """Which pulses of all in the file are still to be told."""
        rest = {name: column[self._at :] for name, column in self.calls.items()}
        ends = np.zeros(self.cells[Kind.APPLY].size + 1, np.int64)
        if self.left:
            mine = (rest["kind"] == Kind.APPLY) & (rest["op"] != (-1 if without is None else without))
            first, count = rest["first"][mine].astype(np.int64), rest["count"][mine].astype(np.int64)
            np.add.at(ends, first, 1)
            np.add.at(ends, first + count, -1)
        return np.asarray(np.cumsum(ends[:-1]) > 0)

    def tell(self, asked: Asked, cells: Cells) -> Answer:
        """The answer as far as it is known. Raises BadInput if something else was asked then."""
        known, values = np.zeros(cells.size, np.bool_), np.full(cells.size, np.nan)
        order, measured = np.argsort(cells), False
        while self.left and not known.all():
            row, was = {name: column[self._at] for name, column in self.calls.items()}, self._asked(self._at)
            events = slice(int(row["first"]), int(row["first"]) + int(row["count"]))
            if was.kind is not asked.kind and known.any():
                break  # the reading of a part
            named = self.cells[was.kind][events]
            at = order[np.minimum(np.searchsorted(cells, named, sorter=order), cells.size - 1)]
            if was != asked or known[at].any() or not np.array_equal(cells[at], named):
                raise BadInput(
                    f"{self.path}: call {row['row']} was {was} of {named.size} cells, now {asked} of {cells.size} is "
                    "asked: not the same measurement"
                )
            self._at += 1
            if row["outcome"] == Outcome.FAILED:
                return Answer(known, values, unsound_ohm=self.unsound[events.start])
            known[at], values[at] = True, self.values[was.kind][events]
            measured = row["origin"] == Origin.MEASURED
        return Answer(known, values, measured)

    def _asked(self, at: int) -> Asked:
        return _asked_in(self.calls, at)


def nothing_yet(path: Path) -> CallLog:
    """The log of a run that begins."""
    nobody, nothing = np.empty(0, np.int64), np.empty(0)
    calls, doubt = {"row": nobody}, Doubt(0, 0, nobody, -1, None, nothing)
    return CallLog(path, calls, [nobody, nobody], [nothing, nothing], {}, doubt, 0, False, 0.0, 0.0, 0.0)


def load_call_log(path: Path, kind: str, begin: int = 0, found: Characterization | None = None) -> CallLog:
    """The log of the run at `path`, cut off or not, from call `begin` on; with `found`, earlier resumes are settled.

    Raises BadInput if it is not of this kind.
    """
    absorb_journal(path)
    with open_run(path) as run:
        if run.kind != kind:
            raise BadInput(f"{run.path}: is a run of kind {run.kind!r}, not {kind!r}")
        return _log(run, begin, found)


def _log(run: Run, begin: int, found: Characterization | None) -> CallLog:
    skipped = max(begin - 1, 0)  # the call before tells when the log begins
    calls, resumes = run.columns("calls", first=skipped), run.columns("resumes")
    calls = {name: column[: _whole(run, calls)] for name, column in calls.items()}
    rows = calls["kind"].size
    calls["row"] = np.arange(skipped, skipped + rows)
    ahead = _ahead_s(resumes, calls["row"])
    calls["clock_s"] = calls["clock_s"] + ahead
    cells, values, beyond = _events(run, calls)
    known, since, reopened = _answered(calls, values[Kind.READ], beyond), begin, -1
    for first, last in zip(resumes["first"].tolist(), resumes["last"].tolist(), strict=True):
        if first >= begin:
            doubt = _doubt(calls, known | (calls["row"] < since) | (calls["row"] >= first), cells, values)
            if first == last and doubt.cells.size:
                reopened, known[first - skipped :] = first, False
            else:
                _settled(calls, known, cells, values, doubt, slice(first - skipped, last - skipped), found)
                since = last
    doubt = _doubt(calls, known | (calls["row"] < since), cells, values)
    known &= (calls["count"] > 0) & (calls["row"] >= begin)
    end_s = float(calls["clock_s"][-1] + calls["width_s"][-1]) if rows else 0.0
    end_wall_s = float(calls["wall_time_s"][-1] + calls["width_s"][-1]) if rows else 0.0
    kept = {name: column[known] for name, column in calls.items()}
    return CallLog(run.path, kept, cells, values, beyond, doubt, skipped + rows if reopened < 0 else reopened,
                   reopened >= 0, float(ahead[-1]) if rows else 0.0, end_s, end_wall_s)  # fmt: skip


def _settled(
    calls: _Columns,
    known: NDArray[np.bool_],
    cells: list[Cells],
    values: list[Floats],
    doubt: Doubt,
    reads: slice,
    found: Characterization | None,
) -> None:
    """What a resume read of the cells in doubt is not told, but as the answer of those that had their pulse."""
    answered = known[reads].tolist() == [True]
    known[reads] = False
    if found is None or doubt.asked is None or not answered:
        return
    events = slice(
        int(calls["first"][reads.start]), int(calls["first"][reads.start] + calls["count"][reads.start])
    )
    if np.array_equal(cells[Kind.READ][events], doubt.cells):
        count = doubt.received(found, values[Kind.READ][events])
        first = int(calls["first"][doubt.row])
        values[Kind.APPLY][first : first + count] = 0.0
        for row in (doubt.row, reads.start)[: 1 if doubt.asked.op is Op.FIELD else 2]:
            calls["count"][row], known[row] = count, count > 0


def _events(run: Run, calls: _Columns) -> tuple[list[Cells], list[Floats], dict[int, float]]:
    """Cells and values of the events of `calls` by Kind, and the reads that no sound cell has; `first` of the calls is
    made to count from the first of them."""
    cells, values, start = [], [], 0
    for kind, (table, name) in enumerate(EVENTS):
        mine = calls["kind"] == kind
        start = int(calls["first"][mine].min(initial=run.rows(table)))
        calls["first"][mine] -= np.uint64(start)
        events = run.columns(table, ("cell", name), start)
        cells.append(events["cell"].astype(np.int64))
        values.append(events[name].astype(np.float64))
    unsound = run.columns("unsound_reads")
    reads = unsound["read"].astype(np.int64) - start
    beyond = dict(zip(reads.tolist(), unsound["resistance_ohm"].tolist(), strict=True))
    return cells, values, beyond


def _whole(run: Run, calls: _Columns) -> int:
    """Calls before the first whose events did not all come to the disk."""
    there = np.array([run.rows(table) for table, _ in EVENTS])
    torn = np.flatnonzero(calls["first"] + calls["count"] > there[calls["kind"]])
    return int(torn[0]) if torn.size else calls["kind"].size


def _ahead_s(resumes: _Columns, rows: NDArray[np.int64]) -> Floats:
    """What is added to the clock of each call: a simulated clock begins anew with its program."""
    ahead = np.append(0.0, resumes["clock_ahead_s"])
    return np.asarray(ahead[np.searchsorted(resumes["last"], rows, side="right")])


def _answered(calls: _Columns, ohm: Floats, unsound: dict[int, float]) -> NDArray[np.bool_]:
    done, read = calls["outcome"] == Outcome.DONE, calls["kind"] == Kind.READ
    known = done | ((calls["outcome"] == Outcome.FAILED) & read & np.isin(calls["first"], [*unsound]))
    if known.size and known[-1] and done[-1] and read[-1]:  # the kill may have come between its two columns
        first = int(calls["first"][-1])
        known[-1] = not np.isnan(ohm[first : first + int(calls["count"][-1])]).any()
    return np.asarray(known)


def _doubt(calls: _Columns, known: NDArray[np.bool_], cells: list[Cells], values: list[Floats]) -> Doubt:
    read = calls["kind"] == Kind.READ
    pulses = np.flatnonzero(~known & ~read & (calls["outcome"] != Outcome.FAILED))
    spans = [(int(calls["first"][row]), int(calls["count"][row])) for row in pulses]
    nobody = np.empty(0, np.int64)
    named = np.concatenate([nobody, *(cells[Kind.APPLY][first : first + count] for first, count in spans)])
    reads = int(calls["count"][~known & read].sum())
    if pulses.size != 1:
        return Doubt(named.size, reads, np.unique(named), -1, None, np.full(np.unique(named).size, np.nan))
    row, before = int(pulses[0]), read[: pulses[0]]
    seen = int((calls["first"] + calls["count"])[: pulses[0]][before].max(initial=0))
    ohm = _last(cells[Kind.READ][:seen], values[Kind.READ][:seen], named)
    return Doubt(named.size, reads, named, row, _asked_in(calls, row), ohm)


def _last(read: Cells, ohm: Floats, cells: Cells) -> Floats:
    """The last of the readings `ohm` of each of `cells`, NaN where there is none."""
    unique, last = np.unique(read[::-1], return_index=True)
    out, known = np.full(cells.size, np.nan), np.isin(cells, unique)
    out[known] = ohm[::-1][last[np.searchsorted(unique, cells[known])]]
    return out


def _asked_in(calls: _Columns, at: int) -> Asked:
    row = {name: column[at] for name, column in calls.items()}
    return Asked(Kind(row["kind"]), Op(row["op"]), float(row["amplitude"]), float(row["width_s"]))
