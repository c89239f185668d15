"""What use and time have done to each Sk-MTJ cell: the state of `Wear` and `Retention`, acting on its columns.

Damage is a sum over the pulses of a cell. A state's end is drawn when it begins, exponentially distributed, keyed
by the cell and the number of its draw: so looking often or rarely, at all cells or some, changes nothing.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats
from quest_lab.seeds import Purpose, normal, philox
from quest_lab.sim.kernels import Columns
from quest_lab.sim.reliability import OPEN, SHORT, Faults, Retention, Wear

_DECAY = int(Purpose.DECAY)


class Worn:
    """Damage of each cell in reference pulses, beside the life and the end it was fabricated with."""

    def __init__(
        self, law: Wear, faults: Faults, damage: Floats, fresh: tuple[Floats, Floats], uniform: Floats
    ) -> None:
        """`fresh` = thresholds' offsets and TMR as fabricated; `uniform` draws, shape (cells, 2)."""
        self._law, self._faults, self._damage = law, faults, damage
        self._shift, self._tmr = fresh
        self._life, self._end = law.lives(uniform[:, 0]), law.ends(uniform[:, 1])

    def pulse(self, columns: Columns, cells: Cells, dose: float) -> None:
        """Add the dose of one pulse to each cell; drift, and at its end break it."""
        sound = cells[columns.stuck[cells] == 0]
        self._damage[sound] += dose
        used = np.minimum(self._damage[sound] / self._life[sound], 1.0)
        columns.shift[sound] = self._shift[sound] + self._law.threshold_rise * used
        columns.tmr[sound] = self._tmr[sound] * (1.0 - self._law.tmr_loss * used)
        broken = sound[used >= 1.0]
        break_cells(columns, self._faults, broken, self._end[broken])


class Decaying:
    """When each cell loses its next skyrmion, in seconds of the array's age."""

    def __init__(
        self, law: Retention, residual: float, due_s: Floats, draws: NDArray[np.uint32], z: Floats, seed: int
    ) -> None:
        """`residual` of a landing; `z` normal draws of the barriers, shape (cells,)."""
        self._due_s, self._draws, self._residual, self._seed = due_s, draws, residual, seed
        self._life_s = law.lifetime_s(law.barrier * (1.0 + law.barrier_spread * z))

    def landed(self, columns: Columns, cells: Cells, now_s: float) -> None:
        """A new state begins in these cells."""
        self._begin(columns, cells, np.full(cells.size, now_s))

    def settle(self, columns: Columns, cells: Cells, now_s: float) -> None:
        """Bring the states of these cells up to this age."""
        late = cells[(self._due_s[cells] <= now_s) & (columns.state[cells] > 0) & (columns.stuck[cells] == 0)]
        while late.size:
            columns.state[late] -= 1
            z = self._begin(columns, late, self._due_s[late])
            columns.zeta[late] = np.where(columns.state[late] > 0, self._residual * z, 0.0)
            late = late[(self._due_s[late] <= now_s) & (columns.state[late] > 0)]

    def _begin(self, columns: Columns, cells: Cells, since_s: Floats) -> Floats:
        """Draw the end of the states that begin; returns normal draws of the same event."""
        draws = _draws(cells, self._draws, self._seed)
        k = np.maximum(columns.state[cells], 1)  # state 0 has no end; its draw is not looked at
        self._due_s[cells] = since_s + draws[0] * self._life_s[cells] / k
        return np.asarray(draws[1])


def break_cells(columns: Columns, faults: Faults, cells: Cells, kinds: NDArray[np.uint8]) -> None:
    """From now on these cells are STUCK, OPEN or SHORT."""
    columns.stuck[cells] = kinds
    for kind, ohm in ((OPEN, faults.open_ohm), (SHORT, faults.short_ohm)):
        columns.r0_ohm[cells[kinds == kind]] = ohm
        columns.tmr[cells[kinds == kind]] = 0.0


@nb.njit(cache=True)
def uniforms(seed: int, purpose: int, cells: Cells, event: int) -> Floats:
    """Four independent uniform draws in (0, 1) for each cell at one event, shape (len(cells), 4)."""
    out = np.empty((cells.size, 4), np.float64)
    for i in range(cells.size):
        words = philox(np.uint64(cells[i]), np.uint64(event), np.uint64(purpose), np.uint64(seed))
        for j in range(4):
            out[i, j] = (np.float64(words[j]) + 0.5) * 2.0**-32
    return out


@nb.njit(cache=True)
def _draws(cells: Cells, events: NDArray[np.uint32], seed: int) -> Floats:
    """An exponential and a normal draw for each cell at its next event, shape (2, len(cells))."""
    out = np.empty((2, cells.size), np.float64)
    for i in range(cells.size):
        cell = cells[i]
        words = philox(np.uint64(cell), np.uint64(events[cell]), np.uint64(_DECAY), np.uint64(seed))
        events[cell] += np.uint32(1)
        out[0, i] = -np.log((np.float64(words[0]) + 0.5) * 2.0**-32)
        out[1, i] = normal(words[1])
    return out
