"""The simulated twin of a bench file: virtual instruments at its addresses, under its names, around its cells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from quest_lab import seeds
from quest_lab.benchdevices import Board, Probe
from quest_lab.benchfile import BenchFile
from quest_lab.benchmodel import Bench
from quest_lab.clock import Clock, VirtualClock
from quest_lab.sim.agilent33500 import Agilent33500
from quest_lab.sim.arcone import ArcOne
from quest_lab.sim.array import SimulatedCells
from quest_lab.sim.keithley2400 import Keithley2400
from quest_lab.sim.keithley2450 import Keithley2450
from quest_lab.sim.keithley2700 import Keithley2700
from quest_lab.sim.keithley7001 import Keithley7001
from quest_lab.sim.kepco import Kepco
from quest_lab.sim.keysight81160a import Keysight81160A
from quest_lab.sim.laboratory import Laboratory, VirtualBoard
from quest_lab.sim.lakeshore425 import LakeShore425
from quest_lab.sim.magnet import Coil
from quest_lab.sim.passive import PassiveCells
from quest_lab.sim.presets import cells_of
from quest_lab.sim.serial_port import MemoryPort
from quest_lab.sim.visa import virtual_library
from quest_lab.sim.wire import Instrument, Wire
from quest_lab.sim.world import Limits, World
from quest_lab.sim.yokogawa_gs200 import YokogawaGS200

MODELS: Mapping[str, Callable[[World], Instrument]] = {
    "agilent33500": Agilent33500,
    "keysight81160a": Keysight81160A,
    "keithley2400": Keithley2400,
    "keithley2450": Keithley2450,
    "keithley7001": Keithley7001,
    "keithley2700": Keithley2700,
    "kepco_bop": Kepco,
    "yokogawa_gs200": YokogawaGS200,
    "lakeshore425": LakeShore425,
}
ANALOGUE_SWITCH_S = 10e-6  # of a board, instead of relays; assumed
BOOT_SHARE = 0.1  # of what the file says: in real time a busy machine may run a board late


def twin_laboratory(
    file: BenchFile, *, cells_file: Path | None = None, meter_noise: bool = True, clock: Clock | None = None
) -> Laboratory:
    """Build it. `cells_file` goes before the file's own `twin.cells_file`, which lies beside the bench file."""
    bench, clock = file.bench, clock or VirtualClock()
    own = bench.twin.cells_file
    path = cells_file or (file.path.parent / own if own else None)
    world = World(
        _on_lines(bench, _cells(bench, path)),
        clock,
        bench.joined(),
        path=bench.path.signal_path(),
        coil=_coil(bench),
        limits=_limits(bench),
        meter_noise=seeds.generator(bench.twin.seed, "meter noise") if meter_noise else None,
    )
    world.probed = 0 if isinstance(bench.devices.switch, Probe) else None
    wires = _wires(bench, world)
    return Laboratory(world, wires, virtual_library(wires, clock), _board(bench, world))


def twin_id(bench: Bench) -> str:
    """The twin's chip has a name of its own: what was measured of it is not of the real chip."""
    return f"{bench.chip.id}-twin"


def identity(wanted: str, model: str) -> str:
    """The *IDN? reply of a twin: the file's fields, and the model's own for those the file leaves open."""
    first = wanted.split(",")
    return ",".join([*first, *model.split(",")[len(first) :]])


def _cells(bench: Bench, path: Path | None) -> SimulatedCells:
    return cells_of(
        bench.twin.preset,
        bench.cells,
        seed=bench.twin.seed,
        path=path,
        chip_id=twin_id(bench),
        temperature_k=bench.conditions.temperature_k,
    )


def _on_lines(bench: Bench, array: SimulatedCells) -> SimulatedCells:
    """The cells as they are reached: one by one, or through the lines of a passive crossbar."""
    topology, crossbar = bench.topology, bench.topology.crossbar()
    if crossbar is None or topology.bias_scheme is None:
        return array
    return PassiveCells(array, crossbar, read_scheme=topology.bias_scheme, write_scheme=topology.write_scheme)


def _wires(bench: Bench, world: World) -> dict[str, Wire]:
    wires: dict[str, Wire] = {}
    lock = threading.RLock()
    for section in bench.devices.named().values():
        if isinstance(section, Board):
            continue
        instrument = MODELS[section.driver](world)
        instrument.scpi.identity = identity(section.identity, instrument.scpi.identity)
        wires[section.address] = Wire(instrument, lock)
    return wires


def _board(bench: Bench, world: World) -> VirtualBoard | None:
    """The board; in real time, where writes may reach it together, it is not strict about their distance."""
    section = bench.devices.board
    if section is None:
        return None
    major, minor = section.identity.split(".")
    simulated = type(world.clock) is VirtualClock
    board = ArcOne(
        world,
        firmware=(int(major), int(minor)),
        strict=simulated,
        boot_s=section.reset_s * (1.0 if simulated else BOOT_SHARE),
        read_s=bench.read.width_s,
    )
    return VirtualBoard(section.address, board, MemoryPort(board, world.clock))


def _coil(bench: Bench) -> Coil:
    standing_t = bench.conditions.bias_field_t
    if bench.field is None:
        return Coil(standing_t=standing_t)
    signed = bench.field.polarity * bench.field.tesla_per_ampere
    return Coil(tesla_per_ampere=signed, coil_ohm=bench.field.coil_resistance_ohm, standing_t=standing_t)


def _limits(bench: Bench) -> Limits:
    """What the world notices as bad practice: anything beyond the file's limits."""
    usual = Limits()
    return Limits(
        cell_v=bench.limits.amplitude_v,
        read_v=bench.limits.read_amplitude_v,
        read_on_s=max(usual.read_on_s, 2.5 * bench.read.width_s),
        relay_settle_s=ANALOGUE_SWITCH_S if bench.devices.board else usual.relay_settle_s,
    )
