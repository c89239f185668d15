"""QUEST's energies of a training run (arXiv 2504.00679, Algorithms 1 and 2), for every mapping pattern.

    update:      E_w[l, p] = sum_{i != j} M_l[i, j] E[p(i), p(j)]
    activation:  E_a[l, p] = sum_{v != 0} N_{l,v} e[p(v)],     e[s] = V_read^2 / R_s t_read

M counts level changes, N reads of weights in level v. *Gated* is the paper's: zero weights are not read.
*Row-activated* sums over all v: a spike biases the whole line. Under reset scope `array` the cells interact
and no per-cell matrix exists: see `array_update_energy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Floats
from quest_lab.mapping import Pattern, level_count
from quest_lab.schedule import Schedule
from quest_lab.taps import TapLevels

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a schedule does, counted, over its steps t and layers l; n = number of weight levels.

    `transitions[t, l, from, to]`, `levels[t, l, level]` after the step, `reads[t, l, level]` in the step,
    `samples[t]` images of the step, `stage[t]` 1 early, 2 middle, 3 final of the first epoch, else 0.
    """

    transitions: Ints
    levels: Ints
    reads: Ints
    samples: Ints
    stage: NDArray[np.int8]

    @property
    def gated_reads(self) -> Ints:
        """Reads of the whole run by level, where weights of level 0 are not read."""
        n = self.levels.shape[-1]
        return np.asarray(self.reads.sum(axis=(0, 1)) * (np.arange(n) != n // 2))


def count(schedule: Schedule) -> Counts:
    """Stream a schedule once and count; memory grows with steps, not with weights."""
    n = level_count(schedule.header.bits)
    shape = (schedule.steps, len(schedule.layers))
    transitions, levels = np.zeros((*shape, n, n), np.int64), np.zeros((*shape, n), np.int64)
    reads = np.zeros((*shape, n), np.int64)
    samples, stage = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int8)
    now = TapLevels(schedule.layers, schedule.initial_levels, schedule.header.bits)
    for t, step in enumerate(schedule):
        reads[t] = now.reads(step.taps)
        transitions[t] = now.write(step.weight, step.old, step.new)
        levels[t] = now.weights()
        samples[t], stage[t] = step.samples, step.stage
    return Counts(transitions, levels, reads, samples, stage)


def update_energy(transitions: Ints, energy_j: Floats, pattern: Pattern) -> Floats:
    """E_w of Algorithm 1: `transitions[..., from, to]` of levels, `energy_j[from, to]` of states."""
    p = np.asarray(pattern)
    cost = energy_j[np.ix_(p, p)] * (1.0 - np.eye(p.size))
    return np.asarray((transitions * cost).sum(axis=(-2, -1)))


def activation_energy(reads: Ints, read_j: Floats, pattern: Pattern, *, gated: bool = True) -> Floats:
    """E_a of Algorithm 2: `reads[..., level]`, `read_j[state]`; joule [...]. Not gated: zero weights too."""
    cost = read_j[np.asarray(pattern)].copy()
    if gated:
        cost[len(pattern) // 2] = 0.0
    return np.asarray(reads @ cost)


def array_update_energy(
    transitions: Ints, levels: Ints, energy_j: Floats, field_j: float, pattern: Pattern
) -> Floats:
    """Energy of each step when one reset empties all cells (scope `array`), joule, shape (steps,).

    `transitions[t, from, to]` and `levels[t, level]` over the whole chip. A step with any downward move costs
    the field and every cell not meant to be at R0 programmed again; a step without costs its pulses.
    """
    p = np.asarray(pattern)
    downward = (p[None, :] < p[:, None]) & ~np.eye(p.size, dtype=bool)
    falls = (transitions * downward).sum(axis=(-2, -1)) > 0
    again = field_j + levels @ energy_j[0, p]
    return np.where(falls, again, update_energy(transitions, energy_j, pattern))


@dataclass(frozen=True, slots=True)
class Asked:
    """What each pattern asks of the states over a run.

    `writes[scope, pattern, from, to]` (scope: cell, array), `fields[pattern]` resets of the whole array,
    `reads[pattern, state]` gated. So energies are linear in what the chip charges.
    """

    writes: Ints
    fields: Ints
    reads: Ints

    @classmethod
    def of(cls, counts: Counts, patterns: Sequence[Pattern], states: int) -> Asked:
        moves, levels = counts.transitions.sum(axis=1), counts.levels.sum(axis=1)
        n = levels.shape[1]
        place, p = np.arange(len(patterns))[:, None], np.array(patterns, np.int64).reshape(-1, n)
        pair = (place[:, None], p[:, :, None], p[:, None, :])
        writes = np.zeros((2, len(patterns), states, states), np.int64)
        reads = np.zeros((len(patterns), states), np.int64)
        off = moves * ~np.eye(n, dtype=bool)
        falls = _falls(off, p)
        writes[0][pair] = off.sum(axis=0)
        writes[1][pair] = np.rint(~falls.T @ off.reshape(len(off), -1)).astype(np.int64).reshape(-1, n, n)
        writes[1][place, 0, p] += falls.T @ levels
        writes[1][:, 0, 0] = 0
        reads[place, p] = counts.gated_reads
        return cls(writes, falls.sum(axis=0), reads)

    def write_j(self, pulse_j: Floats, field_j: float = 0.0) -> Floats:
        """Update energy [scope, pattern] at `pulse_j[scope, from, to]` and a field of `field_j`, joule."""
        cell, array = np.einsum("kpij,kij->kp", self.writes, pulse_j, optimize=True)
        return np.stack([cell, array + field_j * self.fields])

    def never(self, reachable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a write is asked that never arrives, [scope, pattern], of those `reachable[scope, from, to]`."""
        return np.asarray(np.einsum("kpij,kij->kp", self.writes, ~reachable) > 0)

    def activation_j(self, read_j: Floats) -> Floats:
        """Gated activation energy [pattern] at `read_j[state]`, joule."""
        return np.asarray(self.reads @ read_j)


def _falls(moves: Ints, patterns: Ints) -> NDArray[np.bool_]:
    """Whether any weight falls, [step, pattern], for `moves[step, from, to]` and `patterns[pattern, level]`."""
    downward = (patterns[:, None, :] < patterns[:, :, None]).reshape(len(patterns), -1)
    moved = (moves > 0).reshape(len(moves), -1)
    return np.asarray(moved.astype(np.float32) @ downward.T.astype(np.float32) > 0)


@dataclass(frozen=True, slots=True)
class Crossover:
    """Above `reset_j` joule a reset, `above` is the cheapest pattern; below it, `below` is."""

    reset_j: float
    below: Pattern
    above: Pattern


def crossovers(
    transitions: Ints, pulse_j: Floats, resets: Floats, patterns: list[Pattern]
) -> list[Crossover]:
    """Where the cheapest pattern changes with the energy of a reset (lower envelope of straight lines).

    `transitions[from, to]` of levels; `pulse_j[from, to]` of states without the resets; `resets[from, to]`
    the expected number of resets. Each pattern costs A + B * reset_j.
    """
    a = np.array([float(update_energy(transitions, pulse_j, p)) for p in patterns])
    b = np.array([float(update_energy(transitions, resets, p)) for p in patterns])
    now, at, out = int(np.lexsort((b, a))[0]), 0.0, list[Crossover]()
    while True:
        later = b < b[now] - 1e-12 * (1.0 + b[now])
        if not np.any(later):
            return out
        meet = np.where(later, (a - a[now]) / np.where(later, b[now] - b, 1.0), np.inf)
        following = int(np.lexsort((b, meet))[0])
        at = max(at, float(meet[following]))
        out.append(Crossover(at, patterns[now], patterns[following]))
        now = following
