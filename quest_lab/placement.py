"""Where weights lie on a chip: which cells hold which weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells
from quest_lab.errors import BadInput


@dataclass(frozen=True, slots=True)
class Placement:
    """Weight i lies on cell `first + i`, or (`per_weight` 2, differential) on the pair at `first + 2 i`."""

    weights: int
    cells: int
    first: int = 0
    per_weight: int = 1

    def __post_init__(self) -> None:
        for key, least in (("weights", 1), ("first", 0), ("per_weight", 1)):
            if (value := getattr(self, key)) < least:
                raise BadInput(f"placement: {key}={value}, want at least {least}")
        need = self.first + self.weights * self.per_weight
        if need > self.cells:
            raise BadInput(
                f"placement of {self.weights} weights, {self.per_weight} cells each, from cell {self.first}: "
                f"needs {need} cells, the chip has {self.cells}"
            )

    def cells_of(self, weight: NDArray[np.int64]) -> Cells:
        """First cell of each weight."""
        return self.first + self.per_weight * np.asarray(weight, np.int64)

    def all_cells(self) -> Cells:
        """Every cell used, ascending; differential pairs side by side (G+ first)."""
        return np.arange(self.first, self.first + self.weights * self.per_weight)
