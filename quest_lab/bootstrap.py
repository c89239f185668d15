"""Characterisations as other cells of the same chip would have given them: the bootstrap over cells.

Cells of the sample are drawn with replacement and what the drawn ones did is pooled (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, section 8). Whatever is computed from the replicas scatters as it would over
samples of cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Floats, Scope, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.seeds import generator


def resampled(found: Characterization, resamples: int, seed: int = 0) -> Iterator[Characterization]:
    """Replicas of a whole characterisation (before `restrict`). BadInput if the counts of each cell were not kept."""
    cells = found.sample.size
    for times in generator(seed, "bootstrap of cells").multinomial(
        cells, np.full(cells, 1.0 / cells), resamples
    ):
        yield drawn(found, times)


def drawn(found: Characterization, times: NDArray[np.int64]) -> Characterization:
    """What sampled cell c, taken `times[c]` times, would have shown: transitions, energies, mean resistances."""
    if found.by_cell is None:
        raise BadInput(
            f"characterization of {found.chip_id}: holds no counts of each cell, which intervals need; "
            "characterise again (of all states, by this version)"
        )
    counts, energy = found.by_cell.pooled(times, found.counts.shape)
    mean_j, reset_j = _energies(found, counts, energy)
    ohm = found.resistance_ohm * _relative_ohm(found, times)
    return replace(
        found, counts=counts, energy_j=mean_j, reset_energy_j=reset_j, resistance_ohm=ohm, by_cell=None
    )


def _relative_ohm(found: Characterization, times: NDArray[np.int64]) -> Floats:
    """Mean resistance of each state over the drawn cells, over that of all, shape (S,)."""
    where = found.index_of(found.sample)
    low, top = found.baseline_ohm[where, None], found.top_ohm[where, None]
    each = low + found.levels.mean * (top - low)
    return np.asarray(times @ each / times.sum() / each.mean(axis=0))


def _energies(found: Characterization, counts: NDArray[np.int64], energy_j: Floats) -> tuple[Floats, float]:
    """Mean pulse energy [operation, attempt, from], and of a reset where it is a pulse at single cells."""
    total, pulses = energy_j.sum(axis=(2, 4)), counts.sum(axis=(2, 4))
    mean = np.divide(total, pulses, out=np.full(total.shape, np.nan), where=pulses > 0)
    measured = isinstance(found.reset, VoltagePulse) and found.reset_scope is Scope.CELL
    return mean, float(total[0].sum() / pulses[0].sum()) if measured else found.reset_energy_j
