"""How fast the virtual instruments answer over each front, and what a write-verify of each example bench costs.

Prints queries a second; write + write + query over TCP with and without Nagle's algorithm; and for every example
bench round trips and milliseconds of a write-verify by quest-lab, by hand in raw pyvisa and with plain pymeasure
(`write_verify.py`), all in turn, with ratios. `python benchmarks/bench_fronts.py`
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pyvisa
from sequences import by_hand, with_pymeasure
from write_verify import Contender, contender, example_files, has_pymeasure, pulses, quest_lab_contender

from quest_lab.benches import Front
from quest_lab.benchfile import BenchFile
from quest_lab.instruments.visa import prepare
from quest_lab.sim.server import serving
from quest_lab.sim.twin import twin_laboratory

FRONTS: list[Front] = ["in process", "tcp", "serial", *(["terminal"] if hasattr(os, "openpty") else [])]  # type: ignore[list-item]
REPEATS = 60
SLOW = "slow-matrix"


def median_s(action: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call."""
    return statistics.median(seconds(action) for _ in range(repeats))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def queries(file: BenchFile, front: Front) -> float:
    """Queries a second to the meter."""
    laboratory = twin_laboratory(file)
    meter = file.bench.devices.named()["meter"].address
    with ExitStack() as stack:
        stack.callback(laboratory.close)
        library: Any = laboratory.library
        if front != "in process":
            server = stack.enter_context(serving(laboratory, terminals=front == "terminal"))
            meter, library = getattr(server.places[meter], front), "@py"
        line: Any = stack.enter_context(pyvisa.ResourceManager(library).open_resource(meter))
        prepare(line)
        return 1.0 / median_s(lambda: line.query("*OPC?"), 1000)


def write_write_query(file: BenchFile, nodelay: bool) -> float:
    """Seconds, over a raw socket."""
    laboratory = twin_laboratory(file)
    with ExitStack() as stack:
        stack.callback(laboratory.close)
        server = stack.enter_context(serving(laboratory))
        place = server.places[file.bench.devices.named()["pulser"].address]
        line: Any = stack.enter_context(pyvisa.ResourceManager("@py").open_resource(place.tcp))
        prepare(line)
        interface = line.visalib.sessions[line.session].interface
        interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(nodelay))

        def action() -> None:
            line.write("VOLT:HIGH 0.5")
            line.write("VOLT:LOW 0")
            line.query("*OPC?")

        return median_s(action, 30)


def race(file: BenchFile, front: Front) -> list[tuple[float, float]]:
    """Round trips and median seconds of a write-verify, of each contender, in turn."""
    with ExitStack() as stack:
        every = [stack.enter_context(quest_lab_contender(file, front))]
        hows = (by_hand, with_pymeasure) if has_pymeasure(file) else (by_hand,)
        every += [stack.enter_context(contender(file, front, how)) for how in hows]
        for one in every:
            one.pulse(0, 0.4)  # whatever was still under way has arrived
        before = [one.laboratory.messages for one in every]
        took: list[list[float]] = [[] for _ in every]
        for _, (cell, volts) in zip(range(REPEATS), pulses(file), strict=False):
            for one, times in zip(every, took, strict=True):
                times.append(seconds(lambda one=one, cell=cell, volts=volts: one.pulse(cell, volts)))  # type: ignore[misc]
        return [
            (trips(one, b), statistics.median(times))
            for one, b, times in zip(every, before, took, strict=True)
        ]


def trips(one: Contender, before: int) -> float:
    return (one.laboratory.messages - before) / REPEATS


def main() -> None:
    files = example_files()
    for front in FRONTS:
        print(f"{front:>12} {queries(files[SLOW], front):>8.0f} queries/s")
    for nodelay in (False, True):
        took = write_write_query(files[SLOW], nodelay) * 1e3
        print(f"write + write + query over TCP, TCP_NODELAY {'on' if nodelay else 'off'}: {took:.2f} ms")
    print("\na write-verify: round trips and ms; times of quest-lab's")
    print(f"{'bench':>18} {'front':>10} {'quest-lab':>14} {'by hand':>22} {'plain pymeasure':>22}")
    for name, file in files.items():
        for front in ("in process", "serial" if file.bench.devices.board else "tcp"):
            own, *others = race(file, front)  # type: ignore[arg-type]
            rest = " ".join(f"{n:>6.2f} {s * 1e3:>7.2f} ({s / own[1]:.2f} x)" for n, s in others)
            print(f"{name:>18} {front:>10} {own[0]:>6.2f} {own[1] * 1e3:>7.2f} {rest}")
            if own[0] > others[0][0]:
                raise SystemExit(f"{name}: the bench takes more round trips than the sequence by hand")


if __name__ == "__main__":
    main()
