"""Recording: `RunWriter` and `open_run` (from their modules), and `Recorded`, which books a device's calls.

On hardware the intent is on disk before a pulse is sent and the outcome after, so that a crash in between
leaves an open intent: those cells are ambiguous and must be read. On simulated chips calls are buffered.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from quest_lab.clock import Clock
from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    Device,
    EnergyOrigin,
    FieldPulse,
    Floats,
    Operation,
    Reading,
    ReadPulse,
    as_cells,
)
from quest_lab.diskspace import DiskFull
from quest_lab.errors import BadInput, DeviceError
from quest_lab.runfile import Run, open_run
from quest_lab.runstart import part_of
from quest_lab.runwriter import RunWriter
from quest_lab.schema import EVENTS, Kind, Op, Origin, Outcome

__all__ = ["DiskFull", "Recorded", "Run", "RunWriter", "open_run", "part_of"]

_Answer = TypeVar("_Answer", Applied, Reading)


@dataclass(slots=True)
class _Call:
    """A call in hand; `row` is its row in the file once the intent is booked."""

    kind: Kind
    op: Op
    amplitude: float
    width_s: float
    clock_s: float
    cells: Cells
    read_op: Op = Op.NONE  # of the reading that comes with it
    row: int = -1
    first: int = -1


class Recorded:
    """A Device whose every apply and read is in `run`, whatever happens."""

    def __init__(
        self, device: Device, run: RunWriter, clock: Clock, *, immediate: bool | None = None
    ) -> None:
        self._device = device
        self._run = run
        self._clock = clock
        self._immediate = not device.capabilities.simulated if immediate is None else immediate

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        """As the device; a failure is booked as what was delivered, is ambiguous, was not reached."""
        if isinstance(operation, FieldPulse):
            op, amplitude = Op.FIELD, operation.field_t
            read_op = Op.FIELD if operation.read_on_top else Op.NONE
        else:
            op, amplitude, read_op = Op.VOLTAGE, operation.amplitude_v, Op.NONE
        call = _Call(Kind.APPLY, op, amplitude, operation.width_s, self._clock.now(), cells, read_op)
        applied = self._booked(call, lambda: self._device.apply(operation, cells, then_read=then_read))
        origin = Origin.MEASURED if applied.origin is EnergyOrigin.MEASURED else Origin.COMPUTED
        self._done(call, applied.energy_j, origin)
        if applied.reading is not None:
            self._book_reading(applied.reading, read_op)
        return self._acknowledged(applied)

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        """As the device; of a failed read the part that came is booked."""
        pulse = at or self.capabilities.read
        call = _Call(Kind.READ, Op.NONE, pulse.amplitude_v, pulse.width_s, self._clock.now(), cells)
        reading = self._booked(call, lambda: self._device.read(cells, at))
        self._done(call, reading.resistance_ohm, Origin.NONE)
        return self._acknowledged(reading)

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        """Close the device; the run file is its owner's."""
        self._device.close()

    def _booked(self, call: _Call, act: Callable[[], _Answer]) -> _Answer:
        if self._immediate:
            self._intend(call)
            self._run.flush()
        elif call.kind is Kind.APPLY:
            self._run.intend(call.kind, call.op, call.amplitude, call.width_s, call.clock_s, call.cells)
        try:
            return act()
        except BaseException as error:
            self._broke_off(call, error)
            raise

    def _intend(self, call: _Call) -> None:
        call.cells = as_cells(call.cells, self.capabilities.cells)
        call.first = self._run.rows(EVENTS[call.kind][0])
        unknown = np.full(len(call.cells), np.nan)
        call.row = self._book(call, Outcome.INTENT, Origin.NONE, unknown)

    def _done(self, call: _Call, values: Floats, origin: Origin) -> None:
        if call.row < 0:
            self._book(call, Outcome.DONE, origin, values)
            return
        self._run.update(*EVENTS[call.kind], call.first, values)
        self._run.update("calls", "origin", call.row, origin)
        self._run.update("calls", "outcome", call.row, Outcome.DONE)

    def _book(self, call: _Call, outcome: Outcome, origin: Origin, values: Floats) -> int:
        return self._run.call(
            call.kind,
            call.op,
            outcome,
            origin,
            call.amplitude,
            call.width_s,
            call.clock_s,
            call.cells,
            values,
        )

    def _book_reading(self, reading: Reading, op: Op) -> None:
        at = reading.at
        now = self._clock.now()
        call = _Call(Kind.READ, op, at.amplitude_v, at.width_s, now, reading.cells)
        self._book(call, Outcome.DONE, Origin.NONE, reading.resistance_ohm)

    def _acknowledged(self, answer: _Answer) -> _Answer:
        if self._immediate:
            self._run.flush()
        return answer

    def _broke_off(self, call: _Call, error: BaseException) -> None:
        """Split the intent by what happened to its cells; every cell stays in exactly one row."""
        if call.row < 0:
            with suppress(BadInput):  # cells that the chip does not have: nothing was sent, nothing to book
                self._intend(call)
        if call.row < 0:
            return
        outcomes = _outcomes(call, error)
        order = np.argsort(outcomes, kind="stable")
        partial = error.partial if isinstance(error, DeviceError) else None
        self._run.update(EVENTS[call.kind][0], "cell", call.first, call.cells[order])
        if call.kind is Kind.READ and partial is not None:
            self._run.update(*EVENTS[call.kind], call.first, partial.resistance_ohm)
        self._split(call, outcomes[order])
        if call.kind is Kind.APPLY and partial is not None:
            self._book_reading(partial, call.read_op)
        self._run.flush()

    def _split(self, call: _Call, outcomes: NDArray[np.uint8]) -> None:
        found, starts, counts = np.unique(outcomes, return_index=True, return_counts=True)
        self._run.update("calls", "outcome", call.row, found[0] if len(found) else Outcome.FAILED)
        self._run.update("calls", "count", call.row, counts[0] if len(found) else 0)
        for outcome, start, count in zip(found[1:], starts[1:], counts[1:], strict=True):
            self._run.append(
                "calls",
                kind=call.kind,
                op=call.op,
                outcome=outcome,
                origin=Origin.NONE,
                amplitude=call.amplitude,
                width_s=call.width_s,
                count=count,
                first=call.first + start,
                wall_time_s=self._run.wall_time_s(),
                clock_s=call.clock_s,
            )


def _outcomes(call: _Call, error: BaseException) -> NDArray[np.uint8]:
    """Outcome of each cell of a call that raised."""
    outcomes = np.full(len(call.cells), Outcome.FAILED, np.uint8)
    if isinstance(error, DeviceError) and call.kind is Kind.APPLY:
        outcomes[np.isin(call.cells, error.delivered)] = Outcome.DONE
        outcomes[np.isin(call.cells, error.ambiguous)] = Outcome.AMBIGUOUS
    elif isinstance(error, DeviceError) and error.partial is not None:
        outcomes[np.isin(call.cells, error.partial.cells)] = Outcome.DONE
    elif not isinstance(error, DeviceError | BadInput) and call.kind is Kind.APPLY:
        outcomes[:] = Outcome.AMBIGUOUS  # cut off from outside: nobody knows how far it came
    return outcomes
