"""What a bench needs of its instruments, role by role. A driver is a thin adapter that fills one of these.

Every `off` is unconditional: no query before it, idempotent, on a line in any state.
`close` ends the connection.
All methods raise DeviceError naming instrument and step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from quest_lab.device import ReadPulse


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it should stand in an instrument, and as the instrument says it stands."""

    name: str
    wanted: float
    found: float
    unit: str

    @property
    def right(self) -> bool:
        """Whether the two agree as far as instruments' digits go."""
        return math.isclose(self.wanted, self.found, rel_tol=1e-4, abs_tol=1e-9)


class ReadsBack(Protocol):
    """A role that can tell its protective settings."""

    def read_back(self) -> list[Setting]: ...


class PulseSource(Protocol):
    """Gives one voltage pulse on command."""

    def set_up(self) -> None:
        """From any state to ready: output off, load, limits, shape, trigger."""
        ...

    def arm(self, open_v: float, width_s: float) -> None:
        """Prepare a pulse of these open-circuit volts; refused levels raise before anything is fired."""
        ...

    def fire(self) -> None:
        """Output on, one pulse, output off. If this raises, the pulse may or may not have been given."""
        ...

    def off(self) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class MeasuresPulse(Protocol):
    """A PulseSource that measures what it gives."""

    def last_pulse(self) -> tuple[float, float]:
        """Volts and ampere at its terminals near the end of the last pulse."""
        ...


class ResistanceMeter(Protocol):
    """Biases a cell and measures its resistance."""

    def set_up(self) -> None: ...

    def arm(self, at: ReadPulse) -> None:
        """Prepare reads at these volts for this long."""
        ...

    def measure(self) -> float:
        """One read: output on, measure, output off; ohm."""
        ...

    def off(self) -> None: ...

    def close(self) -> None: ...


class Switch(Protocol):
    """Joins one instrument row to one cell, and nothing else."""

    def set_up(self) -> None: ...

    def route(self, row: int, cell: int) -> None:
        """Close exactly this crosspoint and wait until its relay has settled."""
        ...

    def off(self) -> None:
        """Open everything."""
        ...

    def close(self) -> None: ...


class FieldSource(Protocol):
    """A magnet around the chip."""

    def set_up(self) -> None: ...

    def pulse(self, field_t: float, width_s: float, on_top: Callable[[], None] | None = None) -> float:
        """Ramp up, hold the flat top, call `on_top`, ramp to zero; returns the energy spent in the coil, joule."""
        ...

    def off(self) -> None:
        """Ramp to zero from the last known current, then output off: an inductor is never opened."""
        ...

    def close(self) -> None: ...


class CurrentSupply(Protocol):
    """Drives the current of a magnet; `FieldMagnet` makes a FieldSource of it."""

    name: str

    def take_over(self) -> float:
        """Find out what current flows already, ampere (0 with the output off)."""
        ...

    def enable(self, compliance_v: float) -> None:
        """From output off to current mode at 0 A, output on."""
        ...

    def set_ampere(self, ampere: float, what: str) -> None:
        """A new set point, without a reply; `what` names the step in an error."""
        ...

    def measure_ampere(self) -> float: ...

    def open(self) -> None:
        """Output off; the caller has ramped the current to 0."""
        ...

    def close(self) -> None: ...


class Gaussmeter(Protocol):
    """Measures the field in the gap. It has no output, so there is nothing to switch off."""

    name: str

    def set_up(self) -> None: ...

    def field_t(self) -> float:
        """A fresh reading, tesla: one that was taken after this call."""
        ...

    def read_back(self) -> list[Setting]: ...

    def close(self) -> None: ...


class CellAccess(Protocol):
    """Reaches single cells: a pulser, a meter and a switch, or an array board."""

    def set_up(self) -> None: ...

    def pulse(self, cell: int, amplitude_v: float, width_s: float, resistance_ohm: float) -> float | None:
        """One pulse of volts *at the cell*, compensated with its resistance; its energy in the cell, joule, where
        that was measured. Failing while it is fired raises
        DeviceError with the cell in `ambiguous`, before that without."""
        ...

    def read(self, cell: int, at: ReadPulse) -> float:
        """Resistance of the cell, ohm."""
        ...

    def off(self) -> None:
        """Pulser off, source off, matrix open; a failure of one never stops the next."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class PulseReadAccess(Protocol):
    """A CellAccess that can also pulse and read in one exchange."""

    def pulse_and_read(
        self, cell: int, amplitude_v: float, width_s: float, resistance_ohm: float, at: ReadPulse, /
    ) -> float:
        """One pulse as `CellAccess.pulse`, then a read, ohm. Without a reading the cell is in `ambiguous`."""
        ...
