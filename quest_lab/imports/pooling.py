"""Sum and average poolings taken into the weights beside them: both are linear, so the sums stay what they were.

Tiles alone: the stride is the kernel and nothing is padded, and an odd last row or column is dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.blocks import Window
from quest_lab.errors import BadInput

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Pool:
    """A pooling of tiles (rows, columns) of `before` (channels, height, width)."""

    tile: tuple[int, int]
    average: bool
    before: tuple[int, int, int]

    @property
    def after(self) -> tuple[int, int, int]:
        """(channels, height, width) of what leaves it."""
        channels, height, width = self.before
        return channels, height // self.tile[0], width // self.tile[1]

    @property
    def factor(self) -> float:
        """What a place counts for in its tile."""
        return 1 / math.prod(self.tile) if self.average else 1.0

    @property
    def side(self) -> int:
        """Of a square tile. Raises BadInput for others."""
        if self.tile[0] != self.tile[1]:
            raise BadInput(f"tiles of {self.tile[0]}x{self.tile[1]} beside a convolution; want square ones")
        return self.tile[0]

    def into_linear(self, weight: Array) -> Array:
        """Weights (n, c h w) of a linear layer on what enters the pooling; 0 beyond the tiles."""
        channels, rows, columns = self.after
        spread = weight.reshape(-1, channels, rows, columns) * self.factor
        spread = spread.repeat(self.tile[0], 2).repeat(self.tile[1], 3)
        out = np.zeros((len(weight), *self.before), spread.dtype)
        out[:, :, : spread.shape[2], : spread.shape[3]] = spread
        return out.reshape(len(weight), -1)

    def into_next(self, weight: Array, window: Window) -> tuple[Array, Window]:
        """Weights (c_out, c_in, k, k) of a convolution on what enters the pooling, and how they move."""
        side, kernel = self.side, weight.shape[2]
        padding = _padding(window, kernel)
        for size, pooled in zip(self.before[1:], self.after[1:], strict=True):
            end = (window.places(pooled, kernel) - 1) * window.stride + kernel - padding
            if size % side and end > pooled:
                raise BadInput(
                    f"drops the last row or column of {size}, where the convolution after it has padding: want a "
                    f"multiple of {side}"
                )
        spread = weight.repeat(side, 2).repeat(side, 3) * self.factor
        return spread, Window(window.stride * side, padding * side)

    def into_last(self, weight: Array, window: Window) -> tuple[Array, Window]:
        """Weights (c_out, c_in, k, k) of a convolution that give its currents pooled, and how they move."""
        side, kernel, stride = self.side, weight.shape[2], window.stride
        wide = kernel + (side - 1) * stride
        out = np.zeros((*weight.shape[:2], wide, wide), np.result_type(weight, np.float32))
        for y, x in np.ndindex(side, side):
            out[:, :, y * stride : y * stride + kernel, x * stride : x * stride + kernel] += (
                weight * self.factor
            )
        return out, Window(stride * side, _padding(window, kernel))


def _padding(window: Window, kernel: int) -> int:
    """The same on all sides. Raises BadInput where it is not."""
    if window.padding is None and kernel % 2 == 0:
        raise BadInput(f"beside a convolution of {kernel}x{kernel} with padding 'same'; want an odd kernel")
    return window.pad(kernel)
