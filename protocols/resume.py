"""Going on with a run that was cut off, for protocols that only ask and listen: `measure`, `characterize`, `replay`.

What such a protocol does follows from what the device answered, and when. Its run file holds both. So it is run
again from its beginning (a replay from its last whole step) and told from the file what it asks, without a pulse, until
the file ends; from there on the device answers. It sees numbers as the file keeps them (single precision), cut off or
not, so both end alike.

A pulse under way at the cut may or may not have been given. Its cells are read first, then they get it (again): no
measurement goes on without it, and at most one pulse more a cell and cut is in the table `resumes`. A writer, who
knows what the states look like, does not give it to a cell that has it already (`learned.got_it`). The reading of a
field's flat top cannot be had again: it is NaN. Time that passed on the bench between cut and resume has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
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
from quest_lab.errors import UnsoundRead
from quest_lab.protocols.call_log import Answer, Asked, CallLog, nothing_yet
from quest_lab.protocols.measurement import read_cells
from quest_lab.record import RunWriter
from quest_lab.session import Session

_NONE = np.empty(0)
T = TypeVar("T", np.int64, np.float64)
Left: TypeAlias = Callable[[Cells], NDArray[T]]


def resumable(
    session: Session,
    log: CallLog | None = None,
    *,
    hardware: bool = False,
    found: Characterization | None = None,
    wall: Callable[[], float] = time.time,
) -> Session:
    """`session`, whose device answers from `log` (of its run, cut off before) as long as it lasts.

    On `hardware` time went on meanwhile, that of a simulated chip stood still. Cells in doubt are read at once. With
    `found`, those that have their pulse, by their states, do not get it again.
    """
    run = session.run
    if run is None:
        return session
    ahead_s = 0.0
    if log is not None:
        ahead_s, ohm = _taken_up(session, run, log, hardware=hardware, wall=wall)
        if found is not None:
            log.settle(found, ohm, session.device.capabilities.read)
    log, cells = log or nothing_yet(run.path), session.device.capabilities.cells
    return replace(
        session,
        device=Told(session.device, log, run),
        clock=_Resumed(session.clock, log, ahead_s),
        pulses_left=_as_then(session.pulses_left, lambda: log.pulses_to_tell(cells)),
        energy_left_j=_as_then(session.energy_left_j, lambda: log.energy_to_tell_j(cells)),
    )


def _taken_up(
    session: Session, run: RunWriter, log: CallLog, *, hardware: bool, wall: Callable[[], float]
) -> tuple[float, Floats]:
    """Read the cells in doubt and book the cut; by how much the time of this run is ahead of the bench's clock, and
    what was read, ohm."""
    now_s, gone_s = session.clock.now(), 0.0
    if hardware and log.rows:  # the clock may have begun anew with the computer
        gone_s = max(now_s - (log.end_s - log.ahead_s), wall() - log.end_wall_s)
    ahead_s = log.end_s + gone_s - now_s
    if not log.reopened:
        first = min(log.rows, run.rows("calls"))
        run.append(
            "resumes", first=first, last=first, pulses_in_doubt=log.doubt.pulses, reads_in_doubt=log.doubt.reads,
            read_energy_j=0.0, away_s=gone_s, clock_ahead_s=ahead_s,
        )  # fmt: skip
        run.flush()  # from here on, what is read is not the protocol's
    ohm, at = read_cells(session, log.doubt.cells), session.device.capabilities.read
    read_j = at.amplitude_v**2 * at.width_s * float(np.sum(1.0 / ohm[ohm > 0]))
    done = {"last": run.rows("calls"), "read_energy_j": read_j, "away_s": gone_s, "clock_ahead_s": ahead_s}
    for column, value in done.items():
        run.update("resumes", column, run.rows("resumes") - 1, value)
    run.flush()
    return ahead_s, ohm


def _as_then(left: Left[T] | None, still: Callable[[], NDArray[T]]) -> Left[T] | None:
    """What cells have left, as it was when the protocol asked: what is still to be told is in the ledger already."""
    if left is None:
        return None

    def then(cells: Cells) -> NDArray[T]:
        now = left(cells)
        unlimited = now == (np.inf if now.dtype.kind == "f" else np.iinfo(np.int64).max)
        return np.asarray(np.where(unlimited, now, now + still()[cells]))

    return then


class _Resumed:
    """A clock that shows the time of the next call of a log while it lasts, then goes on from there."""

    def __init__(self, clock: Clock, log: CallLog, ahead_s: float) -> None:
        self._clock, self._log, self._ahead_s = clock, log, ahead_s

    def now(self) -> float:
        return self._log.next_s if self._log.left else self._clock.now() + self._ahead_s

    def sleep(self, seconds: float) -> None:
        if not self._log.left:
            self._clock.sleep(seconds)


class Told:
    """A Device that answers from `log` while it lasts, then as `device`; its numbers are those that `run` keeps."""

    def __init__(self, device: Device, log: CallLog, run: RunWriter) -> None:
        self._device, self._log, self._run = device, log, run

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        if not (self._log.left and cells.size):
            return _kept_of(self._device.apply(operation, cells, then_read=then_read))
        cells = as_cells(cells, self.capabilities.cells)
        energy_j, ohm, origin = *np.full((2, cells.size), np.nan), EnergyOrigin.COMPUTED
        rest = np.arange(cells.size)
        while rest.size:  # part by part, as it was answered
            given, here = self._given(operation, cells[rest])
            mine, rest = rest[here], rest[~here]
            energy_j[mine], origin = given.energy_j, given.origin
            if then_read:
                ohm[mine] = self._read_back(operation, cells[mine])
        reading = _reading(cells, ohm, self.capabilities.read) if then_read else None
        return Applied(cells, operation, energy_j, origin, reading)

    def _given(self, operation: Operation, cells: Cells) -> tuple[Applied, NDArray[np.bool_]]:
        """What the next call of the log says, and of which of `cells`; the device's answer if it says nothing more."""
        if not self._log.left:
            given = self._device.apply(operation, cells)
            return replace(given, energy_j=_kept(given.energy_j)), np.ones(cells.size, np.bool_)
        answer = self._log.tell(Asked.pulse(operation), cells)
        origin = EnergyOrigin.MEASURED if answer.measured else EnergyOrigin.COMPUTED
        return Applied(cells[answer.known], operation, answer.values[answer.known], origin), answer.known

    def _read_back(self, operation: Operation, cells: Cells) -> Floats:
        if isinstance(operation, FieldPulse) and operation.read_on_top:
            return self._on_top(cells).resistance_ohm
        return self.read(cells).resistance_ohm

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        """As the device, or as it was then. Reads that no sound cell has are kept, so that they can be told again."""
        at = at or self.capabilities.read
        if not (self._log.left and cells.size):
            return self._asked(cells, at, Answer.none(cells.size))
        cells = as_cells(cells, self.capabilities.cells)
        answer = self._log.tell(Asked.read(at), cells)
        if answer.unsound_ohm is not None:
            partial = _reading(cells[answer.known], answer.values[answer.known], at)
            raise UnsoundRead(f"{self._log.path}: as it was read", ohm=answer.unsound_ohm, partial=partial)
        return _reading(cells, answer.values, at) if answer.known.all() else self._asked(cells, at, answer)

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        self._device.close()

    def _on_top(self, cells: Cells) -> Reading:
        at = self.capabilities.read
        asked = Asked.read(at, on_top=True)
        values = (
            self._log.tell(asked, cells).values if self._log.is_next(asked) else np.full(cells.size, np.nan)
        )
        return _reading(cells, values, at)

    def _asked(self, cells: Cells, at: ReadPulse, answer: Answer) -> Reading:
        """Read the cells of which the log does not tell."""
        first, rest, ohm = self._run.rows("reads"), np.flatnonzero(~answer.known), answer.values
        try:
            ohm[rest] = _kept(self._device.read(cells[rest], at).resistance_ohm)
        except UnsoundRead as error:
            came = _NONE if error.partial is None else _kept(error.partial.resistance_ohm)
            self._run.append("unsound_reads", read=first + came.size, resistance_ohm=error.ohm)
            self._run.flush()
            ohm[rest[: came.size]] = came
            done = np.delete(np.arange(cells.size), rest[came.size :])
            raise UnsoundRead(
                str(error), ohm=error.ohm, partial=_reading(cells[done], ohm[done], at)
            ) from error
        return _reading(cells, ohm, at)


def _kept(values: Floats) -> Floats:
    """As a run file keeps them."""
    return values.astype(np.float32).astype(np.float64)


def _kept_of(done: Applied) -> Applied:
    reading = done.reading
    if reading is not None:
        reading = replace(reading, resistance_ohm=_kept(reading.resistance_ohm))
    return replace(done, energy_j=_kept(done.energy_j), reading=reading)


def _reading(cells: Cells, ohm: Floats, at: ReadPulse) -> Reading:
    with np.errstate(divide="ignore"):
        return Reading(cells, ohm, at.amplitude_v**2 * at.width_s / ohm, at)
