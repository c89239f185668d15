"""Convolution of many spikes, compiled: bits of spikes and bits of levels meet, and are counted (CPU, numba).

Where a good part of the inputs spike, it is faster to look at all of them, 64 in a word, than to list those that do
(quest_lab.spike_kernels). The sum of the levels that spikes meet is, bit by bit of the levels in two's complement,
the number of spikes whose level has that bit; counting takes one instruction for 512 bits where the processor has
it, and never rounds. The work does not depend on the spikes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba as nb
import numpy as np
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray

from quest_lab.vector_sum import LANES, PLACES, count_lanes, pack_lanes

Planes: TypeAlias = NDArray[np.uint64]

_WORD = 64  # bits


def counts_bits() -> bool:
    """Whether this processor counts the bits of a vector in one instruction."""
    return bool(get_host_cpu_features().get("avx512vpopcntdq", False))


def words_of(channels: int) -> int:
    """Words that hold a bit a channel."""
    return -(-channels // _WORD)


@nb.njit(cache=True, nogil=True, error_model="numpy")
def level_planes(levels: NDArray[np.int8], bits: int) -> Planes:
    """The bits of `levels` (c_out, c_in, kh, kw): (blocks of LANES outputs, bits, kh * kw * words, LANES).

    The sign's bits first; bits of zeros fill the last word and the last block.
    """
    c_out, c_in, kh, kw = levels.shape
    words = -(-c_in // _WORD)
    planes = np.zeros((-(-c_out // LANES), bits, kh * kw * words, LANES), np.uint64)
    own, flags = np.zeros(_WORD, np.int8), np.empty(_WORD, np.uint8)
    for o in range(c_out):
        for tap in range(kh * kw):
            for word in range(words):
                first = word * _WORD
                own[:] = 0
                for c in range(min(_WORD, c_in - first)):
                    own[c] = levels[o, first + c, tap // kw, tap % kw]
                for bit in range(bits):
                    for c in range(_WORD):
                        flags[c] = (own[c] >> bit) & 1
                    planes[o // LANES, bits - 1 - bit, tap * words + word, o % LANES] = pack_lanes(flags)
    return planes


@nb.njit(cache=True, nogil=True, error_model="numpy")
def convolve_bits(
    spikes: NDArray[np.uint8], planes: Planes, kh: int, kw: int, stride: int, above: int, left: int, out: Any
) -> None:
    """Sums `out` (B, rows, columns, c_out) over `spikes` (B, height, width, c_in).

    `above`, `left`: rows and columns of zeros before the image.
    """
    batch, height, width, c_in = spikes.shape
    down, across, c_out = out.shape[1:]
    words = -(-c_in // _WORD)
    packed = np.zeros(
        (max(height + above, (down - 1) * stride + kh), max(width + left, (across - 1) * stride + kw), words),
        np.uint64,
    )
    lines, span = packed.reshape(len(packed), -1), kw * words  # what a row of the kernel meets lies together
    met, sums = np.empty((PLACES, kh * span), np.uint64), np.empty((PLACES, LANES), np.int64)
    for b in range(batch):
        _pack(spikes[b], packed[above:, left:])
        for block in range(len(planes)):
            first = block * LANES
            own = min(LANES, c_out - first)
            for y in range(down):
                for x in range(0, across, PLACES):
                    there = min(PLACES, across - x)
                    for place in range(there):
                        start = (x + place) * stride * words
                        for i in range(kh):
                            source, into = lines[y * stride + i, start:], met[place, i * span :]
                            for n in range(span):
                                into[n] = source[n]
                    count_lanes(planes[block], met, sums)
                    for place in range(there):
                        into = out[b, y, x + place, first : first + own]
                        for o in range(own):
                            into[o] = sums[place, o]


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _pack(spikes: NDArray[np.uint8], packed: NDArray[np.uint64]) -> None:
    """Bits (height, width, words) of `spikes` (height, width, c_in) of 0 and 1."""
    height, width, c_in = spikes.shape
    rest = np.zeros(_WORD, np.uint8)
    for y in range(height):
        for x in range(width):
            for word in range(c_in // _WORD):
                packed[y, x, word] = pack_lanes(spikes[y, x, word * _WORD : (word + 1) * _WORD])
            if c_in % _WORD:
                for c in range(c_in % _WORD):
                    rest[c] = spikes[y, x, c_in - c_in % _WORD + c]
                packed[y, x, c_in // _WORD] = pack_lanes(rest)
