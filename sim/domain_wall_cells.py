"""Many domain-wall cells with a memory: where each wall rests, and the law's kernels over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.seeds import Purpose, normal, normals, philox, read_of
from quest_lab.sim.cellfile import CellFile
from quest_lab.sim.domain_wall import DomainWall, conductance_s, landing, thresholds_v

_FORMAT = "quest-lab-domain-walls-1"
_READ = int(Purpose.READ)


class Columns(NamedTuple):
    """One memory-mapped array per quantity, each of shape (cells,)."""

    state: NDArray[np.uint8]
    stuck: NDArray[np.uint8]
    residual_m: NDArray[np.float32]  # from the site that the wall snapped to
    pulses: NDArray[np.uint32]  # with the reads since they key the randomness
    reads: NDArray[np.uint32]
    g0_s: NDArray[np.float32]
    swing: NDArray[np.float32]


_DTYPES = ("u1", "u1", "f4", "u4", "u4", "f4", "f4")


class DomainWallArray:
    """Cells of one `model`, fabricated from `seed`; `path` keeps them in a file (temporary by default)."""

    def __init__(
        self,
        model: DomainWall,
        cells: int,
        *,
        seed: int,
        path: Path | None = None,
        chip_id: str | None = None,
    ) -> None:
        self._file = CellFile(_FORMAT, model, cells, _DTYPES, seed=seed, path=path, chip_id=chip_id)
        self.model, self.cells, self.seed = model, cells, seed
        self.chip_id, self.path = self._file.chip_id, self._file.path
        self._columns = Columns(*self._file.columns)
        z = normals(seed, int(Purpose.FABRICATION), np.arange(cells), 0)
        self._pinning = 1.0 + model.pinning_spread * z[:, 2]
        if self._file.fresh:
            self._fabricate(self._columns, z)
            self._file.finish()

    def pulse(self, cells: Cells, amplitude_v: float, width_s: float) -> Floats:
        """Give one voltage pulse to each cell; returns V^2 t G before the pulse, joule."""
        return self._bias(cells, amplitude_v, width_s, Purpose.PULSE)

    def field(self, cells: Cells, field_t: float, flat_top_s: float) -> None:
        """Expose the cells to a field, which does nothing to them (assumed)."""

    def resistance(self, cells: Cells, bias_v: float | Floats, field_t: float = 0.0) -> Floats:  # noqa: ARG002  # as the Sk-MTJ's
        """Resistance without any noise, ohm; the same at every bias and in every field (assumed)."""
        c, m = self._columns, self.model
        place = c.state[cells] * m.pitch_m + c.residual_m[cells].astype(np.float64)
        return 1.0 / (c.g0_s[cells].astype(np.float64) * (1.0 + c.swing[cells] / m.track_m * place))

    def read(self, cells: Cells, at: ReadPulse, field_t: float = 0.0) -> Floats:  # noqa: ARG002  # as the Sk-MTJ's
        """Resistance with the cell's read noise, ohm. A bias above the first threshold moves the wall first."""
        self.bias(cells, at.amplitude_v, at.width_s)
        ohm = self.resistance(cells, at.amplitude_v)
        return _noisy(cells, self._columns, ohm, self.model.read_noise, self.seed)

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the cells for `seconds`: what a pulse as long would do."""
        m = self.model
        if abs(bias_v) >= (m.first_v - m.guard_v) * (1.0 - 10.0 * m.pinning_spread) and seconds >= m.t_ref_s:
            self._bias(cells, bias_v, seconds, Purpose.DISTURB)

    def elapse(self, seconds: float) -> None:
        """Let the cells live for so long, which does nothing to them (assumed)."""

    def states(self, cells: Cells) -> NDArray[np.int8]:
        """The true sites: what no instrument can see."""
        return self._columns.state[cells].astype(np.int8)

    def stick(self, cells: Cells) -> None:
        """From now on nothing moves the walls of these cells."""
        self._columns.stuck[cells] = 1

    def close(self) -> None:
        """Write the cells back; removes a temporary file. Idempotent."""
        self._file.close()

    def _bias(self, cells: Cells, bias_v: float, seconds: float, purpose: Purpose) -> Floats:
        m = self.model
        moves = seconds >= m.t_ref_s
        pressed = abs(bias_v) >= m.end_v
        spread_m = (0.0, 0.0) if pressed else (m.landing_std_m, m.residual_std_m)
        track, pulse = (m.track_m, m.pitch_m), (bias_v, seconds)
        limits = thresholds_v(m) if moves else np.full(m.sites - 1, np.inf)
        columns, pinning = self._columns, self._pinning
        return _pulse(cells, columns, pinning, limits, pulse, spread_m, track, self.seed, int(purpose))

    def _fabricate(self, columns: Columns, z: Floats) -> None:
        m = self.model
        columns.g0_s[:] = 1.0 / (m.r0_ohm * np.maximum(1.0 + m.r0_spread * z[:, 0], 0.05))
        columns.swing[:] = m.swing * np.maximum(1.0 + m.swing_spread * z[:, 1], 0.0)


@nb.njit(cache=True)
def _pulse(
    cells: Cells,
    c: Columns,
    pinning: Floats,
    thresholds: Floats,
    pulse: tuple[float, float],
    spread_m: tuple[float, float],
    track: tuple[float, float],
    seed: int,
    purpose: int,
) -> Floats:
    (amplitude_v, width_s), (scatter_m, residual_m), (track_m, pitch_m) = pulse, spread_m, track
    energy_j = np.empty(cells.size, np.float64)
    for i in range(cells.size):
        cell = cells[i]
        k = c.state[cell]
        g = conductance_s(k, c.residual_m[cell], pitch_m, c.g0_s[cell], c.swing[cell] / track_m)
        energy_j[i] = amplitude_v * amplitude_v * width_s * g
        words = philox(np.uint64(cell), np.uint64(c.pulses[cell]), np.uint64(purpose), np.uint64(seed))
        to = landing(k, amplitude_v / pinning[cell], thresholds, scatter_m / pitch_m * normal(words[0]))
        if to != k and not c.stuck[cell]:
            c.state[cell] = to
            c.residual_m[cell] = residual_m * normal(words[1])
        c.pulses[cell] += 1
        c.reads[cell] = 0
    return energy_j


@nb.njit(cache=True)
def _noisy(cells: Cells, c: Columns, ohm: Floats, noise: float, seed: int) -> Floats:
    out = np.empty(cells.size, np.float64)
    for i in range(cells.size):
        cell = cells[i]
        words = philox(
            read_of(cell, c.reads[cell]), np.uint64(c.pulses[cell]), np.uint64(_READ), np.uint64(seed)
        )
        c.reads[cell] += 1
        out[i] = ohm[i] * (1.0 + noise * normal(words[0]))
    return out
