"""Many memristors with a memory: the gap of each filament, and the law's kernels over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.seeds import Purpose, normal, normals, philox, read_of
from quest_lab.sim.array import TrueStates
from quest_lab.sim.cellfile import CellFile
from quest_lab.sim.memristor import Memristor, moved_m, resistance_ohm

_FORMAT = "quest-lab-memristors-1"
_READ = int(Purpose.READ)
_PARALLEL_FROM = 16_384  # cells; waking threads costs more than a few thousand cells do


class Columns(NamedTuple):
    """One memory-mapped array per quantity, each of shape (cells,)."""

    stuck: NDArray[np.uint8]
    gap_m: NDArray[np.float64]
    pulses: NDArray[np.uint32]  # with the reads since they key the randomness
    reads: NDArray[np.uint32]
    shift: NDArray[np.float32]  # relative offset d_cell of the volts that it takes
    i0_a: NDArray[np.float32]


_DTYPES = ("u1", "f8", "u4", "u4", "f4", "f4")


class MemristorArray:
    """Cells of one `model`, fabricated from `seed`; `path` keeps them in a file (temporary by default)."""

    states: TrueStates | None = None  # a gap is not one of a few

    def __init__(
        self, model: Memristor, cells: int, *, seed: int, path: Path | None = None, chip_id: str | None = None
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
        """Expose the cells to a field, which does nothing to them (assumed)."""

    def resistance(self, cells: Cells, bias_v: float | Floats, field_t: float = 0.0) -> Floats:  # noqa: ARG002  # as the Sk-MTJ's
        """Resistance at this bias, one for all or one for each, without any noise, ohm."""
        m, c = self.model, self._columns
        x = np.maximum(np.abs(bias_v) / m.v0_v, 1e-6)
        low = m.v0_v / c.i0_a[cells].astype(np.float64) * np.exp(c.gap_m[cells] / m.g0_m)
        return np.asarray(low * x / np.sinh(x))

    def read(self, cells: Cells, at: ReadPulse, field_t: float = 0.0) -> Floats:  # noqa: ARG002  # as the Sk-MTJ's
        """Resistance with the cell's read noise, ohm. A bias above the least field moves the gap first."""
        self.bias(cells, at.amplitude_v, at.width_s)
        m, kernel = self.model, _READS[cells.size >= _PARALLEL_FROM]
        law = (at.amplitude_v, m.g0_m, m.v0_v)
        return kernel(cells, self._columns, law, m.read_noise, self.seed)

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the cells for `seconds`: what a pulse as long would do."""
        m = self.model
        if abs(bias_v) * m.gamma0 >= m.least_v * (1.0 - 10.0 * np.hypot(m.d_cell, m.xi_pulse)):
            self._bias(cells, bias_v, seconds, Purpose.DISTURB)

    def elapse(self, seconds: float) -> None:
        """Let the cells live for so long, which does nothing to them (assumed)."""

    def gap_m(self, cells: Cells) -> Floats:
        """The true gaps: what no instrument can see."""
        return self._columns.gap_m[cells]

    def stick(self, cells: Cells) -> None:
        """From now on nothing moves the gaps of these cells."""
        self._columns.stuck[cells] = 1

    def close(self) -> None:
        """Write the cells back; removes a temporary file. Idempotent."""
        self._file.close()

    def _bias(self, cells: Cells, bias_v: float, seconds: float, purpose: Purpose) -> Floats:
        m, kernel = self.model, _PULSE[cells.size >= _PARALLEL_FROM]
        law, ends = (m.g0_m, m.v0_v), (m.gap_min_m, m.gap_max_m)
        spread = (m.xi_pulse, m.closing_std_m)
        pulse = (bias_v, seconds)
        return kernel(cells, self._columns, law, m.kinetics, ends, pulse, spread, self.seed, int(purpose))

    def _fabricate(self, columns: Columns) -> None:
        m = self.model
        z = normals(self.seed, int(Purpose.FABRICATION), np.arange(self.cells), 0)
        columns.shift[:] = m.d_cell * z[:, 0]
        columns.i0_a[:] = m.i0_a * np.maximum(1.0 + m.i0_spread * z[:, 1], 0.05)
        columns.gap_m[:] = np.maximum(m.gap_min_m + m.closing_std_m * z[:, 2], 0.0)


def _pulse(
    cells: Cells,
    columns: Columns,
    law: tuple[float, float],
    kinetics: tuple[float, float, float, float, float],
    ends: tuple[float, float],
    pulse: tuple[float, float],
    spread: tuple[float, float],
    seed: int,
    purpose: int,
) -> Floats:
    (g0_m, v0_v), (amplitude_v, width_s), (xi, closing_m) = law, pulse, spread
    gamma0, beta, least_v, per_volt, rate = kinetics
    (gap_min_m, gap_max_m), (stuck, gaps, pulses, reads, shift, i0_a) = ends, columns
    energy_j = np.empty(cells.size, np.float64)
    for i in nb.prange(cells.size):
        cell = cells[i]
        gap = gaps[cell]
        energy_j[i] = amplitude_v**2 * width_s / resistance_ohm(gap, amplitude_v, i0_a[cell], g0_m, v0_v)
        words = philox(np.uint64(cell), np.uint64(pulses[cell]), np.uint64(purpose), np.uint64(seed))
        felt_v = amplitude_v / (1.0 + shift[cell] + xi * normal(words[0]))
        to = moved_m(gap, felt_v, width_s, gamma0, beta, least_v, per_volt, rate, gap_min_m)
        if to != gap and not stuck[cell]:
            if to == gap_min_m:
                to = max(gap_min_m + closing_m * normal(words[1]), 0.0)
            gaps[cell] = min(to, gap_max_m)
        pulses[cell] += np.uint32(1)
        reads[cell] = np.uint32(0)
    return energy_j


def _read(cells: Cells, columns: Columns, law: tuple[float, float, float], noise: float, seed: int) -> Floats:
    bias_v, g0_m, v0_v = law
    _, gaps, pulses, reads, _, i0_a = columns
    out = np.empty(cells.size, np.float64)
    for i in nb.prange(cells.size):
        cell = cells[i]
        words = philox(read_of(cell, reads[cell]), np.uint64(pulses[cell]), np.uint64(_READ), np.uint64(seed))
        reads[cell] += np.uint32(1)
        ohm = resistance_ohm(gaps[cell], bias_v, i0_a[cell], g0_m, v0_v)
        out[i] = ohm * (1.0 + noise * normal(words[0]))
    return out


_PULSE = (nb.njit(cache=True)(_pulse), nb.njit(cache=True, parallel=True)(_pulse))
_READS = (nb.njit(cache=True)(_read), nb.njit(cache=True, parallel=True)(_read))
