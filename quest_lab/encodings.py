"""How an image becomes spikes: direct, rate or latency coding.

direct    the image itself enters the FP32 encoder at every step (QUEST, MINT); the encoder's neurons spike
rate      at each step a pixel of intensity p in 0..1 spikes with probability p (Poisson coding in discrete time)
latency   a pixel spikes once, at step floor((1 - p) T): the brightest first, black ones (p = 0) never

The spikes of rate and latency coding enter the encoder's convolution as they are, without normalisation. Randomness
is keyed by (seed, image, epoch, pixel, step): neither batches nor chunks change a spike.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.seeds import Purpose, philox

Floats32 = NDArray[np.float32]

DIRECT = "direct"
ENCODINGS = (DIRECT, "rate", "latency")


def check_encoding(name: str) -> None:
    """Raise BadInput unless `name` is one of ENCODINGS."""
    if name not in ENCODINGS:
        raise BadInput(f"encoding={name!r}: want one of {', '.join(ENCODINGS)}")


def spike_train(
    images: Floats32, encoding: str, time_steps: int, *, seed: int, numbers: NDArray[np.int64], epoch: int = 0
) -> Floats32:
    """Spikes (T, N, channels, height, width) of 0.0 and 1.0 from images (N, ...) of 0..1, rate or latency.

    `numbers` (N,) say which images of the data set these are; `epoch` 0 is for evaluation.
    """
    out = np.empty((time_steps, *images.shape), np.float32)
    if encoding == "latency":
        first = np.minimum(np.floor((1 - images) * np.float32(time_steps)), time_steps - 1)
        for t, spikes in enumerate(out):
            spikes[...] = (first == t) & (images > 0)
        return out
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    keys = numbers.astype(np.uint64) | (np.uint64(epoch) << np.uint64(32))
    _bernoulli(flat, keys, np.uint64(seed), np.uint64(Purpose.ENCODING), out.reshape(time_steps, *flat.shape))
    return out


@nb.njit(cache=True)
def _bernoulli(
    images: Floats32, keys: NDArray[np.uint64], seed: np.uint64, purpose: np.uint64, out: Floats32
) -> None:
    """One draw of 32 bits a pixel and step: four steps to a word of the counter, so a spike depends on no T."""
    steps, n, pixels = out.shape
    for i in range(n):
        for block in range((steps + 3) // 4):
            for pixel in range(pixels):
                event = np.uint64(block) * np.uint64(pixels) + np.uint64(pixel)
                words = philox(keys[i], event, purpose, seed)
                for j in range(min(4, steps - 4 * block)):
                    chance = np.float64(words[j]) * 2.0**-32
                    out[4 * block + j, i, pixel] = chance < images[i, pixel]
