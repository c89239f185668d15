"""ArC ONE array board over a serial line: it pulses and reads the crosspoints of a 32x32 array by itself.

921600 baud, 8 data bits, even parity, one stop bit. A command is decimal text, each field on a line of its own
and a write of its own, at least a millisecond apart (closer than 0.5 ms the board drops them). Readings come
back as little-endian float32. Source of the protocol: the maker's published client library; docs/arc-one.md.

Every pulse goes as command 3, pulse then read: its reading is the only acknowledgement the board knows.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import serial

from quest_lab.clock import Clock
from quest_lab.crossbar import WriteScheme
from quest_lab.datasheets import ARCONE, GRIDS
from quest_lab.device import ReadPulse
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.fixture import Wiring
from quest_lab.instruments.roles import Setting
from quest_lab.instruments.visa import NO_HARDWARE, borrowed_socket

BAUD = 921_600
LINES = GRIDS["arcone"].firsts  # wordlines, and bitlines, counted from 1
MAXIMUM_V = ARCONE.open_v.high
DECIMALS = 6  # of every number on the wire: a width is a whole number of microseconds
MINIMUM_WIDTH_S = ARCONE.width_s.low
GAP_S = 1e-3
RESET_S = 2.0
_TIMEOUT_S = 2.0  # of one exchange
LONGEST_COMMAND = 8  # lines of command 0
TIA, FOUR_POINT_NEGATIVE = 1, 3  # read modes; a read below 0 V needs the latter
SNEAK_PATH: dict[WriteScheme, int] = {"V/3": 0, "V/2": 1}  # bias of unselected lines during a pulse
_CYCLES = 50  # averaged in one reading by the board


class Port(Protocol):
    """What is used of `serial.Serial`."""

    def write(self, data: bytes, /) -> int | None: ...
    def read(self, size: int = 1, /) -> bytes: ...
    def reset_input_buffer(self) -> None: ...
    def close(self) -> None: ...


def open_port(address: str, *, virtual: bool = False) -> Port:
    """The serial port at `address`, a device or pyserial's `socket://host:port`, as the board wants it.

    `virtual`: a pseudo terminal, which knows no parity and is no hardware. Raises DeviceError if it cannot be
    opened, or for a real one while QUEST_LAB_NO_HARDWARE is set.
    """
    if os.environ.get(NO_HARDWARE) and not virtual:
        raise DeviceError(f"{address}: not opened, {NO_HARDWARE} is set")
    parity = serial.PARITY_NONE if virtual else serial.PARITY_EVEN
    try:
        port = serial.serial_for_url(
            address,
            BAUD,
            parity=parity,
            stopbits=serial.STOPBITS_ONE,
            timeout=_TIMEOUT_S,
            write_timeout=_TIMEOUT_S,
        )
        if address.startswith("socket://"):
            with borrowed_socket(port.fileno()) as line:  # a field would wait for the last one's ACK
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise DeviceError(f"{address}: cannot be opened: {error}") from error
    return port


class ArcOneAccess:
    """CellAccess and PulseReadAccess on one board; `wiring` has a slot for each word, a column for each bit.

    Volts at the cell are the board's volts. `read`: its width is how long one reading biases the cell, which the
    board decides. `firmware`: what must answer. Between commands the board drives nothing, so `off` resets it
    and nothing more.
    """

    def __init__(
        self,
        port: Port,
        clock: Clock,
        *,
        wiring: Wiring,
        read: ReadPulse,
        reset_s: float = RESET_S,
        firmware: str | None = None,
        write_scheme: WriteScheme = "V/3",
    ) -> None:
        if wiring.slots > LINES or wiring.columns > LINES:
            raise BadInput(f"{wiring}: an ArC ONE has {LINES} wordlines and {LINES} bitlines")
        self._port, self._clock, self._wiring = port, clock, wiring
        self._read, self._reset_s = read, reset_s
        self._read_v: float | None = None  # as the board knows it
        self._firmware = firmware
        self._sneak_path = SNEAK_PATH[write_scheme]
        self._ready = False

    def set_up(self) -> None:
        """Reset, wait, ask who is there, configure reads. Raises DeviceError if another board answers."""
        found = self.identify()
        if self._firmware not in (None, found):
            raise DeviceError(f"ArC ONE: set up: firmware {found} answers, not {self._firmware}")
        self._firmware = found
        with self._step("set up"):
            volts = self._read.amplitude_v
            self._send(
                "0", _CYCLES, LINES, LINES, _mode(volts), 0, self._sneak_path,
                decimal("read amplitude_v", volts, "V"),
            )  # fmt: skip
            if (answer := self._receive_line()) != "1":
                raise DeviceError(f"ArC ONE: set up: {answer!r} instead of 1")
        self._read_v = volts
        self._ready = True

    def identify(self) -> str:
        """Reset the board, for a question could end a half-sent pulse, and ask for its firmware, major.minor."""
        self.off()
        self._clock.sleep(self._reset_s)
        with self._step("identify"):
            self._port.reset_input_buffer()
            self._send("999")
            major, minor = struct.unpack("<HH", self._receive(4))
        return f"{major}.{minor}"

    def read_back(self) -> list[Setting]:
        """The board tells no setting."""
        return []

    def pulse(self, cell: int, amplitude_v: float, width_s: float, resistance_ohm: float) -> None:
        """One pulse, acknowledged by a reading at the board's own read pulse; that reading is dropped."""
        self.pulse_and_read(cell, amplitude_v, width_s, resistance_ohm, self._read)

    def pulse_and_read(
        self, cell: int, amplitude_v: float, width_s: float, _resistance_ohm: float, at: ReadPulse
    ) -> float:
        """Pulse and reading in one exchange, ohm. No or no sensible reading: the cell is ambiguous."""
        fields = ("3", *self._lines(cell), *_pulse_fields(amplitude_v, width_s))
        self._prepare(at)
        with self._step(f"cell {cell}: pulse {amplitude_v:.6g} V, {width_s:.6g} s"):
            self._send(*fields[:-1])
            try:
                self._send(fields[-1])  # with its last field the board has the command
                return self._receive_ohm()
            except (OSError, DeviceError) as error:
                raise DeviceError(str(error), ambiguous=np.array([cell], np.int64)) from error

    def read(self, cell: int, at: ReadPulse) -> float:
        """Resistance of the cell, ohm."""
        self._prepare(at)
        with self._step(f"cell {cell}: read"):
            self._send("1", *self._lines(cell))
            return self._receive_ohm()

    def off(self) -> None:
        """Reset the board, whatever it was doing: zeros end a half-sent pulse as one of 0 V and 0 s."""
        self._ready = False
        with self._step("reset"):
            self._send(*["00"] * LONGEST_COMMAND)

    def close(self) -> None:
        """Close the port."""
        with self._step("close"):
            self._port.close()

    def _lines(self, cell: int) -> tuple[int, int]:
        """Word and bit of a cell."""
        word, _, bit = self._wiring.crosspoint(1, cell)
        return word, bit

    def _prepare(self, at: ReadPulse) -> None:
        """Set the board up again after a failure or `off`, and its read voltage if another is wanted."""
        if at.width_s != self._read.width_s:
            raise LimitExceeded(
                f"read width_s={at.width_s}: an ArC ONE decides that itself: {self._read.width_s} s"
            )
        text = decimal("read amplitude_v", at.amplitude_v, "V")
        if not self._ready:
            self.set_up()
        if at.amplitude_v != self._read_v:
            with self._step("set read voltage"):
                self._send("01", _mode(at.amplitude_v), text)
            self._read_v = at.amplitude_v

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Name board and step in what fails. Then the board is set up again before the next exchange."""
        try:
            yield
        except DeviceError as error:
            self._ready = False
            if str(error).startswith("ArC ONE"):
                raise
            raise DeviceError(f"ArC ONE: {what}: {error}", ambiguous=error.ambiguous) from error
        except OSError as error:
            self._ready = False
            raise DeviceError(f"ArC ONE: {what}: {error}") from error
        except BaseException:  # an interrupt leaves a command half sent or its reply on the line
            self._ready = False
            raise

    def _send(self, *fields: object) -> None:
        for field in fields:
            self._port.write(f"{field}\n".encode("ascii"))
            self._clock.sleep(GAP_S)

    def _receive(self, count: int) -> bytes:
        """Exactly `count` bytes of the reply."""
        reply = self._port.read(count)
        if len(reply) != count:
            raise DeviceError(f"{len(reply)} of {count} bytes came before the time was up")
        return reply

    def _receive_line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            line += self._receive(1)
        return line.decode("ascii", "replace").strip()

    def _receive_ohm(self) -> float:
        reply = self._receive(4)
        ohm = float(struct.unpack("<f", reply)[0])
        if not 0.0 < ohm < math.inf:
            raise DeviceError(f"unreadable reply {reply.hex()} ({ohm} ohm)")
        return ohm


def decimal(name: str, value: float, unit: str) -> str:
    """The number as the board is told it. Raises LimitExceeded if six decimals do not hold it."""
    text = f"{value:.{DECIMALS}f}"
    if not math.isclose(float(text), value, rel_tol=1e-9, abs_tol=0.0):
        raise LimitExceeded(f"{name}={value!r}: an ArC ONE is told {DECIMALS} decimals, {text} {unit}")
    return text


def _pulse_fields(amplitude_v: float, width_s: float) -> tuple[str, str]:
    if not abs(amplitude_v) <= MAXIMUM_V:
        raise LimitExceeded(f"amplitude_v={amplitude_v}: an ArC ONE gives -{MAXIMUM_V} to {MAXIMUM_V} V")
    if not width_s >= MINIMUM_WIDTH_S:
        raise LimitExceeded(f"width_s={width_s}: an ArC ONE gives {MINIMUM_WIDTH_S} s or more")
    return decimal("amplitude_v", amplitude_v, "V"), decimal("width_s", width_s, "s")


def _mode(read_v: float) -> int:
    return FOUR_POINT_NEGATIVE if read_v < 0.0 else TIA
