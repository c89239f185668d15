"""A bench file as a Device: on its simulated twin, or, armed by name, on the real instruments.

Real instruments are reached only with `hardware=True`, while QUEST_LAB_NO_HARDWARE is not set, by one process
at a time for each address, and only if each answers *IDN? as the file says.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quest_lab.benchfile import BenchFile
from quest_lab.benchmodel import Bench
from quest_lab.budget import Budget
from quest_lab.clock import Clock, WallClock
from quest_lab.device import Device
from quest_lab.errors import DeviceError
from quest_lab.limits import Limit, Limits

if TYPE_CHECKING:
    from quest_lab.instruments.visa import Library
    from quest_lab.instruments.wiretap import Heard


@dataclass(frozen=True, slots=True)
class Site:
    """Where a bench file's instruments are reached: a library, its clock, its chip, and how to leave."""

    library: Library
    clock: Clock
    chip_id: str
    release: Callable[[], None]


def chip_id(bench: Bench, *, hardware: bool) -> str:
    """The chip that a run on this bench is about."""
    from quest_lab.sim.twin import twin_id

    return bench.chip.id if hardware else twin_id(bench)


def bench_limits(file: BenchFile) -> Limits:
    """The file's limits for `Limited`: refusals name the key and the file."""
    limits, where = file.bench.limits, f"limits.{{}} in {file.path.name}"
    low_s, high_s = limits.width_s
    energy, field = limits.energy_j, limits.field_t
    return Limits(
        amplitude_v=Limit(-limits.amplitude_v, limits.amplitude_v, "V", where.format("amplitude")),
        width_s=Limit(low_s, high_s, "s", where.format("width")),
        field_t=None if field is None else Limit(-field, field, "T", where.format("field")),
        read_amplitude_v=Limit(
            -limits.read_amplitude_v, limits.read_amplitude_v, "V", where.format("read_amplitude")
        ),
        energy_j=None if energy is None else Limit(0.0, energy, "J", where.format("energy")),
        energy_at_ohm=file.bench.chip.resistance_ohm[0],
    )


def bench_budget(file: BenchFile) -> Budget:
    """What the file allows a cell in its life."""
    limits = file.bench.limits
    where = f"{{}} in {file.path.name}"
    return Budget(limits.pulses_per_cell, limits.energy_per_cell_j, where, file.bench.chip.resistance_ohm[0])


def ledger_of(file: BenchFile) -> Path | None:
    """The ledger of the real chip; its twin has none."""
    name = file.bench.chip.ledger
    return None if name is None else file.path.parent / name


def open_site(
    file: BenchFile,
    *,
    hardware: bool = False,
    cells_file: Path | None = None,
    library: Library | None = None,
) -> Site:
    """The twin of the file, or, with `hardware`, its instruments, locked for this process.

    `library` stands for the real VISA library in tests. Raises DeviceError if hardware may not be opened.
    """
    name = chip_id(file.bench, hardware=hardware)
    if not hardware:
        from quest_lab.sim.twin import twin_laboratory

        laboratory = twin_laboratory(file, cells_file=cells_file)
        return Site(laboratory.library, laboratory.world.clock, name, laboratory.close)
    from quest_lab.instruments.visa import NO_HARDWARE

    if os.environ.get(NO_HARDWARE):
        raise DeviceError(f"{file.path}: no instrument opened, {NO_HARDWARE} is set")
    locks = ExitStack()
    locks.enter_context(locked(file))
    return Site(library or file.bench.visa_library, WallClock(), name, locks.close)


def open_file_bench(
    file: BenchFile,
    *,
    hardware: bool = False,
    cells_file: Path | None = None,
    heard: Heard | None = None,
    library: Library | None = None,
    log: Path | None = None,
    posing: bool = False,
) -> tuple[Device, Clock]:
    """A bench over the file, identities confirmed, set up and safe. `heard` is told every exchange.

    On hardware a watchdog process watches over it and writes to `log` if it ever acts; not with a `library`
    of this process, which no other can reach. `posing`: the twin says that it is the real chip.
    """
    from quest_lab.instruments.assemble import assemble, connect_all, disconnect

    if hardware and not library:
        return _open_guarded(file, heard, log)
    site = open_site(file, hardware=hardware, cells_file=cells_file, library=library)
    name = file.bench.chip.id if posing else site.chip_id
    with ExitStack() as undo:
        undo.callback(site.release)
        instruments = connect_all(file, site.library, heard)
        undo.callback(disconnect, instruments)
        made = assemble(file, instruments, site.clock, chip_id=name, release=site.release)
        made.device.set_up()
        undo.pop_all()
    return made.device, site.clock


def _open_guarded(file: BenchFile, heard: Heard | None, log: Path | None) -> tuple[Device, Clock]:
    """The instruments of the file, under a watchdog from before the first of them is set up."""
    from quest_lab.instruments.assemble import assemble, connect_all, disconnect
    from quest_lab.instruments.guard import Guarded, guard

    site = open_site(file, hardware=True)
    with ExitStack() as undo:
        undo.callback(site.release)
        instruments = connect_all(file, site.library, heard)
        undo.callback(disconnect, instruments)
        watchdog = guard(file, instruments, file.bench.visa_library, log)
        undo.callback(watchdog.goodbye)  # nothing has been switched on yet
        clock = watchdog.clock(site.clock)
        made = assemble(file, instruments, clock, chip_id=site.chip_id)
        undo.pop_all()
    device = Guarded(made.device, watchdog, site.release)
    try:
        device.set_up()
    except BaseException:
        with suppress(DeviceError):
            device.close()
        raise
    return device, clock


@contextmanager
def locked(file: BenchFile) -> Iterator[None]:
    """Hold the lock of each instrument's address; DeviceError if another process has one."""
    from filelock import FileLock, Timeout

    with ExitStack() as held:
        for address in sorted(section.address for section in file.bench.devices.named().values()):
            name = hashlib.sha256(address.encode()).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"quest-lab-{name}.lock"
            try:
                held.enter_context(FileLock(path, timeout=0))
            except Timeout:
                raise DeviceError(
                    f"{file.path}: {address} is in use by another quest-lab process (lock {path})"
                ) from None
        yield
