"""The one seam between protocols and hardware: a chip of multi-state memory cells.

Batch-shaped: one cell on a bench and a million simulated cells are the same call. Amplitudes are volts
*at the cell*; a bench's signal path is the bench's business. Quantities are SI floats, units in the name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quest_lab.errors import BadInput, DeviceError

Cells: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


def _check(name: str, value: float, unit: str, *, positive: bool = False) -> None:
    if not math.isfinite(value):
        raise BadInput(f"{name}={value}: not a finite number of {unit}")
    if positive and value <= 0:
        raise BadInput(f"{name}={value}: must be above 0 {unit}")


@dataclass(frozen=True, slots=True)
class VoltagePulse:
    """A rectangular pulse of `amplitude_v` volts at the cell for `width_s` seconds."""

    amplitude_v: float
    width_s: float

    def __post_init__(self) -> None:
        _check("amplitude_v", self.amplitude_v, "V")
        _check("width_s", self.width_s, "s", positive=True)


@dataclass(frozen=True, slots=True)
class FieldPulse:
    """A magnetic field of `field_t` tesla whose flat top lasts `width_s` seconds (ramps are the magnet's).

    With `read_on_top` the reading that `then_read` asks for is taken while the field still stands, not after it.
    """

    field_t: float
    width_s: float
    read_on_top: bool = False

    def __post_init__(self) -> None:
        _check("field_t", self.field_t, "T")
        _check("width_s", self.width_s, "s", positive=True)


Operation: TypeAlias = VoltagePulse | FieldPulse


@dataclass(frozen=True, slots=True)
class ReadPulse:
    """A read at `amplitude_v` volts at the cell, applied for `width_s` seconds."""

    amplitude_v: float
    width_s: float

    def __post_init__(self) -> None:
        _check("amplitude_v", self.amplitude_v, "V")
        _check("width_s", self.width_s, "s", positive=True)


class EnergyOrigin(StrEnum):
    """Whether an energy was measured at the cell or computed from volts, time and resistance."""

    MEASURED = "measured"
    COMPUTED = "computed"


class Scope(StrEnum):
    """What one reset reaches: the named cell, or every cell in the magnet's gap."""

    CELL = "cell"
    ARRAY = "array"


@dataclass(frozen=True, slots=True)
class Range:
    """A closed interval of a quantity in the unit its field name carries."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a device can do. A protocol asks this, never what the device is.

    `domain` gives each cell the index of the group that one array-scope reset reaches, shape (cells,);
    None means that all cells form one domain. `reset` is the operation that brings any state back to R0: a
    field, or for bipolar cells a pulse of the other polarity. `set_amplitude_v` reaches from below the first
    state's threshold to above the last one's at `set_width_s`: what a staircase covers. `lines` are the word and
    bit lines of a passive crossbar, whose cells are counted row by row. `reads_in_field` says
    whether a field pulse may be `read_on_top`.
    """

    chip_id: str
    cells: int
    amplitude_v: Range
    width_s: Range
    read: ReadPulse
    read_amplitude_v: Range
    reset: Operation | None
    reset_scope: Scope
    set_width_s: float
    set_amplitude_v: Range = Range(0.35, 0.85)
    topology: str = "isolated"
    lines: tuple[int, int] | None = None
    field_t: Range | None = None
    reads_in_field: bool = False
    domain: NDArray[np.int32] | None = field(default=None, compare=False)
    simulated: bool = False

    def domain_of(self, cells: Cells) -> NDArray[np.int32]:
        """Domain index of each cell, shape (len(cells),)."""
        if self.domain is None:
            return np.zeros(len(cells), np.int32)
        return self.domain[cells]


@dataclass(frozen=True, slots=True)
class Reading:
    """Resistances of `cells` in their order, ohm; `energy_j` is what each read spent in the cell."""

    cells: Cells
    resistance_ohm: Floats
    energy_j: Floats
    at: ReadPulse


@dataclass(frozen=True, slots=True)
class Applied:
    """An operation given to `cells`, the energy of each in joule, and the reading if one was asked for."""

    cells: Cells
    operation: Operation
    energy_j: Floats
    origin: EnergyOrigin
    reading: Reading | None = None

    def expect_reading(self) -> Reading:
        """The reading that `then_read` asked for; DeviceError if the device gave none."""
        if self.reading is None:
            raise DeviceError("device gave no reading although apply was asked to read", delivered=self.cells)
        return self.reading


class Device(Protocol):
    """A chip of multi-state memory cells: simulated, virtual bench, or real."""

    @property
    def capabilities(self) -> Capabilities: ...

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        """Give `operation` to every cell of `cells`, then read them if asked.

        Raises LimitExceeded before anything is sent; DeviceError with what was delivered and what is
        ambiguous when it fails on the way. A field pulse of scope `array` must name all cells of its domain.
        """
        ...

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        """Read `cells` in order, at `at` or the device's own read pulse."""
        ...

    def safe_state(self) -> None:
        """All outputs off. Unconditional, idempotent."""
        ...

    def close(self) -> None:
        """Safe state, then release everything. Idempotent."""
        ...


def as_cells(cells: ArrayLike, count: int) -> Cells:
    """`cells` as unique int64 indices below `count`, in the order given; else BadInput names the culprit."""
    given = np.asarray(cells)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise BadInput(
            f"cells: want a 1-D array of integer indices, got shape {given.shape} of {given.dtype}"
        )
    out: Cells = np.ascontiguousarray(given, np.int64)
    if out.size:
        low, high = int(out.min()), int(out.max())
        if low < 0 or high >= count:
            bad = low if low < 0 else high
            raise BadInput(f"cells: index {bad} outside 0..{count - 1} of this chip")
        if not _strictly_ascending(out) and np.unique(out).size != out.size:
            raise BadInput("cells: the same cell is named twice in one call")
    return out


def _strictly_ascending(cells: Cells) -> bool:
    return bool(np.all(cells[1:] > cells[:-1]))


def whole_domains(capabilities: Capabilities, cells: Cells) -> Cells:
    """All cells that one array-scope reset of `cells` reaches, ascending."""
    everyone = np.arange(capabilities.cells)
    mine = np.unique(capabilities.domain_of(cells))
    return everyone[np.isin(capabilities.domain_of(everyone), mine)]


def check_whole_domains(capabilities: Capabilities, cells: Cells) -> None:
    """Raise BadInput unless `cells` names whole reset domains (scope `array` only)."""
    if capabilities.reset_scope is Scope.CELL or not cells.size:
        return
    reached = whole_domains(capabilities, cells)
    if reached.size != cells.size:
        raise BadInput(
            f"field pulse names {cells.size} cells, but its magnet reaches all {reached.size} cells of the "
            "domain: name them all (reset scope 'array')"
        )
