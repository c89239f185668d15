"""Hears every word between a pymeasure driver and its instrument, through the adapter's own logger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from quest_lab.instruments.arcone import Port

Heard: TypeAlias = Callable[[str, str, str], None]
"""Called with the instrument's name, "write" or "read", and the words."""


class _Tap(logging.Handler):
    def __init__(self, name: str, heard: Heard) -> None:
        super().__init__(logging.DEBUG)
        self._name, self._heard = name, heard

    def emit(self, record: logging.LogRecord) -> None:
        direction = {"WRITE:%s": "write", "READ:%s": "read"}.get(str(record.msg))
        if direction is None:  # pymeasure's remarks
            return
        words = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        self._heard(self._name, direction, words.rstrip("\r\n") if isinstance(words, str) else repr(words))


def tap(instrument: Any, name: str, heard: Heard) -> None:
    """From now on `heard` is told every exchange of this instrument."""
    logger = logging.Logger(f"wire of {name}", logging.DEBUG)  # its own: pymeasure's is shared by all
    logger.addHandler(_Tap(name, heard))
    instrument.adapter.log = logger


@contextmanager
def hearing(name: str, heard: Heard) -> Iterator[None]:
    """`heard` is told what drivers made in the block send while they are made."""
    shared, handler = logging.getLogger("pymeasure.instruments.instrument"), _Tap(name, heard)
    before = shared.level
    shared.addHandler(handler)
    shared.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        shared.setLevel(before)
        shared.removeHandler(handler)


class TappedPort:
    """A board's port of which `heard` is told every field and every reply."""

    def __init__(self, port: Port, name: str, heard: Heard) -> None:
        self._port, self._name, self._heard = port, name, heard

    def write(self, data: bytes, /) -> int | None:
        self._heard(self._name, "write", data.decode("ascii", "replace").rstrip("\n"))
        return self._port.write(data)

    def read(self, size: int = 1, /) -> bytes:
        data = self._port.read(size)
        self._heard(self._name, "read", data.hex())
        return data

    def reset_input_buffer(self) -> None:
        self._port.reset_input_buffer()

    def close(self) -> None:
        self._port.close()
