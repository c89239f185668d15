"""Which lines have something to read, in the order in which it came.

A client that tells the matrix to close (no reply) and then asks the meter relies on this order, as it may on
GPIB. Linux tells it of open connections (edge-triggered epoll queues them as data come); elsewhere, and for
connections not yet accepted, lines that are ready together come in any order.
"""

from __future__ import annotations

import select
import selectors
import sys
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Arrivals(Generic[T]):
    """Watches files; each stands for a `T`."""

    def __init__(self) -> None:
        self._known: dict[int, T] = {}
        if sys.platform == "linux":
            self._epoll = select.epoll()
        else:
            self._selector = selectors.DefaultSelector()

    def add(self, file: HasFileno, what: T) -> None:
        self._known[file.fileno()] = what
        if sys.platform == "linux":
            self._epoll.register(file.fileno(), select.EPOLLIN | select.EPOLLET)
        else:
            self._selector.register(file.fileno(), selectors.EVENT_READ)

    def again(self, file: HasFileno) -> None:
        """Say again if something is left to read: an edge would not be told twice."""
        if sys.platform == "linux":
            self._epoll.modify(file.fileno(), select.EPOLLIN | select.EPOLLET)

    def drop(self, file: HasFileno) -> None:
        del self._known[file.fileno()]
        if sys.platform == "linux":
            self._epoll.unregister(file.fileno())
        else:
            self._selector.unregister(file.fileno())

    def wait(self, timeout_s: float) -> list[T]:
        """What has come since; an empty list after the timeout."""
        if sys.platform == "linux":
            ready = [number for number, _ in self._epoll.poll(timeout_s)]
        else:
            ready = [key.fd for key, _ in self._selector.select(timeout_s)]
        return [self._known[number] for number in ready]

    def close(self) -> None:
        if sys.platform == "linux":
            self._epoll.close()
        else:
            self._selector.close()
