"""Many Sk-MTJ cells with a memory: the state of each cell in a file that survives.

The cells lie in one memory-mapped file (`cellfile`). Every draw is keyed by the cell and its own events.
What the law's optional effects (`reliability`) need beside comes after its columns; without them there is none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, FieldPulse, Floats, ReadPulse
from quest_lab.seeds import Purpose, normals
from quest_lab.sim.ageing import Decaying, Worn, break_cells, uniforms
from quest_lab.sim.cellfile import CellFile
from quest_lab.sim.kernels import Columns, pulse, read
from quest_lab.sim.reliability import STUCK
from quest_lab.sim.skmtj import SkMTJ, thresholds_v, tmr_at

_FORMAT = "quest-lab-cells-1"
_FABRICATION = int(Purpose.FABRICATION)
_LAW, _FAULTS, _WEAR, _BARRIER, _FIELDS = range(5)  # events of fabrication, each with draws of its own


_DTYPES = ("u1", "u1", "f4", "u4", "u4", "f4", "f4", "f4")
_WEAR_DTYPES, _RETENTION_DTYPES = ("f8",), ("f8", "u4")


class CellArray:
    """Cells of one `model`, fabricated from `seed`; `path` keeps them in a file (temporary by default)."""

    def __init__(
        self, model: SkMTJ, cells: int, *, seed: int, path: Path | None = None, chip_id: str | None = None
    ) -> None:
        wear, retention = _WEAR_DTYPES if model.wear else (), _RETENTION_DTYPES if model.retention else ()
        dtypes = (*_DTYPES, *wear, *retention)
        self._file = CellFile(_FORMAT, model, cells, dtypes, seed=seed, path=path, chip_id=chip_id)
        self.model, self.cells, self.seed = model, cells, seed
        self.chip_id, self.path = self._file.chip_id, self._file.path
        columns = self._file.columns
        self._columns = Columns(*columns[: len(_DTYPES)])
        if self._file.fresh:
            self._fabricate(self._columns)
            self._file.finish()
        everyone = np.arange(cells)
        self._worn, self._decaying = None, None
        if model.wear:
            shift, _, tmr = self._fabricated(everyone)
            uniform = uniforms(seed, _FABRICATION, everyone, _WEAR)
            self._worn = Worn(model.wear, model.faults, columns[len(_DTYPES)], (shift, tmr), uniform)
        if model.retention:
            due_s, draws = columns[-2:]
            z = normals(seed, _FABRICATION, everyone, _BARRIER)[:, 0]
            self._decaying = Decaying(
                model.retention, (model.residual_states, model.offsets), due_s, draws, z, seed
            )
        if model.loop:
            z = normals(seed, _FABRICATION, everyone, _FIELDS)
            self._annihilation_t = model.reset_field_t * (1.0 + model.loop.annihilation_spread * z[:, 0])
            self._nucleation_t = model.loop.nucleation_t * (1.0 + model.loop.nucleation_spread * z[:, 1])

    def pulse(self, cells: Cells, amplitude_v: float, width_s: float) -> Floats:
        """Give one voltage pulse to each cell; returns V^2 t / R before the pulse, joule."""
        return self._bias(cells, amplitude_v, width_s, Purpose.PULSE)

    def field(self, cells: Cells, field_t: float, flat_top_s: float) -> None:
        """Expose the cells to a field; empties them if it is strong and long enough and of the right sign.

        With a field loop each cell has its own fields, and a strong negative one fills it.
        """
        self._settle(cells)
        free = cells[self._columns.stuck[cells] == 0]
        if self.model.loop is None:
            if self.model.resets(FieldPulse(field_t, flat_top_s)):
                self._leave(free, 0)
        elif flat_top_s >= self.model.reset_width_s:
            self._leave(free[field_t >= self._annihilation_t[free]], 0)
            self._leave(free[field_t <= self._nucleation_t[free]], self.model.states - 1)

    def resistance(self, cells: Cells, bias_v: float | Floats, field_t: float = 0.0) -> Floats:
        """Resistance in this field at this bias, one for all or one for each, without any noise, ohm."""
        self._settle(cells)
        c = self._columns
        k = c.state[cells] + c.zeta[cells].astype(np.float64)
        swing = c.tmr[cells] * (tmr_at(self.model, bias_v) / len(self.model.set_v))
        return c.r0_ohm[cells] * (1.0 + swing * k * self._signal(cells, field_t))

    def read(self, cells: Cells, at: ReadPulse, field_t: float = 0.0) -> Floats:
        """Resistance with the cell's read noise, ohm. A bias near a threshold may raise the state first."""
        self.bias(cells, at.amplitude_v, at.width_s)
        self._settle(cells)
        m, bias = self.model, tmr_at(self.model, at.amplitude_v)
        signal = self._signal(cells, field_t)
        if isinstance(signal, float):
            return read(cells, self._columns, len(m.set_v), bias * signal, m.read_noise, self.seed)
        ohm = np.empty(cells.size)
        for each in np.unique(signal):  # grown or shrunk skyrmions, and uniform cells
            mine = signal == each
            ohm[mine] = read(cells[mine], self._columns, len(m.set_v), bias * each, m.read_noise, self.seed)
        return ohm

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the cells for `seconds`: read disturb by the threshold law."""
        if self.model.can_disturb(bias_v, seconds):
            self._bias(cells, bias_v, seconds, Purpose.DISTURB)

    def elapse(self, seconds: float) -> None:
        """Let the cells live for so long: what decays meanwhile is seen when they are next looked at."""
        if self._decaying:
            self._file.age_s[0] += seconds

    def states(self, cells: Cells) -> NDArray[np.int8]:
        """The true states: what no instrument can see."""
        self._settle(cells)
        return self._columns.state[cells].astype(np.int8)

    def faults(self, cells: Cells) -> NDArray[np.uint8]:
        """What is broken, SOUND, STUCK, OPEN or SHORT of `reliability`: what no instrument can see."""
        return self._columns.stuck[cells].copy()

    def stick(self, cells: Cells) -> None:
        """From now on nothing changes the state of these cells."""
        self._columns.stuck[cells] = STUCK

    def close(self) -> None:
        """Write the cells back; removes a temporary file. Idempotent."""
        self._file.close()

    def _bias(self, cells: Cells, bias_v: float, seconds: float, purpose: Purpose) -> Floats:
        m, c = self.model, self._columns
        self._settle(cells)
        bias, limits, spread = tmr_at(m, bias_v), thresholds_v(m, seconds), (m.xi_pulse, m.residual_states)
        before = c.state[cells] if self._decaying else None
        draws = self.seed, int(purpose)
        energy_j = pulse(cells, c, limits, bias_v, seconds, spread, bias, *draws, m.offsets)
        if self._decaying:
            self._decaying.landed(c, cells[c.state[cells] != before], self._age_s)
        if self._worn and m.wear:
            self._worn.pulse(c, cells, m.wear.dose(bias_v, seconds, m.t_ref_s))
        return energy_j

    @property
    def _age_s(self) -> float:
        return float(self._file.age_s[0])

    def _settle(self, cells: Cells) -> None:
        if self._decaying:
            self._decaying.settle(self._columns, cells, self._age_s)

    def _leave(self, cells: Cells, state: int) -> None:
        """A field leaves these cells in `state`, without a residual; those that are in it stay as they are."""
        changed = cells[self._columns.state[cells] != state]
        self._columns.state[changed] = state
        self._columns.zeta[changed] = self.model.offsets[state]
        if self._decaying:
            self._decaying.landed(self._columns, changed, self._age_s)

    def _signal(self, cells: Cells, field_t: float) -> float | Floats:
        """Signal of the cells' skyrmions in this field over that in none; one for all where it can be."""
        m = self.model
        if m.loop is None or field_t == 0.0:
            return 1.0
        signal = m.loop.signal(field_t, m.reset_field_t)
        uniform = (field_t <= self._nucleation_t[cells]) & (self._columns.stuck[cells] == 0)
        return np.where(uniform, 1.0 / m.loop.contrast, signal) if uniform.any() else signal

    def _fabricated(self, cells: Cells) -> tuple[Floats, Floats, Floats]:
        """Threshold offset, R0 in ohm and TMR of cells as they come from the fab."""
        m, z = self.model, normals(self.seed, _FABRICATION, cells, _LAW)
        r0 = m.r0_ohm * np.maximum(1.0 + m.r0_spread * z[:, 1], 0.05)
        return m.d_cell * z[:, 0], r0, m.tmr * np.maximum(1.0 + m.tmr_spread * z[:, 2], 0.0)

    def _fabricate(self, columns: Columns) -> None:
        m, block = self.model, 1 << 18
        for start in range(0, self.cells, block):
            cells = np.arange(start, min(start + block, self.cells))
            columns.shift[cells], columns.r0_ohm[cells], columns.tmr[cells] = self._fabricated(cells)
            if m.faults.open or m.faults.short or m.faults.stuck:
                uniform = uniforms(self.seed, _FABRICATION, cells, _FAULTS)
                kinds = m.faults.kinds(uniform[:, 0])
                stuck = kinds == STUCK
                columns.state[cells[stuck]] = (uniform[stuck, 1] * m.states).astype(np.uint8)
                break_cells(columns, m.faults, cells[kinds > 0], kinds[kinds > 0])
