"""Random shifts and mirror images of a training batch, drawn from the run's own generator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def augment(images: NDArray[Any], *, shift_pixels: int, flip: bool, rng: np.random.Generator) -> NDArray[Any]:
    """Each image (N, channels, h, w) moved by up to `shift_pixels` (0 flows in), half of them mirrored."""
    out = images
    if flip:
        mirrored = rng.random(len(images)) < 0.5
        out = np.where(mirrored[:, None, None, None], images[..., ::-1], images)
    return _shifted(out, shift_pixels, rng) if shift_pixels else out


def _shifted(images: NDArray[Any], pixels: int, rng: np.random.Generator) -> NDArray[Any]:
    n, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    rows: NDArray[np.int64] = rng.integers(0, 2 * pixels + 1, n).reshape(n, 1) + np.arange(height)
    columns: NDArray[np.int64] = rng.integers(0, 2 * pixels + 1, n).reshape(n, 1) + np.arange(width)
    each = np.arange(n)[:, None, None]
    picked: NDArray[Any] = padded[each, :, rows.reshape(n, -1, 1), columns.reshape(n, 1, -1)]
    return np.moveaxis(picked, -1, 1)
