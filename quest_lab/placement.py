"""Where weights lie on a chip: which cells hold which weight. All of them, a stratified sample, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Cells
from quest_lab.errors import BadInput
from quest_lab.layers import LayerInfo

Weights = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placement:
    """Weight `weight[i]` lies on cell `cells[i]`, or (`per_weight` 2, differential) on `cells[2 i]`, `cells[2 i + 1]`.

    `cells` are ascending, `per_weight` for each weight; `weight` ascending, None for the weights 0, 1, ...
    """

    cells: Cells
    per_weight: int = 1
    weight: Weights | None = None

    def __post_init__(self) -> None:
        if np.any(np.diff(self.cells) <= 0) or self.cells.size % self.per_weight:
            raise BadInput(f"placement: want ascending cells, {self.per_weight} for each weight")
        if self.weight is not None and (
            self.weight.size != self.weights or np.any(np.diff(self.weight) <= 0)
        ):
            raise BadInput(f"placement: want {self.weights} ascending weights")

    @classmethod
    def on(cls, found: Characterization, weights: int, per_weight: int = 1) -> Self:
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

    @classmethod
    def sample(
        cls, found: Characterization, layers: Sequence[LayerInfo], weights: int, rng: np.random.Generator
    ) -> Self:
        """`weights` of a network's weights, drawn layer by layer in proportion to its size, two at least each."""
        sizes = np.array([layer.size for layer in layers])
        share = np.minimum(np.maximum(np.floor(weights * sizes / sizes.sum()).astype(int), 2), sizes)
        if share.sum() > weights:
            raise BadInput(f"sample of {weights} weights: {len(layers)} layers need at least {share.sum()}")
        drawn = [
            layer.offset + rng.choice(layer.size, n, replace=False)
            for layer, n in zip(layers, share, strict=True)
        ]
        weight = np.sort(np.concatenate(drawn))
        return cls(cls.on(found, weight.size).cells, weight=weight)

    @classmethod
    def tiles(cls, found: Characterization, weights: int) -> list[Self]:
        """One placement after the other on the same cells until every weight has had its turn."""
        size = found.cells.size
        if not size:
            raise BadInput(f"placement: {found.chip_id} has no usable cell")
        parts = [np.arange(first, min(first + size, weights)) for first in range(0, weights, size)]
        return [cls(found.cells[: part.size], weight=part) for part in parts]

    @property
    def weights(self) -> int:
        """Number of weights placed."""
        return self.cells.size // self.per_weight

    @property
    def placed(self) -> Weights:
        """The weights placed, ascending."""
        return np.arange(self.weights) if self.weight is None else self.weight

    def rows_of(self, weight: Weights) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which of `weight` are placed, and the rows of those in `placed`."""
        if self.weight is None:
            return weight < self.weights, weight[weight < self.weights]
        row = np.searchsorted(self.weight, weight)
        here = row < self.weight.size
        here[here] = self.weight[row[here]] == weight[here]
        return here, row[here]

    def cells_of(self, row: NDArray[np.integer]) -> Cells:
        """First cell of each row of `placed`."""
        return self.cells[self.per_weight * np.asarray(row, np.int64)]

    def rows_on(self, cells: Cells) -> NDArray[np.int64]:
        """The row of `placed` that each of these cells holds (part of)."""
        return np.searchsorted(self.cells, cells) // self.per_weight
