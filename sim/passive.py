"""Cells of a passive crossbar, as its lines show them: readings contain the sneak paths, pulses reach every cell.

`PassiveCells` stands around an array of cells (row by row) and in its place: the world asks it as it would ask
isolated ones. A pulse on one cell gives all others their share of volts for as long; a read too.
"""

from __future__ import annotations

import numpy as np

from quest_lab.crossbar import Crossbar, Crosspoint, Scheme, Solution, settle, solve
from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.errors import BadInput
from quest_lab.sim.array import Model, SimulatedCells, TrueStates

_LEAST_V = 1e-9  # what is left of 0 V after rounding does nothing to a cell


class PassiveCells:
    """SimulatedCells around others. `read_scheme`, `write_scheme`: how the unselected lines stand meanwhile."""

    def __init__(
        self, array: SimulatedCells, crossbar: Crossbar, *, read_scheme: Scheme, write_scheme: Scheme
    ) -> None:
        if array.cells != crossbar.rows * crossbar.columns:
            raise BadInput(
                f"{array.cells} cells: a {crossbar.rows}x{crossbar.columns} crossbar has another number"
            )
        self._array, self.crossbar = array, crossbar
        self.read_scheme, self.write_scheme = read_scheme, write_scheme
        self.cells, self.chip_id = array.cells, array.chip_id
        self._all = np.arange(array.cells)

    @property
    def model(self) -> Model:
        return self._array.model

    def pulse(self, cells: Cells, amplitude_v: float, width_s: float) -> Floats:
        """Select one cell after the other; returns V^2 t / R of each, joule, without what its neighbours spend."""
        return np.array([self._pulse(int(cell), amplitude_v, width_s) for cell in cells])

    def read(self, cells: Cells, at: ReadPulse, field_t: float = 0.0) -> Floats:
        """Resistance at the terminals, ohm, with the noise of every cell that carries current."""
        return np.array([self._read(int(cell), at, field_t) for cell in cells])

    def resistance(self, cells: Cells, bias_v: float | Floats, field_t: float = 0.0) -> Floats:
        """Resistance at the terminals without noise, ohm, at the same `bias_v` for all of `cells`."""
        volts = float(np.max(bias_v))
        solved = [self._settled(int(c), volts, self.read_scheme, field_t) for c in cells]
        return np.array([each.terminal_ohm for each in solved])

    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None:
        """A source of `bias_v` left on the lines of each cell for `seconds`."""
        for cell in cells:
            self._expose(self._settled(int(cell), bias_v, self.read_scheme).cell_v.ravel(), seconds)

    def field(self, cells: Cells, field_t: float, flat_top_s: float) -> None:
        self._array.field(cells, field_t, flat_top_s)

    def elapse(self, seconds: float) -> None:
        self._array.elapse(seconds)

    @property
    def states(self) -> TrueStates | None:
        """The true states of the cells themselves."""
        return self._array.states

    def stick(self, cells: Cells) -> None:
        self._array.stick(cells)

    def close(self) -> None:
        self._array.close()

    def _crosspoint(self, cell: int) -> Crosspoint:
        return cell // self.crossbar.columns, cell % self.crossbar.columns

    def _settled(self, cell: int, volts: float, scheme: Scheme, field_t: float = 0.0) -> Solution:
        shape = self.crossbar.rows, self.crossbar.columns

        def ohm_at(cell_v: Floats) -> Floats:
            return self._array.resistance(self._all, cell_v.ravel(), field_t).reshape(shape)

        return settle(self.crossbar, ohm_at, self._crosspoint(cell), volts, scheme)

    def _pulse(self, cell: int, amplitude_v: float, width_s: float) -> float:
        cell_v = self._settled(cell, amplitude_v, self.write_scheme).cell_v.ravel()
        mine = float(cell_v[cell])
        energy_j = float(self._array.pulse(np.array([cell]), mine, width_s)[0])
        cell_v[cell] = 0.0
        self._expose(cell_v, width_s)
        return energy_j

    def _read(self, cell: int, at: ReadPulse, field_t: float) -> float:
        cell_v = self._settled(cell, at.amplitude_v, self.read_scheme, field_t).cell_v
        ohm = self._array.resistance(self._all, cell_v.ravel(), field_t)
        for volts, some in _alike(cell_v.ravel()):
            ohm[some] = self._array.read(some, ReadPulse(volts, at.width_s), field_t)
        noisy = solve(
            self.crossbar, ohm.reshape(cell_v.shape), self._crosspoint(cell), at.amplitude_v, self.read_scheme
        )
        return float(noisy.terminal_ohm)

    def _expose(self, cell_v: Floats, seconds: float) -> None:
        for volts, some in _alike(cell_v):
            self._array.bias(some, volts, seconds)


def _alike(cell_v: Floats) -> list[tuple[float, Cells]]:
    """Cells under equal volts together, those without any left out."""
    volts = np.round(cell_v / _LEAST_V) * _LEAST_V
    return [(float(v), np.flatnonzero(volts == v)) for v in np.unique(volts) if v]
