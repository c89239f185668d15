"""What really happened in a virtual laboratory, to be held against what a run file says of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from measuring import AFTERWARDS, SETS

from quest_lab import open_run
from quest_lab.runfile import Run
from quest_lab.schema import Kind, Op, Outcome
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.wire import Wire

Phase = Literal["before", "after"]
PERHAPS = (Outcome.DONE, Outcome.AMBIGUOUS, Outcome.INTENT)
ENDS = ("done", "DeviceError", "Interrupted", "KeyboardInterrupt", "ended by signal")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
SAYS_WHERE = re.compile(
    r"\b(33500|2400|7001|Kepco|pulser|meter|switch|magnet|GPIB0::\d+::INSTR|TCPIP::\S+|ASRL\S+): \w+"
    r"|devices\.\w+: .* wants identity"
)


@dataclass(frozen=True)
class Point:
    """A moment of the measurement: at a message, before its instrument has it or after it was executed."""

    number: int
    address: str
    message: str
    phase: Phase

    @property
    def command(self) -> str:
        """The message, its numbers only zero or not: `CURR 0` is not `CURR 5`."""
        return NUMBER.sub(lambda found: "#" if float(found[0]) else "0", self.message)


@dataclass(frozen=True)
class Strike:
    """What happens at a point. A fault of the message itself is laid in its way, whatever its phase."""

    at: Point
    act: Callable[[Laboratory, Point], None]
    of_message: bool = False
    times: int = 1  # at so many messages, one after the other

    def due(self, number: int, phase: Phase) -> bool:
        wanted: Phase = "before" if self.of_message else self.at.phase
        return phase == wanted and 0 <= number - self.at.number < self.times


class Witness:
    """Sees all messages, reads and fields of a laboratory, and lets a strike happen."""

    def __init__(self, laboratory: Laboratory, strike: Strike | None = None) -> None:
        self.laboratory, self._strike = laboratory, strike
        self.messages: list[tuple[str, str]] = []
        self.reads: list[tuple[int, float]] = []
        self.peak_a = 0.0
        for address, wire in laboratory.wires.items():
            self._listen(address, wire)
        self._look_on()

    def _listen(self, address: str, wire: Wire) -> None:
        send = wire.send

        def sent(message: str) -> None:
            number = len(self.messages)
            self.messages.append((address, message))
            self._at(number, "before")
            send(message)
            self._at(number, "after")

        wire.send = sent  # type: ignore[method-assign]

    def _at(self, number: int, phase: Phase) -> None:
        world = self.laboratory.world
        self.peak_a = max(self.peak_a, abs(world.magnet.current_a(world.clock.now())))
        if self._strike and self._strike.due(number, phase):
            self._strike.act(self.laboratory, self._strike.at)

    def _look_on(self) -> None:
        world = self.laboratory.world
        measure = world.measure

        def measured(volts: float, limit_a: float, seconds: float) -> tuple[float, float]:
            cells = world.on_row(world.meter.row)
            found = measure(volts, limit_a, seconds)
            self.reads.append((int(cells[0]) if cells.size == 1 else -1, found[0] / found[1]))
            return found

        world.measure = measured  # type: ignore[method-assign]


def problems(witness: Witness, path: Path, told: str, *, passing: bool) -> list[str]:
    """What is wrong after a fault; empty where everything is as a physicist may rely on.

    `passing`: nothing of it is left after its message, so the cells can be read.
    """
    found = [f"violation: {v}" for v in witness.laboratory.world.violations]
    found += _still_on(witness.laboratory)
    if told.startswith("DeviceError") and not SAYS_WHERE.search(told):
        found.append(f"names no device and step: {told}")
    if not told.startswith(ENDS):
        found.append(f"an error of no kind that a user should see: {told}")
    after = told.partition(AFTERWARDS)[2]
    if after and (passing or not after.startswith(("DeviceError(", "UnsoundRead("))):
        found.append(f"not usable afterwards: {told}")
    try:
        with open_run(path) as run:
            return found + _pulses(witness, run) + _field(witness, run) + _reads(witness, run)
    except Exception as error:  # every way in which a file may fail to open is a finding
        return [*found, f"run file: {error!r}"]


def _still_on(laboratory: Laboratory) -> list[str]:
    world = laboratory.world
    closed = world.closed - world.defects.stuck_closed  # a welded relay opens for nobody
    states = {
        "pulser on": world.pulser.on,
        "meter on": world.meter.on,
        f"closed: {sorted(closed)}": bool(closed),
        "magnet current": world.magnet.current_a(world.clock.now()) != 0.0,
    }
    return [f"still on: {name}" for name, on in states.items() if on]


def _pulses(witness: Witness, run: Run) -> list[str]:
    """Every pulse that reached a cell is in the file as delivered, in doubt or intended; none came twice."""
    world = witness.laboratory.world
    given = Counter((d.cell, round(d.width_s * 1e9)) for d in world.delivered)
    booked = _booked(run)
    broken = world.defects.open_cells | world.defects.shorted_cells
    found = [f"pulse delivered {n} times: {key}" for key, n in given.items() if n > 1]
    found += [
        f"pulse not in the file: {key} {booked.get(key)}" for key in given if booked.get(key) not in PERHAPS
    ]
    found += [
        f"booked as delivered, but was not: {key}"
        for key, outcome in booked.items()
        if outcome == Outcome.DONE and key not in given and key[0] not in broken
    ]
    wanted_v = {round(pulse.width_s * 1e9): pulse.amplitude_v for pulse in SETS}
    found += [
        f"wrong volts: {d}"
        for d in world.delivered
        if d.cell not in broken and abs(d.volts / wanted_v[round(d.width_s * 1e9)] - 1.0) > 0.05
    ]
    return found


def _booked(run: Run) -> dict[tuple[int, int], Outcome]:
    """Outcome of each pulse by cell and width in ns."""
    cells = run.applies["cell"].to_numpy()
    return {
        (int(cell), round(call.width_s * 1e9)): Outcome(call.outcome)
        for call in run.calls.itertuples()
        if (call.kind, call.op) == (Kind.APPLY, Op.VOLTAGE)
        for cell in cells[int(call.first) : int(call.first) + int(call.count)]
    }


def _field(witness: Witness, run: Run) -> list[str]:
    calls = run.calls
    fields = calls[(calls["kind"] == Kind.APPLY) & (calls["op"] == Op.FIELD)]
    outcomes = {Outcome(outcome) for outcome in fields["outcome"]}
    if witness.peak_a and not outcomes & set(PERHAPS):
        return [f"field of {witness.peak_a} A is not in the file: {outcomes}"]
    if Outcome.DONE in outcomes and witness.peak_a < 4.95:
        return [f"field booked as delivered, but the current was {witness.peak_a} A"]
    return []


def _reads(witness: Witness, run: Run) -> list[str]:
    """The file's reads are reads that the meter made, of the same cells, in the same order."""
    reads, calls = run.reads, run.calls
    made = iter(witness.reads)
    for call in calls[(calls["kind"] == Kind.READ) & (calls["outcome"] == Outcome.DONE)].itertuples():
        rows = reads.iloc[int(call.first) : int(call.first) + int(call.count)]
        for cell, ohm in zip(rows["cell"], rows["resistance_ohm"], strict=True):
            if not any(c == cell and np.isclose(ohm, true_ohm, rtol=1e-2) for c, true_ohm in made):
                return [f"a read that the meter did not make: cell {cell}, {ohm} ohm"]
    return []
