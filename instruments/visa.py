"""The one place that opens VISA, and the line over which every exchange with an instrument goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from pyvisa.errors import VisaIOError
from pyvisa.highlevel import VisaLibraryBase

from quest_lab.errors import DeviceError

T = TypeVar("T")
Library: TypeAlias = VisaLibraryBase | str
"""A virtual VISA library, or the name of a real one."""
NO_HARDWARE = "QUEST_LAB_NO_HARDWARE"


def open_instrument(
    driver: Callable[..., T], address: str, library: VisaLibraryBase | str = "", *, timeout_s: float = 2.0
) -> T:
    """A pymeasure instrument at a VISA address; `library` is a virtual one or the name of a real one.

    Raises DeviceError if nothing answers there, or for a real one while QUEST_LAB_NO_HARDWARE is set.
    """
    if isinstance(library, str) and os.environ.get(NO_HARDWARE):
        raise DeviceError(f"{address}: not opened, {NO_HARDWARE} is set")
    try:
        return driver(address, visa_library=library, timeout=round(timeout_s * 1e3))
    except (VisaIOError, ValueError, OSError) as error:  # the last two: a backend without what it needs
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DeviceError(
            f"{address}: cannot be opened with VISA {library or 'default'}: {reason}"
        ) from error


class Line:
    """One instrument's line: failures name instrument and step; a lost reply shifts no later answer."""

    def __init__(self, name: str, instrument: Any) -> None:
        self.name = name
        self._instrument = instrument
        self._identity: str | None = None
        self._out_of_step = False

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Turn what goes wrong on the wire into a DeviceError that names instrument and step."""
        try:
            yield
        except (VisaIOError, ValueError, IndexError) as error:  # the last two: pymeasure on a garbled reply
            self._out_of_step = True
            raise DeviceError(f"{self.name}: {what}: {error}") from error
        except BaseException:  # an interrupt between question and answer leaves the answer behind
            self._out_of_step = True
            raise

    def identify(self) -> str:
        """Ask who is there and remember it for resynchronising."""
        with self.step("identify"):
            self._identity = str(self._instrument.ask("*IDN?")).strip()
        return self._identity

    def write(self, command: str, what: str) -> None:
        """Send a command that has no reply. Never waits for one, so it serves `off`."""
        with self.step(what):
            self._instrument.write(command)

    def ask(self, command: str, what: str) -> str:
        """Send a query and return its reply."""
        if self._out_of_step:
            self._resynchronise()
        with self.step(what):
            return str(self._instrument.ask(command)).strip()

    def ask_ok(self, command: str, what: str) -> None:
        """Send commands and raise the instrument's own error text if its queue is not empty."""
        self.check(self.ask(command + ";:SYST:ERR?", what), what)

    def check(self, reply: str, what: str) -> None:
        """Raise DeviceError unless `reply` is the instrument's word for no error."""
        code, _, text = reply.partition(",")
        try:
            number = int(code)
        except ValueError:
            self._out_of_step = True
            raise DeviceError(f"{self.name}: {what}: unreadable reply {reply!r}") from None
        if number:
            raise DeviceError(f"{self.name}: {what}: error {number} {text}")

    def _resynchronise(self) -> None:
        """After a lost or late reply: device clear, clear status, and the identity known from before."""
        with self.step("resynchronise"):
            self._instrument.adapter.connection.clear()
            self._instrument.write("*CLS")
            found = str(self._instrument.ask("*IDN?")).strip()
        if self._identity is not None and found != self._identity:
            raise DeviceError(f"{self.name}: resynchronise: {found!r} answers, not {self._identity!r}")
        self._out_of_step = False

    def close(self) -> None:
        """Close the connection. Never raises on a dead line."""
        with self.step("close"):
            self._instrument.adapter.close()
