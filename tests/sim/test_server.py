"""The served virtual instruments, talked to with bare sockets: framing, several clients, order, ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quest_lab.errors import BadInput
from quest_lab.sim.server import Server, serving
from quest_lab.sim.timekeeper import Timekeeper
from quest_lab.sim.virtual import GENERATOR, MAGNET, MATRIX, METER, Laboratory, virtual_laboratory
from quest_lab.sim.wire import Fault, FaultKind, Wire

EVERY = (GENERATOR, METER, MATRIX, MAGNET)
NETCAT = shutil.which("nc") or shutil.which("ncat")
PLAIN = (
    "import socket, sys\nc = socket.create_connection(sys.argv[1:3])\nc.sendall(sys.stdin.buffer.read())\n"
)
PLAIN += "c.shutdown(socket.SHUT_WR)\nprint(c.makefile().read(), end='')"


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    laboratory = virtual_laboratory(seed=1, meter_noise=False)
    yield laboratory
    laboratory.close()


@pytest.fixture
def server(lab: Laboratory) -> Iterator[Server]:
    with serving(lab) as running:
        yield running


class Client:
    """A raw socket to one instrument."""

    def __init__(self, server: Server, address: str | None) -> None:
        place = server.clock if address is None else server.places[address]
        self.socket = socket.create_connection((place.host, place.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("r", newline="\n")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def ask(self, text: str) -> str:
        self.socket.sendall(text.encode() + b"\n")
        return self.file.readline()


@pytest.mark.parametrize("address", EVERY)
def test_every_instrument_answers_on_its_port_as_its_manual_says(server: Server, address: str) -> None:
    with Client(server, address) as client:
        assert len(client.ask("*IDN?").split(",")) == 4
        assert client.ask("*OPC?") == "1\n"
        assert int(client.ask("*ESR?")) & 128  # power on, until it is read
        assert client.ask("*ESR?") == "0\n"


@pytest.mark.parametrize("address", EVERY)
def test_an_unknown_header_is_error_113_and_a_command_error(server: Server, address: str) -> None:
    with Client(server, address) as client:
        client.ask("*CLS;*OPC?")
        client.socket.sendall(b"NONSENSE:WORD 1\n")
        assert client.ask("SYST:ERR?") == '-113,"Undefined header"\n'
        assert client.ask("*ESR?") == "32\n"
        assert int(client.ask("SYST:ERR?").partition(",")[0]) == 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
def test_messages_may_end_as_clients_end_them(server: Server, end: str) -> None:
    with Client(server, METER) as client:
        client.socket.sendall(f":SOUR:VOLT 0.07{end}:SOUR:VOLT?{end}".encode())
        assert float(client.file.readline()) == 0.07


def test_a_message_may_come_in_pieces_and_many_at_once(server: Server) -> None:
    with Client(server, GENERATOR) as client:
        for piece in (b"*I", b"DN", b"?"):
            client.socket.sendall(piece)
        assert client.ask("\n*OPC?\n*OPC?").startswith("Agilent")
        assert [client.file.readline() for _ in range(2)] == ["1\n", "1\n"]


def test_clients_come_and_go_and_each_gets_its_own_answers(server: Server) -> None:
    with Client(server, METER) as first:
        first.ask("*IDN?")
    with Client(server, METER) as one, Client(server, METER) as two:
        one.socket.sendall(b"SYST:VERS?\n")
        assert two.ask("*IDN?").startswith("KEITHLEY")
        assert one.file.readline() == "1999.0\n"


def test_messages_of_clients_that_talk_at_once_never_mix(server: Server) -> None:
    """Each sets a value and asks for it in one message; an interleaved one would answer another's."""
    wrong: list[str] = []

    def talk(number: int) -> None:
        with Client(server, METER) as client:
            for i in range(100):
                volts = (100 * number + i) * 1e-4
                if abs(float(client.ask(f":SOUR:VOLT {volts:.6f};:SOUR:VOLT?")) - volts) > 1e-9:
                    wrong.append(f"{number}: {i}")

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_client_that_never_reads_is_dropped_and_hinders_nobody(server: Server) -> None:
    with Client(server, METER) as deaf, Client(server, METER) as other:
        deaf.socket.settimeout(5)
        with pytest.raises(OSError):  # cut off
            deaf.socket.sendall(b"*IDN?\n" * 4_000_000)
        assert other.ask("*IDN?").startswith("KEITHLEY")


def test_a_message_without_end_is_an_overrun(server: Server) -> None:
    with Client(server, METER) as client:
        client.ask("*CLS;*OPC?")
        client.socket.sendall(b"x" * (3 << 20))
        client.socket.sendall(b"\n")
        assert client.ask("SYST:ERR?") == '-363,"Input buffer overrun"\n'
        assert client.ask("*IDN?").startswith("KEITHLEY")


def test_time_stands_still_but_for_measurements_and_waits(lab: Laboratory, server: Server) -> None:
    with Client(server, None) as clock:
        before = float(clock.ask("TIME?"))
        assert float(clock.ask("TIME:WAIT 2.5;:TIME?")) == before + 2.5 == lab.world.clock.now()


def test_what_was_sent_before_a_wait_is_done_before_it(server: Server) -> None:
    """A magnet told to go to 5 A is there after the wait, every time."""
    with Client(server, MAGNET) as magnet, Client(server, None) as clock:
        magnet.ask("FUNC:MODE CURR;:VOLT 36;:CURR 0;:OUTP 1;*OPC?")
        for i in range(100):
            wanted = 5.0 * (-1) ** i
            magnet.socket.sendall(f"CURR {wanted}\n".encode())
            clock.ask("TIME:WAIT 0.1;:TIME?")
            assert float(magnet.ask("MEAS:CURR?")) == pytest.approx(wanted)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells in which order data came")
def test_messages_to_different_instruments_are_taken_in_the_order_in_which_they_came(
    lab: Laboratory, server: Server
) -> None:
    """However busy the server is, and whoever talked last: matrix, then meter, while the meter's first is handled."""
    order: list[str] = []
    with Client(server, MATRIX) as matrix, Client(server, METER) as meter:
        clients = {"matrix": (matrix, MATRIX), "meter": (meter, METER)}
        for name, (client, address) in clients.items():
            client.ask("*OPC?")
            note_clear_status(lab.wires[address], order, name)
        for first, second in [("matrix", "meter"), ("meter", "matrix")] * 20:
            order.clear()
            with lab.wires[METER].lock:  # the server stands at the first message meanwhile
                clients[second][0].socket.sendall(b"*OPC?\n")
                time.sleep(0.005)
                clients[first][0].socket.sendall(b"*CLS\n")
                clients[second][0].socket.sendall(b"*CLS\n")
            assert clients[second][0].file.readline() == clients[first][0].ask("*OPC?") == "1\n"
            assert clients[second][0].ask("*OPC?") == "1\n"
            assert order == [first, second]


def note_clear_status(wire: Wire, order: list[str], name: str) -> None:
    send = wire.send

    def noting(message: str) -> None:
        if message == "*CLS":
            order.append(name)
        send(message)

    wire.send = noting  # type: ignore[method-assign]


@pytest.mark.parametrize("program", ["netcat", "plain socket"])
def test_a_program_that_only_pipes_gets_its_answers(server: Server, program: str) -> None:
    if program == "netcat" and NETCAT is None:
        pytest.skip("no netcat here")
    place = server.places[GENERATOR]
    start = [str(NETCAT), "-w", "2"] if program == "netcat" else [sys.executable, "-c", PLAIN]
    ran = subprocess.run(
        [*start, place.host, str(place.port)],
        input="*IDN?\nVOLT:HIGH 0.5\nVOLT:HIGH?\nSYST:ERR?\n",
        capture_output=True,
        text=True,
        timeout=20,
    )
    identity, volts, error = ran.stdout.splitlines()
    assert identity.startswith("Agilent Technologies,33522A")
    assert (float(volts), error) == (0.5, '+0,"No error"')


def test_a_late_reply_comes_with_the_next_one(lab: Laboratory, server: Server) -> None:
    lab.wires[METER].faults.append(Fault(FaultKind.REPLY_LATE, "*IDN?"))
    with Client(server, METER) as client:
        client.socket.sendall(b"*IDN?\n")
        assert client.ask("SYST:VERS?").startswith("KEITHLEY")
        assert client.file.readline() == "1999.0\n"


def test_a_closed_connection_is_closed_for_that_client_alone(lab: Laboratory, server: Server) -> None:
    lab.wires[METER].faults.append(Fault(FaultKind.CLOSED, "*TST?"))
    with Client(server, METER) as client, Client(server, METER) as other:
        assert client.ask("*TST?") == ""
        assert other.ask("*TST?") == "0\n"


def test_ports_that_are_taken_are_refused_by_name(lab: Laboratory, server: Server) -> None:
    port = server.places[GENERATOR].port
    with pytest.raises(BadInput, match=f"ports {port - 1} to {port + 3}"):
        Server(lab, port=port - 1, terminals=False)


@pytest.mark.parametrize(("host", "port"), [("no such host.invalid", 0), ("127.0.0.1", 65533)])
def test_a_place_that_cannot_be_is_bad_input(lab: Laboratory, host: str, port: int) -> None:
    with pytest.raises(BadInput, match=r"host=|port="):
        Server(lab, host=host, port=port, terminals=False)


def test_ports_are_free_again_at_once(lab: Laboratory) -> None:
    with serving(lab) as one, Client(one, METER) as client:
        client.ask("*IDN?")
        port = one.places[GENERATOR].port
    with serving(lab, port=port) as two, Client(two, METER) as client:
        assert client.ask("*OPC?") == "1\n"


WORDS = ["*IDN?", "*ESE", "VOLT", ":SOUR1", "FUNC", "PULS:WIDT", "?", ";", ":", " ", ",", "(@", ")", "!", "1"]
WORDS += [
    "-",
    "1e999",
    "nan",
    "INF",
    "MAX",
    "'",
    '"',
    "\0",
    "\xff",
    "CLOS",
    "OUTP",
    "9" * 400,
    "TIME:WAIT",
    "#",
]


@given(message=st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map("".join))
@settings(max_examples=300)
def test_no_message_breaks_an_instrument(fuzzed: list[Wire], message: str) -> None:
    for wire in fuzzed:
        wire.exchange(message)
        wire.exchange("*CLS")
        assert wire.exchange("*OPC?") == ["1"]


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[list[Wire]]:
    laboratory = virtual_laboratory(seed=1)
    yield [*laboratory.wires.values(), Wire(Timekeeper(laboratory.world))]
    laboratory.close()
