"""A simulated chip: an array of cells behind the Device seam."""

from __future__ import annotations

import numpy as np

from quest_lab.clock import Clock
from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    EnergyOrigin,
    FieldPulse,
    Floats,
    Operation,
    Range,
    Reading,
    ReadPulse,
    Scope,
    as_cells,
    check_whole_domains,
)
from quest_lab.errors import LimitExceeded
from quest_lab.sim.array import SimulatedCells, TrueStates
from quest_lab.sim.passive import PassiveCells


class SimulatedChip:
    """A Device over simulated cells; pulses and reads of one call happen side by side and take one width.

    It has a magnet if its cells are reset by a field, and its cells age by its clock.
    """

    def __init__(self, array: SimulatedCells, clock: Clock) -> None:
        self.array = array
        self._clock, self._lived_to_s = clock, clock.now()
        model = array.model
        self._capabilities = Capabilities(
            chip_id=array.chip_id,
            cells=array.cells,
            amplitude_v=Range(-1.5, 1.5),
            width_s=Range(1e-9, 1.0),
            read=model.read,
            read_amplitude_v=Range(0.01, 0.2),
            reset=model.reset,
            reset_scope=model.reset_scope,
            set_width_s=model.t_ref_s,
            set_amplitude_v=model.set_amplitude_v,
            field_t=Range(-0.5, 0.5) if isinstance(model.reset, FieldPulse) else None,
            reads_in_field=isinstance(model.reset, FieldPulse),
            simulated=True,
            topology="passive" if isinstance(array, PassiveCells) else "isolated",
            lines=(array.crossbar.rows, array.crossbar.columns) if isinstance(array, PassiveCells) else None,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        cells = as_cells(cells, self.array.cells)
        self._elapse()
        standing_t = 0.0
        if isinstance(operation, FieldPulse):
            energy = self._field(operation, cells)
            standing_t = operation.field_t if operation.read_on_top else 0.0
        else:
            energy = self.array.pulse(cells, operation.amplitude_v, operation.width_s)
        self._clock.sleep(operation.width_s)
        reading = self._read(cells, self._capabilities.read, standing_t) if then_read else None
        return Applied(cells, operation, energy, EnergyOrigin.COMPUTED, reading)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self._read(as_cells(cells, self.array.cells), at or self._capabilities.read)

    @property
    def true_states(self) -> TrueStates | None:
        """What no instrument can see: for reports beside the decoded states."""
        return self.array.states

    def safe_state(self) -> None:
        """Nothing is left on between calls."""

    def close(self) -> None:
        self.array.close()

    def _read(self, cells: Cells, at: ReadPulse, field_t: float = 0.0) -> Reading:
        self._elapse()
        ohm = self.array.read(cells, at, field_t)
        self._clock.sleep(at.width_s)
        return Reading(cells, ohm, at.amplitude_v**2 * at.width_s / ohm, at)

    def _elapse(self) -> None:
        """Let the cells live up to now."""
        now = self._clock.now()
        self.array.elapse(now - self._lived_to_s)
        self._lived_to_s = now

    def _field(self, pulse: FieldPulse, cells: Cells) -> Floats:
        if self._capabilities.field_t is None:
            raise LimitExceeded(f"field_t={pulse.field_t}: chip {self.array.chip_id} has no magnet (T)")
        check_whole_domains(self._capabilities, cells)
        self.array.field(cells, pulse.field_t, pulse.width_s)
        shared = self._capabilities.reset_scope is Scope.ARRAY
        return np.full(cells.size, self.array.model.reset_energy_j / (max(cells.size, 1) if shared else 1))
