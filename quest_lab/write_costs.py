"""What writes are expected to cost, by how often their cell has been written before.

A writer with a lasting memory knows more of a cell with every write, but it rounds what it knows: the memory alone
does not tell what the cell is like. So the distribution of cells over (hidden type, memory) is followed from write to
write, given the state they are in, and the cost of the w-th write is the mean over it. (Weights move by a level at a
time: of a cell that stays near the top, the writer knows less.) The parameters of the law are not certain: the same
sums for the model's alternatives, each one standard error away, give the interval (delta method).
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.policy import Policy, WriteCost, cost_of, sums_by_type
from quest_lab.policy_kernels import after_a_write
from quest_lab.write_model import WriteModel

MOST_WRITES = 32  # later writes of a cell are taken to cost as much as this one
_STRAY = 1e-3  # a state with fewer of the cells holds those that failed
_NORMAL = 1.96  # standard errors to both sides that make a 95 % interval


def evaluate_writes(policy: Policy, writes: int) -> WriteCost:
    """Expected costs [write, from, to] of the first `writes` writes of a cell, to random targets."""
    n = policy.model.states
    return _evaluate(policy, *_best(policy), np.zeros((writes, n, n), np.int64))


def expect(policy: Policy, asked: NDArray[np.int64]) -> WriteCost:
    """Expected sums over writes `asked[writes before, from, to]`, shape (1 + alternatives,): see `interval`."""
    busy = np.flatnonzero(asked.any(axis=(1, 2)))
    asked, names = asked[: busy[-1] + 1 if busy.size else 1], [f.name for f in fields(WriteCost)]
    sums = []
    for one in (_best(policy), *policy.model.alternatives):
        cost = _evaluate(policy, *one, asked)
        sums.append([float((getattr(cost, name) * asked).sum()) for name in names])
    return WriteCost(*np.array(sums).T)


def interval(values: Floats) -> tuple[float, float, float]:
    """Expected value and 95 % interval: the first of `values`, the others one standard error away from it."""
    if values[0] <= 0:
        return float(values[0]), float(values[0]), float(values[0])
    logarithm = np.log(np.maximum(values, 1e-300))
    with np.errstate(over="ignore"):  # a law that hardly any trial tells: no upper end
        reach = np.exp(_NORMAL * np.linalg.norm(logarithm[1:] - logarithm[0]))
    return float(values[0]), float(values[0] / reach), float(values[0] * reach)


def _best(policy: Policy) -> tuple[Floats, Floats]:
    return policy.model.probability, policy.model.pulse_j


def _evaluate(policy: Policy, probability: Floats, pulse_j: Floats, asked: NDArray[np.int64]) -> WriteCost:
    model, n = policy.model, policy.model.states
    sums = sums_by_type(policy, probability, pulse_j)
    if not model.lasting:
        state, target = np.indices((n, n))
        each = np.einsum("eu,kuest->kest", model.share, sums)[:, policy.start, state, target]
        return cost_of(model, np.repeat(each[:, None], len(asked), axis=1))
    start, chance = _moves(model, asked)
    fresh = (model.begin[:, None] * model.share).T
    known = np.repeat(fresh[..., None], n, axis=2)  # share of [type, memory] among the cells in a state
    out = np.empty((len(sums), len(asked), n, n))
    for write, (begin, to) in enumerate(zip(start, chance, strict=True)):
        out[:, write] = np.einsum("ues,kuest->kst", known, sums)
        if write + 1 < len(asked):
            cells = after_a_write(probability, model.after, policy.action, known * begin, to)
            known = _given_state(cells, alike=not model.resets)
    return cost_of(model, out)


def _given_state(cells: Floats, *, alike: bool) -> Floats:
    """Share of (type, memory) among the cells in each state, from `cells`[type, memory, state].

    `alike`: they are emptied together before they are written, so it is that of all cells; as it is where no write was
    to end.
    """
    whole, share = cells.sum(axis=2, keepdims=True), cells.sum(axis=(0, 1))
    meant = (share > _STRAY) & (not alike)
    return np.where(meant, cells / np.where(meant, share, 1.0), whole)


def _moves(model: WriteModel, asked: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """In which states cells begin their writes [write, state], and how often one goes [write, from, to], as was asked.

    Where nothing was: the first begins in state 0, later ones (unless a field empties the cells) in any, and all go to
    every other state alike. The first goes where the second begins.
    """
    away = ~np.eye(model.states, dtype=bool)
    begin = (asked * away).sum(axis=2).astype(np.float64)
    begin[~begin.any(axis=1)] = 1.0 if model.resets else np.eye(1, model.states)
    if not asked[0].any():
        begin[0] = np.eye(1, model.states)
    overall = (asked.sum(axis=0) * away).astype(np.float64)
    overall = np.where(overall.any(axis=1, keepdims=True), overall, away)
    chance = np.repeat(overall[None], len(asked), axis=0)
    if model.resets and len(asked) > 1 and begin[1, 1:].any():
        chance[0, 0, 1:] = begin[1, 1:]
    return tuple(x / x.sum(axis=-1, keepdims=True) for x in (begin, chance))
