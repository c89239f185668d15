"""What pulses do to a cell, as far as the writer knows: what a write policy is solved for.

Actions are pulses: action 0 the reset, the others set pulses of one operation at one attempt (amplitude shift; ISPP in
both directions). What cells do may depend on a hidden type u of the cell, of which the writer's memory e holds a belief
share[e, u]: then P[a, e] = sum_u share[e, u] P_u[a].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import MIN_EVIDENCE, Characterization
from quest_lab.device import Cells, Floats, Scope
from quest_lab.errors import BadInput


@dataclass(frozen=True, slots=True)
class WriteModel:
    """What pulses do, as far as the writer knows.

    `probability[type, action, memory, from, to]` (of length 1 along type or memory where it does not matter; an
    action whose probabilities sum to 0 is not available), `share[memory, type]` the belief, `after[action, memory,
    from, to]` the memory afterwards. `operation` and `attempt` of each action; `pulse_j[action, memory, from]`
    (memory of length 1 where it does not matter) and `read_j[state]` in joule, `pulse_s[action]` and `read_s` in
    seconds. `allowed[action, memory]`: pulses that may be given. `lasting`: the memory is of the cell, not of one
    write; it begins at `known_memory` for `known_cells`, else at 0: `begin[memory]` are the shares over all cells.
    `alternatives`: other `probability` and `pulse_j`, each one standard error away in a direction of its own.
    """

    probability: Floats
    share: Floats
    after: NDArray[np.int16]
    operation: NDArray[np.int8]
    attempt: NDArray[np.int8]
    pulse_j: Floats
    pulse_s: Floats
    read_j: Floats
    read_s: float
    allowed: NDArray[np.bool_]
    begin: Floats
    lasting: bool = False
    known_cells: Cells = field(default_factory=lambda: np.empty(0, np.int64))
    known_memory: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    alternatives: tuple[tuple[Floats, Floats], ...] = ()

    @property
    def states(self) -> int:
        return int(self.probability.shape[-1])

    @property
    def name(self) -> str:
        return "threshold law" if self.lasting else "counted shares"

    @property
    def memories(self) -> int:
        return int(self.after.shape[1])

    @property
    def resets(self) -> bool:
        """Whether a single cell can be reset."""
        return bool(self.probability[:, 0].any())

    @property
    def expected(self) -> Floats:
        """Probability under the belief of each memory [action, memory, from, to]."""
        types, _, memories = self.probability.shape[:3]
        if types == 1:
            return np.broadcast_to(self.probability[0], self.after.shape)
        if memories != 1:
            raise BadInput("a write model's probability depends on the type or on the memory, not on both")
        return np.ascontiguousarray(np.moveaxis(np.tensordot(self.share, self.probability[:, :, 0], 1), 0, 1))

    @classmethod
    def markov(
        cls,
        probability: Floats,
        pulse_j: Floats,
        read_j: Floats,
        times_s: tuple[float, float, float] = (1, 1, 0),
    ) -> WriteModel:
        """From `probability[operation, attempt, missed, from, to]` and `pulse_j[operation, attempt, from]`.

        The memory is of one write: its attempt, and whether its last set pulse missed (2 attempt + missed).
        `times_s` of a reset, a set pulse and a read.
        """
        n, attempts = probability.shape[0], probability.shape[1]
        op, attempt = actions_of(n, attempts)
        known = np.zeros((1, op.size, 2 * attempts, n, n))
        after = np.empty((op.size, 2 * attempts, n, n), np.int16)
        energy = np.zeros((op.size, 2 * attempts, n))
        to = np.broadcast_to(np.arange(n), (n, n))
        for e in range(2 * attempts):
            a, missed = divmod(e, 2)
            mine = np.flatnonzero((op == 0) | (attempt == a))
            known[0, mine, e] = probability[op[mine], a, missed]
            energy[mine, e] = pulse_j[op[mine], a]
            after[0, e] = e
            for o in range(1, op.size):
                after[o, e] = 2 * _adjusted(a, int(op[o]), to, attempts) + (to != op[o])
        times = np.where(op == 0, times_s[0], times_s[1])
        return cls(
            probability=known, share=np.ones((2 * attempts, 1)), after=after, operation=op, attempt=attempt,
            pulse_j=energy, pulse_s=times, read_j=read_j, read_s=times_s[2],
            allowed=np.ones((op.size, 2 * attempts), np.bool_), begin=np.eye(1, 2 * attempts)[0],
        )  # fmt: skip

    @classmethod
    def certain(cls, pulse_j: Floats, reset_j: float, read_j: Floats) -> WriteModel:
        """Every pulse lands: `pulse_j[from, to]` for from < to, one attempt, shape (S, S)."""
        n = pulse_j.shape[0]
        probability, cost = np.zeros((n, 1, 2, n, n)), np.zeros((n, 1, n))
        for op in range(n):
            for start in range(n):
                if op == 0 or start < op:
                    probability[op, 0, :, start, op] = 1.0
                    cost[op, 0, start] = reset_j if op == 0 else pulse_j[start, op]
        return cls.markov(probability, cost, read_j)

    @classmethod
    def measured(
        cls, found: Characterization, *, scope: Scope | None = None, reset_j: float | None = None
    ) -> WriteModel:
        """Observed shares and mean energies; an action seen less than eight times is not available.

        `scope` and `reset_j` (energy of one reset) default to the device's own; under scope `array` a single
        cell cannot be reset.
        """
        seen = found.counts.sum(axis=-1, keepdims=True)
        pooled = found.counts.sum(axis=2, keepdims=True)  # over `missed`, where one of the two was never seen
        counts = np.where(seen >= MIN_EVIDENCE, found.counts, pooled)
        total = counts.sum(axis=-1, keepdims=True)
        probability = np.where(total >= MIN_EVIDENCE, counts / np.maximum(total, 1), 0.0)
        probability[0] = reset_shares(found, scope)
        for op in range(1, found.states):
            probability[op, :, :, op:] = 0.0  # a set pulse is for raising only
        pulse = np.nan_to_num(found.energy_j)
        pulse[0] = found.reset_energy_j if reset_j is None else reset_j
        return cls.markov(probability, pulse, found.read_energy_j(), widths_s(found))


def reset_shares(found: Characterization, scope: Scope | None = None) -> Floats:
    """Observed shares of a reset [from, to], all 0 where a single cell cannot be reset or it was hardly seen."""
    resets = found.counts[0].sum(axis=(0, 1))  # a reset does not depend on attempts
    enough = resets.sum(axis=-1, keepdims=True)
    per_cell = (scope or found.reset_scope) is Scope.CELL
    return np.where(per_cell & (enough >= MIN_EVIDENCE), resets / np.maximum(enough, 1), 0.0)


def widths_s(found: Characterization) -> tuple[float, float, float]:
    """Seconds of a reset, a set pulse and a read."""
    return found.reset.width_s, found.set_width_s, found.read.width_s


def next_attempt(
    attempt: NDArray[np.int8], operation: NDArray[np.int8], landed: NDArray[np.int8], attempts: int
) -> NDArray[np.int8]:
    """Attempt index after `operation` landed on `landed`: up if it fell short, down if it overshot.

    A miss by one state moves one step; by d states 2 d, since a step is at most half the distance of two thresholds.
    """
    return np.where(operation == 0, attempt, _adjusted(attempt, operation, landed, attempts)).astype(np.int8)


def _adjusted(
    attempt: NDArray[np.integer] | int,
    operation: NDArray[np.integer] | int,
    landed: NDArray[np.integer],
    attempts: int,
) -> NDArray[np.int64]:
    short = np.asarray(operation, np.int64) - landed
    return np.clip(attempt + np.where(abs(short) > 1, 2 * short, short), 0, attempts - 1)


def actions_of(states: int, attempts: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Operation and attempt of each action: the reset, then every set operation at every attempt."""
    op = np.append(0, np.repeat(np.arange(1, states), attempts))
    return op.astype(np.int8), np.append(attempts // 2, np.tile(np.arange(attempts), states - 1)).astype(
        np.int8
    )
