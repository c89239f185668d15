"""Where weights lie on a chip: which cells hold which weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Cells
from quest_lab.errors import BadInput


@dataclass(frozen=True, slots=True)
class Placement:
    """Weight i lies on cell `cells[i]`, or (`per_weight` 2, differential) on `cells[2 i]` and `cells[2 i + 1]`.

    `cells` are ascending, `per_weight` for each weight.
    """

    cells: Cells
    per_weight: int = 1

    def __post_init__(self) -> None:
        if np.any(np.diff(self.cells) <= 0) or self.cells.size % self.per_weight:
            raise BadInput(f"placement: want ascending cells, {self.per_weight} for each weight")

    @classmethod
    def on(cls, found: Characterization, weights: int, per_weight: int = 1) -> Placement:
        """The first usable cells of a chip: those that have a baseline and answer to pulses."""
        if weights < 1 or per_weight < 1:
            raise BadInput(f"placement: weights={weights}, per_weight={per_weight}: want at least 1 of each")
        need = weights * per_weight
        if need > found.cells.size:
            raise BadInput(
                f"placement of {weights} weights, {per_weight} cells each: needs {need} cells, {found.chip_id} has "
                f"{found.cells.size} with a baseline ({found.stuck.size} are stuck)"
            )
        return cls(found.cells[:need], per_weight)

    @property
    def weights(self) -> int:
        return self.cells.size // self.per_weight

    def cells_of(self, weight: NDArray[np.int64]) -> Cells:
        """First cell of each weight."""
        return self.cells[self.per_weight * np.asarray(weight, np.int64)]

    def weights_of(self, cells: Cells) -> NDArray[np.int64]:
        """The weight that each of these cells holds (part of)."""
        return np.searchsorted(self.cells, cells) // self.per_weight
