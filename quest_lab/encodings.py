"""How an image becomes spikes: direct, rate or latency coding.

direct    the image itself enters the FP32 encoder at every step (QUEST, MINT); the encoder's neurons spike
rate      at each step a pixel of intensity p in 0..1 spikes with probability p (Poisson coding in discrete time)
latency   a pixel spikes once, at step floor((1 - p) T): the brightest first, black ones (p = 0) never

The spikes of rate and latency coding enter the encoder's convolution as they are, without normalisation. Randomness
is keyed by (seed, image, epoch, pixel, step): neither batches nor chunks change a spike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput

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
    from quest_lab.seeds import Purpose, bernoulli  # numba: only who draws pays for it

    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    keys = numbers.astype(np.uint64) | (np.uint64(epoch) << np.uint64(32))
    bernoulli(flat, keys, int(Purpose.ENCODING), seed, out.reshape(time_steps, *flat.shape))
    return out
