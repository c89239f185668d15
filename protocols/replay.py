"""Replay a trainer's schedule on a chip: every write closed-loop, every account kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Scope
from quest_lab.energy import activation_energy, array_update_energy
from quest_lab.errors import BadInput
from quest_lab.layers import reads_by_level
from quest_lab.mapping import Pattern, check, level_count, to_states
from quest_lab.placement import Placement
from quest_lab.policy import WriteCost, evaluate
from quest_lab.schedule import Schedule, Step
from quest_lab.schema import Field, Result
from quest_lab.session import Session
from quest_lab.write import Programmer, Written

_STEP_COLUMNS = (
    "step",
    "epoch",
    "batch",
    "writes_intended",
    "writes_wrong",
    "pulses",
    "resets",
    "predicted_energy_j",
    "spent_energy_j",
    "verify_energy_j",
    "inference_gated_energy_j",
    "inference_row_energy_j",
    "field_energy_j",
    "diverged",
)


@dataclass
class Replay:
    """Outcome of a replay.

    `intended` and `read` are the states of every weight at the end, shape (weights,); `confusion[intended,
    read]` counts every write; `steps` holds the columns of the run file's table `replay_steps`, the initial
    load as step -1; energies in joule.
    """

    intended: States
    read: States
    confusion: NDArray[np.int64]
    steps: dict[str, list[float]]

    def total(self, column: str) -> float:
        """Sum of a column over the steps after the initial load."""
        return float(sum(self.steps[column][1:]))

    @property
    def diverged(self) -> int:
        """Weights whose last read state is not the schedule's."""
        return int(np.count_nonzero(self.intended != self.read))


def replay(
    session: Session,
    schedule: Schedule,
    found: Characterization,
    pattern: Pattern,
    *,
    placement: Placement | None = None,
    steps: int | None = None,
) -> Replay:
    """Write the initial levels, then each step's changes, reading back what every written cell holds.

    `found` is restricted to the states in use; `pattern` maps weight levels to them. Raises BadInput when
    the pattern does not fit, the placement is larger than the chip or a cell has no baseline.
    """
    check(pattern, level_count(schedule.header.bits), found.states)
    placement = placement or Placement.on(found, schedule.weights)
    if placement.weights != schedule.weights or placement.per_weight != 1:
        raise BadInput(f"placement of {placement.weights} weights for a schedule of {schedule.weights}")
    found.index_of(placement.cells)  # every cell needs a baseline before the first pulse
    return _Replayer(session, schedule, found, pattern, placement).run(steps)


class _Replayer:
    def __init__(
        self,
        session: Session,
        schedule: Schedule,
        found: Characterization,
        pattern: Pattern,
        placement: Placement,
    ) -> None:
        self._session, self._schedule, self._found = session, schedule, found
        self._pattern, self._placement = pattern, placement
        self._programmer = Programmer(session.device, found, check=session.stop.check)
        self._cost: WriteCost = evaluate(self._programmer.policy)
        self._levels = schedule.initial_levels.copy()
        intended = to_states(self._levels, pattern)
        n = found.states
        self._out = Replay(
            intended, np.full_like(intended, -1), np.zeros((n, n), np.int64), {c: [] for c in _STEP_COLUMNS}
        )

    def run(self, steps: int | None) -> Replay:
        total = self._schedule.steps if steps is None else min(steps, self._schedule.steps)
        self._load()
        for step in self._schedule:
            if step.index >= total:
                break
            self._session.stop.check()
            self._session.progress("replay", step.index, total)
            self._step(step)
        self._session.progress("replay", total, total)
        return self._out

    def _load(self) -> None:
        """The initial load: a stage of its own (step -1), from whatever the cells hold."""
        self._session.progress("initial load", 0, 1)
        everything = np.arange(self._schedule.weights)
        done = self._programmer.write(self._placement.cells, self._out.intended)
        self._note(everything, done)
        self._row(-1, -1, -1, done, np.nan, (0.0, 0.0))
        self._session.progress("initial load", 1, 1)

    def _step(self, step: Step) -> None:
        reads = self._inference_energy(step)
        predicted = self._predict(step)
        self._levels[step.weight] = step.new
        self._out.intended[step.weight] = to_states(step.new, self._pattern)
        cells = self._placement.cells_of(step.weight)
        done = self._programmer.write(cells, self._out.intended[step.weight])
        self._note(step.weight, done)
        self._row(step.index, step.epoch, step.batch, done, predicted, reads)

    def _note(self, weight: NDArray[np.int64], done: Written) -> None:
        self._out.read[weight] = done.states
        np.add.at(self._out.confusion, (done.target.astype(np.intp), done.states.astype(np.intp)), 1)
        if done.rewritten.size:
            others = self._placement.weights_of(done.rewritten)
            self._out.read[others] = done.rewritten_states

    def _inference_energy(self, step: Step) -> tuple[float, float]:
        """Energy of the forward pass' reads, with the levels before this step: gated, row-activated."""
        bits = self._schedule.header.bits
        reads = sum(reads_by_level(layer, step.taps, self._levels, bits) for layer in self._schedule.layers)
        cost = self._found.read_energy_j()
        return (
            float(activation_energy(np.asarray(reads), cost, self._pattern)),
            float(activation_energy(np.asarray(reads), cost, self._pattern, gated=False)),
        )

    def _predict(self, step: Step) -> float:
        """Expected write energy of the step, the field of a domain reset left out (its own account)."""
        old, new = (to_states(x, self._pattern).astype(np.intp) for x in (step.old, step.new))
        if self._found.reset_scope is Scope.CELL:
            return float(self._cost.pulse_j[old, new].sum())
        n, half = len(self._pattern), len(self._pattern) // 2
        moves = np.zeros((1, n, n), np.int64)
        np.add.at(moves[0], (step.old.astype(np.intp) + half, step.new.astype(np.intp) + half), 1)
        after = self._levels.copy()
        after[step.weight] = step.new
        levels = np.bincount(after.astype(np.int64) + half, minlength=n)[None]
        return float(array_update_energy(moves, levels, self._cost.pulse_j, 0.0, self._pattern)[0])

    def _row(
        self, step: int, epoch: int, batch: int, done: Written, predicted: float, reads: tuple[float, float]
    ) -> None:
        values = (
            step, epoch, batch, done.cells.size, int(done.wrong.sum()), done.pulses, done.resets, predicted,
            done.write_j, done.verify_j, *reads, done.field_j, self._out.diverged,
        )  # fmt: skip
        row = dict(zip(_STEP_COLUMNS, values, strict=True))
        for name, value in row.items():
            self._out.steps[name].append(value)
        if self._session.run is not None:
            self._session.run.append("replay_steps", **{name: [value] for name, value in row.items()})


def to_results(out: Replay) -> list[Result]:
    """The outcome for a run file: divergence and energies over steps (plots), confusion, final states."""
    step = np.asarray(out.steps["step"])
    columns = {
        "diverged": ("", "weights whose last read state is not the schedule's"),
        "predicted_energy_j": ("J", "write energy predicted by the policy"),
        "spent_energy_j": ("J", "write energy spent"),
        "verify_energy_j": ("J", "verify reads"),
    }
    fields = {n: Field(np.asarray(out.steps[n]), u, text, ("step",)) for n, (u, text) in columns.items()}
    fields["step"] = Field(step, "", "training step (-1: initial load)", ("step",))
    states = np.arange(out.confusion.shape[0])
    confusion = {
        "writes": Field(out.confusion, "", "writes", ("intended", "read")),
        "intended": Field(states, "", "intended state", ("intended",)),
        "read": Field(states, "", "state read back", ("read",)),
    }
    final = {
        "intended": Field(out.intended, "", "state the schedule ends in", ("weight",)),
        "read": Field(out.read, "", "state last read", ("weight",)),
    }
    return [
        Result("divergence", fields, title="Divergence of the replay", signal="diverged", axes=("step",)),
        Result("confusion", confusion, title="Intended and read states", signal="writes",
               axes=("intended", "read")),
        Result("final_states", final, title="States at the end"),
    ]  # fmt: skip
