"""Training in the loop: the weights live in the cells of a chip, which may not hold what they were asked to.

One cell a weight, decoded, levels on states in ascending order. Every write and read goes through the session's
device, so it is in its run file; the table `loop_steps` has a row a write, acknowledged before the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Scope
from quest_lab.errors import BadInput
from quest_lab.events import pieces, spent_j
from quest_lab.layers import Levels
from quest_lab.mapping import Pattern, check, level_count, to_levels, to_states
from quest_lab.placement import Placement
from quest_lab.protocols.learned import Learned
from quest_lab.protocols.validate_budget import check_budget
from quest_lab.protocols.validate_encodings import Decoded
from quest_lab.protocols.validate_tiles import Programming
from quest_lab.run_tables import TABLES
from quest_lab.runfile import Run, open_run
from quest_lab.schema import Field, Kind, Op, Result
from quest_lab.session import Session
from quest_lab.write import Programmer, Written, policy_for

KIND = "in-the-loop"
COLUMNS = TABLES["loop_steps"].names


@dataclass
class Past:
    """What a run did before it was cut off: rows of `loop_steps`, pulses of each cell, energy behind the last row, and
    what the writer had learned of the cells that have a baseline (None: nothing yet)."""

    rows: dict[str, list[float]]
    pulses: NDArray[np.int64]
    left_j: float
    memory: NDArray[np.int16] | None = None

    @classmethod
    def none(cls, cells: int) -> Self:
        return cls({name: [] for name in COLUMNS}, np.zeros(cells, np.int64), 0.0)

    @classmethod
    def of(cls, path: Path, found: Characterization) -> Self:
        """From the run file at `path`. Raises BadInput: no such run."""
        with open_run(path, KIND) as run:
            table = run.columns("loop_steps", COLUMNS)
            rows = {name: table[name].tolist() for name in COLUMNS}
            begin = int(rows["calls"][-1]) if rows["calls"] else 0
            learned = Learned(run, found, found.cells, policy_for(found))
            learned.hear(0, run.rows("calls"))
            return cls(rows, _pulses(run, found), spent_j(run, found.read, begin), learned.memory)


class ChipWeights:
    """The weights of a network in training on the cells of `placement`, closed loop or each pulse once, unverified.

    `found` is restricted to the states in use, as many as there are levels. Raises BadInput when they are fewer, and
    LimitExceeded before the first pulse if a cell's life does not suffice for the initial load.
    """

    def __init__(
        self,
        session: Session,
        found: Characterization,
        placement: Placement,
        bits: int,
        *,
        closed_loop: bool = True,
        past: Past | None = None,
    ) -> None:
        self.pattern: Pattern = check(tuple(range(level_count(bits))), level_count(bits), found.states)
        found.index_of(placement.cells)
        self._session, self._found, self._placement = session, found, placement
        self._programmer = Programmer(
            session.device, found, check=session.stop.check, closed_loop=closed_loop
        )
        self.past = past or Past.none(session.device.capabilities.cells)
        if self.past.memory is not None:
            self._programmer.memory[found.cells] = self.past.memory
        self._load = Programming(Decoded(found, self.pattern), [placement], [], closed_loop)
        self._asked: Levels | None = None
        self._states = np.zeros(placement.weights, np.int8)

    def write(self, levels: Levels, *, step: int, read_all: bool) -> Levels:
        """As quest_lab.train.config.WeightCells asks. Raises Interrupted between two pulses, DeviceError,
        LimitExceeded.
        """
        if levels.size != self._placement.weights:
            raise BadInput(f"{levels.size} weights for a placement of {self._placement.weights}")
        first = self._asked is None
        rows = np.arange(levels.size) if self._asked is None else np.flatnonzero(levels != self._asked)
        if first:
            if not self.past.rows["step"]:
                check_budget(self._session, self._found, levels, [self._load], (), baselines=False)
            self._session.progress("load all weights", 0, 1)
        done = self._programmer.write(self._placement.cells_of(rows), to_states(levels[rows], self.pattern))
        self._asked = levels.copy()
        self._note(rows, done)
        if read_all:
            reading = self._session.device.read(self._placement.cells, self._found.read)
            self._states = self._found.decode(reading)
            done.verify_j += float(reading.energy_j.sum())
        self._book(step, done)
        if first:
            self._session.progress("load all weights", 1, 1)
        return self.held

    @property
    def held(self) -> Levels:
        """Level of each weight as last read."""
        return to_levels(self._states, self.pattern)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Weights whose cell does not hold what was asked for, as last read."""
        asked = np.zeros(self._states.size, np.int8) if self._asked is None else self._asked
        return self.held != asked

    def total(self, column: str) -> float:
        """Sum of a column of `loop_steps`."""
        return float(sum(self.past.rows[column]))

    @property
    def pulses(self) -> NDArray[np.int64]:
        """Pulses, and resets of its own, that the cell of each weight got."""
        return self.past.pulses[self._placement.cells]

    def results(self) -> list[Result]:
        """For the run file: wrong cells and energies over steps, and every weight at the end."""
        return [_over_steps(self.past.rows), self._final()]

    def _final(self) -> Result:
        asked = self.held if self._asked is None else self._asked
        dims = ("weight",)
        fields = {
            "cell": Field(self._placement.cells, "", "cell of the weight", dims),
            "asked": Field(asked, "", "level that was asked for last", dims),
            "held": Field(self.held, "", "level last read", dims),
            "pulses": Field(self.pulses, "", "pulses, and resets of its own, of the cell", dims),
        }
        return Result("final_weights", fields, title="Weights at the end")

    def _note(self, rows: NDArray[np.int64], done: Written) -> None:
        self._states[rows] = done.states
        if done.rewritten.size:
            self._states[self._placement.rows_on(done.rewritten)] = done.rewritten_states
        for cells, _ in done.energies:
            self.past.pulses[cells] += 1

    def _book(self, step: int, done: Written) -> None:
        run, left_j = self._session.run, self.past.left_j
        self.past.left_j = 0.0
        values = (
            step, done.cells.size, int(done.wrong.sum()), done.pulses, done.resets, done.write_j, done.verify_j,
            done.field_j, left_j, int(self.wrong.sum()), run.rows("calls") if run else 0,
        )  # fmt: skip
        row = dict(zip(COLUMNS, values, strict=True))
        for name, value in row.items():
            self.past.rows[name].append(value)
        if run is not None:
            run.append("loop_steps", **row)
            run.flush()


def _over_steps(rows: dict[str, list[float]]) -> Result:
    columns = {
        "diverged": ("", "weights whose cell does not hold what was asked for"),
        "writes_intended": ("", "weights written"),
        "writes_wrong": ("", "writes that did not end in the target"),
        "spent_energy_j": ("J", "write energy"),
        "verify_energy_j": ("J", "verify reads"),
    }
    fields = {
        name: Field(np.asarray(rows[name]), unit, text, ("write",)) for name, (unit, text) in columns.items()
    }
    fields["step"] = Field(np.asarray(rows["step"]), "", "optimizer steps done before", ("write",))
    return Result("loop", fields, title="Training in the loop", signal="diverged", axes=("step",))


def _pulses(run: Run, found: Characterization) -> NDArray[np.int64]:
    """Pulses, and resets of its own, of each cell of the chip in the whole file."""
    calls, cells = run.columns("calls", ("kind", "op", "first", "count")), int(run.settings["cells"])
    without, out = Op.FIELD if found.reset_scope is Scope.ARRAY else None, np.zeros(cells, np.int64)
    for piece in pieces(calls, Kind.APPLY, 0, len(calls["kind"]), without=without):
        out += np.bincount(run.columns("applies", ("cell",), *piece)["cell"], minlength=cells)
    return out
