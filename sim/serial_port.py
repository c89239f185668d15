"""The client's end of a virtual board's serial line in this process, with faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quest_lab.clock import Clock
from quest_lab.sim.wire import Fault, FaultKind

_ON_WRITES = (FaultKind.NONE, FaultKind.COMMAND_LOST, FaultKind.CLOSED)
_ON_REPLIES = (FaultKind.REPLY_LOST, FaultKind.REPLY_LATE, FaultKind.GARBAGE)


class Board(Protocol):
    """A virtual board on a serial line. `commands`: the last ones that it carried out, newest last."""

    executed: int

    @property
    def commands(self) -> Sequence[str]: ...

    def receive(self, data: bytes) -> bytes:
        """Take one write; returns what it answers."""
        ...


class MemoryPort:
    """What a driver uses of `serial.Serial`, on a board in this process; waits pass on `clock`.

    The fault COMMAND_LOST swallows one write, CLOSED refuses it, NONE lets it through: they match its text. The
    others meet the reply to a command and match its text with blanks between the fields.
    """

    def __init__(self, board: Board, clock: Clock, *, timeout_s: float = 2.0) -> None:
        self.board, self._clock, self._timeout_s = board, clock, timeout_s
        self.faults: list[Fault] = []
        self.sent: list[tuple[float, bytes]] = []  # when, what
        self.closed = False
        self._buffer = self._late = b""

    def write(self, data: bytes, /) -> int:
        """Raises OSError on a closed line, as pyserial's SerialException is one."""
        text = data.decode("ascii", "replace").strip()
        fault = self._fault(text, _ON_WRITES)
        if self.closed or fault is FaultKind.CLOSED:
            raise OSError("the port is closed")
        self.sent.append((self._clock.now(), data))
        if fault is not FaultKind.COMMAND_LOST:
            before = self.board.executed
            self._deliver(self.board.receive(data), self.board.executed > before)
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        """Up to `size` bytes; fewer once the timeout is over."""
        if len(self._buffer) < size:
            self._clock.sleep(self._timeout_s)
        out, self._buffer = self._buffer[:size], self._buffer[size:]
        self._buffer, self._late = self._buffer + self._late, b""
        return out

    def reset_input_buffer(self) -> None:
        self._buffer = self._late = b""

    def close(self) -> None:
        self.closed = True

    def opened(self) -> MemoryPort:
        """The port again, for the next program."""
        self.closed = False
        return self

    def _deliver(self, reply: bytes, executed: bool) -> None:
        fault = self._fault(self.board.commands[-1], _ON_REPLIES) if executed else FaultKind.NONE
        if fault is FaultKind.REPLY_LATE:
            self._late += reply
        elif fault is FaultKind.GARBAGE:
            self._buffer += b"\xff" * len(reply)
        elif fault is FaultKind.NONE:
            self._buffer += reply

    def _fault(self, text: str, kinds: tuple[FaultKind, ...]) -> FaultKind:
        for fault in self.faults:
            if fault.count and fault.kind in kinds and fault.contains in text:
                fault.count -= 1
                return fault.kind
        return FaultKind.NONE
