"""What an epoch of training did, counted: losses, spikes, reads and level changes of every quantised layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quest_lab.layers import Counts, Floats, LayerInfo, Levels
from quest_lab.taps import TapLevels


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch. `loss` is the mean over its batches, `accuracy` that on its training images (0..1).

    `samples` images in `steps` optimizer steps. By layer: `spikes_in`, `spikes_out` over all time steps;
    `weights[layer, level]` at its end; `reads[layer, level]`; `transitions[layer, from, to]` of levels;
    `neuron_moves[layer, from, to]` of membrane levels, those that stay on the diagonal.
    """

    loss: float
    accuracy: float
    samples: int
    steps: int
    spikes_in: Counts
    spikes_out: Counts
    weights: Counts
    reads: Counts
    transitions: Counts
    neuron_moves: Counts

    @property
    def changed(self) -> float:
        """Share of the weights that a mean step changed."""
        return float(self.transitions.sum() / (self.steps * self.weights.sum()))

    @property
    def sparsity(self) -> Floats:
        """Share of zero weights by layer, at the end of the epoch."""
        return np.asarray(self.weights[:, self._zero] / self.weights.sum(axis=1))

    def rate_in(self, layers: Sequence[LayerInfo]) -> Floats:
        """R_in: spikes entering each layer per place where one can enter, over all T."""
        return np.asarray(self.spikes_in / (self.samples * np.array([x.inputs for x in layers])))

    def rate_out(self, layers: Sequence[LayerInfo]) -> Floats:
        """R_out, QUEST's R_l: spikes leaving each layer per neuron, over all T."""
        return np.asarray(self.spikes_out / (self.samples * np.array([x.neurons for x in layers])))

    def aor(self, layers: Sequence[LayerInfo]) -> Floats:
        """Activation operation rate OP_eff / OP_tot of each layer (QUEST), not divided by T."""
        effective = self.reads.sum(axis=1) - self.reads[:, self._zero]
        return np.asarray(effective / (self.samples * np.array([x.macs for x in layers])))

    @property
    def neuron_writes(self) -> Counts:
        """Membrane levels that changed, by layer."""
        return np.asarray(self.neuron_moves.sum(axis=(1, 2)) - np.trace(self.neuron_moves, axis1=1, axis2=2))

    @property
    def _zero(self) -> int:
        return self.reads.shape[1] // 2


class EpochCounter:
    """Adds up an epoch, step by step; `levels` (weights,) are those before the first."""

    def __init__(self, layers: Sequence[LayerInfo], levels: Levels, bits: int) -> None:
        self._levels = levels.copy()
        self._held = TapLevels(layers, levels, bits)
        self._sums = self._zeros()

    def _zeros(self) -> dict[str, Any]:
        layers, n = self._held.weights().shape
        one = {name: np.zeros(layers, np.int64) for name in ("spikes_in", "spikes_out")}
        matrices = {name: np.zeros((layers, n, n), np.int64) for name in ("transitions", "neuron_moves")}
        numbers = {
            "loss": 0.0,
            "right": 0,
            "samples": 0,
            "steps": 0,
            "reads": np.zeros((layers, n), np.int64),
        }
        return numbers | one | matrices

    def step(self, levels: Levels, *, samples: int, loss: float, right: int, **counts: Counts) -> None:
        """One optimizer step that ended in `levels`; `counts` of its forward pass as in quest_lab.train.run."""
        changed = np.flatnonzero(levels != self._levels)
        sums = self._sums
        sums["reads"] += self._held.reads(counts["taps"])
        sums["transitions"] += self._held.write(changed, self._levels[changed], levels[changed])
        for name in ("spikes_in", "spikes_out", "neuron_moves"):
            sums[name] += counts[name]
        for name, value in (("loss", loss), ("right", right), ("samples", samples), ("steps", 1)):
            sums[name] += value
        self._levels = levels

    def finish(self) -> Epoch:
        """The epoch, and start the next."""
        sums, self._sums = self._sums, self._zeros()
        right, loss = sums.pop("right"), sums.pop("loss")
        return Epoch(
            loss=loss / sums["steps"], accuracy=right / sums["samples"], weights=self._held.weights(), **sums
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The sums so far as arrays, for a checkpoint."""
        return {name: np.asarray(value) for name, value in self._sums.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from `state`."""
        self._sums = {name: value.item() if value.ndim == 0 else value for name, value in state.items()}


@dataclass(frozen=True, slots=True)
class History:
    """Epochs as one array a quantity, [epoch, ...]: what a checkpoint keeps."""

    columns: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, epochs: Sequence[Epoch]) -> Self:
        return cls({f.name: np.array([getattr(e, f.name) for e in epochs]) for f in fields(Epoch)})

    def epochs(self) -> list[Epoch]:
        rows = zip(*(self.columns[f.name] for f in fields(Epoch)), strict=True)
        return [Epoch(*(v.item() if v.ndim == 0 else v for v in row)) for row in rows]
