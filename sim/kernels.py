"""The law over many cells at once, compiled: block by block, so that the draws run in the processor's vectors.

Every number is that of the scalar functions (`seeds.philox`, `seeds.normal`), whatever the
block or thread it is computed in. A cell's counter moves on with its state: a pulse that is cut off has either
been given to a cell or not.
"""

from __future__ import annotations

from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats
from quest_lab.seeds import Purpose, fill_normals, philox, read_of
from quest_lab.sim.skmtj import count_reached, resistance_ohm

_READ = int(Purpose.READ)
_BLOCK = 2048  # cells; its scratch stays in the first-level cache
_PARALLEL_FROM = 16_384  # cells; waking threads costs more than a few thousand cells do


class Columns(NamedTuple):
    """One memory-mapped array per quantity, each of shape (cells,)."""

    state: NDArray[np.uint8]
    stuck: NDArray[np.uint8]
    zeta: NDArray[np.float32]  # landing residual and the state's offset, states
    pulses: NDArray[np.uint32]  # with the reads since they key the randomness
    reads: NDArray[np.uint32]
    shift: NDArray[np.float32]  # relative threshold offset d_cell
    r0_ohm: NDArray[np.float32]
    tmr: NDArray[np.float32]


def pulse(
    cells: Cells,
    columns: Columns,
    thresholds: Floats,
    amplitude_v: float,
    width_s: float,
    spread: tuple[float, float],
    bias: float,
    seed: int,
    purpose: int,
    offsets: Floats,
) -> Floats:
    """One pulse to each cell; `spread` = (xi, residual), `bias` the TMR factor. Energies in joule."""
    kernel = _PULSE[cells.size >= _PARALLEL_FROM]
    return kernel(cells, columns, thresholds, (amplitude_v, width_s), spread, bias, seed, purpose, offsets)


def read(cells: Cells, columns: Columns, steps: int, bias: float, noise: float, seed: int) -> Floats:
    """One read of each cell, ohm, with its read noise; `steps` = K, `bias` the TMR factor."""
    return _READS[cells.size >= _PARALLEL_FROM](cells, columns, steps, bias, noise, seed)


@nb.njit(cache=True)
def _draw(
    who: NDArray[np.uint64], when: NDArray[np.uint32], purpose: int, seed: int, first: Floats, second: Floats
) -> None:
    """Two standard normals for each cell at its event. `second` may be empty."""
    word, other = np.empty(who.size, np.uint32), np.empty(who.size, np.uint32)
    for i in range(who.size):  # nothing but arithmetic: this loop runs in vectors
        w = philox(who[i], np.uint64(when[i]), np.uint64(purpose), np.uint64(seed))
        word[i], other[i] = np.uint32(w[0]), np.uint32(w[1])
    fill_normals(word, first)
    if second.size:
        fill_normals(other, second)


@nb.njit(cache=True)
def _ohms(cells: Cells, columns: Columns, bias: float, steps: int, out: Floats) -> None:
    for i in range(cells.size):
        cell = cells[i]
        swing = columns.tmr[cell] * bias
        out[i] = resistance_ohm(columns.state[cell], columns.zeta[cell], columns.r0_ohm[cell], swing, steps)


def _pulse(
    cells: Cells,
    columns: Columns,
    thresholds: Floats,
    volts_seconds: tuple[float, float],
    spread: tuple[float, float],
    bias: float,
    seed: int,
    purpose: int,
    offsets: Floats,
) -> Floats:
    (amplitude_v, width_s), (xi, residual) = volts_seconds, spread
    state, stuck, zeta, pulses, reads, shift, _, _ = columns  # numba's prange wants plain arrays to write to
    energy_j = np.empty(cells.size, np.float64)
    for block in nb.prange(-(-cells.size // _BLOCK)):
        mine = cells[block * _BLOCK : (block + 1) * _BLOCK]
        out = energy_j[block * _BLOCK : (block + 1) * _BLOCK]
        first, second = np.empty(mine.size), np.empty(mine.size)
        _draw(mine.astype(np.uint64), pulses[mine], purpose, seed, first, second)
        _ohms(mine, columns, bias, thresholds.size, out)
        for i in range(mine.size):
            out[i] = amplitude_v * amplitude_v * width_s / out[i]
            first[i] = shift[mine[i]] + xi * first[i]
        reached = count_reached(amplitude_v, thresholds, first)
        for i in range(mine.size):
            cell = mine[i]
            if reached[i] > state[cell] and not stuck[cell]:
                state[cell] = reached[i]
                zeta[cell] = offsets[reached[i]] + residual * second[i]
            pulses[cell] += np.uint32(1)
            reads[cell] = np.uint32(0)
    return energy_j


def _read(cells: Cells, columns: Columns, steps: int, bias: float, noise: float, seed: int) -> Floats:
    pulses, reads = columns.pulses, columns.reads
    resistance = np.empty(cells.size, np.float64)
    for block in nb.prange(-(-cells.size // _BLOCK)):
        mine = cells[block * _BLOCK : (block + 1) * _BLOCK]
        out = resistance[block * _BLOCK : (block + 1) * _BLOCK]
        who, z = np.empty(mine.size, np.uint64), np.empty(mine.size)
        for i in range(mine.size):
            who[i] = read_of(mine[i], reads[mine[i]])
        _draw(who, pulses[mine], _READ, seed, z, z[:0])
        _ohms(mine, columns, bias, steps, out)
        for i in range(mine.size):
            out[i] = out[i] * (1.0 + noise * z[i])
            reads[mine[i]] += np.uint32(1)
    return resistance


_PULSE = (nb.njit(cache=True)(_pulse), nb.njit(cache=True, parallel=True)(_pulse))
_READS = (nb.njit(cache=True)(_read), nb.njit(cache=True, parallel=True)(_read))
