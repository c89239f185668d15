"""The simulated twin of a bench file: virtual instruments at its addresses, under its names, around its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from quest_lab import seeds
from quest_lab.benchfile import BenchFile
from quest_lab.benchmodel import Bench
from quest_lab.clock import Clock, VirtualClock
from quest_lab.sim.agilent33500 import Agilent33500
from quest_lab.sim.cells import CellArray
from quest_lab.sim.keithley2400 import Keithley2400
from quest_lab.sim.keithley7001 import Keithley7001
from quest_lab.sim.kepco import Kepco
from quest_lab.sim.magnet import Coil
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.virtual import Laboratory
from quest_lab.sim.visa import virtual_library
from quest_lab.sim.wire import Instrument, Wire
from quest_lab.sim.world import Limits, World

MODELS: Mapping[str, Callable[[World], Instrument]] = {
    "agilent33500": Agilent33500,
    "keithley2400": Keithley2400,
    "keithley7001": Keithley7001,
    "kepco_bop": Kepco,
}


def twin_laboratory(
    file: BenchFile, *, cells_file: Path | None = None, meter_noise: bool = True, clock: Clock | None = None
) -> Laboratory:
    """Build it. `cells_file` goes before the file's own `twin.cells_file`, which lies beside the bench file."""
    bench, clock = file.bench, clock or VirtualClock()
    own = bench.twin.cells_file
    path = cells_file or (file.path.parent / own if own else None)
    wiring = bench.wiring.wiring()
    array = CellArray(
        SkMTJ.preset(bench.twin.preset),
        wiring.cells,
        seed=bench.twin.seed,
        path=path,
        chip_id=twin_id(bench),
    )
    world = World(
        array,
        clock,
        wiring,
        path=bench.signal_path.signal_path(),
        coil=_coil(bench),
        limits=_limits(bench),
        meter_noise=seeds.generator(bench.twin.seed, "meter noise") if meter_noise else None,
    )
    wires: dict[str, Wire] = {}
    for section in bench.devices.named().values():
        instrument = MODELS[section.driver](world)
        instrument.scpi.identity = identity(section.identity, instrument.scpi.identity)
        wires[section.address] = Wire(instrument)
    return Laboratory(world, wires, virtual_library(wires, clock))


def twin_id(bench: Bench) -> str:
    """The twin's chip has a name of its own: what was measured of it is not of the real chip."""
    return f"{bench.chip.id}-twin"


def identity(wanted: str, model: str) -> str:
    """The *IDN? reply of a twin: the file's fields, and the model's own for those the file leaves open."""
    first = wanted.split(",")
    return ",".join([*first, *model.split(",")[len(first) :]])


def _coil(bench: Bench) -> Coil:
    if bench.field is None:
        return Coil()
    signed = bench.field.polarity * bench.field.tesla_per_ampere
    return Coil(tesla_per_ampere=signed, coil_ohm=bench.field.coil_resistance_ohm)


def _limits(bench: Bench) -> Limits:
    """What the world notices as bad practice: anything beyond the file's limits."""
    usual = Limits()
    return Limits(
        cell_v=bench.limits.amplitude_v,
        read_v=bench.limits.read_amplitude_v,
        read_on_s=max(usual.read_on_s, 2.5 * bench.read.width_s),
    )
