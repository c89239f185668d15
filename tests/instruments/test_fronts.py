"""The virtual instruments over sockets and serial lines, with clients that are not from here, and the bench."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import pyvisa
import serial
from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400
from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.benches import Front, open_file_bench
from quest_lab.benchfile import BenchFile, load_bench
from quest_lab.device import VoltagePulse
from quest_lab.errors import DeviceError
from quest_lab.examples import example_benches
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.remote_clock import RemoteClock
from quest_lab.instruments.visa import NO_HARDWARE, open_instrument, prepare
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.server import Server, serving
from quest_lab.sim.wire import Fault, FaultKind

GENERATOR, METER, MATRIX, MAGNET = (f"GPIB0::{n}::INSTR" for n in (10, 24, 7, 6))  # of slow-matrix.toml
SLOW = load_bench(example_benches()["slow-matrix"])
FRONTS: list[Front] = ["in process", "tcp", "serial", "terminal"]
EVERY = (GENERATOR, METER, MATRIX, MAGNET)
LF = {"read_termination": "\n", "write_termination": "\n"}
needs_terminals = pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals on this system")


@pytest.fixture
def lab(virtual: Callable[..., tuple[BenchFile, Laboratory]]) -> Laboratory:
    return virtual("slow-matrix")[1]


@pytest.fixture
def server(lab: Laboratory) -> Iterator[Server]:
    with serving(lab, terminals=hasattr(os, "openpty")) as running:
        yield running


def resources(server: Server, address: str) -> dict[str, str]:
    """VISA resource strings of an instrument by front."""
    place = server.places[address]
    found = {"tcp": place.tcp, "serial": place.serial, "terminal": place.terminal}
    return {front: name for front, name in found.items() if name}


@pytest.mark.parametrize("front", ["tcp", "serial", pytest.param("terminal", marks=needs_terminals)])
@pytest.mark.parametrize("address", EVERY)
def test_pyvisa_reaches_every_instrument(server: Server, address: str, front: str) -> None:
    manager = pyvisa.ResourceManager("@py")
    with manager.open_resource(resources(server, address)[front], **LF) as line:  # type: ignore[arg-type]
        assert len(line.query("*IDN?").split(",")) == 4  # type: ignore[attr-defined]
        line.write("NONSENSE")  # type: ignore[attr-defined]
        assert line.query("SYST:ERR?").startswith("-113,")  # type: ignore[attr-defined]


@pytest.mark.parametrize("front", ["tcp", "serial", pytest.param("terminal", marks=needs_terminals)])
def test_pymeasures_own_drivers_work_over_every_front(server: Server, front: str) -> None:
    generator = Agilent33500(resources(server, GENERATOR)[front], visa_library="@py", **LF)
    meter = Keithley2400(resources(server, METER)[front], visa_library="@py", **LF)
    generator.ch_1.output_load = "INF"
    generator.ch_1.shape, generator.ch_1.pulse_width = "PULS", 2e-6
    meter.source_mode, meter.compliance_current, meter.source_voltage = "voltage", 1e-3, 0.05
    meter.auto_output_off_enabled = True
    assert generator.ch_1.pulse_width == 2e-6
    assert generator.check_errors() == meter.check_errors() == []
    assert abs(meter.measure_all()["current"]) < 1e-12  # nothing is connected
    for instrument in (generator, meter):
        instrument.adapter.close()


def test_a_pymeasure_script_drives_the_magnet_over_tcp(server: Server) -> None:
    supply, clock = KepcoBOP3612(server.places[MAGNET].tcp, visa_library="@py"), RemoteClock(server.clock.tcp)
    supply.operating_mode, supply.voltage_setpoint, supply.current_setpoint = "CURR", 36, 5
    supply.output_enabled = True
    clock.sleep(0.05)
    assert supply.current == pytest.approx(5.0)
    supply.current_setpoint = 0
    clock.sleep(0.05)
    supply.output_enabled = False
    assert supply.check_errors() == []
    clock.close()
    supply.adapter.close()


def test_pyvisa_shell_talks_to_an_instrument(server: Server) -> None:
    words = [f"open {server.places[METER].tcp}", "termchar LF LF", "query *IDN?", "write NONSENSE"]
    words += ["query SYST:ERR?", "query *OPC?", "query *ESR?", "close", "exit", ""]
    code = "import sys; from pyvisa.cmd_line_tools import visa_shell; visa_shell()"
    shell = [sys.executable, "-c", code, "-b", "py"]
    ran = subprocess.run(shell, input="\n".join(words), capture_output=True, text=True, timeout=60)
    answers = [line.partition("Response: ")[2] for line in ran.stdout.splitlines() if "Response: " in line]
    assert answers[0].startswith("KEITHLEY INSTRUMENTS INC.,MODEL 2400")
    assert answers[1:] == ['-113,"Undefined header"', "1", str(128 + 32)]


@needs_terminals
def test_a_serial_terminal_talks_to_an_instrument(server: Server) -> None:
    path = server.places[METER].path
    with serial.Serial(path, 9600, timeout=5) as terminal:
        terminal.write(b"*idn?\r")  # as a person types: CR, lower case, no echo back
        assert terminal.readline().startswith(b"KEITHLEY INSTRUMENTS INC.,MODEL 2400")
        terminal.write(b"outp?\r\nsyst:err?\r\n")
        assert [terminal.readline() for _ in range(2)] == [b"0\n", b'0,"No error"\n']
    with serial.Serial(path, 115200, timeout=5) as again:  # another program, another speed
        again.write(b"*OPC?\n")
        assert again.readline() == b"1\n"


@pytest.mark.parametrize("front", ["tcp", "serial"])
def test_two_messages_in_a_row_wait_for_no_acknowledgement(server: Server, front: str) -> None:
    """With Nagle's algorithm on, write + write + query takes 40 ms and more; the best of many is compared."""
    manager = pyvisa.ResourceManager("@py")
    with manager.open_resource(resources(server, GENERATOR)[front]) as line:
        prepare(line)
        took = []
        for _ in range(20):
            start = time.perf_counter()
            line.write("VOLT:HIGH 0.5")  # type: ignore[attr-defined]
            line.write("VOLT:LOW 0")  # type: ignore[attr-defined]
            line.query("*OPC?")  # type: ignore[attr-defined]
            took.append(time.perf_counter() - start)
    assert float(np.median(took)) < 0.02


def test_raw_sockets_are_opened_without_nagle(server: Server) -> None:
    meter = open_instrument(Keithley2400, server.places[METER].tcp, "@py", hardware=False)
    connection = meter.adapter.connection
    interface = connection.visalib.sessions[connection.session].interface
    assert interface.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    meter.adapter.close()


@pytest.mark.parametrize("name", ["TCPIP::127.0.0.1::{}::SOCKET", "ASRLsocket://127.0.0.1:{}::INSTR"])
@pytest.mark.parametrize("driver", [Agilent33500, Keithley2400])
def test_a_port_where_nobody_listens_is_a_device_error(driver: Any, name: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(DeviceError, match="cannot be opened"):
            open_instrument(driver, name.format(port), "@py", hardware=False)


def test_a_clock_must_be_a_virtual_laboratorys(server: Server) -> None:
    with pytest.raises(DeviceError, match=r"KEITHLEY.*no virtual laboratory"):
        RemoteClock(server.places[METER].tcp)


def test_virtual_instruments_are_no_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_HARDWARE, "1")
    device, _ = open_file_bench(SLOW.with_twin(cells=2), front="tcp")
    device.close()


@pytest.mark.parametrize("kind", [FaultKind.REPLY_LOST, FaultKind.REPLY_LATE, FaultKind.GARBAGE])
@pytest.mark.parametrize("front", ["tcp", "serial"])
def test_a_bad_reply_over_a_line_shifts_no_later_one(
    lab: Laboratory, drive: Callable[..., BenchDevice], front: Front, kind: FaultKind
) -> None:
    device = drive(SLOW, lab, front)
    lab.wires[METER].faults.append(Fault(kind, "READ?"))
    with pytest.raises(DeviceError, match="2400: read"):
        device.read(np.arange(3))
    first, second = device.read(np.arange(3)), device.read(np.arange(3))
    np.testing.assert_allclose(second.resistance_ohm, first.resistance_ohm, rtol=0.02)
    device.close()


def test_a_connection_that_closes_is_opened_anew_to_switch_off_and_for_nothing_else(
    lab: Laboratory, drive: Callable[..., BenchDevice]
) -> None:
    device = drive(SLOW, lab, "tcp")
    lab.wires[GENERATOR].faults.append(Fault(FaultKind.CLOSED, "*TRG"))
    with pytest.raises(DeviceError, match="33500: fire") as caught:
        device.apply(VoltagePulse(0.6, 1e-6), np.arange(2))
    assert caught.value.ambiguous.tolist() == [0]
    with pytest.raises(DeviceError, match=r"33500: arm.* set the bench up again"):
        device.apply(VoltagePulse(0.6, 1e-6), np.arange(2))
    device.close()
    assert lab.world.outputs_off
    assert not lab.world.delivered
