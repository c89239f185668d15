"""Many Sk-MTJ cells with a memory: the state of each cell and the law's kernels over all of them.

The cells lie in one memory-mapped file (`cellfile`). Every draw is keyed by the cell and its own event counter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, FieldPulse, Floats, ReadPulse
from quest_lab.seeds import Purpose, normal, normals, philox
from quest_lab.sim.cellfile import CellFile
from quest_lab.sim.skmtj import SkMTJ, landing, resistance_ohm, thresholds_v, tmr_at

_FORMAT = "quest-lab-cells-1"
_READ = int(Purpose.READ)
_PARALLEL_FROM = 16_384  # cells
_SIDE_BY_SIDE = 8192  # from this many cells on, threads win more than starting them costs


class Columns(NamedTuple):
    """One memory-mapped array per quantity, each of shape (cells,)."""

    state: NDArray[np.uint8]
    stuck: NDArray[np.uint8]
    zeta: NDArray[np.float32]  # landing residual, states
    pulses: NDArray[np.uint32]  # event counters: they key the randomness
    reads: NDArray[np.uint32]
    shift: NDArray[np.float32]  # relative threshold offset d_cell
    r0_ohm: NDArray[np.float32]
    tmr: NDArray[np.float32]


_DTYPES = ("u1", "u1", "f4", "u4", "u4", "f4", "f4", "f4")


class CellArray:
    """Cells of one `model`, fabricated from `seed`; `path` keeps them in a file (temporary by default)."""

    def __init__(
        self, model: SkMTJ, cells: int, *, seed: int, path: Path | None = None, chip_id: str | None = None
    ) -> None:
        self._file = CellFile(_FORMAT, model, cells, _DTYPES, seed=seed, path=path, chip_id=chip_id)
        self.model, self.cells, self.seed = model, cells, seed
        self.chip_id, self.path = self._file.chip_id, self._file.path
        self._columns = Columns(*self._file.columns)
        if self._file.fresh:
            self._fabricate(self._columns)
            self._file.finish()

    def pulse(self, cells: Cells, amplitude_v: float, width_s: float) -> Floats:
        """Give one voltage pulse to each cell; returns V^2 t / R before the pulse, joule."""
        return self._bias(cells, amplitude_v, width_s, Purpose.PULSE)

    def field(self, cells: Cells, field_t: float, flat_top_s: float) -> None:
        """Expose the cells to a field; empties them if it is strong and long enough and of the right sign."""
        if self.model.resets(FieldPulse(field_t, flat_top_s)):
            free = cells[self._columns.stuck[cells] == 0]
            self._columns.state[free] = 0
            self._columns.zeta[free] = 0.0

    def resistance(self, cells: Cells, bias_v: float) -> Floats:
        """Resistance at this bias without any noise, ohm."""
        c = self._columns
        k = c.state[cells] + c.zeta[cells].astype(np.float64)
        swing = c.tmr[cells] * (tmr_at(self.model, bias_v) / len(self.model.set_v))
        return c.r0_ohm[cells] * (1.0 + swing * k)

    def read(self, cells: Cells, at: ReadPulse) -> Floats:
        """Resistance with the cell's read noise, ohm. A bias near a threshold may raise the state first."""
        self.bias(cells, at.amplitude_v, at.width_s)
        m, bias = self.model, tmr_at(self.model, at.amplitude_v)
        with _threads_for(cells.size):
            return _READ_KERNELS[cells.size >= _PARALLEL_FROM](
                cells, self._columns, len(m.set_v), bias, m.read_noise, self.seed
            )

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the cells for `seconds`: read disturb by the threshold law."""
        if self.model.can_disturb(bias_v, seconds):
            self._bias(cells, bias_v, seconds, Purpose.DISTURB)

    def _bias(self, cells: Cells, bias_v: float, seconds: float, purpose: Purpose) -> Floats:
        m, bias, limits = self.model, tmr_at(self.model, bias_v), thresholds_v(self.model, seconds)
        spread = (m.xi_pulse, m.residual_states)
        pulse, seed = (bias_v, seconds), self.seed
        with _threads_for(cells.size):
            return _PULSE_KERNELS[cells.size >= _PARALLEL_FROM](
                cells, self._columns, limits, pulse, spread, bias, seed, int(purpose)
            )

    def states(self, cells: Cells) -> NDArray[np.int8]:
        """The true states: what no instrument can see."""
        return self._columns.state[cells].astype(np.int8)

    def stick(self, cells: Cells) -> None:
        """From now on nothing changes the state of these cells."""
        self._columns.stuck[cells] = 1

    def close(self) -> None:
        """Write the cells back; removes a temporary file. Idempotent."""
        self._file.close()

    def _fabricate(self, columns: Columns) -> None:
        m, block = self.model, 1 << 18
        for start in range(0, self.cells, block):
            cells = np.arange(start, min(start + block, self.cells))
            z = normals(self.seed, int(Purpose.FABRICATION), cells, 0)
            columns.shift[cells] = m.d_cell * z[:, 0]
            columns.r0_ohm[cells] = m.r0_ohm * np.maximum(1.0 + m.r0_spread * z[:, 1], 0.05)
            columns.tmr[cells] = m.tmr * np.maximum(1.0 + m.tmr_spread * z[:, 2], 0.0)


@contextmanager
def _threads_for(count: int) -> Iterator[None]:
    """One thread for a small batch: waking the others costs a busy machine milliseconds a call."""
    most = nb.get_num_threads()
    if count < _SIDE_BY_SIDE:
        nb.set_num_threads(1)
    try:
        yield
    finally:
        nb.set_num_threads(most)


def _pulse(
    cells: Cells,
    c: Columns,
    thresholds: Floats,
    pulse: tuple[float, float],
    spread: tuple[float, float],
    bias: float,
    seed: int,
    purpose: int,
) -> Floats:
    (amplitude_v, width_s), (xi, residual) = pulse, spread
    state, stuck, zeta, pulses, _, shift, r0, tmr = c  # numba's prange wants plain arrays
    energy_j = np.empty(cells.size, np.float64)
    for i in nb.prange(cells.size):
        cell = cells[i]
        k = state[cell]
        ohm = resistance_ohm(k, zeta[cell], r0[cell], tmr[cell] * bias, thresholds.size)
        energy_j[i] = amplitude_v * amplitude_v * width_s / ohm
        words = philox(np.uint64(cell), np.uint64(pulses[cell]), np.uint64(purpose), np.uint64(seed))
        pulses[cell] += 1
        to = landing(k, amplitude_v, thresholds, shift[cell] + xi * normal(words[0]))
        if to != k and not stuck[cell]:
            state[cell] = to
            zeta[cell] = residual * normal(words[1])
    return energy_j


def _read(cells: Cells, c: Columns, steps: int, bias: float, noise: float, seed: int) -> Floats:
    state, _, zeta, _, reads, _, r0, tmr = c
    out = np.empty(cells.size, np.float64)
    for i in nb.prange(cells.size):
        cell = cells[i]
        words = philox(np.uint64(cell), np.uint64(reads[cell]), np.uint64(_READ), np.uint64(seed))
        reads[cell] += 1
        ohm = resistance_ohm(state[cell], zeta[cell], r0[cell], tmr[cell] * bias, steps)
        out[i] = ohm * (1.0 + noise * normal(words[0]))
    return out


# One law, compiled twice: waking threads costs more than a few thousand cells do. Same numbers either way.
_PULSE_KERNELS = (nb.njit(cache=True)(_pulse), nb.njit(cache=True, parallel=True)(_pulse))
_READ_KERNELS = (nb.njit(cache=True)(_read), nb.njit(cache=True, parallel=True)(_read))
