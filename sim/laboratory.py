"""A virtual laboratory: a world, its instruments' wires by address, and the lines that lead to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from quest_lab.sim.arcone import ArcOne
from quest_lab.sim.serial_port import MemoryPort
from quest_lab.sim.visa import VirtualLibrary
from quest_lab.sim.wire import Wire
from quest_lab.sim.world import World


@dataclass(frozen=True, slots=True)
class VirtualBoard:
    """An array board, where it answers, and its line in this process."""

    address: str
    board: ArcOne
    port: MemoryPort = field(repr=False)


@dataclass(frozen=True, slots=True)
class Laboratory:
    """World, the wires to its instruments by VISA address, the library that opens them, and a board if any."""

    world: World
    wires: dict[str, Wire] = field(repr=False)
    library: VirtualLibrary = field(repr=False)
    virtual_board: VirtualBoard | None = None

    @property
    def messages(self) -> int:
        """Messages sent to all instruments so far; of a board, commands that it carried out."""
        board = self.virtual_board.board.executed if self.virtual_board else 0
        return board + sum(wire.messages for wire in self.wires.values())

    @property
    def board(self) -> ArcOne:
        """The board. AttributeError where there is none."""
        return self._board.board

    @property
    def port(self) -> MemoryPort:
        """The board's line in this process. AttributeError where there is none."""
        return self._board.port

    def close(self) -> None:
        """Close the library's connections and keep the cells. Idempotent."""
        if self.library.resource_manager is not None:
            self.library.resource_manager.close()
        self.world.array.close()

    @property
    def _board(self) -> VirtualBoard:
        if self.virtual_board is None:
            raise AttributeError("a laboratory without a board")
        return self.virtual_board
