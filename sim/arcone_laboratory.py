"""A virtual bench around an ArC ONE: the board, its cells, and beside it a magnet if the cells need a field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from quest_lab.clock import Clock, VirtualClock
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.sim.arcone import BOOT_S, LINES, ArcOne
from quest_lab.sim.array import SimulatedCells
from quest_lab.sim.cells import CellArray
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.kepco import Kepco
from quest_lab.sim.serial_port import MemoryPort
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.virtual import MAGNET
from quest_lab.sim.visa import VirtualLibrary, virtual_library
from quest_lab.sim.wire import Wire
from quest_lab.sim.world import Limits, World

_SWITCH_S = 10e-6  # analogue switches instead of relays; assumed


@dataclass(frozen=True, slots=True)
class ArcOneLaboratory:
    """World, board with its port, and the wire and library of the magnet's supply, if there is a magnet."""

    world: World
    board: ArcOne
    port: MemoryPort = field(repr=False)
    wires: dict[str, Wire] = field(repr=False)
    library: VirtualLibrary = field(repr=False)

    @property
    def has_magnet(self) -> bool:
        return MAGNET in self.wires

    def close(self) -> None:
        """Close the library's connections and keep the cells. Idempotent."""
        if self.library.resource_manager is not None:
            self.library.resource_manager.close()
        self.world.array.close()


def arcone_laboratory(
    *,
    magnet: bool,
    cells: int = 16,
    seed: int = 0,
    cells_file: Path | None = None,
    clock: Clock | None = None,
    boot_s: float = BOOT_S,
    strict: bool = True,
) -> ArcOneLaboratory:
    """Build it: Sk-MTJ cells (preset `lab`) with a magnet, domain-wall cells without one.

    Raises BadInput for more cells than the board has crosspoints.
    """
    wiring = Wiring(cells, slots=LINES, columns=LINES)  # a card per wordline, a column per bitline
    clock = clock or VirtualClock()
    chip_id = f"arc-one-{'magnet-' if magnet else ''}{cells}-seed{seed}"
    array: SimulatedCells
    if magnet:
        array = CellArray(SkMTJ.preset("lab"), cells, seed=seed, path=cells_file, chip_id=chip_id)
    else:
        array = DomainWallArray(DomainWall(), cells, seed=seed, path=cells_file, chip_id=chip_id)
    path = SignalPath(buffered=True)  # the board drives volts at the cell
    world = World(array, clock, wiring, path=path, limits=Limits(relay_settle_s=_SWITCH_S))
    board = ArcOne(world, strict=strict, boot_s=boot_s)
    wires = {MAGNET: Wire(Kepco(world))} if magnet else {}
    return ArcOneLaboratory(world, board, MemoryPort(board, clock), wires, virtual_library(wires, clock))
