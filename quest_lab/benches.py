"""A bench file as a Device: on its simulated twin, or, armed by name, on the real instruments.

Real instruments are reached only with `hardware=True`, while QUEST_LAB_NO_HARDWARE is not set, by one process
at a time for each address, and only if each answers *IDN? as the file says.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from quest_lab.benchfile import BenchFile
from quest_lab.benchmodel import Bench
from quest_lab.budget import Budget
from quest_lab.clock import Clock, RunningClock, VirtualClock, WallClock
from quest_lab.device import Device
from quest_lab.errors import BadInput, DeviceError
from quest_lab.limits import Limit, Limits

if TYPE_CHECKING:
    from quest_lab.instruments.bench import BenchDevice
    from quest_lab.instruments.connect import Site
    from quest_lab.instruments.visa import Library
    from quest_lab.instruments.wiretap import Heard
    from quest_lab.sim.laboratory import Laboratory
    from quest_lab.sim.server import Place

Front: TypeAlias = Literal["in process", "tcp", "serial", "terminal"]
"""How drivers reach a twin: VISA library in process, TCPIP::SOCKET, ASRLsocket, ASRL of a path."""
LOOPBACK, FIRST_PORT = "127.0.0.1", 5025  # where `quest-lab sim serve` listens


def chip_id(bench: Bench, *, hardware: bool) -> str:
    """The chip that a run on this bench is about."""
    from quest_lab.sim.twin import twin_id

    return bench.chip.id if hardware else twin_id(bench)


def bench_limits(file: BenchFile) -> Limits:
    """The file's limits for `Limited`: refusals name the key and the file."""
    limits, where = file.bench.limits, f"limits.{{}} in {file.path.name}"
    low_s, high_s = limits.width_s
    narrowest_s = file.bench.path.narrowest_s
    width_key = "width" if narrowest_s <= low_s else "width, signal_path.bandwidth"
    energy, field = limits.energy_j, limits.field_t
    return Limits(
        amplitude_v=Limit(-limits.amplitude_v, limits.amplitude_v, "V", where.format("amplitude")),
        width_s=Limit(max(low_s, narrowest_s), high_s, "s", where.format(width_key)),
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
    front: Front = "in process",
    cells_file: Path | None = None,
    library: Library | None = None,
) -> Site:
    """The twin of the file over a front, or, with `hardware`, its instruments, locked for this process.

    `library` stands for the real VISA library in tests. Raises DeviceError if hardware may not be opened.
    """
    from quest_lab.instruments.connect import Site
    from quest_lab.instruments.visa import NO_HARDWARE

    if not hardware:
        from quest_lab.sim.twin import twin_laboratory

        clock = _twins_clock(file, front)
        return site_of(file, twin_laboratory(file, cells_file=cells_file, clock=clock), front)
    if os.environ.get(NO_HARDWARE):
        raise DeviceError(f"{file.path}: no instrument opened, {NO_HARDWARE} is set")
    locks = ExitStack()
    locks.enter_context(locked(file))
    name = chip_id(file.bench, hardware=True)
    return Site(library or file.bench.visa_library, WallClock(), name, locks.close)


def site_of(file: BenchFile, laboratory: Laboratory, front: Front = "in process") -> Site:
    """A laboratory of this process as the drivers reach it; other than in process, a thread serves it."""
    from quest_lab.instruments.connect import Site
    from quest_lab.sim.server import serving

    world, name = laboratory.world, chip_id(file.bench, hardware=False)
    if front == "in process":
        board = laboratory.virtual_board
        port = None if board is None else board.port.opened
        return Site(
            laboratory.library, world.clock, name, laboratory.close, port=port, move=world.land, virtual=True
        )
    with ExitStack() as stack:
        stack.callback(laboratory.close)
        server = stack.enter_context(serving(laboratory, terminals=front == "terminal"))
        site = _served_site(file, server.places, server.clock, front, stack)
        return replace(site, release=stack.pop_all().close)


def open_file_bench(
    file: BenchFile,
    *,
    hardware: bool = False,
    front: Front = "in process",
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
    if hardware and not library:
        return _open_guarded(file, heard, log)
    site = open_site(file, hardware=hardware, front=front, cells_file=cells_file, library=library)
    return control(file, replace(site, chip_id=file.bench.chip.id) if posing else site, heard)


def open_served(
    file: BenchFile,
    front: Literal["tcp", "serial"] = "tcp",
    *,
    host: str = LOOPBACK,
    port: int = FIRST_PORT,
    heard: Heard | None = None,
) -> tuple[BenchDevice, Clock]:
    """The twin that `quest-lab sim serve` serves of the same file in another process, in its own time.

    Raises DeviceError if no virtual laboratory answers there.
    """
    from quest_lab.benchdevices import Board
    from quest_lab.sim.server import Place, served_places

    named = file.bench.devices.named().values()
    addresses = [s.address for s in named if not isinstance(s, Board)]
    boards = [s.address for s in named if isinstance(s, Board)]
    places = served_places([*addresses, *boards], boards, host, port)
    clock = Place("", host, port + len(places))
    with ExitStack() as stack:
        site = _served_site(file, places, clock, front, stack)
        return control(file, replace(site, release=stack.pop_all().close), heard)


def control(file: BenchFile, site: Site, heard: Heard | None = None) -> tuple[BenchDevice, Clock]:
    """The bench at a site, which is left if it cannot be set up."""
    from quest_lab.instruments.assemble import assemble
    from quest_lab.instruments.connect import connect_all, disconnect

    with ExitStack() as undo:
        undo.callback(site.release)
        instruments = connect_all(file, site, heard)
        undo.callback(disconnect, instruments)
        made = assemble(file, instruments, site, release=site.release)
        made.device.set_up()
        undo.pop_all()
    return made.device, site.clock


def _twins_clock(file: BenchFile, front: Front) -> Clock:
    """Virtual time; that of the wall for a board behind a pseudo-terminal, which could not be asked if it has all."""
    return RunningClock() if front == "terminal" and file.bench.devices.board else VirtualClock()


def _served_site(
    file: BenchFile, places: Mapping[str, Place], clock_at: Place, front: Front, stack: ExitStack
) -> Site:
    """A served laboratory; what is opened on the way is closed by `stack`."""
    from quest_lab.instruments.connect import Site
    from quest_lab.instruments.remote_clock import RemoteClock

    named = file.bench.devices.named().items()
    addresses = {role: address_of(places[section.address], front) for role, section in named}
    remote = RemoteClock(address_of(clock_at, front))
    stack.callback(remote.close)
    in_real_time = front == "terminal" and file.bench.devices.board is not None
    return Site(
        "@py",
        WallClock() if in_real_time else remote,
        chip_id(file.bench, hardware=False),
        stack.close,
        addresses=addresses,
        move=remote.move_probe,
        virtual=True,
        late=front == "terminal",
    )


def address_of(place: Place, front: Front) -> str:
    """Where drivers find a served instrument by this front. BadInput: this system has no such line."""
    address = {"tcp": place.tcp, "serial": place.serial, "terminal": place.terminal}[front]
    if address is None:
        raise BadInput(f"front={front!r}: this system has no pseudo-terminals; serial works everywhere")
    return address


def _open_guarded(file: BenchFile, heard: Heard | None, log: Path | None) -> tuple[Device, Clock]:
    """The instruments of the file, under a watchdog from before the first of them is set up."""
    from quest_lab.instruments.assemble import assemble
    from quest_lab.instruments.connect import connect_all, disconnect
    from quest_lab.instruments.guard import Guarded, guard

    site = open_site(file, hardware=True)
    with ExitStack() as undo:
        undo.callback(site.release)
        instruments = connect_all(file, site, heard)
        undo.callback(disconnect, instruments)
        watchdog = guard(file, instruments, file.bench.visa_library, log)
        undo.callback(watchdog.goodbye)  # nothing has been switched on yet
        site = replace(site, clock=watchdog.clock(site.clock))
        made = assemble(file, instruments, site)
        undo.pop_all()
    device = Guarded(made.device, watchdog, site.release)
    try:
        device.set_up()
    except BaseException:
        with suppress(DeviceError):
            device.close()
        raise
    return device, site.clock


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
