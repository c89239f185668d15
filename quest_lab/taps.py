"""How many weights of each level stand at each tap, kept up to date write by write.

With M_v[tap] output channels at level v and S[tap] spikes that met the tap, the reads of weights at level v
are N_v = sum over the taps of S M_v (QUEST, arXiv 2504.00679, Algorithm 2): exact, and far cheaper a step than
looking at every weight again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quest_lab.layers import Counts, LayerInfo, Levels, top_level


class TapLevels:
    """Counts over the layers of a network whose flat levels are `levels` (weights,) at `bits`."""

    def __init__(self, layers: Sequence[LayerInfo], levels: Levels, bits: int) -> None:
        self.top = top_level(bits)
        self._taps = sum(layer.taps for layer in layers)
        self._starts = np.array([layer.taps_offset for layer in layers])
        each = [np.tile(np.arange(x.taps, dtype=np.int32) + x.taps_offset, x.shape[0]) for x in layers]
        self._tap_of: NDArray[np.int32] = np.concatenate(each)
        self._layer_ends = np.array([layer.offset + layer.size for layer in layers])
        self._count = self._at(np.arange(levels.size), levels)

    @property
    def levels(self) -> int:
        """Number of weight levels."""
        return 2 * self.top + 1

    def _at(self, weight: NDArray[np.int64], level: Levels) -> Counts:
        """Weights per (level, tap) of those given."""
        key = (level.astype(np.int64) + self.top) * self._taps + self._tap_of[weight]
        return np.bincount(key, minlength=self.levels * self._taps).reshape(self.levels, self._taps)

    def write(self, weight: NDArray[np.int64], old: Levels, new: Levels) -> Counts:
        """Take in a step's writes; returns their transitions by layer, (layers, from, to)."""
        if weight.size:
            self._count += self._at(weight, new) - self._at(weight, old)
        layer = np.searchsorted(self._layer_ends, weight, side="right")
        key = (layer * self.levels + old.astype(np.int64) + self.top) * self.levels + new + self.top
        shape = (self._layer_ends.size, self.levels, self.levels)
        return np.bincount(key, minlength=int(np.prod(shape))).reshape(shape)

    def reads(self, taps: Counts) -> Counts:
        """Reads N_v by layer and level, (layers, levels), of spikes `taps` (total_taps,) under these levels."""
        return np.add.reduceat(self._count * taps, self._starts, axis=1).T

    def weights(self) -> Counts:
        """Weights by layer and level, (layers, levels)."""
        return np.add.reduceat(self._count, self._starts, axis=1).T
