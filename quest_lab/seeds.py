"""Counter-based randomness: a number is a function of (seed, purpose, cell, event), never of call order.

So one cell at a time and a million at once draw the same numbers, and neither chunks, threads nor workers
change a result. Philox4x32-10 (Salmon et al., SC'11, doi 10.1145/2063384.2063405); normals by the inverse
distribution function PPND7 (Wichura, Applied Statistics 37, 1988, algorithm AS 241).
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import numba as nb
import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


class Purpose(IntEnum):
    """What a draw is for: the fourth word of the counter."""

    FABRICATION = 1
    PULSE = 2
    READ = 3
    DISTURB = 4
    ENCODING = 5
    DECAY = 6


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A numpy generator for randomness that belongs to no cell (shuffles, crops), keyed by its purpose."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])))


@nb.njit(cache=True, inline="always")
def philox(
    cell: np.uint64, event: np.uint64, purpose: np.uint64, seed: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Four 32-bit words for the counter (cell low, cell high, event, purpose) and the 64-bit key `seed`."""
    c0, c1, c2, c3 = cell & _LOW, cell >> _SHIFT, event & _LOW, purpose & _LOW
    k0, k1 = seed & _LOW, seed >> _SHIFT
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@nb.njit(cache=True, inline="always")
def read_of(cell: int, reads: int) -> np.uint64:
    """What stands for `cell` in the counter of its n-th read since its last pulse, which is the event: no chip has
    2^32 cells, so the upper word is free."""
    return np.uint64(cell) | (np.uint64(reads) << _SHIFT)


@nb.njit(cache=True, inline="always")
def normal(word: np.uint64) -> float:
    """Standard normal of a 32-bit word, relative error below 1e-6 (AS 241, PPND7)."""
    q = (np.float64(word) + 0.5) * 2.0**-32 - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return q * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = np.sqrt(-np.log(0.5 - abs(q)))
    if r <= 5.0:
        r -= 1.6
        top = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
        z = top / ((0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
        z = top / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return z if q > 0 else -z


@nb.njit(cache=True)
def fill_normals(words: NDArray[np.uint32], out: NDArray[np.float64]) -> None:
    """`normal` of every word, the same bits: the common branch for all in one vector loop, then the tails."""
    for i in range(words.size):
        q = (np.float64(words[i]) + 0.5) * 2.0**-32 - 0.5
        r = 0.180625 - q * q
        top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        out[i] = q * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    for i in range(words.size):
        if abs((np.float64(words[i]) + 0.5) * 2.0**-32 - 0.5) > 0.425:
            out[i] = normal(np.uint64(words[i]))


@nb.njit(cache=True)
def normals(seed: int, purpose: int, cells: NDArray[np.int64], event: int) -> NDArray[np.float64]:
    """Four independent standard normals for each cell at one event, shape (len(cells), 4)."""
    out = np.empty((cells.size, 4), np.float64)
    for i in range(cells.size):
        words = philox(np.uint64(cells[i]), np.uint64(event), np.uint64(purpose), np.uint64(seed))
        for j in range(4):
            out[i, j] = normal(words[j])
    return out


@nb.njit(cache=True)
def bernoulli(
    chances: NDArray[np.float32], cells: NDArray[np.uint64], purpose: int, seed: int, out: NDArray[np.float32]
) -> None:
    """1.0 with `chances` (cells, places) into `out` (events, cells, places), else 0.0.

    Keyed by (seed, purpose, cell, place, event): one word of 32 bits each, four events to a counter.
    """
    events, n, places = out.shape
    for i in range(n):
        for first in range(0, events, 4):
            for place in range(places):
                counter = np.uint64(first // 4 * places + place)
                words = philox(cells[i], counter, np.uint64(purpose), np.uint64(seed))
                for j in range(min(4, events - first)):
                    out[first + j, i, place] = np.float64(words[j]) * 2.0**-32 < chances[i, place]
