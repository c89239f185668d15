"""Where weights lie on a chip: which cells hold which weight. All of them, a stratified sample, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    `references` are the cells of a reference column, above `cells`; `references[reference_of[i]]` is in the row of
    `weight[i]`.
    """

    cells: Cells
    per_weight: int = 1
    weight: Weights | None = None
    references: Cells = field(default_factory=lambda: np.empty(0, np.int64))
    reference_of: Weights = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if np.any(np.diff(self.every) <= 0) or self.cells.size % self.per_weight:
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
            raise _too_large(found, f"{weights} weights, {per_weight} cells each", need)
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
    def tiles(cls, found: Characterization, weights: int, per_weight: int = 1) -> list[Self]:
        """One placement after the other on the same cells until every weight has had its turn."""
        size = found.cells.size // per_weight
        if not size:
            raise _too_large(found, f"one weight, {per_weight} cells each", per_weight)
        parts = [np.arange(first, min(first + size, weights)) for first in range(0, weights, size)]
        return [cls(found.cells[: per_weight * part.size], per_weight, part) for part in parts]

    @classmethod
    def referenced(
        cls, found: Characterization, layers: Sequence[LayerInfo], *, tiles: bool = False
    ) -> list[Self]:
        """One cell a weight and a reference column: each row of a crossbar (tap of a layer) has a reference cell.

        Without `tiles` all weights at once; with it part after part, each with references of its own.
        """
        taps = np.concatenate([np.full(layer.size, layer.taps) for layer in layers])
        begin = np.concatenate([np.full(layer.size, layer.offset) for layer in layers])
        need, have = taps.size + sum(layer.taps for layer in layers), found.cells.size
        if have < (2 if tiles else need):
            what = f"{taps.size} weights, one cell each, with a reference for each of {need - taps.size} rows"
            raise _too_large(found, what, need)
        out: list[Self] = []
        first = 0
        while first < taps.size:
            part = np.arange(first, min(first + have, taps.size))
            opens = part - taps[part] < np.maximum(first, begin[part])  # no weight of its row before it
            part = part[: np.searchsorted(np.cumsum(1 + opens), have, side="right")]
            row = begin[part] + (part - begin[part]) % taps[part]
            rows, reference_of = np.unique(row, return_inverse=True)
            cells, references = np.split(found.cells[: part.size + rows.size], [part.size])
            out.append(cls(cells, weight=part, references=references, reference_of=reference_of))
            first += part.size
        return out

    @property
    def every(self) -> Cells:
        """The cells of the weights, then those of the references."""
        return np.concatenate([self.cells, self.references])

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


def _too_large(found: Characterization, what: str, need: int) -> BadInput:
    return BadInput(
        f"placement of {what}: needs {need} cells, {found.chip_id} has {found.cells.size} with a baseline "
        f"({found.stuck.size} are stuck)"
    )
