"""What the world and the simulated chip need of an array of cells, whatever the cells are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, Operation, Range, ReadPulse, Scope

TrueStates: TypeAlias = Callable[[Cells], NDArray[np.int8]]


class Model(Protocol):
    """Parameters of a cell law that say how its cells are driven."""

    @property
    def read(self) -> ReadPulse: ...
    @property
    def reset(self) -> Operation: ...
    @property
    def reset_scope(self) -> Scope: ...
    @property
    def reset_energy_j(self) -> float: ...
    @property
    def t_ref_s(self) -> float: ...
    @property
    def set_amplitude_v(self) -> Range: ...
    @property
    def r0_ohm(self) -> float: ...


class SimulatedCells(Protocol):
    """Cells with a memory: `CellArray` (Sk-MTJ), `DomainWallArray`, `MemristorArray`, any in `PassiveCells`.

    `states` tells the true states, what no instrument can see; None where cells have no states of their own.
    """

    cells: int
    chip_id: str

    @property
    def model(self) -> Model: ...
    @property
    def states(self) -> TrueStates | None: ...

    def pulse(self, cells: Cells, amplitude_v: float, width_s: float) -> Floats: ...
    def field(self, cells: Cells, field_t: float, flat_top_s: float) -> None: ...
    def resistance(self, cells: Cells, bias_v: float | Floats) -> Floats: ...
    def read(self, cells: Cells, at: ReadPulse) -> Floats: ...
    def bias(self, cells: Cells, bias_v: float, seconds: float) -> None: ...
    def stick(self, cells: Cells) -> None: ...
    def close(self) -> None: ...
