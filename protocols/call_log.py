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
from quest_lab.schema import Kind, Op, Origin, Outcome

Columns: TypeAlias = dict[str, NDArray[Any]]


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

    @classmethod
    def of(cls, calls: Columns, at: int) -> Asked:
        """What row `at` of table `calls` asked."""
        row = {name: column[at] for name, column in calls.items()}
        return cls(Kind(row["kind"]), Op(row["op"]), float(row["amplitude"]), float(row["width_s"]))

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

    @classmethod
    def none(cls, cells: int) -> Answer:
        """Nothing is known."""
        return cls(np.zeros(cells, np.bool_), np.full(cells, np.nan))


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
        known = _sound(self.before_ohm) & _sound(ohm) & np.isin(self.cells, found.cells)
        for states, read in ((then, self.before_ohm), (now, ohm)):
            states[known] = found.decode(Reading(self.cells[known], read[known], read[known], found.read))
        return got_it(then, now, at_once=self.asked is not None and self.asked.op is Op.FIELD)


def _sound(ohm: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(ohm) & (ohm > 0))


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
    calls: Columns
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

    def settle(self, found: Characterization, ohm: Floats, at: ReadPulse) -> None:
        """Tell also, after what there is, the pulse in doubt of the cells that have it (its energy is not known: 0 J)
        and their readings; `ohm` was read `at` the cells in doubt. A writer may not look behind a field at once: of a
        field no reading is told."""
        if self.doubt.asked is not None and _sound(ohm).all() and (count := self.doubt.received(found, ohm)):
            cells = self.doubt.cells[:count]
            self._add(self.doubt.asked, cells, np.zeros(count))
            if self.doubt.asked.op is not Op.FIELD:
                self._add(Asked.read(at), cells, ohm[:count].astype(np.float32).astype(np.float64))

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
        return Asked.of(self.calls, at)


def nothing_yet(path: Path) -> CallLog:
    """The log of a run that begins."""
    nobody, nothing = np.empty(0, np.int64), np.empty(0)
    calls, doubt = {"row": nobody}, Doubt(0, 0, nobody, -1, None, nothing)
    return CallLog(path, calls, [nobody, nobody], [nothing, nothing], {}, doubt, 0, False, 0.0, 0.0, 0.0)
