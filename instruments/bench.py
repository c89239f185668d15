"""A bench of instruments as a Device: cells one by one, volts at the cell, honest failures, all off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
    VoltagePulse,
    as_cells,
    check_whole_domains,
)
from quest_lab.errors import DeviceError, LimitExceeded, UnsoundRead
from quest_lab.instruments.access import all_off
from quest_lab.instruments.roles import CellAccess, FieldSource, PulseReadAccess


class BenchDevice:
    """Device over an access to single cells and a magnet.

    The last resistance read of each cell (before the first read: `nominal_ohm`) compensates the signal path
    and gives the energies V^2 t / R, which are therefore computed, not measured. A read outside `sound_ohm`
    is a failure: the cell, the wiring or the reply is broken. `release` is called last.
    """

    def __init__(
        self,
        access: CellAccess,
        field: FieldSource | None,
        capabilities: Capabilities,
        *,
        nominal_ohm: float = 2000.0,
        sound_ohm: Range = Range(0.0, np.inf),  # noqa: B008  # frozen
        release: Callable[[], None] | None = None,
    ) -> None:
        self._access, self._field = access, field
        self._capabilities = capabilities
        self._resistance_ohm = np.full(capabilities.cells, nominal_ohm)
        self._sound_ohm = sound_ohm
        self._closed = False
        self._release = release

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def set_up(self) -> None:
        """Bring every instrument from whatever it was doing to ready; everything off if that fails."""
        try:
            self._access.set_up()
            if self._field:
                self._field.set_up()
        except BaseException:
            self.safe_state()
            raise

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        cells = as_cells(cells, self._capabilities.cells)
        if isinstance(operation, FieldPulse):
            return self._apply_field(operation, cells, then_read=then_read)
        self._check("amplitude_v", operation.amplitude_v, self._capabilities.amplitude_v, "V")
        self._check("width_s", operation.width_s, self._capabilities.width_s, "s")
        return self._apply_pulse(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        cells = as_cells(cells, self._capabilities.cells)
        at = at or self._capabilities.read
        self._check("read amplitude_v", at.amplitude_v, self._capabilities.read_amplitude_v, "V")
        ohms: list[float] = []
        for cell in cells:
            try:
                ohms.append(self._read(int(cell), at))
            except UnsoundRead as error:
                raise UnsoundRead(str(error), ohm=error.ohm, partial=_reading(cells, ohms, at)) from error
            except DeviceError as error:
                raise DeviceError(str(error), partial=_reading(cells, ohms, at)) from error
        return _reading(cells, ohms, at)

    def safe_state(self) -> None:
        """Pulser, source, matrix, magnet; one failure never stops the next. Raises DeviceError at the end."""
        all_off((self._access.off, self._field.off) if self._field else (self._access.off,))

    def close(self) -> None:
        """Safe state, then the connections."""
        if self._closed:
            return
        self._closed = True
        field = (self._field.close,) if self._field else ()
        release = (self._release,) if self._release else ()
        all_off((self.safe_state, self._access.close, *field, *release))

    def _apply_pulse(self, pulse: VoltagePulse, cells: Cells, *, then_read: bool) -> Applied:
        """Cell by cell: pulse, then its read, so that a failure leaves whole pairs behind."""
        energy_j, measured = np.empty(cells.size), cells.size > 0
        ohms: list[float] = []
        at, pulsed = self._capabilities.read, 0
        try:
            for i, cell in enumerate(cells):
                ohm = float(self._resistance_ohm[cell])
                given = (int(cell), pulse.amplitude_v, pulse.width_s, ohm)
                energy_j[i] = pulse.amplitude_v**2 * pulse.width_s / ohm
                if then_read and isinstance(self._access, PulseReadAccess):
                    found = self._access.pulse_and_read(*given, at)
                    pulsed, measured = i + 1, False
                    ohms.append(self._sound(int(cell), found))
                    continue
                spent_j = self._access.pulse(*given)
                pulsed, measured = i + 1, measured and spent_j is not None
                energy_j[i] = energy_j[i] if spent_j is None else spent_j
                if then_read:
                    ohms.append(self._read(int(cell), at))
        except (DeviceError, LimitExceeded) as error:
            if isinstance(error, LimitExceeded) and not pulsed:
                raise
            raise DeviceError(
                str(error),
                delivered=cells[:pulsed],
                ambiguous=error.ambiguous if isinstance(error, DeviceError) else None,
                partial=_reading(cells, ohms, at),
            ) from error
        reading = _reading(cells, ohms, at) if then_read else None
        origin = EnergyOrigin.MEASURED if measured else EnergyOrigin.COMPUTED
        return Applied(cells, pulse, energy_j, origin, reading)

    def _apply_field(self, pulse: FieldPulse, cells: Cells, *, then_read: bool) -> Applied:
        check_whole_domains(self._capabilities, cells)
        if self._field is None or self._capabilities.field_t is None:
            raise LimitExceeded(f"field_t={pulse.field_t}: this bench has no magnet")
        self._check("field_t", pulse.field_t, self._capabilities.field_t, "T")
        if not cells.size:
            return Applied(cells, pulse, np.empty(0), EnergyOrigin.COMPUTED)
        readings: list[Reading] = []
        on_top = (lambda: readings.append(self.read(cells))) if then_read and pulse.read_on_top else None
        try:
            energy_j = self._field.pulse(pulse.field_t, pulse.width_s, on_top)
        except DeviceError as error:  # any current may already have reached the cells
            raise DeviceError(str(error), ambiguous=cells, partial=error.partial) from error
        shares: Floats = np.full(cells.size, energy_j / cells.size)
        try:
            reading = (readings[0] if readings else self.read(cells)) if then_read else None
        except DeviceError as error:
            raise DeviceError(str(error), delivered=cells, partial=error.partial) from error
        return Applied(cells, pulse, shares, EnergyOrigin.COMPUTED, reading)

    def _read(self, cell: int, at: ReadPulse) -> float:
        return self._sound(cell, self._access.read(cell, at))

    def _sound(self, cell: int, ohm: float) -> float:
        """`ohm`, remembered for the cell's next pulse. Raises UnsoundRead if no sound cell has so much."""
        low, high = self._sound_ohm.low, self._sound_ohm.high
        if not low <= ohm <= high:
            raise UnsoundRead(
                f"meter: read: cell {cell} has {ohm:.5g} ohm, a sound one {low:g} to {high:g} ohm "
                "(chip.resistance): shorted, open or wired elsewhere?",
                ohm=ohm,
            )
        self._resistance_ohm[cell] = ohm
        return ohm

    def _check(self, name: str, value: float, allowed: Range, unit: str) -> None:
        if not allowed.low <= value <= allowed.high:
            raise LimitExceeded(
                f"{name}={value}: outside {allowed.low} to {allowed.high} {unit} "
                f"of {self._capabilities.chip_id}"
            )


def _reading(cells: Cells, ohms: list[float], at: ReadPulse) -> Reading:
    """A reading of the first `len(ohms)` cells."""
    ohm = np.array(ohms, np.float64)
    return Reading(cells[: ohm.size], ohm, at.amplitude_v**2 * at.width_s / ohm, at)
