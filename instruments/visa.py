"""The one place that opens VISA, and the line over which every exchange with an instrument goes."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from pyvisa.errors import VisaIOError
from pyvisa.highlevel import VisaLibraryBase
from pyvisa.resources import SerialInstrument, TCPIPSocket

from quest_lab.errors import DeviceError

T = TypeVar("T")
Library: TypeAlias = VisaLibraryBase | str
"""A virtual VISA library, or the name of a real one."""
NO_HARDWARE = "QUEST_LAB_NO_HARDWARE"
DRAIN_MS = 10  # a line on which nothing comes for so long is taken as empty
_RESYNCHRONISE_TRIES = 3


def open_instrument(
    driver: Callable[..., T],
    address: str,
    library: VisaLibraryBase | str = "",
    *,
    timeout_s: float = 2.0,
    hardware: bool = True,
) -> T:
    """A pymeasure instrument at a VISA address; `library` is a virtual one or the name of a real one.

    `hardware` False: the address is a virtual instrument's, served over a socket or a serial line. Raises
    DeviceError if nothing is there, or for real hardware while QUEST_LAB_NO_HARDWARE is set.
    """
    if hardware and isinstance(library, str) and os.environ.get(NO_HARDWARE):
        raise DeviceError(f"{address}: not opened, {NO_HARDWARE} is set")
    try:
        instrument = driver(address, visa_library=library, timeout=round(timeout_s * 1e3))
        prepare(instrument.adapter.connection)  # type: ignore[attr-defined]  # of pymeasure, which has no types
    except Exception as error:  # pyvisa-py raises bare ones; and pymeasure's drivers talk when they are made
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DeviceError(f"{address}: cannot be opened: {reason}") from error
    return instrument


def prepare(connection: Any) -> None:
    """Lines ended with LF on sockets and serial lines, and no waiting for an ACK between two messages."""
    if not _is_stream(connection):
        return
    connection.read_termination = connection.write_termination = "\n"
    with _tcp(connection) as line:
        if line is not None:
            line.getpeername()  # pyvisa-py takes a refused connection for an open one
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def check_open(connection: Any) -> None:
    """Raise ConnectionResetError if the instrument closed its TCP connection: a write would not notice."""
    with _tcp(connection) as line:
        if line and select.select([line], [], [], 0)[0] and not line.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError("the instrument closed the connection")


@contextmanager
def _tcp(connection: Any) -> Iterator[socket.socket | None]:
    """The socket under a raw socket's or pyserial's line of pyvisa-py; None elsewhere (NI-VISA sees to itself)."""
    sessions = getattr(connection.visalib, "sessions", {})
    interface = getattr(sessions.get(connection.session), "interface", None)
    if isinstance(interface, socket.socket):
        yield interface
    elif interface is not None and "socket://" in connection.resource_name:
        with borrowed_socket(interface.fileno()) as line:
            yield line
    else:
        yield None


@contextmanager
def borrowed_socket(fileno: int) -> Iterator[socket.socket]:
    """The socket of this descriptor, which stays its owner's."""
    line = socket.socket(fileno=fileno)
    try:
        yield line
    finally:
        line.detach()


def reopen(connection: Any) -> None:
    """A new connection in place of a broken one, with its settings. Raises what pyvisa and sockets raise."""
    timeout, ends = connection.timeout, (connection.read_termination, connection.write_termination)
    connection.close()
    connection.open()
    connection.timeout = timeout
    connection.read_termination, connection.write_termination = ends
    prepare(connection)


def drain(connection: Any) -> None:
    """Throw away replies on their way: device clear, or on a line that has none, read until nothing comes."""
    if not _is_stream(connection):
        connection.clear()
        return
    timeout, connection.timeout = connection.timeout, DRAIN_MS
    try:
        while True:
            connection.read_raw()
    except VisaIOError:  # the timeout
        pass
    finally:
        connection.timeout = timeout


def _is_stream(connection: Any) -> bool:
    """Whether messages on this line end with a character and nothing else: raw sockets, serial lines."""
    return isinstance(connection, SerialInstrument | TCPIPSocket)


class Line:
    """One instrument's line: failures name instrument and step; a lost reply shifts no later answer."""

    def __init__(self, name: str, instrument: Any) -> None:
        self.name = name
        self._instrument = instrument
        self._identity: str | None = None
        self._out_of_step = False
        self._lost_at = ""  # the step at which the connection broke, until the instrument is set up again

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Turn what goes wrong on the wire into a DeviceError that names instrument and step."""
        try:
            yield
        except (VisaIOError, OSError, ValueError, LookupError) as error:  # the last two: a garbled reply
            self._out_of_step = True
            raise DeviceError(f"{self.name}: {what}: {error}") from error
        except BaseException:  # an interrupt between question and answer leaves the answer behind
            self._out_of_step = True
            raise

    def identify(self) -> str:
        """Ask who is there and remember it for resynchronising."""
        with self.step("identify"):
            self._identity = str(self._instrument.ask("*IDN?")).strip()
        self._lost_at = ""
        return self._identity

    def write(self, command: str, what: str) -> None:
        """Send a command that has no reply and may be sent twice; on a dead line through a new connection.

        Never waits for a reply, so it serves `off`.
        """
        try:
            self._write(command)
        except (VisaIOError, OSError):
            self._lost_at = what
            with self.step(what):
                reopen(self._instrument.adapter.connection)
                self._write(command)

    def _write(self, command: str) -> None:
        check_open(self._instrument.adapter.connection)
        self._instrument.write(command)

    def ask(self, command: str, what: str) -> str:
        """Send a query and return its reply. Raises DeviceError also where only `off` may still be sent."""
        if self._lost_at:
            raise DeviceError(
                f"{self.name}: {what}: the connection was lost at {self._lost_at!r}, and with it maybe all "
                "settings: set the bench up again"
            )
        if self._out_of_step:
            self._resynchronise()
        with self.step(what):
            return str(self._instrument.ask(command)).strip()

    def ask_ok(self, command: str, what: str) -> None:
        """Send commands and raise the instrument's own error text if its queue is not empty."""
        self.check(self.ask(command + ";:SYST:ERR?", what), what)

    def ask_checked(self, command: str, what: str) -> str:
        """The reply of a query; raises the instrument's own error text. One exchange."""
        found = self.ask(command + ";:SYST:ERR?", what)
        reply, both, errors = found.partition(";")
        if not both:
            raise self._unreadable(found, what)
        self.check(errors, what)
        return reply.strip()

    def check(self, reply: str, what: str) -> None:
        """Raise DeviceError unless `reply` is the instrument's word for no error."""
        code, comma, text = reply.partition(",")
        try:
            number = int(code if comma else "")  # a bare number is no word of an error queue
        except ValueError:
            raise self._unreadable(reply, what) from None
        if number:
            raise DeviceError(f"{self.name}: {what}: error {number} {text}")

    def _unreadable(self, reply: str, what: str) -> DeviceError:
        self._out_of_step = True
        return DeviceError(f"{self.name}: {what}: unreadable reply {reply!r}")

    def _resynchronise(self) -> None:
        """After a lost or late reply: an empty line, clear status, and the identity known from before."""
        for _ in range(_RESYNCHRONISE_TRIES):  # a reply later than the first draining shifts the identity
            with self.step("resynchronise"):
                drain(self._instrument.adapter.connection)
                self._instrument.write("*CLS")
                found = str(self._instrument.ask("*IDN?")).strip()
            if self._identity in (None, found):
                self._out_of_step = False
                return
        raise DeviceError(f"{self.name}: resynchronise: {found!r} answers, not {self._identity!r}")

    def close(self) -> None:
        """Close the connection. Never raises on a dead line."""
        with self.step("close"):
            self._instrument.adapter.close()
