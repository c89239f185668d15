"""The virtual instruments served to any program: one TCP port each, and (POSIX) one pseudo-terminal each.

One thread handles one message at a time, in the order in which they come (see `arrivals`); whatever had been
sent before a wait of the timekeeper is done before it.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from quest_lab.clock import RunningClock
from quest_lab.errors import BadInput
from quest_lab.sim.arrivals import Arrivals
from quest_lab.sim.streams import Stream, TcpStream, Terminal, terminals_exist
from quest_lab.sim.timekeeper import Timekeeper
from quest_lab.sim.virtual import Laboratory
from quest_lab.sim.wire import Wire

LOOPBACK = "127.0.0.1"
FIRST_PORT = 5025  # of raw SCPI (IANA scpi-raw)
_TRIES = 50
_TURN_S = 0.5  # Windows: Ctrl-C does not interrupt a select


@dataclass(frozen=True, slots=True)
class Place:
    """Where one virtual instrument answers."""

    instrument: str
    host: str
    port: int
    path: str | None = None  # of its pseudo-terminal

    @property
    def tcp(self) -> str:
        """VISA resource: raw socket."""
        return f"TCPIP::{self.host}::{self.port}::SOCKET"

    @property
    def serial(self) -> str:
        """VISA resource of pyvisa-py: a serial line over the same port."""
        return f"ASRLsocket://{self.host}:{self.port}::INSTR"

    @property
    def terminal(self) -> str | None:
        """VISA resource: serial line by its path."""
        return self.path and f"ASRL{self.path}::INSTR"


@dataclass(frozen=True, slots=True)
class Door:
    """A port on which clients of one instrument knock."""

    listener: socket.socket
    wire: Wire


class Server:
    """A laboratory's fronts. Instruments take consecutive ports from `port` on, the timekeeper the last one.

    `port` 0 finds free ones. Raises BadInput where ports are taken or the host is not this machine's.
    """

    def __init__(
        self, laboratory: Laboratory, *, host: str = LOOPBACK, port: int = FIRST_PORT, terminals: bool = True
    ) -> None:
        self.laboratory = laboratory
        lock = next(iter(laboratory.wires.values())).lock
        self._clock_wire = Wire(Timekeeper(laboratory.world), lock)
        wires = [*laboratory.wires.values(), self._clock_wire]
        self._arrivals: Arrivals[Stream | Door | None] = Arrivals()
        self._streams: set[Stream] = set()
        self._stopping = False
        listeners = _listen(host, port, len(wires))
        self._wake, woken = socket.socketpair()
        self._arrivals.add(woken, None)
        self._sockets = [*listeners, self._wake, woken]
        for listener, wire in zip(listeners, wires, strict=True):
            self._arrivals.add(listener, Door(listener, wire))
        lines = [self._terminal(wire) for wire in wires] if terminals and terminals_exist() else []
        self._places = _places(listeners, wires, [line.path for line in lines])

    @property
    def places(self) -> dict[str, Place]:
        """Where each instrument answers, by its VISA address in the laboratory."""
        return dict(zip(self.laboratory.wires, self._places, strict=False))

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
            if stream.wire is self._clock_wire:
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
        return self._add(TcpStream(connection, door.wire))

    def _terminal(self, wire: Wire) -> Terminal:
        line = Terminal(wire)
        self._add(line)
        return line

    def _add(self, stream: Stream) -> Stream:
        self._streams.add(stream)
        self._arrivals.add(stream, stream)
        return stream

    def _drop(self, stream: Stream) -> None:
        self._arrivals.drop(stream)
        self._streams.discard(stream)
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


def _places(listeners: list[socket.socket], wires: list[Wire], paths: list[str]) -> list[Place]:
    names = [type(wire.instrument).__name__ for wire in wires]
    given: list[str | None] = [*paths] or [None] * len(wires)
    ends = [listener.getsockname() for listener in listeners]
    return [Place(name, end[0], end[1], path) for name, end, path in zip(names, ends, given, strict=True)]


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
