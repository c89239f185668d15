"""Program-and-verify as a stochastic shortest path with a finite horizon (pure mathematics, no device).

A write is in state (s, e): s the state just read, e what the writer remembers of the cell. Actions are pulses:
action 0 the reset, the others set pulses of one operation at one attempt (amplitude shift; ISPP in both directions).

    V_0(s, e) = 0 if s = target else penalty
    V_h(s, e) = min_a  cost[a, s] + sum_s' P[a, e, s, s'] (read[s'] + V_{h-1}(s', after[a, e, s, s']))    (Bellman)

What cells do may depend on a hidden type u of the cell, of which e holds a belief share[e, u]: then
P[a, e] = sum_u share[e, u] P_u[a], and a policy is evaluated type by type (`write_costs`), so that the failures of a
weak cell are correlated. With certain transitions the expected pulse energy is QUEST's matrix (arXiv 2504.00679):
R2 -> R1 is a reset and a pulse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import MIN_EVIDENCE, Characterization
from quest_lab.device import Cells, Floats, Scope
from quest_lab.errors import BadInput
from quest_lab.policy_kernels import backward_induction, expected_sums

HORIZON = 12
Objective = Literal["energy", "pulse_energy", "time", "pulses"]


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


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do: `action[pulses left, state, memory, target]`, -1 = nothing helps, give up.

    `start[state, target]` is the memory that a write begins with where the model's memory is not lasting.
    `penalty`: the declared cost of giving up, in the unit of the objective.
    """

    action: NDArray[np.int16]
    start: NDArray[np.int16]
    model: WriteModel
    penalty: float

    @property
    def horizon(self) -> int:
        return int(self.action.shape[0]) - 1


@dataclass(frozen=True, slots=True)
class WriteCost:
    """Expected cost of one write [..., from, to], from the first pulse on; all zero on the diagonal.

    `pulse_j`: the energy of the pulses alone. `total_j`: with a verify read before the first and after every
    pulse. `pulses` (resets too), `resets`: numbers. `time_s`: of pulses and verify reads. `success`: probability
    to end in the target.
    """

    pulse_j: Floats
    total_j: Floats
    pulses: Floats
    resets: Floats
    time_s: Floats
    success: Floats


def solve(
    model: WriteModel,
    *,
    objective: Objective = "energy",
    horizon: int = HORIZON,
    penalty: float | None = None,
    free_start: bool = False,
) -> Policy:
    """The cheapest policy for every target.

    `objective`: energy of pulses and verify reads, or of the pulses alone (QUEST's matrix), time of both, or number
    of pulses. `penalty` is the declared cost of giving up in its unit (default: 100 times the dearest action).
    `free_start` lets the policy choose the first attempt where the memory is not lasting (approach from below).
    """
    if objective not in get_args(Objective):
        raise BadInput(f"objective {objective!r}: want one of {', '.join(get_args(Objective))}")
    cost = np.broadcast_to(_action_cost(model, objective), model.after.shape[:3])
    expected = model.expected
    read = {"energy": model.read_j, "time": np.full(model.states, model.read_s)}.get(objective)
    if read is not None:
        cost = cost + expected @ read
    cost = np.where((expected.sum(axis=-1) > 0) & model.allowed[:, :, None], cost, np.inf)
    dearest = 100.0 * float(cost[np.isfinite(cost)].max(initial=0.0))
    penalty = dearest if penalty is None else penalty
    action, value = backward_induction(np.ascontiguousarray(expected), model.after, cost, horizon, penalty)
    n = model.states
    middle = 0 if model.lasting else 2 * int(model.attempt[0])
    free = free_start and not model.lasting  # an attempt that has not missed
    start = value[:, ::2].argmin(axis=1) * 2 if free else np.full((n, n), middle)
    return Policy(action, start.astype(np.int16), model, penalty)


def evaluate(policy: Policy) -> WriteCost:
    """Expected costs [from, to] of the first write of a cell, from the memory that it begins with."""
    model, (state, target) = policy.model, np.indices((policy.model.states,) * 2)
    sums = np.einsum("eu,kuest->kest", model.share, sums_by_type(policy, model.probability, model.pulse_j))
    return cost_of(model, sums[:, policy.start, state, target])


def sums_by_type(policy: Policy, probability: Floats, pulse_j: Floats) -> Floats:
    """Pulse energy, verify energy, operations, resets and success [these, type, memory, from, target].

    `probability` and `pulse_j` are those of the model or one of its alternatives.
    """
    model, n = policy.model, policy.model.states
    here = np.zeros((5, model.operation.size, model.memories, n))
    here[0] = np.broadcast_to(pulse_j, here[0].shape)
    here[2], here[3, 0] = 1.0, 1.0
    there = np.zeros((5, n))
    there[1] = model.read_j
    return np.moveaxis(expected_sums(probability, model.after, policy.action, here, there), -1, 0)


def cost_of(model: WriteModel, sums: Floats) -> WriteCost:
    """WriteCost of the sums[quantity, ..., from, to] of `sums_by_type`: with the read before the first pulse."""
    pulse_j, verify_j, pulses, resets, success = sums
    away = 1.0 - np.eye(model.states)
    time_s = (
        resets * model.pulse_s[0] + (pulses - resets) * model.pulse_s[-1] + (pulses + away) * model.read_s
    )
    return WriteCost(
        pulse_j, pulse_j + verify_j + model.read_j[:, None] * away, pulses, resets, time_s, success
    )


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


def _action_cost(model: WriteModel, objective: str) -> Floats:
    """Cost of an action without the read behind it, [action, memory or 1, from or 1]."""
    if objective == "time":
        return model.pulse_s[:, None, None]
    return np.ones((1, 1, 1)) if objective == "pulses" else model.pulse_j
