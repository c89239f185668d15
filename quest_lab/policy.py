"""Program-and-verify as a stochastic shortest path with a finite horizon (pure mathematics, no device).

A write is in state (s, a, m): s the state just read, a the attempt index (amplitude shift), m whether the
last set pulse of this write missed. Actions are the operations: 0 the reset, j the set pulse of state j.
After a set pulse that fell short the next attempt is higher, after an overshoot lower (ISPP in both directions):
a cell that missed a pulse misses the same pulse again far more often than a fresh one. A miss by one state moves
one step; a miss by d states moves 2 d, since a step is at most half the distance of two thresholds.

    V_0(s, ...) = 0 if s = target else penalty
    V_h(s, a, m) = min_o  cost[o, a, s] + sum_s' P[o, a, m, s, s'] V_{h-1}(s', a', m')      (Bellman)

With certain transitions the expected pulse energy is QUEST's matrix (arXiv 2504.00679): R2 -> R1 is a reset
and a pulse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import MIN_EVIDENCE, Characterization
from quest_lab.device import Floats, Scope
from quest_lab.errors import BadInput

HORIZON = 12


@dataclass(frozen=True, slots=True)
class WriteModel:
    """Transition probabilities [operation, attempt, missed, from, to] and costs.

    `pulse_j[operation, attempt, from]` and `read_j[state]` in joule; an action whose probabilities sum to 0
    is not available. Without `reset` (array scope) operation 0 is not available to a single cell.
    """

    probability: Floats
    pulse_j: Floats
    read_j: Floats

    @property
    def states(self) -> int:
        return int(self.probability.shape[-1])

    @property
    def attempts(self) -> int:
        return int(self.probability.shape[1])

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
        return cls(probability, cost, read_j)

    @classmethod
    def measured(
        cls, found: Characterization, *, scope: Scope | None = None, reset_j: float | None = None
    ) -> WriteModel:
        """Observed shares and mean energies; an action seen less than eight times is not available.

        `scope` and `reset_j` (energy of one reset) default to the device's own; under scope `array` a single
        cell cannot be reset.
        """
        per_cell = (scope or found.reset_scope) is Scope.CELL
        seen = found.counts.sum(axis=-1, keepdims=True)
        pooled = found.counts.sum(axis=2, keepdims=True)  # over `missed`, where one of the two was never seen
        counts = np.where(seen >= MIN_EVIDENCE, found.counts, pooled)
        total = counts.sum(axis=-1, keepdims=True)
        n = found.states
        probability = np.where(total >= MIN_EVIDENCE, counts / np.maximum(total, 1), 0.0)
        resets = found.counts[0].sum(axis=(0, 1))  # a reset does not depend on attempts
        enough = resets.sum(axis=-1, keepdims=True)
        share = np.where(enough >= MIN_EVIDENCE, resets / np.maximum(enough, 1), 0.0)
        probability[0] = share if per_cell else 0.0
        for op in range(1, n):
            probability[op, :, :, op:] = 0.0  # a set pulse is for raising only
        pulse = np.nan_to_num(found.energy_j)
        pulse[0] = (found.reset_energy_j if reset_j is None else reset_j) if per_cell else 0.0
        return cls(probability, pulse, found.read_energy_j())


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do: `action[pulses left, state, attempt, missed, target]`, -1 = nothing helps, give up.

    `start[state, target]` is the attempt index to begin with.
    """

    action: NDArray[np.int8]
    start: NDArray[np.int8]
    model: WriteModel
    penalty_j: float

    @property
    def horizon(self) -> int:
        return int(self.action.shape[0]) - 1


@dataclass(frozen=True, slots=True)
class WriteCost:
    """Expected cost of one write [from, to], from the first pulse on; all zero on the diagonal.

    `pulse_j`: the energy of the pulses alone. `total_j`: with a verify read before the first and after every
    pulse. `pulses`, `resets`: numbers. `success`: probability to end in the target.
    """

    pulse_j: Floats
    total_j: Floats
    pulses: Floats
    resets: Floats
    success: Floats


def solve(
    model: WriteModel,
    *,
    objective: str = "total",
    horizon: int = HORIZON,
    penalty_j: float | None = None,
    free_start: bool = False,
) -> Policy:
    """The cheapest policy for every target.

    `objective` counts pulses alone ("pulse") or with their verify reads ("total"). `penalty_j` is the
    declared cost of giving up (default: 100 times the dearest pulse). `free_start` lets the policy choose
    the first attempt (approach from below); otherwise a write starts in the middle.
    """
    if objective not in ("pulse", "total"):
        raise BadInput(f"objective {objective!r}: want 'pulse' or 'total'")
    penalty = 100.0 * float(model.pulse_j.max() + model.read_j.max()) if penalty_j is None else penalty_j
    n, attempts = model.states, model.attempts
    cost = _step_cost(model, model.pulse_j, with_reads=objective == "total")
    action = np.full((horizon + 1, n, attempts, 2, n), -1, np.int8)
    start = np.full((n, n), attempts // 2, np.int8)
    for target in range(n):
        value = np.where(np.arange(n) == target, 0.0, penalty)[:, None, None] * np.ones((n, attempts, 2))
        for left in range(1, horizon + 1):
            ahead = np.stack([_expect(model, op, value) for op in range(n)]) + cost
            ahead[~_available(model)] = np.inf
            best = ahead.argmin(axis=0)
            cheapest = np.take_along_axis(ahead, best[None], axis=0)[0]
            use = (cheapest < penalty) & (np.arange(n) != target)[:, None, None]
            action[left, ..., target] = np.where(use, best, -1)
            value = np.where(use, cheapest, np.where(np.arange(n) == target, 0.0, penalty)[:, None, None])
        if free_start:
            start[:, target] = value[:, :, 0].argmin(axis=1)
    return Policy(action, start, model, penalty)


def evaluate(policy: Policy) -> WriteCost:
    """Expected costs of following `policy` on the model it was solved for."""
    model, ones = policy.model, np.ones_like(policy.model.pulse_j)
    resets = np.zeros_like(ones)
    resets[0] = 1.0
    first_read = model.read_j[:, None] * (1.0 - np.eye(model.states))
    pulse = _follow(policy, _step_cost(model, model.pulse_j, with_reads=False), None)
    total = _follow(policy, _step_cost(model, model.pulse_j, with_reads=True), None) + first_read
    return WriteCost(
        pulse_j=pulse,
        total_j=total,
        pulses=_follow(policy, _step_cost(model, ones, with_reads=False), None),
        resets=_follow(policy, _step_cost(model, resets, with_reads=False), None),
        success=_follow(policy, np.zeros_like(_step_cost(model, ones, with_reads=False)), 1.0),
    )


def next_attempt(
    attempt: NDArray[np.int8], operation: NDArray[np.int8], landed: NDArray[np.int8], attempts: int
) -> NDArray[np.int8]:
    """Attempt index after `operation` landed on `landed`: up if it fell short, down if it overshot."""
    return np.where(operation == 0, attempt, _adjusted(attempt, operation, landed, attempts)).astype(np.int8)


def _adjusted(
    attempt: NDArray[np.integer],
    operation: NDArray[np.integer] | int,
    landed: NDArray[np.integer],
    attempts: int,
) -> NDArray[np.int64]:
    short = np.asarray(operation, np.int64) - landed
    return np.clip(attempt + np.where(abs(short) > 1, 2 * short, short), 0, attempts - 1)


def _available(model: WriteModel) -> NDArray[np.bool_]:
    """Which action exists where: [operation, state, attempt, missed]."""
    return np.moveaxis(model.probability.sum(axis=-1) > 0, 3, 1)


def _step_cost(model: WriteModel, pulse: Floats, *, with_reads: bool) -> Floats:
    """Cost of one action [operation, state, attempt, missed], with the read of where it lands if asked."""
    cost = np.repeat(np.moveaxis(pulse, 2, 1)[..., None], 2, axis=-1)
    if with_reads:
        cost = cost + np.moveaxis(model.probability @ model.read_j, 3, 1)
    return cost


def _expect(model: WriteModel, op: int, value: Floats) -> Floats:
    """Expected next value of action `op`, shape (state, attempt, missed)."""
    n, attempts = model.states, model.attempts
    to, a = np.arange(n)[None, :], np.arange(attempts)[:, None]
    if op == 0:
        return np.einsum("amst,tam->sam", model.probability[0], value)
    after = _adjusted(a, op, to, attempts)  # (attempt, to)
    landed = value[to, after, (to != op).astype(int)]  # (attempt, to)
    return np.einsum("amst,at->sam", model.probability[op], landed)


def _follow(policy: Policy, cost: Floats, at_target: float | None) -> Floats:
    """Expected sum of `cost` [from, to]; with `at_target`, the probability to end there instead."""
    model = policy.model
    n = model.states
    out = np.zeros((n, n))
    for target in range(n):
        end = np.zeros((n, model.attempts, 2))
        end[target] = at_target or 0.0
        value = end
        for left in range(1, policy.horizon + 1):
            act = policy.action[left, ..., target]
            ahead = np.stack([_expect(model, op, value) for op in range(n)]) + cost
            chosen = np.take_along_axis(ahead, np.maximum(act, 0)[None], axis=0)[0]
            value = np.where(act >= 0, chosen, end)
        out[:, target] = value[np.arange(n), policy.start[:, target], 0]
    return out
