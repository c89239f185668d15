"""Write policies made by hand, and a solver of the same problem that shares nothing with ours: what a policy is held
against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from quest_lab.characterization import Characterization
from quest_lab.device import Applied, Capabilities, Cells, Device, Operation, Reading, ReadPulse, Scope
from quest_lab.write_model import WriteModel

TRIES = 12


def again(_found: Characterization, attempt: np.ndarray, _short: np.ndarray) -> np.ndarray:
    return attempt


def ispp(found: Characterization, attempt: np.ndarray, short: np.ndarray) -> np.ndarray:
    return np.clip(attempt + np.sign(short), 0, found.attempts - 1)


@dataclass
class Tally:
    """A device that notes what each cell's pulses and the reads behind them took (of joule, pulses, seconds).

    The read before a write's first pulse, which every policy makes, and fields are left out.
    """

    device: Device
    energy: np.ndarray
    pulses: np.ndarray
    time: np.ndarray

    @classmethod
    def of(cls, device: Device) -> Tally:
        return cls(device, *np.zeros((3, device.capabilities.cells)))

    @property
    def capabilities(self) -> Capabilities:
        return self.device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        done = self.device.apply(operation, cells, then_read=then_read)
        if then_read:
            self.energy[cells] += done.energy_j + done.expect_reading().energy_j
            self.pulses[cells] += 1
            self.time[cells] += operation.width_s + done.expect_reading().at.width_s
        return done

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self.device.read(cells, at)

    def safe_state(self) -> None:
        self.device.safe_state()

    def close(self) -> None:
        self.device.close()


@dataclass(frozen=True)
class Rule:
    """A write policy made by hand: where it starts, what it does after a miss, whether it always resets first."""

    start: Callable[[Characterization], int]
    following: Callable[[Characterization, np.ndarray, np.ndarray], np.ndarray]
    reset_always: bool = False

    def write(self, device: Device, found: Characterization, target: np.ndarray) -> np.ndarray:
        """Write all cells; returns which are not in their target. Where only a field resets, it does so first."""
        cells, by_field = found.cells, found.reset_scope is Scope.ARRAY
        if by_field:
            device.apply(found.reset, cells)
        state = found.decode(device.read(cells, found.read)).astype(int)
        attempt, fresh = np.full(cells.size, self.start(found)), np.zeros(cells.size, bool)
        for _ in range(TRIES):
            away = (state < target) if by_field else (state != target)
            falls = away & ((state > target) | (self.reset_always & ~fresh & (state > 0) & (not by_field)))
            wanted = zip(target[away & ~falls].tolist(), attempt[away & ~falls].tolist(), strict=True)
            for op, a in {(0, 0), *wanted}:
                mine = np.flatnonzero(falls if op == 0 else away & ~falls & (target == op) & (attempt == a))
                if not mine.size:
                    continue
                landed = found.decode(
                    device.apply(found.operation(op, a), cells[mine], then_read=True).expect_reading()
                )
                state[mine], fresh[mine] = landed, op == 0
                if op:
                    attempt[mine] = self.following(found, attempt[mine], op - landed)
        return state != target


RULES = {
    "reset always": Rule(lambda f: f.attempts // 2, again, reset_always=True),
    "the same pulse again": Rule(lambda f: f.attempts // 2, again),
    "nominal ISPP": Rule(lambda f: f.attempts // 2, ispp),
    "from below": Rule(lambda _: 0, ispp),
}


def by_linear_program(model: WriteModel, cost: np.ndarray, target: int, penalty: float) -> np.ndarray:
    """Values [state, memory] of the stochastic shortest path without horizon: the largest V <= every action's.

    `cost[action, memory, from]`. (The Python packages for Markov decision processes are unmaintained.)
    """
    n, memories, expected = model.states, model.memories, model.expected
    usable = (expected.sum(axis=-1) > 0) & model.allowed[:, :, None] & (np.arange(n) != target)
    a, e, s = np.nonzero(usable)
    row = np.repeat(np.arange(a.size), n + 1)
    to = np.tile(np.arange(n), (a.size, 1))
    column = np.column_stack([s * memories + e, to * memories + model.after[a, e, s]])
    value = np.column_stack([np.ones(a.size), -expected[a, e, s]])
    matrix = csr_matrix((value.ravel(), (row, column.ravel())), shape=(a.size, n * memories))
    top = np.where(np.repeat(np.arange(n), memories) == target, 0.0, penalty)
    bounds = np.broadcast_to(cost, expected.shape[:3])[a, e, s]
    found = linprog(-np.ones(n * memories), matrix, bounds, bounds=[(0.0, b) for b in top])
    return np.asarray(found.x).reshape(n, memories)
