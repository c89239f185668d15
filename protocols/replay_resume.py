"""What a replay that was cut off had done, from its run file alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Cells, Floats, Reading, Scope
from quest_lab.events import pieces
from quest_lab.mapping import Pattern, to_states
from quest_lab.placement import Placement
from quest_lab.policy import Objective
from quest_lab.protocols.call_log import CallLog
from quest_lab.protocols.call_log_file import load_call_log
from quest_lab.protocols.learned import Learned
from quest_lab.protocols.replay_costs import Asked
from quest_lab.protocols.replayed import STEP_COLUMNS, Replay
from quest_lab.runfile import Run, open_run
from quest_lab.runwriter import absorb_journal
from quest_lab.schedule import Schedule
from quest_lab.schema import Kind, Op
from quest_lab.write import policy_for


def replayed_so_far(
    path: Path,
    schedule: Schedule,
    found: Characterization,
    pattern: Pattern,
    placements: Sequence[Placement],
    *,
    first: int = 0,
    objective: Objective = "energy",
) -> tuple[list[Replay], CallLog]:
    """Of the run at `path`, cut off: the replay of each tile that was begun, after its last whole step, and the log
    of the calls behind it, for `resume.resumable`. Raises BadInput: no such run."""
    absorb_journal(path)
    with open_run(path, "replay") as run:
        done, end = _so_far_of(run, schedule, found, pattern, placements, first, objective)
    return done, load_call_log(path, "replay", end, found)


def _so_far_of(
    run: Run,
    schedule: Schedule,
    found: Characterization,
    pattern: Pattern,
    placements: Sequence[Placement],
    first: int,
    objective: Objective,
) -> tuple[list[Replay], int]:
    """The replay of each tile, and how many calls it took."""
    policy = policy_for(found, objective)
    rows = run.columns("replay_steps")
    tiles = rows["tile"]
    last = int(tiles[-1]) if tiles.size else 0
    ends = rows["calls"]
    out = []
    for tile, placement in enumerate(placements[: last + 1]):
        mine = {name: rows[name][tiles == tile] for name in STEP_COLUMNS}
        calls, learned = _Calls(run, found, placement), Learned(run, found, placement.cells, policy)
        begin = int(ends[tiles < tile][-1]) if tile else 0
        out.append(_so_far(mine, calls, learned, begin, schedule, pattern, placement, first, found))
    return out, int(ends[-1]) if ends.size else 0


def _so_far(
    table: Mapping[str, NDArray[Any]],
    calls: _Calls,
    learned: Learned,
    begin: int,
    schedule: Schedule,
    pattern: Pattern,
    placement: Placement,
    first: int,
    found: Characterization,
) -> Replay:
    out = Replay.of(placement, to_states(schedule.levels_at(first)[placement.placed], pattern), found.states)
    out.asked, out.memory = Asked.loaded(out.intended, found.states), learned.memory
    out.steps = {name: column.tolist() for name, column in table.items()}
    steps, rows = schedule.from_step(first), np.arange(placement.weights)
    for k, end in enumerate(out.steps["calls"]):
        named = rows
        if k:
            step = next(steps)
            here, named = placement.rows_of(step.weight)
            before = out.intended.copy()
            out.intended[named] = to_states(step.new[here], pattern)
            out.writes[named] += 1
            out.asked.step(found.reset_scope, before, out.intended, named)
            for cells, energy_j in calls.pulses(begin, int(end)):
                np.add.at(out.write_j, placement.rows_on(cells), energy_j)
        for cells, read in calls.reads(begin, int(end)):
            out.read[placement.rows_on(cells)] = read
        np.add.at(out.confusion, (out.intended[named].astype(int), out.read[named].astype(int)), 1)
        learned.hear(begin, int(end))
        begin = int(end)
    return out


class _Calls:
    """The run's events by ranges of its calls, in pieces of bounded size."""

    def __init__(self, run: Run, found: Characterization, placement: Placement) -> None:
        self._run, self._found, self._cells = run, found, placement.cells
        self._calls = run.columns("calls", ("kind", "op", "first", "count"))

    def reads(self, begin: int, end: int) -> Iterator[tuple[Cells, NDArray[np.int8]]]:
        """Cells and decoded states of the calls begin..end, of each cell the last in the piece."""
        for first, last in pieces(self._calls, Kind.READ, begin, end):
            cells, ohm = self._events("reads", "resistance_ohm", first, last)
            unique, at = np.unique(cells[::-1], return_index=True)
            reading = Reading(unique, ohm[::-1][at], np.zeros(unique.size), self._found.read)
            yield unique, self._found.decode(reading)

    def pulses(self, begin: int, end: int) -> Iterator[tuple[Cells, Floats]]:
        """Cells and energies of the voltage pulses, and of resets where each is of one cell."""
        without = Op.FIELD if self._found.reset_scope is Scope.ARRAY else None
        for first, last in pieces(self._calls, Kind.APPLY, begin, end, without=without):
            cells, energy_j = self._events("applies", "energy_j", first, last)
            yield cells, np.nan_to_num(energy_j)  # of a pulse in doubt it is not known

    def _events(self, table: str, value: str, first: int, last: int) -> tuple[Cells, Floats]:
        found = self._run.columns(table, ("cell", value), first, last)
        cells = found["cell"].astype(np.int64)
        mine = np.isin(cells, self._cells)  # a domain's reset reaches others too
        return cells[mine], found[value][mine].astype(np.float64)
