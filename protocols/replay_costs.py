"""Expected and observed cost of a replay's writes, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Cells, Floats, Scope
from quest_lab.policy import Policy, expect

COSTS = {
    "spent_energy_j": "J",
    "verify_energy_j": "J",
    "field_energy_j": "J",
    "pulses": "",
    "resets": "",
    "time_s": "s",
    "writes_wrong": "",
}


@dataclass
class Asked:
    """What the steps so far asked of the writer.

    `moves[0, memory, from, to]` counts every cell that had to be set, `moves[1]` those that the schedule named (where
    a reset empties the whole array, it must set the others again). `reads[state]` and `resets` come on top there.
    """

    moves: NDArray[np.int64]
    reads: NDArray[np.int64]
    resets: int = 0

    @classmethod
    def nothing(cls, policy: Policy) -> Self:
        n = policy.model.states
        return cls(np.zeros((2, policy.model.memories, n, n), np.int64), np.zeros(n, np.int64))

    def step(
        self,
        policy: Policy,
        scope: Scope,
        memory: NDArray[np.int16],
        cells: Cells,
        before: States,
        after: States,
        rows: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Note a step that brings `rows` of all placed cells from `before` to `after`; returns its own moves[0].

        `memory[cells]` is what the writer remembers of the placed cells.
        """
        falls = scope is Scope.ARRAY and bool(np.any(after[rows] < before[rows]))
        start = np.zeros_like(before) if falls else before
        named = _counts(policy, memory[cells[rows]], start[rows], after[rows])
        every = _counts(policy, memory[cells], start, after) if falls else named
        self.moves += np.stack([every, named])
        if falls:
            self.resets += 1
            self.reads += np.bincount(before[rows], minlength=self.reads.size)  # before the reset
            self.reads[0] += np.count_nonzero(after == 0)  # behind it
        return every


def _counts(policy: Policy, memory: NDArray[np.int16], before: States, after: States) -> NDArray[np.int64]:
    model, start, to = policy.model, before.astype(np.int64), after.astype(np.int64)
    held = memory if model.lasting else policy.start[start, to]
    shape = (model.memories, model.states, model.states)
    return np.bincount(np.ravel_multi_index((held, start, to), shape), minlength=int(np.prod(shape))).reshape(
        shape
    )


def expected(policy: Policy, found: Characterization, asked: Asked) -> dict[str, Floats]:
    """Expected sum of each of COSTS, one for each alternative that the characterised cells leave open."""
    cost, named = expect(policy, asked.moves[0]), expect(policy, asked.moves[1])
    read_j, none = float(asked.reads @ policy.model.read_j), np.zeros_like(cost.pulses)
    sure_s = int(asked.reads.sum()) * policy.model.read_s + asked.resets * found.reset.width_s
    return {
        "spent_energy_j": cost.pulse_j,
        "verify_energy_j": cost.total_j - cost.pulse_j + read_j,
        "field_energy_j": none + (asked.resets * found.reset_energy_j if asked.resets else 0.0),
        "pulses": cost.pulses - cost.resets,
        "resets": cost.resets + asked.resets,
        "time_s": cost.time_s + sure_s,
        "writes_wrong": asked.moves[1].sum() - named.success,
    }


def interval(values: Floats) -> tuple[float, float, float]:
    """Mean and 95 % interval over the alternatives."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)
