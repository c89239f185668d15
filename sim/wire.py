"""Between a client and a virtual instrument: messages counted, faults injected."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from quest_lab.sim.scpi import Scpi


class Instrument(Protocol):
    """A virtual instrument: something that understands SCPI."""

    scpi: Scpi


class FaultKind(StrEnum):
    """What can happen to a message."""

    NONE = "none"  # passes unharmed: to let the first ones through
    COMMAND_LOST = "command lost"  # never arrives; a query then times out
    REPLY_LOST = "reply lost"  # executed, but nothing comes back
    REPLY_LATE = "reply late"  # comes after the client has given up
    GARBAGE = "garbage"  # noise instead of the reply
    NUMBER = "number"  # a zero instead of the reply
    CLOSED = "closed"  # the connection is gone
    CLOSED_AFTER = "closed after"  # executed, then the connection is gone


@dataclass(slots=True)
class Fault:
    """The next `count` messages that contain `contains` meet this fate; an empty text matches every one."""

    kind: FaultKind
    contains: str = ""
    count: int = 1


_INSTEAD = {FaultKind.GARBAGE: "\x15#?", FaultKind.NUMBER: "0"}


class LinkClosed(Exception):
    """The connection to the instrument is gone."""


class Wire:
    """One instrument's line to its clients. `lock` is one for all wires of a laboratory: messages are atomic."""

    def __init__(self, instrument: Instrument, lock: threading.RLock | None = None) -> None:
        self.instrument = instrument
        self.lock = lock or threading.RLock()
        self.faults: list[Fault] = []
        self.sent: deque[str] = deque(maxlen=1000)  # the last messages from the client, newest last
        self.messages = self.replies = 0
        self._reply_fault = FaultKind.NONE
        self._late: list[str] = []

    def exchange(self, message: str) -> list[str]:
        """A message on a line that sends by itself (socket, serial): what it sends now. Raises LinkClosed.

        A late reply comes before the next message's own, and shifts it if the client does not drain the line.
        """
        with self.lock:
            replies, self._late = self._late, []
            self.send(message)
            fault, self._reply_fault = self._reply_fault, FaultKind.NONE
            if fault is FaultKind.COMMAND_LOST or not self.instrument.scpi.reply_waiting:
                return replies
            reply = self._reply(fault)
            if fault is FaultKind.REPLY_LATE and reply is not None:
                self._late = [reply]
            elif reply is not None:
                replies.append(reply)
            return replies

    def send(self, message: str) -> None:
        """A message from the client. Raises LinkClosed."""
        with self.lock:
            self.sent.append(message)
            self.messages += 1
            fault = self._fault(message)
            if fault is FaultKind.CLOSED:
                raise LinkClosed
            self._reply_fault = fault
            if fault is not FaultKind.COMMAND_LOST:
                self.instrument.scpi.receive(message)
            if fault is FaultKind.CLOSED_AFTER:
                self.instrument.scpi.clear()
                raise LinkClosed

    def receive(self) -> str | None:
        """The reply; None when the client would time out."""
        with self.lock:
            fault, self._reply_fault = self._reply_fault, FaultKind.NONE
            if fault in (FaultKind.REPLY_LATE, FaultKind.COMMAND_LOST):
                return None
            return self._reply(fault)

    def _reply(self, fault: FaultKind) -> str | None:
        reply = self.instrument.scpi.answer()
        if fault is FaultKind.REPLY_LOST or reply is None:
            return None
        self.replies += 1
        return _INSTEAD.get(fault, reply)

    def clear(self) -> None:
        """Device clear."""
        self._reply_fault = FaultKind.NONE
        self.instrument.scpi.clear()

    def _fault(self, message: str) -> FaultKind:
        for fault in self.faults:
            if fault.count and fault.contains in message:
                fault.count -= 1
                return fault.kind
        return FaultKind.NONE
