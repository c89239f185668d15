"""The sums of `policy`, compiled: backward induction, and what following a policy costs each type of cell."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats


@nb.njit(cache=True)
def backward_induction(
    probability: Floats, after: NDArray[np.int16], cost: Floats, horizon: int, penalty: float
) -> tuple[NDArray[np.int16], Floats]:
    """Backward induction: action [left, state, memory, target], and the value [state, memory, target] at the end."""
    actions, memories, n = cost.shape
    action = np.full((horizon + 1, n, memories, n), -1, np.int16)
    value = np.zeros((horizon + 1, n, memories, n))
    for s in range(n):
        for e in range(memories):
            for target in range(n):
                value[0, s, e, target] = penalty * (target != s)
    ahead = np.zeros(n)
    for left in range(1, horizon + 1):
        for s in range(n):
            for e in range(memories):
                for target in range(n):
                    value[left, s, e, target] = value[0, s, e, target]
                for a in range(actions):
                    if cost[a, e, s] == np.inf:
                        continue
                    for target in range(n):
                        ahead[target] = cost[a, e, s]
                    for to in range(n):
                        p, then = probability[a, e, s, to], after[a, e, s, to]
                        if p > 0.0:
                            for target in range(n):
                                ahead[target] += p * value[left - 1, to, then, target]
                    for target in range(n):
                        if target != s and ahead[target] < value[left, s, e, target]:
                            value[left, s, e, target] = ahead[target]
                            action[left, s, e, target] = a
    return action, value[horizon]


@nb.njit(cache=True)
def expected_sums(
    probability: Floats, after: NDArray[np.int16], action: NDArray[np.int16], here: Floats, there: Floats
) -> Floats:
    """Expected sums of `here[k, action, memory, from]` + `there[k, to]`; the last k is the share at the target."""
    kinds, memories, n = here.shape[0], here.shape[2], here.shape[3]
    value = np.zeros((2, probability.shape[0], memories, n, n, kinds))  # by turns
    for target in range(n):
        value[:, :, :, target, target, kinds - 1] = 1.0
    for left in range(1, action.shape[0]):
        now, before = value[left % 2], value[1 - left % 2]
        for u in range(probability.shape[0]):
            for e in range(memories):
                known = e if probability.shape[2] > 1 else 0
                for s in range(n):
                    for target in range(n):
                        a = action[left, s, e, target]
                        for k in range(kinds if a >= 0 else 0):
                            now[u, e, s, target, k] = here[k, a, e, s]
                        for to in range(n if a >= 0 else 0):
                            p, then = probability[u, a, known, s, to], after[a, e, s, to]
                            if p > 0.0:
                                for k in range(kinds):
                                    now[u, e, s, target, k] += p * (
                                        there[k, to] + before[u, then, to, target, k]
                                    )
    return value[(action.shape[0] - 1) % 2]


@nb.njit(cache=True)
def after_a_write(
    probability: Floats, after: NDArray[np.int16], action: NDArray[np.int16], held: Floats, chance: Floats
) -> Floats:
    """Distribution [type, memory, state] after a write to a target of `chance[from, to]`, from `held`."""
    types, memories, n = held.shape
    out = np.zeros((types, memories, n))
    now = np.zeros((2, memories, n))  # by turns
    for u in range(types):
        for target in range(n):
            for e in range(memories):
                for s in range(n):
                    now[0, e, s], now[1, e, s] = held[u, e, s] * chance[s, target], 0.0
            for turn in range(action.shape[0] - 1):
                here, there = now[turn % 2], now[1 - turn % 2]
                for e in range(memories):
                    for s in range(n):
                        mass = here[e, s]
                        if mass == 0.0:
                            continue
                        here[e, s] = 0.0
                        a = action[action.shape[0] - 1 - turn, s, e, target]
                        if a < 0:
                            there[e, s] += mass
                        for to in range(n if a >= 0 else 0):
                            there[after[a, e, s, to], to] += mass * probability[u, a, 0, s, to]
            last = now[(action.shape[0] - 1) % 2]
            for e in range(memories):
                for s in range(n):
                    out[u, e, s] += last[e, s]
    return out
