"""Single cells through a pulser, a meter and a switch: route, arm, fire, settle, read.

Both sources are off whenever the matrix moves. After a failure it is not known whether they are, so the next
operation first sends both the off command, and does nothing else if that fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from quest_lab.device import ReadPulse
from quest_lab.errors import DeviceError
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.instruments.roles import MeasuresPulse, PulseSource, ResistanceMeter, Switch


class MatrixAccess:
    """CellAccess over a switch matrix. `path` is what the bench believes of the way from pulser to cell."""

    def __init__(
        self,
        pulser: PulseSource,
        meter: ResistanceMeter,
        switch: Switch,
        *,
        wiring: Wiring,
        path: SignalPath,
    ) -> None:
        self._pulser, self._meter, self._switch = pulser, meter, switch
        self._wiring, self._path = wiring, path
        self._sources_off = False

    def set_up(self) -> None:
        """Everything off before anything is configured."""
        self.off()
        for role in (self._pulser, self._meter, self._switch):
            role.set_up()

    def pulse(self, cell: int, amplitude_v: float, width_s: float, resistance_ohm: float) -> float | None:
        """One pulse; the energy V I t at the cell if the pulser measures.

        DeviceError names the cell in `ambiguous` only if the trigger may have been sent.
        """
        open_v = self._path.open_v(amplitude_v, resistance_ohm)
        with self._sources_off_around():
            self._pulser.arm(open_v, width_s)
            self._switch.route(self._wiring.pulser_row, cell)
            try:
                self._pulser.fire()
            except DeviceError as error:
                raise DeviceError(f"cell {cell}: {error}", ambiguous=np.array([cell], np.int64)) from error
        if not isinstance(self._pulser, MeasuresPulse):
            return None
        volts, ampere = self._pulser.last_pulse()
        return (volts - ampere * self._path.in_series_ohm) * ampere * width_s

    def read(self, cell: int, at: ReadPulse) -> float:
        with self._sources_off_around():
            self._meter.arm(at)
            self._switch.route(self._wiring.meter_row, cell)
            return self._meter.measure()

    def off(self) -> None:
        """Pulser, source, matrix, in this order, each whatever became of the one before."""
        self._sources_off = False
        all_off((self._pulser.off, self._meter.off, self._switch.off))
        self._sources_off = True

    def close(self) -> None:
        """Close the three connections."""
        all_off((self._pulser.close, self._meter.close, self._switch.close))

    @contextmanager
    def _sources_off_around(self) -> Iterator[None]:
        if not self._sources_off:
            self._pulser.off()
            self._meter.off()
        self._sources_off = False
        yield
        self._sources_off = True  # reached only if nothing was raised


def all_off(steps: Iterable[Callable[[], None]]) -> None:
    """Take every step whatever the others do; raises afterwards, naming all that failed."""
    failures: list[BaseException] = []
    for step in steps:
        try:
            step()
        except BaseException as error:  # an interrupt must not keep the next output on either
            failures.append(error)
    if interrupt := next((f for f in failures if not isinstance(f, Exception)), None):
        raise interrupt
    if failures:
        raise DeviceError("; ".join(str(failure) for failure in failures)) from failures[0]
