"""How fast the virtual instruments answer over each front, and what a write-verify of the bench costs there.

Prints queries a second; write + write + query over TCP with and without Nagle's algorithm; round trips and
milliseconds of a write-verify beside the same sequence by hand in raw pyvisa. `python benchmarks/bench_fronts.py`
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyvisa

from quest_lab.benches import Front, address_of, control, site_of
from quest_lab.benchfile import load_bench
from quest_lab.clock import Clock
from quest_lab.device import VoltagePulse
from quest_lab.examples import example_benches
from quest_lab.instruments.keithley7001 import channel_list
from quest_lab.instruments.remote_clock import RemoteClock
from quest_lab.instruments.visa import prepare
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.server import serving
from quest_lab.sim.twin import twin_laboratory

FRONTS: list[Front] = ["in process", "tcp", "serial", *(["terminal"] if hasattr(os, "openpty") else [])]  # type: ignore[list-item]
FILE = load_bench(example_benches()["slow-matrix"])
GENERATOR, METER, MATRIX = (
    getattr(FILE.bench.devices, role).address for role in ("pulser", "meter", "switch")
)
REPEATS = 100


@contextmanager
def lines(lab: Laboratory, front: Front) -> Iterator[tuple[dict[str, Any], Clock]]:
    """Raw pyvisa connections to the laboratory's instruments by this front, and the clock to wait on."""
    if front == "in process":
        manager = pyvisa.ResourceManager(lab.library)
        yield {address: manager.open_resource(address) for address in lab.wires}, lab.world.clock
        return
    with serving(lab, terminals=front == "terminal") as server:
        manager = pyvisa.ResourceManager("@py")
        found = {a: manager.open_resource(address_of(place, front)) for a, place in server.places.items()}
        for line in found.values():
            prepare(line)
        clock = RemoteClock(address_of(server.clock, front))
        if front == "terminal":
            clock.barrier = lambda: [line.query("*OPC?") for line in found.values()] and None  # type: ignore[attr-defined]
        yield found, clock
        clock.close()
        for line in found.values():
            line.close()


def median_s(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of one call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def queries(front: Front) -> float:
    """Queries a second."""
    lab = twin_laboratory(FILE)
    with lines(lab, front) as (found, _):
        each = median_s(lambda: found[METER].query("*OPC?"), 1000)
    lab.close()
    return 1.0 / each


def write_write_query(nodelay: bool) -> float:
    """Seconds, over a raw socket."""
    lab = twin_laboratory(FILE)
    with serving(lab) as server:
        line: Any = pyvisa.ResourceManager("@py").open_resource(server.places[GENERATOR].tcp)
        prepare(line)
        interface = line.visalib.sessions[line.session].interface
        interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(nodelay))

        def action() -> None:
            line.write("VOLT:HIGH 0.5")
            line.write("VOLT:LOW 0")
            line.query("*OPC?")

        took = median_s(action)
        line.close()
    lab.close()
    return took


def pulses() -> Iterator[tuple[int, float]]:
    """Cells and volts of write-verifies: another cell and another amplitude each time."""
    for i in range(10**6):
        yield i % 16, 0.30 + 0.01 * (i % 2)


def by_hand(found: dict[str, Any], clock: Clock, cell: int, volts: float) -> float:
    """One write-verify as a careful person scripts it: level, route, fire, route, read, all checked."""

    def route(row: int) -> None:
        where = channel_list([(1 + cell // 10, row, 1 + cell % 10)])
        closed = found[MATRIX].query(f":ROUT:OPEN ALL;CLOS {where};CLOS:STAT?").strip()
        if closed != where:
            raise RuntimeError(f"{closed} is closed, not {where}")
        clock.sleep(5e-3)

    check(found[GENERATOR].query(f"SOUR1:VOLT:HIGH {volts:.9g};LOW 0;:SYST:ERR?"))
    route(1)
    check(found[GENERATOR].query("OUTP1 1;*TRG;*WAI;OUTP1 0;:SYST:ERR?"))
    route(2)
    fields = found[METER].query(":READ?").split(",")
    return float(fields[0]) / float(fields[1])


def check(reply: str) -> None:
    if int(reply.partition(",")[0]):
        raise RuntimeError(reply)


def counted(lab: Laboratory, action: Callable[[], object]) -> tuple[float, float]:
    """Round trips and seconds of one action; queries that only serve a pseudo-terminal's clock are no trips."""
    action()  # the first one also sets the width
    for wire in lab.wires.values():
        wire.sent.clear()
    took = median_s(action)
    sent = [message for wire in lab.wires.values() for message in wire.sent if message != "*OPC?"]
    return len(sent) / REPEATS, took


def bench_write_verify(front: Front) -> tuple[float, float]:
    lab, todo = twin_laboratory(FILE), pulses()
    device, _ = control(FILE, site_of(FILE, lab, front))

    def action() -> None:
        cell, volts = next(todo)
        device.apply(VoltagePulse(volts, 1e-6), np.array([cell]), then_read=True)

    result = counted(lab, action)
    device.close()
    return result


def hand_write_verify(front: Front) -> tuple[float, float]:
    lab, todo = twin_laboratory(FILE), pulses()
    control(FILE, site_of(FILE, lab))  # sets everything up, in process
    with lines(lab, front) as (found, clock):
        result = counted(lab, lambda: by_hand(found, clock, *next(todo)))
    lab.close()
    return result


def main() -> None:
    print(f"{'front':>12} {'queries/s':>10}   a write-verify: round trips and ms")
    print(f"{'':>12} {'':>10}   {'bench':>12} {'by hand':>14}")
    for front in FRONTS:
        rate = queries(front)
        own, hand = bench_write_verify(front), hand_write_verify(front)
        trips = f"{own[0]:>4.2f} {own[1] * 1e3:>7.2f} {hand[0]:>6.2f} {hand[1] * 1e3:>7.2f}"
        print(f"{front:>12} {rate:>10.0f}   {trips}")
        if own[0] > hand[0]:
            raise SystemExit(f"{front}: the bench takes more round trips than the sequence by hand")
    for nodelay in (False, True):
        took = write_write_query(nodelay) * 1e3
        print(f"write + write + query over TCP, TCP_NODELAY {'on' if nodelay else 'off'}: {took:.2f} ms")


if __name__ == "__main__":
    main()
