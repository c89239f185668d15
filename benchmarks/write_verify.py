"""One write-verify three ways on every example bench: by quest-lab, by hand in raw pyvisa, with plain pymeasure.

Each contender has a laboratory of its own, set up by quest-lab's drivers, and does the same (`sequences.py`): level,
route, fire, route, read, every step checked in the instrument's error queue.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvisa
import serial
from sequences import Pulse, Reached, plain_driver, with_pymeasure

from quest_lab.benches import Front, control, site_of
from quest_lab.benchfile import BenchFile, load_bench
from quest_lab.clock import Clock
from quest_lab.device import VoltagePulse
from quest_lab.examples import example_benches
from quest_lab.instruments.remote_clock import RemoteClock
from quest_lab.instruments.visa import borrowed_socket, prepare
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.server import serving
from quest_lab.sim.twin import twin_laboratory


@dataclass(frozen=True)
class Contender:
    """A write-verify that can be called again and again, and its laboratory's count of messages."""

    pulse: Pulse
    laboratory: Laboratory


def pulses(file: BenchFile) -> Iterator[tuple[int, float]]:
    """Cells and volts of write-verifies: another cell and another amplitude each time."""
    i = 0
    while True:
        yield i % file.bench.cells, 0.40 + 0.01 * (i % 2)
        i += 1


@contextmanager
def quest_lab_contender(file: BenchFile, front: Front) -> Iterator[Contender]:
    laboratory = twin_laboratory(file)
    device, _ = control(file, site_of(file, laboratory, front))

    def pulse(cell: int, volts: float) -> object:
        return device.apply(
            VoltagePulse(volts, file.bench.chip.set_width_s), np.array([cell]), then_read=True
        )

    pulse(0, 0.4)
    yield Contender(pulse, laboratory)
    device.close()


@contextmanager
def contender(file: BenchFile, front: Front, how: Callable[[Reached], Pulse]) -> Iterator[Contender]:
    """By hand or with pymeasure; quest-lab's drivers have set everything up, the pulse's width included."""
    laboratory = twin_laboratory(file)
    device, _ = control(file, site_of(file, laboratory))
    device.apply(VoltagePulse(0.4, file.bench.chip.set_width_s), np.array([0]), then_read=True)
    with ExitStack() as stack:
        stack.callback(laboratory.close)
        reached = reach(file, laboratory, front, how is with_pymeasure, stack)
        action, path = how(reached), file.bench.path.signal_path()
        ohm = 2000.0 if path.in_series_ohm else np.inf
        yield Contender(lambda cell, volts: action(cell, path.open_v(volts, ohm)), laboratory)


def reach(
    file: BenchFile, laboratory: Laboratory, front: Front, pymeasure: bool, stack: ExitStack
) -> Reached:
    """Open the instruments of a write-verify over this front."""
    sections = {
        r: s for r, s in file.bench.devices.named().items() if r in ("pulser", "meter", "switch", "board")
    }
    addresses = {role: section.address for role, section in sections.items()}
    clock: Clock = laboratory.world.clock
    move, library = laboratory.world.land, laboratory.library
    if front != "in process":
        server = stack.enter_context(serving(laboratory))
        addresses = {role: getattr(server.places[a], front) for role, a in addresses.items()}
        clock, library = RemoteClock(getattr(server.clock, front)), "@py"  # type: ignore[assignment]
        move = clock.move_probe  # type: ignore[attr-defined]
        stack.callback(clock.close)  # type: ignore[attr-defined]
    opened: dict[str, Any] = {}
    for role, address in addresses.items():
        opened[role] = open_one(laboratory, sections[role].driver, address, library, pymeasure)
    for instrument in opened.values():
        stack.callback(getattr(instrument, "adapter", instrument).close)
    if "meter" in opened:
        opened.setdefault("pulser", opened["meter"])  # a source-meter in both roles
    return Reached(file, opened, clock, move)


def open_one(laboratory: Laboratory, driver: str, address: str, library: Any, pymeasure: bool) -> Any:
    """A line by raw pyvisa or pyserial, or a pymeasure instrument on one."""
    if driver == "arcone":
        return open_board(address) if library == "@py" else laboratory.port.opened()
    if pymeasure:
        instrument = plain_driver(driver)(address, visa_library=library)
        prepare(instrument.adapter.connection)
        return instrument
    line: Any = pyvisa.ResourceManager(library).open_resource(address)
    prepare(line)
    return line


def open_board(address: str) -> Any:
    """pyserial's line over a socket, without Nagle's algorithm like the others."""
    port = serial.serial_for_url(address, timeout=2)
    with borrowed_socket(port.fileno()) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return port


def example_files() -> dict[str, BenchFile]:
    """Every example bench by name."""
    return {name: load_bench(path) for name, path in example_benches().items()}


def has_pymeasure(file: BenchFile) -> bool:
    """pymeasure knows no array board."""
    return file.bench.devices.board is None
