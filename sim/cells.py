"""Many Sk-MTJ cells with a memory: the state of each cell in a file that survives.

The cells lie in one memory-mapped file (`cellfile`). Every draw is keyed by the cell and its own event counter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, FieldPulse, Floats, ReadPulse
from quest_lab.seeds import Purpose, normals
from quest_lab.sim.cellfile import CellFile
from quest_lab.sim.kernels import Columns, pulse, read
from quest_lab.sim.skmtj import SkMTJ, thresholds_v, tmr_at

_FORMAT = "quest-lab-cells-1"


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

    def resistance(self, cells: Cells, bias_v: float | Floats) -> Floats:
        """Resistance at this bias, one for all or one for each, without any noise, ohm."""
        c = self._columns
        k = c.state[cells] + c.zeta[cells].astype(np.float64)
        swing = c.tmr[cells] * (tmr_at(self.model, bias_v) / len(self.model.set_v))
        return c.r0_ohm[cells] * (1.0 + swing * k)

    def read(self, cells: Cells, at: ReadPulse) -> Floats:
        """Resistance with the cell's read noise, ohm. A bias near a threshold may raise the state first."""
        self.bias(cells, at.amplitude_v, at.width_s)
        m, bias = self.model, tmr_at(self.model, at.amplitude_v)
        return read(cells, self._columns, len(m.set_v), bias, m.read_noise, self.seed)

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the cells for `seconds`: read disturb by the threshold law."""
        if self.model.can_disturb(bias_v, seconds):
            self._bias(cells, bias_v, seconds, Purpose.DISTURB)

    def _bias(self, cells: Cells, bias_v: float, seconds: float, purpose: Purpose) -> Floats:
        m, bias, limits = self.model, tmr_at(self.model, bias_v), thresholds_v(self.model, seconds)
        spread = (m.xi_pulse, m.residual_states)
        return pulse(cells, self._columns, limits, bias_v, seconds, spread, bias, self.seed, int(purpose))

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
