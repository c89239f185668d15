"""What writes are expected to cost, by how often their cell has been written before.

A writer with a lasting memory knows more of a cell with every write, but it rounds what it knows: the memory alone
does not tell what the cell is like. So the distribution of cells over (hidden type, memory, state) is followed from
write to write, and the cost of the w-th write is the mean over it. The parameters of the law are not certain: the
same sums for the model's alternatives, each one standard error away, give the interval (delta method).
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.policy import Policy, WriteCost, cost_of, sums_by_type
from quest_lab.policy_kernels import after_a_write

MOST_WRITES = 32  # later writes of a cell are taken to cost as much as this one
_NORMAL = 1.96  # standard errors to both sides that make a 95 % interval


def evaluate_writes(policy: Policy, writes: int) -> WriteCost:
    """Expected costs [write, from, to] of the first `writes` writes of a cell, to random targets."""
    n = policy.model.states
    return _evaluate(policy, *_best(policy), writes, _chance(np.zeros((n, n), np.int64)))


def expect(policy: Policy, asked: NDArray[np.int64]) -> WriteCost:
    """Expected sums over writes `asked[writes before, from, to]`, shape (1 + alternatives,): see `interval`."""
    busy = np.flatnonzero(asked.any(axis=(1, 2)))
    writes = int(busy[-1]) + 1 if busy.size else 1
    chance, names = _chance(asked.sum(axis=0)), [f.name for f in fields(WriteCost)]
    sums = []
    for one in (_best(policy), *policy.model.alternatives):
        cost = _evaluate(policy, *one, writes, chance)
        sums.append([float((getattr(cost, name) * asked[:writes]).sum()) for name in names])
    return WriteCost(*np.array(sums).T)


def interval(values: Floats) -> tuple[float, float, float]:
    """Expected value and 95 % interval: the first of `values`, the others one standard error away from it."""
    if values[0] <= 0:
        return float(values[0]), float(values[0]), float(values[0])
    logarithm = np.log(np.maximum(values, 1e-300))
    reach = np.exp(_NORMAL * np.linalg.norm(logarithm[1:] - logarithm[0]))
    return float(values[0]), float(values[0] / reach), float(values[0] * reach)


def _chance(moves: NDArray[np.int64]) -> Floats:
    """How often a write goes [from, to], by row, as it was asked; to every other state alike where it never was."""
    away = moves * ~np.eye(len(moves), dtype=bool)
    away = np.where(away.any(axis=1, keepdims=True), away, ~np.eye(len(moves), dtype=bool))
    return np.asarray(away / away.sum(axis=1, keepdims=True), np.float64)


def _best(policy: Policy) -> tuple[Floats, Floats]:
    return policy.model.probability, policy.model.pulse_j


def _evaluate(policy: Policy, probability: Floats, pulse_j: Floats, writes: int, chance: Floats) -> WriteCost:
    model, n = policy.model, policy.model.states
    sums = sums_by_type(policy, probability, pulse_j)
    if not model.lasting:
        state, target = np.indices((n, n))
        each = np.einsum("eu,kuest->kest", model.share, sums)[:, policy.start, state, target]
        return cost_of(model, np.repeat(each[:, None], writes, axis=1))
    held, out = np.zeros((*model.share.T.shape, n)), np.empty((len(sums), writes, n, n))
    held[:, :, 0] = (model.begin[:, None] * model.share).T
    for write in range(writes):
        if write:
            held = after_a_write(probability, model.after, policy.action, held, chance)
        if not model.resets:  # a field empties all cells before they are set
            held = np.concatenate([held.sum(axis=-1, keepdims=True), np.zeros_like(held[:, :, 1:])], axis=-1)
        out[:, write] = np.einsum("ues,kuest->kst", _of_state(held), sums)
    return cost_of(model, out)


def _of_state(held: Floats) -> Floats:
    """Distribution over (type, memory) of the cells in each state; where there are none, that of all cells."""
    total = held.sum(axis=(0, 1))
    everyone = held.sum(axis=-1, keepdims=True) / held.sum()
    return np.where(total > 0, held / np.where(total > 0, total, 1.0), everyone)
