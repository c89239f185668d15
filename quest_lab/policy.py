"""Program-and-verify as a stochastic shortest path with a finite horizon (pure mathematics, no device).

A write is in state (s, e): s the state just read, e what the writer remembers of the cell. Actions are pulses a.

    V_0(s, e) = 0 if s = target else penalty
    V_h(s, e) = min_a  cost[a, s] + sum_s' P[a, e, s, s'] (read[s'] + V_{h-1}(s', after[a, e, s, s']))    (Bellman)

P and after are the writer's model (`write_model`); where cells have hidden types, a policy is evaluated type by type
(`write_costs`), so that the failures of a weak cell are correlated. With certain transitions the expected pulse energy
is QUEST's matrix (arXiv 2504.00679): R2 -> R1 is a reset and a pulse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.errors import BadInput
from quest_lab.policy_kernels import backward_induction, expected_sums
from quest_lab.write_model import WriteModel

HORIZON = 12
Objective = Literal["energy", "pulse_energy", "time", "pulses"]


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


def _action_cost(model: WriteModel, objective: str) -> Floats:
    """Cost of an action without the read behind it, [action, memory or 1, from or 1]."""
    if objective == "time":
        return model.pulse_s[:, None, None]
    return np.ones((1, 1, 1)) if objective == "pulses" else model.pulse_j
