"""A virtual bench: four virtual instruments around simulated cells, reachable through a VISA library.

This is the laboratory alone; who controls it (drivers, Device) is the caller's business.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from quest_lab import seeds
from quest_lab.clock import Clock, VirtualClock
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.sim.agilent33500 import Agilent33500
from quest_lab.sim.cells import CellArray
from quest_lab.sim.keithley2400 import Keithley2400
from quest_lab.sim.keithley7001 import Keithley7001
from quest_lab.sim.kepco import Kepco
from quest_lab.sim.skmtj import Preset, SkMTJ
from quest_lab.sim.visa import VirtualLibrary, virtual_library
from quest_lab.sim.wire import Instrument, Wire
from quest_lab.sim.world import World

GENERATOR, METER, MATRIX, MAGNET = (
    "GPIB0::10::INSTR",
    "GPIB0::24::INSTR",
    "GPIB0::7::INSTR",
    "GPIB0::6::INSTR",
)


@dataclass(frozen=True, slots=True)
class Laboratory:
    """World, the wires to its instruments by VISA address, and the library that opens them."""

    world: World
    wires: dict[str, Wire] = field(repr=False)
    library: VirtualLibrary = field(repr=False)

    @property
    def messages(self) -> int:
        """Messages sent to all instruments so far."""
        return sum(wire.messages for wire in self.wires.values())

    def close(self) -> None:
        """Close the library's connections and keep the cells. Idempotent."""
        if self.library.resource_manager is not None:
            self.library.resource_manager.close()
        self.world.array.close()


def virtual_laboratory(
    *,
    cells: int = 16,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "lab",
    path: SignalPath | None = None,
    meter_noise: bool = True,
    clock: Clock | None = None,
) -> Laboratory:
    """Build it. `path` is the true signal path. BadInput: more cells than the matrix has columns."""
    wiring = Wiring(cells)
    clock = clock or VirtualClock()
    array = CellArray(
        SkMTJ.preset(preset), cells, seed=seed, path=cells_file, chip_id=f"virtual-{cells}-seed{seed}"
    )
    noise = seeds.generator(seed, "meter noise") if meter_noise else None
    world = World(array, clock, wiring, path=path, meter_noise=noise)
    instruments: dict[str, Instrument] = {
        GENERATOR: Agilent33500(world),
        METER: Keithley2400(world),
        MATRIX: Keithley7001(world),
        MAGNET: Kepco(world),
    }
    lock = threading.RLock()
    wires = {address: Wire(instrument, lock) for address, instrument in instruments.items()}
    return Laboratory(world, wires, virtual_library(wires, clock))
