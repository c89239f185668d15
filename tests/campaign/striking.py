"""Kinds of faults, and one measurement with one fault: on a twin in this process, or served to a child process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal, cast
from unittest.mock import patch

import measuring
from witnessing import Phase, Point, Strike, Witness, problems

from quest_lab.benchfile import load_bench
from quest_lab.clock import RunningClock
from quest_lab.fixture import Crosspoint
from quest_lab.sim import twin
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.server import serving
from quest_lab.sim.twin import twin_laboratory
from quest_lab.sim.wire import Fault, FaultKind

Front = Literal["twin", "tcp", "serial"]
Act = Callable[[Laboratory, Point], None]
SLOW = Path(__file__).parents[2] / "examples" / "benches" / "slow-matrix.toml"
BOTH: tuple[Phase, ...] = ("before", "after")
WITHIN_S = 30.0
WATCHDOG_S = 2.0
SETTLE = ('settle = "0.2 ms"', 'settle = "100 ms"')  # a server short of cores is later than an instrument
_RELAY = re.compile(r"CLOS \(@(\d+)!(\d+)!(\d+)\)")


@dataclass(frozen=True)
class Kind:
    """A kind of fault. `replies`: it can only strike where the instrument answers; `passing`: nothing of it
    is left afterwards; `number`: a signal to the child.
    """

    name: str
    phases: tuple[Phase, ...] = BOTH
    replies: bool = False
    passing: bool = False
    front: Front = "twin"
    number: int = 0
    times: int = 1

    def strikes(self, point: Point) -> bool:
        """Whether it can strike there."""
        return point.phase in self.phases and ("?" in point.message or not self.replies)


@dataclass(frozen=True)
class Outcome:
    """What became of one measurement."""

    kind: Kind
    point: Point
    told: str
    problems: list[str]

    @property
    def survived(self) -> bool:
        return self.told == "done"


WIRE = {
    ("dropped reply", "before"): FaultKind.COMMAND_LOST,
    ("dropped reply", "after"): FaultKind.REPLY_LOST,
    ("late reply", "after"): FaultKind.REPLY_LATE,
    ("garbage reply", "after"): FaultKind.GARBAGE,
    ("a number instead of the reply", "after"): FaultKind.NUMBER,
    ("closed socket", "before"): FaultKind.CLOSED,
    ("closed socket", "after"): FaultKind.CLOSED_AFTER,
}
KINDS = (
    Kind("dropped reply", replies=True, passing=True),
    Kind("late reply", ("after",), replies=True, passing=True, front="tcp"),
    Kind("garbage reply", ("after",), replies=True, passing=True),
    Kind("a number instead of the reply", ("after",), replies=True, passing=True),
    Kind("error in the queue", passing=True),
    Kind("compliance trip", passing=True),
    Kind("relay stuck open"),
    Kind("relay stuck closed"),
    Kind("open cell"),
    Kind("shorted cell"),
    Kind("closed socket", front="tcp"),
    Kind("SIGTERM", front="tcp", number=signal.SIGTERM),
    Kind("SIGTERM twice", ("before",), front="tcp", number=signal.SIGTERM, times=2),
)
KILLS = tuple(
    Kind(f"{name}, {front}", front=cast(Front, front), number=getattr(signal, sign, 0))
    for name, sign in (("kill -9", "SIGKILL"), ("hang", "SIGSTOP"))
    for front in ("tcp", "serial")
)


def dry_pass(folder: Path) -> list[Point]:
    """Both phases of all messages of an undisturbed measurement."""
    witness, told = _on_twin(folder, None)
    assert (told, problems(witness, folder / "run.h5", told, passing=True)) == ("done", [])
    return [Point(n, *said, phase) for n, said in enumerate(witness.messages) for phase in BOTH]


def distinct(points: list[Point]) -> list[Point]:
    """The first point of each instrument, command and phase."""
    first: dict[tuple[str, str, Phase], Point] = {}
    for point in points:
        first.setdefault((point.address, point.command, point.phase), point)
    return list(first.values())


def strike_twin(kind: Kind, point: Point, points: list[Point], folder: Path) -> Outcome:
    """One measurement on a twin in this process."""
    witness, told = _on_twin(folder, _strike(kind, point, points))
    return Outcome(kind, point, told, problems(witness, folder / "run.h5", told, passing=kind.passing))


def _on_twin(folder: Path, strike: Strike | None) -> tuple[Witness, str]:
    """`open_bench` makes its laboratory itself; here it is looked at from outside."""
    witnesses: list[Witness] = []

    def watched(*args: object, **kwargs: object) -> Laboratory:
        laboratory = twin_laboratory(*args, **{**kwargs, "meter_noise": False})  # type: ignore[arg-type]
        witnesses.append(Witness(laboratory, strike))
        return laboratory

    with patch.object(twin, "twin_laboratory", watched):
        told = measuring.run(SLOW, folder / "run.h5", hardware=False)
    return witnesses[0], told


def _strike(kind: Kind, point: Point, points: list[Point]) -> Strike:
    if found := WIRE.get((kind.name, point.phase)):
        return Strike(point, partial(_harm_message, kind=found), of_message=True)
    return Strike(point, _act(kind, _next_relay(point, points)))


def _act(kind: Kind, relay: Crosspoint) -> Act:
    return {
        "error in the queue": _put_error,
        "compliance trip": _trip,
        "relay stuck open": lambda lab, _: lab.world.defects.stuck_open.add(relay),
        "relay stuck closed": lambda lab, _: lab.world.defects.stuck_closed.update(
            lab.world.closed or {relay}
        ),
        "open cell": lambda lab, _: lab.world.defects.open_cells.add(_cell(lab, relay)),
        "shorted cell": lambda lab, _: lab.world.defects.shorted_cells.add(_cell(lab, relay)),
    }[kind.name]


def _harm_message(laboratory: Laboratory, point: Point, kind: FaultKind) -> None:
    laboratory.wires[point.address].faults.append(Fault(kind))


def _put_error(laboratory: Laboratory, point: Point) -> None:
    laboratory.wires[point.address].instrument.scpi.error(-330, "Self-test failed")


def _trip(laboratory: Laboratory, _: Point) -> None:
    """The cell is a short during the next read only."""
    world = laboratory.world
    measure = world.measure

    def once(volts: float, limit_a: float, seconds: float) -> tuple[float, float]:
        world.measure = measure  # type: ignore[method-assign]
        world.defects.shorted_cells.update(range(world.array.cells))
        found = measure(volts, limit_a, seconds)
        world.defects.shorted_cells.clear()
        return found

    world.measure = once  # type: ignore[method-assign]


def _next_relay(point: Point, points: list[Point]) -> Crosspoint:
    """The relay that closes next, or else the last that did."""
    found = [(p.number, match) for p in points if (match := _RELAY.search(p.message))]
    _, match = next((f for f in found if f[0] >= point.number + (point.phase == "after")), found[-1])
    return int(match[1]), int(match[2]), int(match[3])


def _cell(laboratory: Laboratory, relay: Crosspoint) -> int:
    cell = laboratory.world.wiring.cell(relay)
    assert cell is not None
    return cell


class Children:
    """A process that has everything loaded and forks a child for each measurement."""

    def __init__(self) -> None:
        environment = {n: v for n, v in os.environ.items() if n != "QUEST_LAB_NO_HARDWARE"}
        self._process = subprocess.Popen(
            [sys.executable, measuring.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def start(self, bench: Path, out: Path, said: Path) -> int:
        """Begin a measurement; its process's id."""
        pipe = cast(IO[str], self._process.stdin)
        pipe.write(f"{bench}\t{out}\t{said}\n")
        pipe.flush()
        return int(self._line())

    def ended(self) -> int:
        """Wait for the child; its wait status."""
        return int(self._line())

    def _line(self) -> str:
        return cast(IO[str], self._process.stdout).readline()

    def close(self) -> None:
        cast(IO[str], self._process.stdin).close()
        self._process.wait()


def strike_served(
    kind: Kind, point: Point, points: list[Point], folder: Path, children: Children, armed: int
) -> Outcome:
    """One measurement by a child process over a front; from message `armed` on a watchdog guards it."""
    pid: list[int] = []

    def send_signal(_: Laboratory, __: Point) -> None:
        os.kill(pid[0], kind.number)

    strike = Strike(point, send_signal, times=kind.times) if kind.number else _strike(kind, point, points)
    said = folder / "said"
    with served(folder, kind.front, strike) as (witness, bench):
        pid.append(children.start(bench, folder / "run.h5", said))
        if kind in KILLS:
            log = folder / "run.h5.watchdog.log"
            _wait(lambda: len(witness.messages) > point.number and (log.exists() or point.number < armed))
            with suppress(
                ProcessLookupError
            ):  # stopped where no watchdog ends it: not armed yet, or all off already
                os.kill(pid[0], signal.SIGKILL)
        status = children.ended()
        _wait(lambda: witness.laboratory.world.outputs_off)
        told = said.read_text(encoding="utf-8") if said.exists() else f"ended by signal {os.WTERMSIG(status)}"
        found = problems(witness, folder / "run.h5", told, passing=kind.passing)
    if kind in KILLS and witness.messages[point.number :] == []:
        found.append("the point was never reached")
    return Outcome(kind, point, told, found)


def _wait(until: Callable[[], bool]) -> None:
    """Until something that other processes do, or a while: `problems` says what is missing."""
    end = time.monotonic() + WITHIN_S
    while not until() and time.monotonic() < end:
        time.sleep(0.05)


@contextmanager
def served(folder: Path, front: Front, strike: Strike | None) -> Iterator[tuple[Witness, Path]]:
    """A twin served by a thread of this process, and a bench file that calls it hardware."""
    laboratory = twin_laboratory(load_bench(SLOW), meter_noise=False, clock=RunningClock())
    witness = Witness(laboratory, strike)
    with serving(laboratory) as server:
        text = (
            SLOW.read_text(encoding="utf-8").replace(*SETTLE) + f'\n[safety]\nwatchdog = "{WATCHDOG_S:g} s"\n'
        )
        for address, place in server.places.items():
            text = text.replace(address, place.serial if front == "serial" else place.tcp)
        bench = folder / "bench.toml"
        bench.write_text(text, encoding="utf-8")
        yield witness, bench
    laboratory.close()
