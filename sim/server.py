"""A virtual laboratory served to any program: a TCP port, and (POSIX) a pseudo-terminal for each instrument.

One thread handles one message at a time, in the order in which they come (see `arrivals`); whatever had been
sent before a wait of the timekeeper is done before it.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from quest_lab.clock import RunningClock
from quest_lab.errors import BadInput
from quest_lab.sim.arrivals import Arrivals
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.streams import Messages, Stream, Talk, TcpStream, Terminal, terminals_exist
from quest_lab.sim.timekeeper import Timekeeper
from quest_lab.sim.wire import Wire

LOOPBACK = "127.0.0.1"
FIRST_PORT = 5025  # of raw SCPI (IANA scpi-raw)
_TRIES = 50
_TURN_S = 0.5  # Windows: Ctrl-C does not interrupt a select


@dataclass(frozen=True, slots=True)
class Place:
    """Where one virtual instrument answers. `bare`: a board, which pyserial opens without VISA."""

    instrument: str
    host: str
    port: int
    path: str | None = None  # of its pseudo-terminal
    bare: bool = False

    @property
    def tcp(self) -> str:
        """VISA resource: raw socket."""
        return self._socket if self.bare else f"TCPIP::{self.host}::{self.port}::SOCKET"

    @property
    def serial(self) -> str:
        """VISA resource of pyvisa-py: a serial line over the same port."""
        return self._socket if self.bare else f"ASRL{self._socket}::INSTR"

    @property
    def terminal(self) -> str | None:
        """VISA resource: serial line by its path."""
        return self.path if self.bare else self.path and f"ASRL{self.path}::INSTR"

    @property
    def _socket(self) -> str:
        return f"socket://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Outlet:
    """One instrument: its name, its address in the laboratory, and what talks with a new client."""

    name: str
    address: str
    talk: Callable[[], Talk]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """A port on which clients of one instrument knock."""

    listener: socket.socket
    outlet: Outlet


class Server:
    """A laboratory's fronts. Instruments take consecutive ports from `port` on, the timekeeper the last one.

    `port` 0 finds free ones. Raises BadInput where ports are taken or the host is not this machine's.
    """

    def __init__(
        self, laboratory: Laboratory, *, host: str = LOOPBACK, port: int = FIRST_PORT, terminals: bool = True
    ) -> None:
        self.laboratory = laboratory
        self._outlets = [*_instruments(laboratory), _timekeeper(laboratory)]
        self._arrivals: Arrivals[Stream | Door | None] = Arrivals()
        self._streams: dict[Stream, Outlet] = {}
        self._stopping = False
        listeners = _listen(host, port, len(self._outlets))
        self._wake, woken = socket.socketpair()
        self._arrivals.add(woken, None)
        self._sockets = [*listeners, self._wake, woken]
        for listener, outlet in zip(listeners, self._outlets, strict=True):
            self._arrivals.add(listener, Door(listener, outlet))
        with_lines = terminals and terminals_exist()
        lines = [self._terminal(outlet) for outlet in self._outlets] if with_lines else []
        self._places = _places(listeners, self._outlets, [line.path for line in lines])

    @property
    def places(self) -> dict[str, Place]:
        """Where each instrument answers, by its VISA address in the laboratory."""
        return {
            outlet.address: place for outlet, place in zip(self._outlets[:-1], self._places, strict=False)
        }

    @property
    def clock(self) -> Place:
        """Where the timekeeper answers."""
        return self._places[-1]

    def serve(self, after: Callable[[], None] = lambda: None) -> None:
        """Answer until `stop`; `after` is called after each batch of messages."""
        while not self._stopping:
            self._turn(_TURN_S)
            after()

    def stop(self) -> None:
        """End `serve` after the message in hand; from any thread or signal handler."""
        self._stopping = True
        self._wake.send(b"\0")

    def close(self) -> None:
        """Close all lines. The laboratory stays."""
        for stream in list(self._streams):
            self._drop(stream)
        self._arrivals.close()
        for one in self._sockets:
            one.close()

    def _turn(self, timeout_s: float) -> None:
        """Handle what has come. The timekeeper last, and only after what came before its message."""
        waits = self._pump_instruments(timeout_s)
        if waits:
            waits += [one for one in self._pump_instruments(0) if one not in waits]
        for stream in waits:
            self._pump(stream)

    def _pump_instruments(self, timeout_s: float) -> list[Stream]:
        """Handle instruments and new clients; returns the timekeeper's streams that have something."""
        waits: list[Stream] = []
        arrived = self._arrivals.wait(timeout_s)
        if isinstance(clock := self.laboratory.world.clock, RunningClock):
            clock.catch_up()
        for one in arrived:
            stream = self._accept(one) if isinstance(one, Door) else one
            if stream is None:
                continue
            if self._streams[stream] is self._outlets[-1]:
                if stream is one:  # of one just accepted a message may come now, after another not seen yet
                    waits.append(stream)
            else:
                self._pump(stream)
        return waits

    def _pump(self, stream: Stream) -> None:
        if stream.pump():
            self._arrivals.again(stream)
        else:
            self._drop(stream)

    def _accept(self, door: Door) -> Stream | None:
        try:
            connection, _ = door.listener.accept()
        except OSError:  # gone again
            return None
        finally:
            self._arrivals.again(door.listener)
        return self._add(TcpStream(connection, door.outlet.talk()), door.outlet)

    def _terminal(self, outlet: Outlet) -> Terminal:
        line = Terminal(outlet.talk())
        self._add(line, outlet)
        return line

    def _add(self, stream: Stream, outlet: Outlet) -> Stream:
        self._streams[stream] = outlet
        self._arrivals.add(stream, stream)
        return stream

    def _drop(self, stream: Stream) -> None:
        self._arrivals.drop(stream)
        self._streams.pop(stream, None)
        stream.close()


@contextmanager
def serving(laboratory: Laboratory, *, port: int = 0, terminals: bool = False) -> Iterator[Server]:
    """The laboratory served by a thread of this process, on free loopback ports."""
    server = Server(laboratory, port=port, terminals=terminals)
    thread = threading.Thread(target=server.serve, name="virtual instruments", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        server.close()


def served_places(addresses: Sequence[str], bare: Container[str], host: str, port: int) -> dict[str, Place]:
    """Where a server in another process has put the instruments of these addresses, in its order."""
    return {a: Place("", host, port + i, bare=a in bare) for i, a in enumerate(addresses)}


def _instruments(laboratory: Laboratory) -> Iterator[Outlet]:
    for address, wire in laboratory.wires.items():
        yield Outlet(type(wire.instrument).__name__, address, _talker(wire))
    if (one := laboratory.virtual_board) is not None:
        yield Outlet(type(one.board).__name__, one.address, lambda: one.board.receive, bare=True)


def _timekeeper(laboratory: Laboratory) -> Outlet:
    return Outlet("Timekeeper", "", _talker(Wire(Timekeeper(laboratory.world))))


def _talker(wire: Wire) -> Callable[[], Talk]:
    return lambda: Messages(wire).feed


def _places(listeners: list[socket.socket], outlets: list[Outlet], paths: list[str]) -> list[Place]:
    given: list[str | None] = [*paths] or [None] * len(outlets)
    ends = [listener.getsockname() for listener in listeners]
    return [
        Place(outlet.name, end[0], end[1], path, outlet.bare)
        for outlet, end, path in zip(outlets, ends, given, strict=True)
    ]


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Listeners on consecutive ports."""
    if port and not 1 <= port <= 65536 - count:
        raise BadInput(
            f"port={port}: want 1 to {65536 - count}, or 0 for any free ones ({count} in a row are needed)"
        )
    try:
        socket.gethostbyname(host)
        for _ in range(0 if port else _TRIES):
            with suppress(OSError, OverflowError):  # a port above 65535 overflows
                return _consecutive(host, 0, count)
        return _consecutive(host, port, count)
    except OSError as error:
        where = f"ports {port} to {port + count - 1}" if port else f"{count} free ports in a row"
        raise BadInput(f"host={host}: cannot listen on {where}: {error.strerror or error}") from error


def _consecutive(host: str, port: int, count: int) -> list[socket.socket]:
    with ExitStack() as stack:
        found: list[socket.socket] = []
        for i in range(count):
            listener = stack.enter_context(socket.socket())
            _own(listener)
            listener.bind((host, found[0].getsockname()[1] + i if found else port))
            listener.listen()
            listener.setblocking(False)
            found.append(listener)
        stack.pop_all()
        return found


def _own(listener: socket.socket) -> None:
    """A port in use is refused, one of a server that has just ended is not."""
    if sys.platform == "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
