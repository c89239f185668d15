"""What a write-verify says to each kind of instrument: by hand in raw pyvisa, and with plain pymeasure.

By hand the words of one step go in one message, as a careful person scripts it; plain pymeasure uses its own classes
as its documentation shows. It has no class for a 7001 (a bare Instrument then) nor an ArC ONE, and a 2450's pulse is
then timed by the computer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymeasure.instruments import Instrument, agilent, keithley, keysight

from quest_lab.benchfile import BenchFile
from quest_lab.clock import Clock

READ_V, BYTES_APART_S = 0.1, 1e-3  # an ArC ONE drops writes that are closer
Pulse = Callable[[int, float], object]  # a write-verify of this cell at these open-circuit volts


@dataclass(frozen=True)
class Reached:
    """A laboratory's instruments by role, opened by whoever drives them, its clock and its probe."""

    file: BenchFile
    instruments: Mapping[str, Any]
    clock: Clock
    move: Callable[[int], None]

    def driver(self, role: str) -> str:
        return str(getattr(self.file.bench.devices, role).driver)

    def route(
        self, row: str, cell: int, close: Mapping[str, Callable[[Any, tuple[int, int, int]], None]]
    ) -> None:
        """Join the cell to this row, or bring the probe to it, and wait for the relays."""
        bench = self.file.bench
        if self.driver("switch") == "probe":
            self.move(cell)
        else:
            wiring = bench.joined()
            row_number = wiring.pulser_row if row == "pulser" else wiring.meter_row
            close[self.driver("switch")](self.instruments["switch"], wiring.crosspoint(row_number, cell))
        self.clock.sleep(bench.devices.switch.settle_s)  # type: ignore[union-attr]


def write_verify(reached: Reached, words: Words) -> Pulse:
    """Level, route, fire, route, read."""
    pulser, meter = reached.instruments["pulser"], reached.instruments["meter"]
    width_s = reached.file.bench.chip.set_width_s

    def action(cell: int, open_v: float) -> float:
        words.level[reached.driver("pulser")](pulser, open_v, width_s)
        reached.route("pulser", cell, words.close)
        words.fire[reached.driver("pulser")](pulser, open_v, width_s)
        if reached.driver("switch") != "probe":
            reached.route("meter", cell, words.close)
        return words.read[reached.driver("meter")](meter)

    return action


@dataclass(frozen=True)
class Words:
    """What each kind of instrument is told, by the driver's name in the bench file."""

    level: Mapping[str, Callable[[Any, float, float], None]]
    fire: Mapping[str, Callable[[Any, float, float], None]]
    close: Mapping[str, Callable[[Any, tuple[int, int, int]], None]]
    read: Mapping[str, Callable[[Any], float]]


# By hand, raw pyvisa


def ok(line: Any, message: str) -> None:
    """Send and ask for errors in one message."""
    reply = line.query(message + ";:SYST:ERR?")
    if int(reply.partition(",")[0]):
        raise RuntimeError(reply)


def confirmed(line: Any, message: str, wanted: str) -> None:
    if (found := line.query(message).strip()) != wanted:
        raise RuntimeError(f"{found} is closed, not {wanted}")


def load_2450_pulse(line: Any, _open_v: float, width_s: float) -> None:
    model = f":TRIG:BLOC:SOUR:STAT 1,ON;:TRIG:BLOC:DEL:CONS 2,{width_s:g};:TRIG:BLOC:SOUR:STAT 3,OFF"
    ok(line, f":SOUR:VOLT:ILIM 2e-3;:SENS:CURR:RANG 2e-3;:TRIG:LOAD 'Empty';{model}")


def read_2400(line: Any) -> float:
    volts, ampere = (float(x) for x in line.query(":READ?").split(",")[:2])
    return volts / ampere


def read_2450(line: Any) -> float:
    reply = line.query(
        f":SOUR:VOLT {READ_V};:OUTP ON;:READ? 'defbuffer1',SOUR,READ;:OUTP OFF;:SOUR:VOLT 0;:SYST:ERR?"
    )
    reading, _, error = reply.partition(";")
    if int(error.partition(",")[0]):
        raise RuntimeError(error)
    volts, ampere = (float(x) for x in reading.split(","))
    return volts / ampere


def rearm_and_read_2450(line: Any) -> float:
    ok(line, ":SENS:CURR:RANG 1e-4;:SOUR:VOLT:ILIM 1e-4;:SENS:CURR:NPLC 1")
    return read_2450(line)


RAW = Words(
    level={
        "agilent33500": lambda line, v, _: ok(line, f"SOUR1:VOLT:HIGH {v:.9g};LOW 0"),
        "keysight81160a": lambda line, v, w: ok(
            line, f":VOLT1:HIGH {v / 2:.9g};:VOLT1:LOW 0;:PULS:WIDT1 {w:g}"
        ),
        "keithley2450": load_2450_pulse,
    },
    fire={
        "agilent33500": lambda line, *_: ok(line, "OUTP1 1;*TRG;*WAI;OUTP1 0"),
        "keysight81160a": lambda line, *_: ok(line, ":OUTP1 1;*TRG;*WAI;:OUTP1 0"),
        "keithley2450": lambda line, v, _: ok(line, f":SOUR:VOLT {v:.9g};:INIT;*WAI;:SOUR:VOLT 0"),
    },
    close={
        "keithley7001": lambda line, p: confirmed(
            line, f":ROUT:OPEN ALL;CLOS (@{p[0]}!{p[1]}!{p[2]});CLOS:STAT?", f"(@{p[0]}!{p[1]}!{p[2]})"
        ),
        "keithley2700": lambda line, p: confirmed(
            line, f":ROUT:OPEN:ALL;:ROUT:MULT:CLOS (@{channel(p)});:ROUT:MULT:CLOS?", f"(@{channel(p)})"
        ),
    },
    read={"keithley2400": read_2400, "keithley2450": read_2450},
)
RAW_SHARED = Words(RAW.level, RAW.fire, RAW.close, {"keithley2450": rearm_and_read_2450})


def channel(point: tuple[int, int, int]) -> int:
    """Of a 7709's crosspoint in a 2700."""
    slot, row, column = point
    return 100 * slot + (row - 1) * 8 + column


def by_hand(reached: Reached) -> Pulse:
    """Words of one step in one message."""
    if "board" in reached.instruments:
        return board_by_hand(reached)
    shared = reached.instruments["meter"] is reached.instruments["pulser"]
    return write_verify(reached, RAW_SHARED if shared else RAW)


def board_by_hand(reached: Reached) -> Pulse:
    """An ArC ONE pulses and reads in one exchange; fields a millisecond apart."""
    port, wiring, width_s = (
        reached.instruments["board"],
        reached.file.bench.joined(),
        reached.file.bench.chip.set_width_s,
    )

    def action(cell: int, volts: float) -> float:
        word, _, bit = wiring.crosspoint(1, cell)
        for field in ("3", word, bit, f"{volts:.6f}", f"{width_s:.6f}"):
            reached.clock.sleep(BYTES_APART_S)
            port.write(f"{field}\n".encode())
        return float(struct.unpack("<f", port.read(4))[0])

    return action


# Plain pymeasure


def checked(instrument: Any) -> None:
    if errors := instrument.check_errors():
        raise RuntimeError(str(errors))


def set_high(generator: Any, open_v: float) -> None:
    generator.ch_1.voltage_high = open_v
    checked(generator)


def trigger(generator: Any) -> None:
    generator.ch_1.output = True
    generator.trigger()
    generator.ch_1.output = False
    checked(generator)


def close_7001(matrix: Any, p: tuple[int, int, int]) -> None:
    matrix.write(":ROUT:OPEN ALL")
    matrix.write(f":ROUT:CLOS (@{p[0]}!{p[1]}!{p[2]})")
    if matrix.ask(":ROUT:CLOS:STAT?").strip() != f"(@{p[0]}!{p[1]}!{p[2]})":
        raise RuntimeError("another crosspoint is closed")


def close_2700(matrix: Any, p: tuple[int, int, int]) -> None:
    matrix.open_all_channels()
    matrix.closed_channels = [channel(p)]
    if matrix.closed_channels != [channel(p)]:
        raise RuntimeError("another crosspoint is closed")


def pulse_2450(meter: Any, open_v: float, width_s: float, clock: Clock) -> None:
    meter.source_voltage = open_v
    meter.enable_source()
    clock.sleep(width_s)
    meter.disable_source()
    meter.source_voltage = 0
    checked(meter)


def read_current(meter: Any) -> float:
    meter.source_voltage = READ_V
    meter.enable_source()
    ampere = meter.current
    meter.disable_source()
    checked(meter)
    return READ_V / float(ampere)


CLASSES: Mapping[str, Callable[..., Any]] = {
    "agilent33500": agilent.Agilent33500,
    "keysight81160a": keysight.Keysight81160A,
    "keithley2400": keithley.Keithley2400,
    "keithley2450": keithley.Keithley2450,
    "keithley2700": keithley.Keithley2700,
}


def with_pymeasure(reached: Reached) -> Pulse:
    """Properties and methods of pymeasure's classes."""
    clock = reached.clock
    plain = Words(
        level={
            "agilent33500": lambda g, v, _: set_high(g, v),
            "keysight81160a": lambda g, v, _: set_high(g, v / 2),
            "keithley2450": lambda *_: None,
        },
        fire={
            "agilent33500": lambda g, *_: trigger(g),
            "keysight81160a": lambda g, *_: trigger(g),
            "keithley2450": lambda m, v, w: pulse_2450(m, v, w, clock),
        },
        close={"keithley7001": close_7001, "keithley2700": close_2700},
        read={"keithley2400": read_current, "keithley2450": read_current},
    )
    return write_verify(reached, plain)


def plain_driver(driver: str) -> Callable[..., Any]:
    ends = {"read_termination": "\n", "write_termination": "\n"}
    found = CLASSES.get(driver)
    return (
        (lambda address, **kw: found(address, **ends, **kw))
        if found
        else (lambda address, **kw: Instrument(address, driver, includeSCPI=False, **ends, **kw))
    )
