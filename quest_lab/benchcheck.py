"""Is this bench what its file says? Identities, protective settings read back, one read of each cell.

Nothing is pulsed. Each finding is a row; the first level that fails ends the check, because what follows
would act on instruments that are not what they should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quest_lab.benches import open_site
from quest_lab.benchfile import BenchFile
from quest_lab.device import Device
from quest_lab.errors import DeviceError

if TYPE_CHECKING:
    from quest_lab.instruments.assemble import Assembly
    from quest_lab.instruments.connect import Site
    from quest_lab.instruments.wiretap import Heard


INFINITE = 9.9e37  # as instruments say it


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    wanted: str
    found: str
    right: bool


def check_bench(file: BenchFile, *, hardware: bool = False, heard: Heard | None = None) -> list[Finding]:
    """Every finding, in order. Everything is off and closed at the end, however it ends."""
    with ExitStack() as stack:
        site = open_site(file, hardware=hardware)
        stack.callback(site.release)
        found = list(_identities(file, site, heard))
        if all(f.right for f in found):
            found += _acting(file, site, heard)
    return found


def _identities(file: BenchFile, site: Site, heard: Heard | None) -> Iterator[Finding]:
    """One for each instrument, also after one that is wrong."""
    from quest_lab.instruments.connect import confirm

    for role, section in file.bench.devices.named().items():
        what = f"{role}: {section.driver} at {section.address}"
        try:
            yield Finding(what, section.identity, confirm(role, section, site, heard), True)
        except DeviceError as error:
            yield Finding(what, section.identity, str(error), False)


def _acting(file: BenchFile, site: Site, heard: Heard | None) -> Iterator[Finding]:
    """Set up, read back, read the cells; all off and closed afterwards."""
    from quest_lab.instruments.assemble import assemble
    from quest_lab.instruments.connect import connect_all
    from quest_lab.instruments.guard import Guarded, guard

    try:
        instruments = connect_all(file, site, heard)
        made = assemble(file, instruments, site)
        device: Device = made.device
        if isinstance(site.library, str):  # real instruments: a watchdog, as in every session
            watchdog = guard(file, instruments, site.library, None)
            device = Guarded(made.device, watchdog, lambda: None)
    except DeviceError as error:
        yield Finding("connect", "no error", str(error), False)
        return
    with ExitStack() as stack:
        stack.callback(device.close)
        try:
            made.device.set_up()
        except DeviceError as error:
            yield Finding("set up", "no error", str(error), False)
            return
        settings = list(_read_back(made))
        yield from settings
        if all(f.right for f in settings):
            yield from _cells(file, made)
    yield Finding("everything", "off and closed", "off and closed", True)


def _read_back(made: Assembly) -> Iterator[Finding]:
    for role, instrument in made.roles.items():
        try:
            for s in instrument.read_back():
                yield Finding(f"{role}: {s.name}", _said(s.wanted, s.unit), _said(s.found, s.unit), s.right)
        except DeviceError as error:
            yield Finding(f"{role}: read back", "an answer", str(error), False)


def _said(value: float, unit: str) -> str:
    return "infinite" if value >= INFINITE else f"{value:.6g} {unit}".strip()


def _cells(file: BenchFile, made: Assembly) -> Iterator[Finding]:
    """One read of each cell: a cell wired elsewhere, open or shorted has no resistance of a sound one."""
    low, high = file.bench.chip.resistance_ohm
    device, probed = made.device, isinstance(file.bench.wiring.cells, int)
    for cell, (slot, column) in enumerate(file.bench.wiring.places):
        what = f"cell {cell} under the probe" if probed else f"cell {cell} at {slot}!{column}"
        wanted = f"{low:g} to {high:g} ohm"
        try:
            ohm = float(device.read(np.array([cell])).resistance_ohm[0])
        except DeviceError as error:
            yield Finding(what, wanted, str(error), False)
        else:
            yield Finding(what, wanted, f"{ohm:.1f} ohm", low <= ohm <= high)
