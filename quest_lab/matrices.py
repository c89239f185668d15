"""What a chip charges for writes and reads, under both reset scopes, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from quest_lab.characterization import Characterization
from quest_lab.device import Floats, Scope
from quest_lab.policy import WriteCost, evaluate, solve
from quest_lab.write_model import WriteModel

SCOPES = (Scope.CELL, Scope.ARRAY)  # in the order of every array's axis `scope`
_COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Matrices:
    """Expected costs of a write [from, to] and energy of a read [state], joule.

    `cell`: single cells are reset, QUEST's matrix, measured. `array`: only a field resets, so that moves down cost
    nothing and never succeed; the field is counted by step.
    """

    cell: WriteCost
    array: WriteCost
    read_j: Floats

    @classmethod
    def of(cls, found: Characterization, reset_j: float | None = None) -> Matrices:
        """Of a characterised chip; `reset_j` of a cell defaults to the chip's own."""
        return cls(single_cell_cost(found, reset_j), upward_cost(found), found.read_energy_j())

    @property
    def pulse_j(self) -> Floats:
        """Energy of pulses and single resets [scope, from, to]."""
        return np.stack([self.cell.pulse_j, self.array.pulse_j])

    @property
    def total_j(self) -> Floats:
        """With verify reads [scope, from, to]."""
        return np.stack([self.cell.total_j, self.array.total_j])

    @property
    def reachable(self) -> NDArray[np.bool_]:
        """Moves [scope, from, to] that a write can make at all; staying is one."""
        success = np.stack([self.cell.success, self.array.success])
        return (success > 0) | np.eye(self.read_j.size, dtype=bool)


def reset_energies(found: Characterization) -> tuple[float, float]:
    """Energy of resetting one cell and the whole array: the one the chip has, the other in proportion."""
    one = found.reset_energy_j
    return (one, one * found.cells.size) if found.reset_scope is Scope.CELL else (one / found.cells.size, one)


def single_cell_cost(found: Characterization, reset_j: float | None = None) -> WriteCost:
    """Expected costs of a write [from, to] where a single cell can be reset: QUEST's matrix, measured."""
    reset = reset_energies(found)[0] if reset_j is None else reset_j
    return evaluate(
        solve(WriteModel.measured(found, scope=Scope.CELL, reset_j=reset), objective="pulse_energy")
    )


def upward_cost(found: Characterization) -> WriteCost:
    """Expected costs of a write [from, to] where no single cell can be reset: approach from below."""
    return evaluate(
        solve(WriteModel.measured(found, scope=Scope.ARRAY), objective="pulse_energy", free_start=True)
    )


@dataclass(frozen=True, slots=True)
class Errors:
    """Standard errors over `resamples` draws of the `cells` sampled cells, joule: `pulse_j`, `total_j`
    [scope, from, to], `read_j[state]`."""

    resamples: int
    cells: int
    pulse_j: Floats
    total_j: Floats
    read_j: Floats

    @classmethod
    def of(cls, drawn: Sequence[Matrices], cells: int) -> Errors | None:
        """The scatter over replicas, of which there are two or more, else None."""
        if len(drawn) < 2:
            return None
        each = (np.stack([getattr(m, name) for m in drawn]) for name in ("pulse_j", "total_j", "read_j"))
        return cls(len(drawn), cells, *(x.std(axis=0, ddof=1) for x in each))

    @property
    def reach(self) -> float:
        """So many standard errors to both sides make a 95 % interval (Student's t)."""
        return float(stdtrit(self.cells - 1, (1 + _COVERAGE) / 2))
