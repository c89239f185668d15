"""Expected and observed cost of a replay's writes, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Floats, Scope
from quest_lab.policy import Policy
from quest_lab.write_costs import MOST_WRITES, expect

COSTS = {
    "spent_energy_j": "J",
    "verify_energy_j": "J",
    "field_energy_j": "J",
    "pulses": "",
    "resets": "",
    "time_s": "s",
    "writes_wrong": "",
}
COST_NAMES = {  # as people read them; others are called what they are
    "spent_energy_j": "write energy",
    "verify_energy_j": "verify reads",
    "field_energy_j": "reset fields (array)",
    "time_s": "time",
    "writes_wrong": "writes that end elsewhere",
}


@dataclass
class Asked:
    """What the steps so far asked of the writer.

    `moves[0, writes before, from, to]` counts every cell that had to be set, by how often it had been set before
    (`written[cell]`); `moves[1]` those that the schedule named (where a reset empties the whole array, it must set the
    others again). `reads[state]` and `resets` come on top there.
    """

    moves: NDArray[np.int64]
    reads: NDArray[np.int64]
    written: NDArray[np.int64]
    resets: int = 0

    @classmethod
    def loaded(cls, held: States, states: int) -> Self:
        """Nothing asked yet but the initial load, of `held`."""
        moves = np.zeros((2, MOST_WRITES, states, states), np.int64)
        return cls(moves, np.zeros(states, np.int64), (held > 0).astype(np.int64))

    def step(self, scope: Scope, before: States, after: States, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Note a step that brings `rows` of all placed cells from `before` to `after`; returns its own moves[0]."""
        falls = scope is Scope.ARRAY and bool(np.any(after[rows] < before[rows]))
        start = np.zeros_like(before) if falls else before
        named = self._counts(rows, start, after)
        every = self._counts(np.arange(after.size), start, after) if falls else named
        self.moves += np.stack([every, named])
        self.written += start != after
        if falls:
            self.resets += 1
            self.reads += np.bincount(before[rows], minlength=self.reads.size)  # before the reset
            self.reads[0] += np.count_nonzero(after == 0)  # behind it
        return every

    def _counts(self, rows: NDArray[np.int64], start: States, to: States) -> NDArray[np.int64]:
        shape = self.moves.shape[1:]
        earlier = np.minimum(self.written[rows], MOST_WRITES - 1)
        move = np.ravel_multi_index((earlier, start[rows].astype(int), to[rows].astype(int)), shape)
        return np.bincount(move, minlength=int(np.prod(shape))).reshape(shape)


def expected(policy: Policy, found: Characterization, asked: Asked) -> dict[str, Floats]:
    """Expected sum of each of COSTS, of the model and its alternatives: see `write_costs.interval`."""
    every, named_only = asked.moves
    cost = expect(policy, every)
    named = cost if np.array_equal(every, named_only) else expect(policy, named_only)
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
