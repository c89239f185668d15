"""Limits: what must not reach a cell is refused before the wire, saying which limit and where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    Device,
    FieldPulse,
    Operation,
    Range,
    Reading,
    ReadPulse,
    VoltagePulse,
)
from quest_lab.errors import BadInput, LimitExceeded


@dataclass(frozen=True, slots=True)
class Limit:
    """A closed interval, its unit, and where it stands (a file's key, a chip)."""

    low: float
    high: float
    unit: str
    where: str

    def __post_init__(self) -> None:
        if not self.low <= self.high:  # NaN included
            raise BadInput(f"{self.where}: low={self.low} {self.unit} above high={self.high} {self.unit}")

    def check(self, name: str, value: float) -> None:
        """Raise LimitExceeded unless low <= value <= high."""
        if value > self.high:
            raise LimitExceeded(f"{name}={value:g}: above {self.high:g} {self.unit}, {self.where}")
        if not value >= self.low:
            raise LimitExceeded(f"{name}={value:g}: below {self.low:g} {self.unit}, {self.where}")


@dataclass(frozen=True, slots=True)
class Limits:
    """One Limit per quantity; None leaves it free.

    `energy_j` bounds the worst case of a pulse, V^2 t / R at R = `energy_at_ohm`, a cell's least resistance.
    """

    amplitude_v: Limit | None = None
    width_s: Limit | None = None
    field_t: Limit | None = None
    field_width_s: Limit | None = None
    read_amplitude_v: Limit | None = None
    read_width_s: Limit | None = None
    energy_j: Limit | None = None
    energy_at_ohm: float = math.inf

    @classmethod
    def of(cls, capabilities: Capabilities) -> Self:
        """What the device says it can do."""

        def limit(name: str, allowed: Range, unit: str) -> Limit:
            return Limit(allowed.low, allowed.high, unit, f"capabilities.{name} of {capabilities.chip_id}")

        field = capabilities.field_t
        return cls(
            amplitude_v=limit("amplitude_v", capabilities.amplitude_v, "V"),
            width_s=limit("width_s", capabilities.width_s, "s"),
            field_t=None if field is None else limit("field_t", field, "T"),
            read_amplitude_v=limit("read_amplitude_v", capabilities.read_amplitude_v, "V"),
        )

    def check(self, operation: Operation) -> None:
        """Raise LimitExceeded if a pulse must not be given."""
        if isinstance(operation, FieldPulse):
            _check(self.field_t, "field_t", operation.field_t)
            _check(self.field_width_s, "width_s", operation.width_s)
            return
        _check(self.amplitude_v, "amplitude_v", operation.amplitude_v)
        _check(self.width_s, "width_s", operation.width_s)
        self._check_energy(operation)

    def check_read(self, at: ReadPulse) -> None:
        """Raise LimitExceeded if a read must not be done."""
        _check(self.read_amplitude_v, "read amplitude_v", at.amplitude_v)
        _check(self.read_width_s, "read width_s", at.width_s)

    def _check_energy(self, pulse: VoltagePulse) -> None:
        energy_j = pulse.amplitude_v**2 * pulse.width_s / self.energy_at_ohm
        _check(self.energy_j, f"energy_j of {pulse.amplitude_v:g} V, {pulse.width_s:g} s", energy_j)


class Limited:
    """A Device that refuses what `limits`, or the device's own capabilities, do not allow.

    Wrap once more for each further source (datasheet, bench, protocol): the tightest holds.
    """

    def __init__(self, device: Device, limits: Limits | None = None) -> None:
        self._device = device
        self._limits = [*([limits] if limits else []), Limits.of(device.capabilities)]

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        """As the device, or LimitExceeded before anything is sent."""
        if isinstance(operation, FieldPulse) and self.capabilities.field_t is None:
            raise LimitExceeded(
                f"field_t={operation.field_t:g}: {self.capabilities.chip_id} has no field (T)"
            )
        on_top = isinstance(operation, FieldPulse) and operation.read_on_top
        if on_top and not self.capabilities.reads_in_field:
            raise LimitExceeded(
                f"read_on_top: {self.capabilities.chip_id} cannot be read while a field stands"
            )
        for limits in self._limits:
            limits.check(operation)
            if then_read:
                limits.check_read(self.capabilities.read)
        return self._device.apply(operation, cells, then_read=then_read)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        """As the device, or LimitExceeded before anything is sent."""
        for limits in self._limits:
            limits.check_read(at or self.capabilities.read)
        return self._device.read(cells, at)

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        self._device.close()


def _check(limit: Limit | None, name: str, value: float) -> None:
    if limit is not None:
        limit.check(name, value)
