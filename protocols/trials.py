"""Write trials: how often, from where and at which amplitude a pulse lands where it should.

Every cycle each cell is reset, brought to a random lower state, and then driven to a random target by the
same ladder that a write uses: one attempt step up after a miss, a reset and one step down after an overshoot
(where a reset empties the whole array, an overshoot stays: setting everyone again would count the cells that
landed once more as fresh ones). So the counts are conditional on the history that a policy will see: failures
of a weak cell are correlated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quest_lab.cellcounts import CellCounts
from quest_lab.characterization import Characterization, States, rare_moves
from quest_lab.device import Applied, Cells, Device, Scope, VoltagePulse, whole_domains
from quest_lab.errors import BadInput
from quest_lab.estimates import Estimate, ratio_over_cells, share_over_cells, stacked
from quest_lab.write_model import next_attempt

_LADDER = 6  # set pulses a trial may take
CYCLE_PULSES = (
    2 + 2 * _LADDER
)  # most that a cell gets in a cycle: a reset and a preset, a reset with each of these


class Trials:
    """Counts of transitions on `cells`, added to cycle by cycle."""

    def __init__(
        self,
        device: Device,
        draft: Characterization,
        cells: Cells,
        rng: np.random.Generator,
        check: Callable[[], None],
    ) -> None:
        self._device, self._draft, self._cells, self._rng, self._check = device, draft, cells, rng, check
        n, attempts = draft.states, draft.attempts
        self.counts = np.zeros((n, attempts, 2, n, n), np.int64)
        self._energy = np.zeros((n, attempts, n))
        self._energy_n = np.zeros((n, attempts, n), np.int64)
        self._events: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        # [operation, from, cell], at the middle attempt: first tries, energy of all pulses
        self._tries = np.zeros((n, n, cells.size), np.int64)
        self._hits = np.zeros((n, n, cells.size), np.int64)
        self._spent = np.zeros((n, n, cells.size))
        self._pulses = np.zeros((n, n, cells.size), np.int64)
        self._state = draft.decode(device.read(cells, draft.read))
        self._reset_j = np.nan
        self.cycles = 0

    @property
    def energy_j(self) -> NDArray[np.float64]:
        """Mean pulse energy [operation, attempt, from], NaN where never given."""
        nan = np.full(self._energy.shape, np.nan)
        return np.divide(self._energy, self._energy_n, out=nan, where=self._energy_n > 0)

    def by_cell(self) -> CellCounts:
        """The counts and energies of each cell."""
        return CellCounts.summed(self._events)

    @property
    def reset_j(self) -> float:
        """Energy of one reset: of the last field, or the mean of the pulses, which depends on the state."""
        count = self._energy_n[0].sum()
        if isinstance(self._draft.reset, VoltagePulse) and count and self._draft.reset_scope is Scope.CELL:
            return float(self._energy[0].sum() / count)
        return self._reset_j

    def half_width(self) -> float:
        """Widest 95 % half-width of the set probabilities from R0; infinite while a move was seen too rarely to be
        used at all."""
        if rare_moves(self.counts):
            return np.inf
        return float(self._half_widths().max())

    def set_probability(self) -> Estimate:
        """Share of first tries that landed [operation, from]; cells, not pulses, are independent."""
        shares = zip(self._hits, self._tries, strict=True)
        return stacked([stacked([share_over_cells(h, t) for h, t in zip(*op, strict=True)]) for op in shares])

    def pulse_energy_j(self) -> Estimate:
        """Mean energy of a pulse at the middle attempt [operation, from]."""
        spent = zip(self._spent, self._pulses, strict=True)
        return stacked([stacked([ratio_over_cells(e, n) for e, n in zip(*op, strict=True)]) for op in spent])

    def _half_widths(self) -> NDArray[np.float64]:
        """Of the set probability of each state 1..S-1 from R0; infinite without tries on two cells."""
        tries, hits = self._tries[1:, 0], self._hits[1:, 0]
        return np.array([
            share_over_cells(h, t).half_width if np.count_nonzero(t) > 1 else np.inf
            for h, t in zip(hits, tries, strict=True)
        ])  # fmt: skip

    def _aims(self) -> NDArray[np.float64]:
        """Probability of each target 1..S-1: half of the trials go where the intervals are widest."""
        square = self._half_widths() ** 2
        even = np.full(square.size, 1.0 / square.size)
        return even if np.isinf(square).any() else 0.5 * even + 0.5 * square / square.sum()

    def cycle(self) -> None:
        """One reset, one random target and its ladder for every cell."""
        n, size, middle = self._draft.states, self._cells.size, self._draft.attempts // 2
        everyone = np.arange(size)
        state, fresh = self._state, np.zeros(size, np.int8)
        self._give(0, middle, everyone, fresh, state)
        target = self._rng.choice(np.arange(1, n, dtype=np.int8), size, p=self._aims())
        lower = (self._rng.random(size) * target).astype(np.int8)
        for op in np.unique(lower[lower > 0]):
            self._give(int(op), middle, np.flatnonzero((lower == op) & (state == 0)), fresh, state)
        attempt = np.full(size, middle, np.int8)
        odd = self._rng.random(size) < 0.5
        attempt[odd] = self._rng.integers(0, self._draft.attempts, int(odd.sum()))
        self._ladder(state, target, attempt)
        self.cycles += 1

    def _ladder(self, state: States, target: States, attempt: NDArray[np.int8]) -> None:
        missed, left = np.zeros_like(state), np.full(state.size, _LADDER)
        while True:
            rising = np.flatnonzero((state < target) & (left > 0))
            if not rising.size:
                over = np.flatnonzero((state > target) & (left > 0))
                if not over.size or self._draft.reset_scope is Scope.ARRAY:
                    return
                self._give(0, 0, over, missed, state)
                continue
            tried = attempt[rising]  # as they are now: a miss is tried again in the next round, not in this
            for op, a in sorted(set(zip(target[rising].tolist(), tried.tolist(), strict=True))):
                mine = rising[(target[rising] == op) & (tried == a)]
                self._give(op, a, mine, missed, state)
                attempt[mine] = next_attempt(attempt[mine], target[mine], state[mine], self._draft.attempts)
                missed[mine] = state[mine] != op
                left[mine] -= 1

    def _give(self, op: int, a: int, mine: NDArray[np.int64], missed: States, state: States) -> None:
        """Apply, read, count; `state` becomes what was read, under a domain reset that of all cells."""
        if not mine.size:
            return
        self._check()
        operation = self._draft.operation(op, a)
        if op == 0 and self._draft.reset_scope is Scope.ARRAY:
            mine = np.arange(self._cells.size)
            before = state.copy()
            self._note_reset(reset_cells(self._device, self._cells))
            state[:] = self._draft.decode(self._device.read(self._cells, self._draft.read))
            energy = np.zeros(mine.size)
        else:
            before = state[mine].copy()
            done = self._device.apply(operation, self._cells[mine], then_read=True)
            state[mine] = self._draft.decode(done.expect_reading())
            energy = done.energy_j
            if op == 0:
                self._note_reset(done)
        self._count(op, a, mine, missed, before, state[mine], energy)

    def _count(
        self,
        op: int,
        a: int,
        mine: NDArray[np.int64],
        missed: States,
        before: States,
        after: States,
        energy: NDArray[np.float64],
    ) -> None:
        start = before.astype(np.intp)
        which = (missed[mine].astype(np.intp), start, after.astype(np.intp))
        np.add.at(self.counts[op, a], which, 1)
        flat = np.ravel_multi_index((op, a, *which), self.counts.shape)
        self._events.append((mine, flat, energy))
        np.add.at(self._energy[op, a], start, energy)
        np.add.at(self._energy_n[op, a], start, 1)
        if op and a == self._draft.attempts // 2:
            first, landed = missed[mine] == 0, after == op
            self._spent[op, start, mine] += energy
            self._pulses[op, start, mine] += 1
            self._tries[op, start[first], mine[first]] += 1
            self._hits[op, start[first & landed], mine[first & landed]] += 1

    def _note_reset(self, done: Applied) -> None:
        one = done.energy_j.sum() if self._draft.reset_scope is Scope.ARRAY else done.energy_j.mean()
        self._reset_j = float(one)


def reset_cells(device: Device, cells: Cells) -> Applied:
    """Reset `cells`, with everything else in their domains where the reset reaches it."""
    can = device.capabilities
    if can.reset is None:
        raise BadInput(f"chip {can.chip_id}: has no reset operation")
    return device.apply(can.reset, whole_domains(can, cells) if can.reset_scope is Scope.ARRAY else cells)
