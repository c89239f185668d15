"""Replay a trainer's schedule on a chip: every write closed-loop, every account kept apart.

All weights, a stratified sample of them (totals are then estimates with an interval), or tile by tile. Each step
is acknowledged before the next begins, so a replay cut off at any time goes on at the step in which it stopped, being
told from the run file what that step had done (`resume`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.energy import activation_energy
from quest_lab.errors import BadInput
from quest_lab.layers import reads_by_level
from quest_lab.mapping import Pattern, check, level_count, to_states
from quest_lab.placement import Placement
from quest_lab.policy import Objective
from quest_lab.protocols.life import of_replay
from quest_lab.protocols.replay_costs import Asked, expected
from quest_lab.protocols.replayed import STEP_COLUMNS, Replay, join
from quest_lab.schedule import Schedule, Step
from quest_lab.session import Session
from quest_lab.write import Programmer, Written
from quest_lab.write_costs import MOST_WRITES, evaluate_writes


def replay(
    session: Session,
    schedule: Schedule,
    found: Characterization,
    pattern: Pattern,
    *,
    placement: Placement | None = None,
    first: int = 0,
    steps: int | None = None,
    tile: int = 0,
    resume: Replay | None = None,
    objective: Objective = "energy",
) -> Replay:
    """Write the levels before step `first`, then each step's changes, reading back what every cell holds.

    `found` is restricted to the states in use; `pattern` maps weight levels to them; `resume` is what
    `replayed_so_far` found in the run file that goes on; `objective` what its writes are to save. Inference reads are
    counted with tile 0 only.
    Raises BadInput when the pattern does not fit, the placement is larger than the chip or a cell has no
    baseline.
    """
    check(pattern, level_count(schedule.header.bits), found.states)
    placement = placement or Placement.on(found, schedule.weights)
    if placement.per_weight != 1 or placement.placed[-1] >= schedule.weights:
        raise BadInput(
            f"placement of weight {placement.placed[-1]} on {placement.per_weight} cells: the schedule has "
            f"{schedule.weights} weights, one cell each"
        )
    if placement.weight is None and placement.weights != schedule.weights:
        raise BadInput(f"placement of {placement.weights} weights for a schedule of {schedule.weights}")
    found.index_of(placement.cells)  # every cell needs a baseline before the first pulse
    replayer = _Replayer(session, schedule, found, pattern, placement, resume, first, tile, objective)
    return replayer.run(_end(schedule, first, steps))


def replay_tiles(
    session: Session,
    schedule: Schedule,
    found: Characterization,
    pattern: Pattern,
    placements: Sequence[Placement],
    *,
    first: int = 0,
    steps: int | None = None,
    resume: Sequence[Replay] = (),
    objective: Objective = "energy",
) -> Replay:
    """The whole replay again for each part of the weights, one after the other on the same cells.

    Raises LimitExceeded with the shortfall, before the first pulse, if a ledger lacks what it is expected to take.
    """
    done = list(resume)
    if session.pulses_left is not None:
        last, rows = _end(schedule, first, steps), [len(one.steps["step"]) for one in done]
        of_replay(session, schedule, found, pattern, placements, first, last, rows, objective).check(session)
    for tile, placement in enumerate(placements):
        so_far = done[tile] if tile < len(done) else None
        out = replay(session, schedule, found, pattern, placement=placement, first=first, steps=steps,
                     tile=tile, resume=so_far, objective=objective)  # fmt: skip
        done[tile : tile + 1] = [out]
    return join(done)


def _end(schedule: Schedule, first: int, steps: int | None) -> int:
    """The step before which a replay of so many `steps` from `first` on ends."""
    return schedule.steps if steps is None else min(first + steps, schedule.steps)


class _Replayer:
    def __init__(
        self,
        session: Session,
        schedule: Schedule,
        found: Characterization,
        pattern: Pattern,
        placement: Placement,
        resume: Replay | None,
        first: int,
        tile: int,
        objective: Objective,
    ) -> None:
        self._session, self._schedule, self._found = session, schedule, found
        self._pattern, self._placement = pattern, placement
        self._programmer = Programmer(session.device, found, check=session.stop.check, objective=objective)
        self._pulse_j = evaluate_writes(self._programmer.policy, min(schedule.steps + 2, MOST_WRITES)).pulse_j
        done = len(resume.steps["step"]) if resume else 0
        self._next = first + max(done - 1, 0)
        self._levels = schedule.levels_at(self._next)
        intended = to_states(self._levels[placement.placed], pattern)
        self._out = resume or Replay.of(placement, intended, found.states)
        self._out.intended, self._done, self._tile = intended, done, tile
        self._asked = self._out.asked or Asked.loaded(intended, found.states)
        if self._out.memory is not None:
            self._programmer.take_over(placement.cells, intended, self._out.memory)

    def run(self, last: int) -> Replay:
        if not self._done:
            self._load()
        for step in self._schedule.from_step(self._next):
            if step.index >= last:
                break
            self._session.stop.check()
            self._session.progress("replay", step.index, last)
            self._step(step)
        self._session.progress("replay", last, last)
        self._out.expected = expected(self._programmer.policy, self._found, self._asked)
        self._out.model = self._programmer.policy.model.name
        self._out.asked, self._out.memory = self._asked, self._programmer.memory[self._placement.cells]
        return self._out

    def _load(self) -> None:
        """The initial load: a stage of its own (step -1), from whatever the cells hold."""
        self._session.progress("initial load", 0, 1)
        done = self._programmer.write(self._placement.cells, self._out.intended)
        self._note(np.arange(self._placement.weights), done)
        self._row(-1, -1, -1, done, np.nan, (0.0, 0.0))
        self._session.progress("initial load", 1, 1)

    def _step(self, step: Step) -> None:
        reads = self._inference_energy(step)
        self._levels[step.weight] = step.new
        here, rows = self._placement.rows_of(step.weight)
        before = self._out.intended.copy()
        self._out.intended[rows] = to_states(step.new[here], self._pattern)
        predicted = self._predict(before, rows)
        self._out.writes[rows] += 1
        done = self._programmer.write(self._placement.cells_of(rows), self._out.intended[rows])
        self._note(rows, done)
        for cells, energy_j in done.energies:
            self._out.write_j[self._placement.rows_on(cells)] += energy_j
        self._row(step.index, step.epoch, step.batch, done, predicted, reads)

    def _note(self, rows: NDArray[np.int64], done: Written) -> None:
        self._out.read[rows] = done.states
        np.add.at(self._out.confusion, (done.target.astype(np.intp), done.states.astype(np.intp)), 1)
        if done.rewritten.size:
            self._out.read[self._placement.rows_on(done.rewritten)] = done.rewritten_states

    def _inference_energy(self, step: Step) -> tuple[float, float]:
        """Energy of the forward pass' reads, with the levels before this step: gated, row-activated."""
        if self._tile:
            return 0.0, 0.0
        bits = self._schedule.header.bits
        reads = sum(reads_by_level(layer, step.taps, self._levels, bits) for layer in self._schedule.layers)
        cost = self._found.read_energy_j()
        return (
            float(activation_energy(np.asarray(reads), cost, self._pattern)),
            float(activation_energy(np.asarray(reads), cost, self._pattern, gated=False)),
        )

    def _predict(self, before: States, rows: NDArray[np.int64]) -> float:
        """Expected write energy of a step, the field of a domain reset left out (its own account)."""
        moves = self._asked.step(self._found.reset_scope, before, self._out.intended, rows)
        return float((moves[: len(self._pulse_j)] * self._pulse_j).sum())

    def _row(
        self, step: int, epoch: int, batch: int, done: Written, predicted: float, reads: tuple[float, float]
    ) -> None:
        run = self._session.run
        values = (
            self._tile, step, epoch, batch, done.cells.size, int(done.wrong.sum()), done.pulses, done.resets, predicted,
            done.write_j, done.verify_j, done.time_s(self._found), *reads, done.field_j, self._out.diverged,
            run.rows("calls") if run else 0,
        )  # fmt: skip
        row = dict(zip(STEP_COLUMNS, values, strict=True))
        for name, value in row.items():
            self._out.steps[name].append(value)
        if run is not None:
            run.append("replay_steps", **row)
            run.flush()  # before the next step touches a cell
