"""Many Sk-MTJ cells with a memory: the state of each cell in a file that survives.

The cells lie in one memory-mapped file (a page of JSON, then one column per quantity). Like a real chip it
survives the program that drives it, killed or not. Every draw is keyed by the cell and its own event counter.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, FieldPulse, Floats, ReadPulse
from quest_lab.errors import BadInput
from quest_lab.seeds import Purpose, normals
from quest_lab.sim.kernels import Columns, pulse, read
from quest_lab.sim.skmtj import SkMTJ, thresholds_v, tmr_at

_HEADER_BYTES = 4096
_FORMAT = "quest-lab-cells-1"


_DTYPES = ("u1", "u1", "f4", "u4", "u4", "f4", "f4", "f4")


class CellArray:
    """Cells of one `model`, fabricated from `seed`; `path` keeps them in a file (temporary by default)."""

    def __init__(
        self, model: SkMTJ, cells: int, *, seed: int, path: Path | None = None, chip_id: str | None = None
    ) -> None:
        if cells < 1:
            raise BadInput(f"cells={cells}: a chip has at least 1 cell")
        if not 0 <= seed < 2**63:
            raise BadInput(f"seed={seed}: want 0..2^63-1")
        self.model, self.cells, self.seed = model, cells, seed
        self.chip_id = chip_id or f"simulated-{cells}-seed{seed}"
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) if path is None else None
        self.path = Path(self._temporary.name) / "chip.cells" if self._temporary else Path(path or "")
        self._maps: list[np.memmap[Any, Any]] = []
        self._columns = self._open()

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
        for column in self._maps:
            column.flush()
        self._maps = []
        if self._temporary:
            self._temporary.cleanup()

    def _open(self) -> Columns:
        fresh = not self.path.exists()
        if fresh:
            self._lay_out()
        else:
            self._check_header()
        offset = _HEADER_BYTES
        for dtype in _DTYPES:
            column = np.memmap(self.path, dtype, "r+", offset, (self.cells,))
            self._maps.append(column)
            offset += _padded(column.nbytes)
        columns = Columns(*(np.asarray(column) for column in self._maps))
        if fresh:
            self._fabricate(columns)
            self._write_header()
        return columns

    def _header(self) -> dict[str, object]:
        model = json.loads(json.dumps(asdict(self.model)))
        return {
            "format": _FORMAT,
            "chip_id": self.chip_id,
            "cells": self.cells,
            "seed": self.seed,
            "model": model,
        }

    @property
    def _bytes(self) -> int:
        return _HEADER_BYTES + sum(_padded(self.cells * np.dtype(d).itemsize) for d in _DTYPES)

    def _lay_out(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("xb") as file:
            file.truncate(self._bytes)

    def _write_header(self) -> None:
        """Last of all: a file whose maker was killed before has no header, and is refused."""
        text = json.dumps(self._header()).encode()
        if len(text) > _HEADER_BYTES:
            raise BadInput(f"{self.path}: header of {len(text)} bytes, limit {_HEADER_BYTES} bytes")
        with self.path.open("r+b") as file:
            file.write(text.ljust(_HEADER_BYTES))

    def _check_header(self) -> None:
        if not self.path.is_file():
            raise BadInput(f"{self.path}: not a file")
        with self.path.open("rb") as file:
            raw = file.read(_HEADER_BYTES)
        try:
            there = json.loads(raw)
        except ValueError:
            there = None
        if not isinstance(there, dict) or there.get("format") != _FORMAT:
            raise BadInput(f"{self.path}: not a file of simulated cells, or one that was never finished")
        for key, want in self._header().items():
            if there.get(key) != want:
                raise BadInput(f"{self.path}: {key} is {there.get(key)!r}, this chip wants {want!r}")
        if (size := self.path.stat().st_size) != self._bytes:
            raise BadInput(f"{self.path}: {size} bytes, want {self._bytes} bytes: truncated")

    def _fabricate(self, columns: Columns) -> None:
        m, block = self.model, 1 << 18
        for start in range(0, self.cells, block):
            cells = np.arange(start, min(start + block, self.cells))
            z = normals(self.seed, int(Purpose.FABRICATION), cells, 0)
            columns.shift[cells] = m.d_cell * z[:, 0]
            columns.r0_ohm[cells] = m.r0_ohm * np.maximum(1.0 + m.r0_spread * z[:, 1], 0.05)
            columns.tmr[cells] = m.tmr * np.maximum(1.0 + m.tmr_spread * z[:, 2], 0.0)


def _padded(nbytes: int) -> int:
    return -(-nbytes // 8) * 8
