"""What a writer had learned of its cells, from the landings that a run file holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Cells, Reading, VoltagePulse
from quest_lab.policy import Policy
from quest_lab.record import Run
from quest_lab.schema import Kind, Op, Outcome
from quest_lab.write import first_memory


def got_it(before: States, after: States, *, at_once: bool = False) -> int:
    """How many of a call's cells, in its order, got a pulse that was cut off, by their states before it and now.

    A bench pulses one after the other: those up to the last that changed. A field reaches all `at_once`, or it was too
    weak: none, if any cell is still in a state that it ends.
    """
    if at_once:
        return 0 if np.any((before == after) & (before > 0)) or np.array_equal(before, after) else before.size
    return int(np.flatnonzero(before != after).max(initial=-1)) + 1


class Learned:
    """`memory` of `cells` (ascending, with a baseline) under `policy`: as in `write.Programmer`, call by call."""

    def __init__(self, run: Run, found: Characterization, cells: Cells, policy: Policy) -> None:
        self._run, self._found, self._cells, self._model = run, found, cells, policy.model
        self._calls = run.columns("calls", ("kind", "op", "outcome", "first", "count", "amplitude"))
        self._rows = {name: run.rows(name) for name in ("applies", "reads")}  # a killed run lacks some
        self._state = np.zeros(cells.size, np.int8)
        self._actions = {
            _amplitude(found, self._model.operation[a], self._model.attempt[a]): a
            for a in range(1, self._model.operation.size)
        }
        self.memory = first_memory(policy, int(found.cells.max()) + 1)[cells]

    def hear(self, begin: int, end: int) -> None:
        """The calls begin..end: a pulse that was given and the reading of its cells right behind it are a landing; of a
        pulse in doubt, those of the cells that got it."""
        if not self._model.lasting:
            return
        given, pulsed = None, np.empty(0, np.int64)
        for call in range(begin, end):
            kind, outcome = self._calls["kind"][call], self._calls["outcome"][call]
            if kind == Kind.APPLY or outcome != Outcome.DONE:
                given = self._action(call) if kind == Kind.APPLY and outcome != Outcome.FAILED else None
                pulsed, sure = (
                    (pulsed if given is None else self._events(call, "applies")[0]),
                    outcome == Outcome.DONE,
                )
                continue
            cells, ohm = self._events(call, "reads")
            rows = np.searchsorted(self._cells, cells)
            landed = self._found.decode(Reading(cells, ohm, np.zeros(cells.size), self._found.read))
            if given is not None and np.array_equal(cells, pulsed):
                count = cells.size if sure else got_it(self._state[rows], landed)
                who, was, new = rows[:count], self._state[rows][:count], landed[:count]
                self.memory[who] = self._model.after[given, self.memory[who], was, new]
            self._state[rows], given = landed, None

    def _action(self, call: int) -> int | None:
        """Which set pulse of the policy a call was."""
        if self._calls["op"][call] != Op.VOLTAGE:
            return None
        return self._actions.get(float(self._calls["amplitude"][call]))

    def _events(self, call: int, table: str) -> tuple[Cells, NDArray[np.float64]]:
        value = "energy_j" if table == "applies" else "resistance_ohm"
        first = int(self._calls["first"][call])
        last = min(first + int(self._calls["count"][call]), self._rows[table])
        found = self._run.columns(table, ("cell", value), first, last)
        cells = found["cell"].astype(np.int64)
        mine = np.isin(cells, self._cells)  # a run may read others, a domain's reset reaches them
        return cells[mine], found[value][mine].astype(np.float64)


def _amplitude(found: Characterization, operation: int, attempt: int) -> float:
    """Volts of a set pulse."""
    pulse = found.operation(operation, attempt)
    return pulse.amplitude_v if isinstance(pulse, VoltagePulse) else np.nan
