"""More virtual laboratories than the matrix bench of `virtual.py`: probed cells, and other instruments.

A probe stands on one cell at a time; it is moved by `World.land`, which is what a prober or a hand does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from quest_lab import seeds
from quest_lab.clock import VirtualClock
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.sim.agilent33500 import Agilent33500
from quest_lab.sim.cells import CellArray
from quest_lab.sim.keithley2400 import Keithley2400
from quest_lab.sim.keithley2450 import Keithley2450
from quest_lab.sim.keithley2700 import COLUMNS, SLOTS, Keithley2700
from quest_lab.sim.kepco import Kepco
from quest_lab.sim.keysight81160a import Keysight81160A
from quest_lab.sim.lakeshore425 import LakeShore425
from quest_lab.sim.magnet import Coil
from quest_lab.sim.skmtj import Preset, SkMTJ
from quest_lab.sim.virtual import GENERATOR, MAGNET, METER, Laboratory
from quest_lab.sim.visa import virtual_library
from quest_lab.sim.wire import Instrument, Wire
from quest_lab.sim.world import World

FAST_GENERATOR, SOURCE_METER, MATRIX_2700 = "GPIB0::11::INSTR", "GPIB0::18::INSTR", "GPIB0::16::INSTR"
GAUSSMETER = "ASRL3::INSTR"

FAST: Mapping[str, Callable[[World], Instrument]] = {
    FAST_GENERATOR: Keysight81160A,
    SOURCE_METER: Keithley2450,
    MAGNET: Kepco,
    GAUSSMETER: LakeShore425,
}
SOURCE_METER_ALONE: Mapping[str, Callable[[World], Instrument]] = {
    SOURCE_METER: Keithley2450,
    MAGNET: Kepco,
    GAUSSMETER: LakeShore425,
}
MATRIX_OF_7709: Mapping[str, Callable[[World], Instrument]] = {
    GENERATOR: Agilent33500,
    METER: Keithley2400,
    MATRIX_2700: Keithley2700,
    MAGNET: Kepco,
}


def laboratory(
    instruments: Mapping[str, Callable[[World], Instrument]],
    *,
    cells: int,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "lab",
    path: SignalPath | None = None,
    coil: Coil | None = None,
    meter_noise: bool = True,
) -> Laboratory:
    """Build it: a probe on the first cell where there is no matrix. BadInput: more cells than columns."""
    matrix = MATRIX_2700 in instruments
    wiring = Wiring(cells, SLOTS, COLUMNS) if matrix else Wiring(cells, slots=1, columns=cells)
    clock = VirtualClock()
    array = CellArray(
        SkMTJ.preset(preset), cells, seed=seed, path=cells_file, chip_id=f"virtual-{cells}-seed{seed}"
    )
    noise = seeds.generator(seed, "meter noise") if meter_noise else None
    world = World(array, clock, wiring, path=path, coil=coil, meter_noise=noise)
    world.probed = None if matrix else 0
    wires = {address: Wire(make(world)) for address, make in instruments.items()}
    return Laboratory(world, wires, virtual_library(wires, clock))
