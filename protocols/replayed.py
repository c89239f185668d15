"""What a replay did: states, writes and energies of the weights that were placed, and what every step cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import States
from quest_lab.device import Floats
from quest_lab.layers import LayerInfo
from quest_lab.placement import Placement
from quest_lab.protocols.replay_costs import Asked
from quest_lab.run_tables import TABLES

STEP_COLUMNS = TABLES["replay_steps"].names


@dataclass(frozen=True, slots=True)
class LayerWrites:
    """A layer after the initial load: writes, their energy with its standard error (0 if all are placed)."""

    name: str
    weights: int
    placed: int
    writes: float
    write_j: float
    write_j_error: float
    diverged: float


@dataclass
class Replay:
    """Outcome of a replay.

    `weight` are the weights that were placed; `intended` and `read` their states at the end, `writes` and
    `write_j` how often each was written and the energy of its cell after the initial load, all of shape
    (placed,). `confusion[intended, read]` counts every write; `steps` holds the columns of the run file's table
    `replay_steps`, the initial load as step -1; energies in joule. `expected` holds, for each of COSTS, what the policy
    expected of the steps after the load: see `write_costs.interval`.
    """

    weight: NDArray[np.int64]
    intended: States
    read: States
    writes: NDArray[np.int64]
    write_j: Floats
    confusion: NDArray[np.int64]
    steps: dict[str, list[float]]
    memory: NDArray[np.int16] | None = None  # what the writer remembers of the placed cells
    asked: Asked | None = None
    expected: dict[str, Floats] = field(default_factory=dict)
    model: str = ""  # what the policy knows of the cells

    @classmethod
    def of(cls, placement: Placement, intended: States, states: int) -> Self:
        """Nothing replayed yet."""
        n = placement.weights
        return cls(
            placement.placed, intended, np.full(n, -1, np.int8), np.zeros(n, np.int64), np.zeros(n),
            np.zeros((states, states), np.int64), {c: [] for c in STEP_COLUMNS},
        )  # fmt: skip

    def total(self, column: str) -> float:
        """Sum of a column over the steps after the initial load."""
        return float(sum(self.steps[column][1:]))

    def by_layer(self, layers: Sequence[LayerInfo]) -> list[LayerWrites]:
        """Writes and their energy of each layer; of a sample, estimates for the whole layer."""
        return [self._layer(layer) for layer in layers]

    def _layer(self, layer: LayerInfo) -> LayerWrites:
        mine = (self.weight >= layer.offset) & (self.weight < layer.offset + layer.size)
        n, size = int(mine.sum()), layer.size
        scale = size / n if n else np.nan
        spread = np.std(self.write_j[mine], ddof=1) if 1 < n < size else 0.0
        return LayerWrites(
            name=layer.name,
            weights=size,
            placed=n,
            writes=scale * float(self.writes[mine].sum()),
            write_j=scale * float(self.write_j[mine].sum()),
            write_j_error=float(size * spread * np.sqrt((1.0 - n / size) / n)) if n else np.nan,
            diverged=scale * float(np.count_nonzero(self.intended[mine] != self.read[mine])),
        )

    @property
    def diverged(self) -> int:
        """Weights whose last read state is not the schedule's."""
        return int(np.count_nonzero(self.intended != self.read))


def join(tiles: Sequence[Replay]) -> Replay:
    """One replay of all the tiles' weights: counts and energies of a step are sums over the tiles."""
    kept = ("tile", "step", "epoch", "batch")
    steps = {
        name: tiles[0].steps[name]
        if name in kept
        else np.sum([t.steps[name] for t in tiles], axis=0).tolist()
        for name in STEP_COLUMNS
    }
    weight, intended, read, writes, write_j = (
        np.concatenate([getattr(t, name) for t in tiles])
        for name in ("weight", "intended", "read", "writes", "write_j")
    )
    confusion = np.sum([t.confusion for t in tiles], axis=0)
    out = Replay(weight, intended, read, writes, write_j, confusion, steps)
    out.expected = {name: np.sum([t.expected[name] for t in tiles], axis=0) for name in tiles[0].expected}
    out.model = tiles[0].model
    return out
