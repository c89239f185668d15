"""What is connected to this machine: VISA resources and serial ports. A missing backend is a line, not a failure."""

from __future__ import annotations

import warnings
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that could be an instrument, or why a backend could not be asked."""

    by: str  # the backend
    address: str
    about: str = ""


def visa_resources(library: str) -> list[Found]:
    """Resource names that this backend of pyvisa lists; nothing is opened."""
    import pyvisa

    name = f"pyvisa {library or 'default'}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optional parts of a backend that are not installed
            manager = pyvisa.ResourceManager(library)
            try:
                return [Found(name, address) for address in manager.list_resources("?*")]
            finally:
                manager.close()
    except Exception as error:  # each backend fails in a way of its own where its library is missing
        return [Found(name, "", f"not available: {str(error).splitlines()[0]}")]


def serial_ports() -> list[Found]:
    """Serial ports with what the system says of them."""
    from serial.tools import list_ports

    return [Found("pyserial", port.device, port.description) for port in sorted(list_ports.comports())]
