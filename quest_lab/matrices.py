"""What a chip charges for writes and reads, under both reset scopes, and how sure that is.

Not every sampled cell was given every pulse: where single cells cannot be reset, writes begin with pulses that few
were given. An energy that is a mean over m cells scatters as Student's t of m - 1 degrees of freedom, and replicas of
m cells scatter by a factor sqrt((m - 1) / m) too little (Hesterberg, The American Statistician 69 (2015) 371); a
scatter of B replicas has B - 1 of its own. A sum of such energies has at least the degrees of freedom of the fewest
cells (Welch, Biometrika 34 (1947) 28).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from quest_lab.characterization import Characterization
from quest_lab.device import Floats, Scope
from quest_lab.errors import BadInput
from quest_lab.policy import Policy, WriteCost, evaluate, solve
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
    return evaluate(_single_cell_policy(found, reset_j))


def upward_cost(found: Characterization) -> WriteCost:
    """Expected costs of a write [from, to] where no single cell can be reset: approach from below."""
    return evaluate(_upward_policy(found))


def _single_cell_policy(found: Characterization, reset_j: float | None = None) -> Policy:
    reset = reset_energies(found)[0] if reset_j is None else reset_j
    return solve(WriteModel.measured(found, scope=Scope.CELL, reset_j=reset), objective="pulse_energy")


def _upward_policy(found: Characterization) -> Policy:
    return solve(WriteModel.measured(found, scope=Scope.ARRAY), objective="pulse_energy", free_start=True)


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors over `resamples` draws of the `cells` sampled cells, joule: `pulse_j`, `total_j` [scope, from, to],
    `read_j[state]`. `reach` of them make a 95 % interval: standard errors, `widened[scope, from, to]` where fewer cells
    gave the pulses."""

    resamples: int
    cells: int
    pulse_j: Floats
    total_j: Floats
    read_j: Floats
    widened: Floats

    @classmethod
    def of(cls, drawn: Sequence[Matrices], found: Characterization) -> Errors | None:
        """The scatter over replicas of `found`, of which there are two or more, else None."""
        if len(drawn) < 2:
            return None
        each = [np.stack([getattr(m, name) for m in drawn]) for name in ("pulse_j", "total_j", "read_j")]
        pulse_j, total_j, read_j = (x.std(axis=0, ddof=1) for x in each)
        cells = found.sample.size
        widened = widening(cells_behind(found), cells, len(drawn))
        return cls(len(drawn), cells, pulse_j * widened, total_j * widened, read_j, widened)

    @property
    def reach(self) -> float:
        """So many errors to both sides make a 95 % interval (Student's t)."""
        return float(_reach(self.cells - 1))


def widening(behind: Floats, cells: int, resamples: int) -> Floats:
    """What scatters of `resamples` replicas are to be multiplied with where `behind` of the `cells` tell an energy."""
    few = np.maximum(behind, 2.0)
    freedom = 1.0 / (1.0 / (few - 1.0) + 1.0 / (resamples - 1.0))
    return np.asarray(_reach(freedom) / _reach(cells - 1) * np.sqrt(few / (few - 1.0)))


def _reach(freedom: Floats | int) -> Floats:
    """Quantile of Student's t of so many degrees of freedom."""
    return np.asarray(stdtrit(freedom, (1 + _COVERAGE) / 2))


def cells_behind(found: Characterization) -> Floats:
    """How many sampled cells stand behind the pulse that a write begins with, after its reset if it goes down
    [scope, from, to]; all of them where there is none."""
    given = _cells_given(found)
    out = np.full((2, found.states, found.states), float(found.sample.size))
    for k, policy in enumerate((_single_cell_policy(found), _upward_policy(found))):
        for start, target in np.ndindex(out.shape[1:]):
            begin = start if start < target else 0
            action = policy.action[policy.horizon, begin, policy.start[begin, target], target]
            if start != target and action > 0:
                pulse = policy.model.operation[action], policy.model.attempt[action], begin
                out[k, start, target] = given[pulse]
    return out


def _cells_given(found: Characterization) -> Floats:
    """Sampled cells that were given each pulse [operation, attempt, from]: as many as, given it equally often, tell as
    much (Kish, Survey Sampling, 1965, section 11.7)."""
    whole = found.whole or found
    if whole.by_cell is None:
        raise BadInput(f"characterization of {found.chip_id}: holds no counts of each cell")
    op, attempt, _, start, _ = np.unravel_index(whole.by_cell.transition, whole.counts.shape)
    given = np.zeros((*whole.energy_j.shape, whole.sample.size))
    np.add.at(given, (op, attempt, start, whole.by_cell.cell), whole.by_cell.count)
    if found.whole is not None:
        used = np.searchsorted(whole.levels.mean, found.levels.mean)
        own = given[np.ix_(used, whole.attempts_of(used))]
        group = np.stack([own[:, :, found.fold == s].sum(axis=2) for s in range(found.states)], axis=2)
        own = own[
            :, :, used
        ]  # as `restrict` takes energies: of its neighbours if a state itself was never met
        given = np.where(own.any(axis=-1, keepdims=True), own, group)
    return np.asarray(given.sum(axis=-1) ** 2 / np.maximum((given**2).sum(axis=-1), 1.0))
