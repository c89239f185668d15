"""Ends of byte streams on which virtual instruments talk: TCP connections and pseudo-terminals.

A message ends with a line feed or (serial terminals) a carriage return; a reply ends with a line feed.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

from quest_lab.sim.wire import LinkClosed, Wire

CHUNK = 1 << 16
LONGEST_MESSAGE = 1 << 20
_END = re.compile(rb"[\r\n]")


Talk: TypeAlias = Callable[[bytes], bytes]
"""What an instrument does with bytes that come, and what it sends in return. Raises LinkClosed."""


class Stream(Protocol):
    """One end of a line."""

    def fileno(self) -> int: ...

    def pump(self) -> bool:
        """Handle all messages that have come, without waiting; False when the line is gone."""
        ...

    def close(self) -> None: ...


class Messages:
    """Bytes from one client, cut into messages for the instrument."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """What the instrument sends in return. Raises LinkClosed."""
        *lines, self._rest = _END.split(self._rest + chunk)
        if len(self._rest) > LONGEST_MESSAGE:
            self._rest = b""
            self._wire.instrument.scpi.error(-363)
        replies = [
            reply for line in lines if line for reply in self._wire.exchange(line.decode("ascii", "replace"))
        ]
        return b"".join(reply.encode() + b"\n" for reply in replies)


class TcpStream:
    """A client's TCP connection."""

    def __init__(self, connection: socket.socket, talk: Talk) -> None:
        connection.setblocking(False)
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # else a second reply waits for an ACK
        self._connection, self._talk = connection, talk

    def fileno(self) -> int:
        return self._connection.fileno()

    def pump(self) -> bool:
        try:
            chunk = self._connection.recv(CHUNK)
        except BlockingIOError:  # select may report what is not there
            return True
        except OSError:
            return False
        try:
            self._connection.sendall(self._talk(chunk))
        except (LinkClosed, OSError):  # among them: full, because the client never reads
            return False
        return bool(chunk)

    def close(self) -> None:
        self._connection.close()


class Terminal:
    """A pseudo-terminal: a serial line that any program opens by its path (POSIX).

    Its far end stays open here, so clients may come and go. What nobody reads is lost, as without handshake.
    """

    def __init__(self, talk: Talk) -> None:
        import tty  # not on Windows

        self._near, self._far = os.openpty()
        tty.setraw(self._far)  # no echo, no translation of line ends
        os.set_blocking(self._near, False)
        self.path = os.ttyname(self._far)
        self._talk = talk

    def fileno(self) -> int:
        return self._near

    def pump(self) -> bool:
        with suppress(BlockingIOError, LinkClosed):  # a cut serial line is only silent
            replies = self._talk(os.read(self._near, CHUNK))
            if replies:
                os.write(self._near, replies)
        return True

    def close(self) -> None:
        for end in (self._near, self._far):
            os.close(end)


def terminals_exist() -> bool:
    """Whether this system has pseudo-terminals."""
    return hasattr(os, "openpty")
