"""Many Sk-MTJ cells with a memory: the state of each cell and the law's kernels over all of them.

The cells lie in one memory-mapped file (a page of JSON, then one column per quantity). Like a real chip it
survives the program that drives it, killed or not. Every draw is keyed by the cell and its own event counter.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.errors import BadInput
from quest_lab.seeds import Purpose, normal, normals, philox
from quest_lab.sim.skmtj import SkMTJ, landing, resistance_ohm, thresholds_v, tmr_at

_HEADER_BYTES = 4096
_FORMAT = "quest-lab-cells-1"
_COLUMNS: dict[str, str] = {
    "state": "u1",
    "stuck": "u1",
    "zeta": "f4",
    "pulses": "u4",
    "reads": "u4",
    "shift": "f4",
    "r0_ohm": "f4",
    "tmr": "f4",
}


class CellArray:
    """Cells of one `model`, fabricated from `seed`; `path` keeps them in a file (temporary by default)."""

    def __init__(
        self, model: SkMTJ, cells: int, *, seed: int, path: Path | None = None, chip_id: str | None = None
    ) -> None:
        if cells < 1:
            raise BadInput(f"cells={cells}: a chip has at least 1 cell")
        if not 0 <= seed < 2**64:
            raise BadInput(f"seed={seed}: want 0..2^64-1")
        self.model, self.cells, self.seed = model, cells, seed
        self.chip_id = chip_id or f"simulated-{cells}-seed{seed}"
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) if path is None else None
        self.path = Path(self._temporary.name) / "chip.cells" if self._temporary else Path(path or "")
        self._columns = self._open()

    def pulse(self, cells: Cells, amplitude_v: float, width_s: float) -> Floats:
        """Give one voltage pulse to each cell; returns V^2 t / R before the pulse, joule."""
        c = self._columns
        return _pulse(  # type: ignore[no-any-return]  # numba is untyped
            cells, c["state"], c["stuck"], c["zeta"], c["pulses"], c["shift"], c["r0_ohm"], c["tmr"],
            thresholds_v(self.model, width_s), amplitude_v, width_s, self.model.xi_pulse,
            self.model.residual_states, tmr_at(self.model, amplitude_v), self.seed, int(Purpose.PULSE),
        )  # fmt: skip

    def field(self, cells: Cells, field_t: float, flat_top_s: float) -> None:
        """Expose the cells to a field; empties them if it is strong and long enough and of the right sign."""
        if field_t >= self.model.reset_field_t and flat_top_s >= self.model.reset_width_s:
            free = cells[self._columns["stuck"][cells] == 0]
            self._columns["state"][free] = 0
            self._columns["zeta"][free] = 0.0

    def resistance(self, cells: Cells, bias_v: float) -> Floats:
        """Resistance at this bias without any noise, ohm."""
        c = self._columns
        k = c["state"][cells] + c["zeta"][cells].astype(np.float64)
        swing = c["tmr"][cells] * (tmr_at(self.model, bias_v) / len(self.model.set_v))
        return c["r0_ohm"][cells] * (1.0 + swing * k)

    def read(self, cells: Cells, at: ReadPulse) -> Floats:
        """Resistance with the cell's read noise, ohm. A bias near a threshold may raise the state first."""
        self.bias(cells, at.amplitude_v, at.width_s)
        c = self._columns
        return _read(  # type: ignore[no-any-return]  # numba is untyped
            cells, c["state"], c["zeta"], c["reads"], c["r0_ohm"], c["tmr"], len(self.model.set_v),
            tmr_at(self.model, at.amplitude_v), self.model.read_noise, self.seed, int(Purpose.READ),
        )  # fmt: skip

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the cells for `seconds`: read disturb by the threshold law."""
        if not self.model.can_disturb(bias_v, seconds):
            return
        c = self._columns
        _pulse(
            cells, c["state"], c["stuck"], c["zeta"], c["pulses"], c["shift"], c["r0_ohm"], c["tmr"],
            thresholds_v(self.model, seconds), bias_v, seconds, self.model.xi_pulse,
            self.model.residual_states, tmr_at(self.model, bias_v), self.seed, int(Purpose.DISTURB),
        )  # fmt: skip

    def states(self, cells: Cells) -> NDArray[np.int8]:
        """The true states: what no instrument can see."""
        return self._columns["state"][cells].astype(np.int8)

    def stick(self, cells: Cells) -> None:
        """From now on nothing changes the state of these cells."""
        self._columns["stuck"][cells] = 1

    def close(self) -> None:
        """Write the cells back; removes a temporary file."""
        if not self._columns:
            return
        for column in self._columns.values():
            column.flush()
        self._columns = {}
        if self._temporary:
            self._temporary.cleanup()

    def _open(self) -> dict[str, np.memmap[Any, Any]]:
        fresh = not self.path.exists()
        if fresh:
            self._lay_out()
        else:
            self._check_header()
        columns, offset = {}, _HEADER_BYTES
        for name, dtype in _COLUMNS.items():
            columns[name] = np.memmap(self.path, dtype, "r+", offset, (self.cells,))
            offset += -(-columns[name].nbytes // 8) * 8
        if fresh:
            self._fabricate(columns)
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

    def _lay_out(self) -> None:
        text = json.dumps(self._header()).encode().ljust(_HEADER_BYTES)
        size = sum(-(-self.cells * np.dtype(d).itemsize // 8) * 8 for d in _COLUMNS.values())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("xb") as file:
            file.write(text)
            file.truncate(_HEADER_BYTES + size)

    def _check_header(self) -> None:
        with self.path.open("rb") as file:
            raw = file.read(_HEADER_BYTES)
        try:
            there = json.loads(raw)
        except ValueError:
            raise BadInput(f"{self.path}: not a file of simulated cells (no header)") from None
        for key, want in self._header().items():
            if there.get(key) != want:
                raise BadInput(f"{self.path}: {key} is {there.get(key)!r}, this chip wants {want!r}")

    def _fabricate(self, columns: dict[str, np.memmap[Any, Any]]) -> None:
        m, block = self.model, 1 << 18
        for start in range(0, self.cells, block):
            cells = np.arange(start, min(start + block, self.cells))
            z = normals(self.seed, int(Purpose.FABRICATION), cells, 0)
            columns["shift"][cells] = m.d_cell * z[:, 0]
            columns["r0_ohm"][cells] = m.r0_ohm * np.maximum(1.0 + m.r0_spread * z[:, 1], 0.05)
            columns["tmr"][cells] = m.tmr * np.maximum(1.0 + m.tmr_spread * z[:, 2], 0.0)


@nb.njit(cache=True, parallel=True)
def _pulse(
    cells,
    state,
    stuck,
    zeta,
    pulses,
    shift,
    r0,
    tmr,
    thresholds,
    amplitude_v,
    width_s,
    xi,
    residual,
    bias,
    seed,
    purpose,
):  # type: ignore[no-untyped-def]  # a numba kernel
    energy = np.empty(cells.size, np.float64)
    steps = thresholds.size
    for i in nb.prange(cells.size):
        c = cells[i]
        k = state[c]
        r = resistance_ohm(k, zeta[c], r0[c], tmr[c] * bias, steps)
        energy[i] = amplitude_v * amplitude_v * width_s / r
        words = philox(np.uint64(c), np.uint64(pulses[c]), np.uint64(purpose), np.uint64(seed))
        pulses[c] += 1
        to = landing(k, amplitude_v, thresholds, shift[c] + xi * normal(words[0]))
        if to != k and not stuck[c]:
            state[c] = to
            zeta[c] = residual * normal(words[1])
    return energy


@nb.njit(cache=True, parallel=True)
def _read(cells, state, zeta, reads, r0, tmr, steps, bias, noise, seed, purpose):  # type: ignore[no-untyped-def]
    ohm = np.empty(cells.size, np.float64)
    for i in nb.prange(cells.size):
        c = cells[i]
        words = philox(np.uint64(c), np.uint64(reads[c]), np.uint64(purpose), np.uint64(seed))
        reads[c] += 1
        ohm[i] = resistance_ohm(state[c], zeta[c], r0[c], tmr[c] * bias, steps) * (
            1.0 + noise * normal(words[0])
        )
    return ohm
