"""From a bench file's devices to open drivers: each is asked who it is before anything else is said to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pymeasure.instruments import Instrument
from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400, Keithley2450
from pymeasure.instruments.kepco import KepcoBOP3612
from pymeasure.instruments.keysight import Keysight81160A
from pymeasure.instruments.lakeshore import LakeShore425

from quest_lab.benchdevices import Board
from quest_lab.benchdevices import Instrument as Section
from quest_lab.benchfile import BenchFile
from quest_lab.clock import Clock
from quest_lab.device import ReadPulse
from quest_lab.errors import DeviceError
from quest_lab.fixture import Wiring
from quest_lab.instruments.access import all_off
from quest_lab.instruments.arcone import ArcOneAccess, Port, open_port
from quest_lab.instruments.keithley2700 import Keithley2700
from quest_lab.instruments.keithley7001 import Keithley7001
from quest_lab.instruments.probe import moved_by_hand
from quest_lab.instruments.remote_clock import RemoteClock
from quest_lab.instruments.visa import Library, Line, open_instrument
from quest_lab.instruments.wiretap import Heard, TappedPort, hearing, tap
from quest_lab.instruments.yokogawa_gs200 import GS200

Instruments: TypeAlias = Mapping[str, Any]
"""Open pymeasure drivers by role, or a board's port."""

DRIVERS: Mapping[str, Callable[..., Any]] = {
    "agilent33500": Agilent33500,
    "keysight81160a": Keysight81160A,
    "keithley2400": Keithley2400,
    "keithley2450": Keithley2450,
    "keithley7001": Keithley7001,
    "keithley2700": Keithley2700,
    "kepco_bop": KepcoBOP3612,
    "yokogawa_gs200": GS200,
    "lakeshore425": LakeShore425,
}
SERIAL = {"lakeshore425": {"baud_rate": 57600, "parity": 1, "data_bits": 7}}  # not 9600 8N1, as in its driver
QUIET = {"gaussmeter"}  # must not be hurried by a question between two messages


@dataclass(frozen=True, slots=True)
class Site:
    """Where a bench's instruments are reached, on whose clock, for which chip, and how to leave.

    `addresses`: by role, where they are not the file's. `port` opens the board's line where it is in this process.
    `move` brings the probe to a cell. `virtual`: it is no hardware. `late`: what was sent may still be under way
    when another line has answered (pseudo-terminals).
    """

    library: Library
    clock: Clock
    chip_id: str
    release: Callable[[], None]
    addresses: Mapping[str, str] = field(default_factory=dict)
    port: Callable[[], Port] | None = None
    move: Callable[[int], None] = moved_by_hand
    virtual: bool = False
    late: bool = False

    def address(self, role: str, section: Section) -> str:
        return self.addresses.get(role, section.address)


def confirm(role: str, section: Section, site: Site, heard: Heard | None = None) -> str:
    """Ask who is there, by a bare connection: some drivers send settings as soon as they exist.

    Raises DeviceError unless it is the instrument that the file names; nothing else is sent (a board is reset
    first: a question could end a half-sent pulse).
    """
    found = (
        _firmware(section, site, heard)
        if isinstance(section, Board)
        else _identity(role, section, site, heard)
    )
    if not matches(section.identity, found):
        raise DeviceError(
            f"devices.{role}: {found!r} answers at {site.address(role, section)}, the bench file wants "
            f"identity = {section.identity!r}: not touched"
        )
    return found


def connect(role: str, section: Section, site: Site, heard: Heard | None = None) -> Any:
    """The driver of an instrument whose identity is confirmed. Raises DeviceError."""
    if isinstance(section, Board):
        return _port(section, site, heard)
    make = _tapped(DRIVERS[section.driver], role, heard)
    return open_instrument(make, site.address(role, section), site.library, hardware=not site.virtual)


def connect_all(file: BenchFile, site: Site, heard: Heard | None = None) -> dict[str, Any]:
    """Open all instruments of the file. Every identity is right before the first driver is made."""
    sections = file.bench.devices.named()
    opened: dict[str, Any] = {}
    for role, section in sections.items():
        confirm(role, section, site, heard)
    try:
        for role, section in sections.items():
            opened[role] = connect(role, section, site, heard)
    except BaseException:
        disconnect(opened)
        raise
    if site.late and isinstance(site.clock, RemoteClock):
        site.clock.barrier = _everything_arrived(opened)
    return opened


def disconnect(instruments: Instruments) -> None:
    """Close the connections, all of them."""
    all_off([_closing(role, instrument) for role, instrument in instruments.items()])


def matches(identity: str, found: str) -> bool:
    """Whether the first comma-separated fields of an *IDN? reply are those of `identity`."""
    wanted = [field.strip() for field in identity.split(",")]
    return [field.strip() for field in found.split(",")][: len(wanted)] == wanted


def _identity(role: str, section: Section, site: Site, heard: Heard | None) -> str:
    bare = _tapped(_bare(section.driver), role, heard)
    line = Line(
        role, open_instrument(bare, site.address(role, section), site.library, hardware=not site.virtual)
    )
    try:
        return line.identify()
    finally:
        line.close()


def _firmware(board: Board, site: Site, heard: Heard | None) -> str:
    port = _port(board, site, heard)
    asking = ArcOneAccess(
        port, site.clock, wiring=Wiring(1), read=ReadPulse(0.1, 1e-3), reset_s=board.reset_s
    )
    try:
        return asking.identify()
    finally:
        port.close()


def _port(board: Board, site: Site, heard: Heard | None) -> Port:
    port = site.port() if site.port else open_port(site.address("board", board), virtual=site.virtual)
    return TappedPort(port, "board", heard) if heard else port


def _bare(driver: str) -> Callable[..., Any]:
    """An instrument that nothing is known of but its line."""

    def make(address: str, **kwargs: Any) -> Any:
        ends = {"read_termination": "\n", "write_termination": "\n"}
        line = {"asrl": SERIAL[driver]} if driver in SERIAL else {}
        return Instrument(address, "unknown", includeSCPI=False, **ends, **line, **kwargs)

    return make


def _tapped(driver: Callable[..., Any], role: str, heard: Heard | None) -> Callable[..., Any]:
    def make(address: str, **kwargs: Any) -> Any:
        if heard is None:
            return driver(address, **kwargs)
        with hearing(role, heard):
            instrument = driver(address, **kwargs)
        tap(instrument, role, heard)
        return instrument

    return make


def _everything_arrived(opened: Instruments) -> Callable[[], None]:
    """Ask each instrument, so that all that was written to it before has been executed."""
    asked = [instrument for role, instrument in opened.items() if role not in QUIET]

    def barrier() -> None:
        for instrument in asked:
            instrument.ask("*OPC?")

    return barrier


def _closing(role: str, instrument: Any) -> Callable[[], None]:
    return instrument.close if role == "board" else Line(role, instrument).close
