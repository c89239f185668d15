"""What writes are expected to cost the cells' lives: compared with what is left before the first pulse.

Expected, retries included. A run that meets worse than that is stopped by the ledger before the pulse that would be
too many; what it did is recorded, and it can be gone on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Capabilities, Cells, FieldPulse, Floats, Scope, whole_domains
from quest_lab.errors import LimitExceeded
from quest_lab.mapping import Pattern, to_states
from quest_lab.placement import Placement
from quest_lab.policy import Objective
from quest_lab.schedule import Schedule
from quest_lab.session import Session
from quest_lab.write import policy_for
from quest_lab.write_costs import MOST_WRITES, evaluate_writes


@dataclass(frozen=True)
class Need:
    """What each cell of the chip is expected to get, shape (cells,): pulses, resets and retries included, and their
    energy in joule, without that of fields."""

    pulses: Floats
    energy_j: Floats

    @classmethod
    def none(cls, cells: int) -> Self:
        return cls(np.zeros(cells), np.zeros(cells))

    def add(self, cells: Cells, pulses: Floats | float, energy_j: Floats | float) -> None:
        """`pulses` and `energy_j` more for each of `cells`."""
        self.pulses[cells] += pulses
        self.energy_j[cells] += energy_j

    def check(self, session: Session) -> None:
        """Raise LimitExceeded, with the shortfall, if a cell's life does not suffice."""
        everyone = np.arange(self.pulses.size)
        if session.pulses_left is not None:
            _compare(np.ceil(self.pulses), session.pulses_left(everyone).astype(np.float64), "pulses")
        if session.energy_left_j is not None:
            _compare(self.energy_j, session.energy_left_j(everyone), "J")


def _compare(need: Floats, left: Floats, unit: str) -> None:
    short = need - left
    worst = int(short.argmax())
    if short[worst] > 0:
        raise LimitExceeded(
            f"the budget does not suffice: cell {worst} is expected to get {need[worst]:.4g} {unit}, {left[worst]:.4g} "
            f"{unit} are left of its life: {short[worst]:.4g} {unit} short ({int((short > 0).sum())} cells are short); "
            "no pulse was given"
        )


def reset_j(found: Characterization) -> float:
    """What one reset spends in the cell; a field spends nothing there."""
    return 0.0 if isinstance(found.reset, FieldPulse) else found.reset_energy_j


class Writes:
    """Writes of a closed loop, one after the other: adds to `need` what each is expected to take."""

    def __init__(self, can: Capabilities, found: Characterization, objective: Objective = "energy") -> None:
        self.need = Need.none(can.cells)
        self._can, self._found = can, found
        self._array = can.reset_scope is Scope.ARRAY
        self._tables = cost_tables(found, objective, MOST_WRITES)
        self._held = np.full(can.cells, -1)  # the state each cell was left in; -1: not known
        self.forget()

    def forget(self) -> None:
        """A new writer, who has not met any of the cells yet."""
        self._written = np.zeros(self._can.cells, np.int64)

    def write(self, cells: Cells, target: States) -> None:
        """Bring `cells` to `target`; from an unknown state the dearest start is taken."""
        held, to = self._held[cells], target.astype(np.int64)
        self._held[cells] = to
        if self._array and np.any((held < 0) | (held > to)):
            self.need.add(whole_domains(self._can, cells), 1.0, reset_j(self._found))
            cells = np.flatnonzero(self._held >= 0)  # all of them are set again
            held, to = np.zeros(cells.size, np.int64), self._held[cells]
        earlier = self._written[cells]
        self.need.add(cells, *(from_to(table, held, to, earlier) for table in self._tables))
        self._written[cells] += np.maximum(held, 0) != to


def cost_tables(
    found: Characterization, objective: Objective = "energy", writes: int = 1
) -> tuple[Floats, Floats]:
    """Expected pulses and joule [earlier writes of the cell, from, to], as a replay expects them
    (`write_costs`); what the policy counts for a field is not the cell's."""
    cost = evaluate_writes(policy_for(found, objective), writes)
    by_field = isinstance(found.reset, FieldPulse) and found.reset_scope is Scope.CELL
    return cost.pulses, cost.pulse_j - (cost.resets * found.reset_energy_j if by_field else 0.0)


def from_to(
    table: Floats, held: NDArray[np.int64], to: NDArray[np.int64], earlier: NDArray[np.int64] | int = 0
) -> Floats:
    """Of each cell, written `earlier` times before; the dearest start where `held` is -1."""
    row = np.minimum(earlier, len(table) - 1)
    return np.asarray(np.where(held < 0, table.max(axis=1)[row, to], table[row, held, to]))


def of_replay(
    session: Session,
    schedule: Schedule,
    found: Characterization,
    pattern: Pattern,
    placements: Sequence[Placement],
    first: int,
    last: int,
    done: Sequence[int],
    objective: Objective,
) -> Need:
    """Of the load and the steps `first` .. `last` of each placement, but for the rows that are `done` of it."""
    writes = Writes(session.device.capabilities, found, objective)
    for tile, placement in enumerate(placements):
        writes.forget()
        rows = done[tile] if tile < len(done) else 0
        begin = first + max(rows - 1, 0)
        states = to_states(schedule.levels_at(begin)[placement.placed], pattern)
        if not rows:
            writes.write(placement.cells, states)
        for step in schedule.from_step(begin):
            if step.index >= last:
                break
            here, named = placement.rows_of(step.weight)
            writes.write(placement.cells_of(named), to_states(step.new[here], pattern))
    return writes.need


def of_array_steps(session: Session, found: Characterization, cells: Cells, steps: int) -> Need:
    """Of so many steps of a training in the loop where a reset empties the whole array: at each one reset, and all
    `cells` set again. What steps need where single cells are reset is not known before: none.
    """
    can = session.device.capabilities
    need = Need.none(can.cells)
    if can.reset_scope is Scope.ARRAY:
        tables = cost_tables(found, writes=MOST_WRITES)
        need.add(whole_domains(can, cells), steps, steps * reset_j(found))
        earlier = np.minimum(np.arange(steps), MOST_WRITES - 1)
        need.add(cells, *(float(table[earlier, 0].mean(axis=1).sum()) for table in tables))
    return need
