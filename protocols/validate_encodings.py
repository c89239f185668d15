"""How weights lie in cells, and what the cells' conductances make of them.

decoded       one cell a weight, sensed and added digitally (QUEST); any pattern. It has no analogue weight
reference     one cell a weight against the cell of a reference column in the same row, which holds level 0:
              w = (G - G_ref) / unit; patterns monotone in conductance
differential  two cells a weight: w = (G+ - G-) / unit; level v puts the state that holds |v| on one cell, R0 on the
              other

`unit` is the mean conductance of a level, one scale for the array. Analogue weights come in two kinds: as read, and
with each cell's conductance first related to that cell's own baseline, a digital correction per cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization, States
from quest_lab.device import Cells, Floats
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern, check, level_count, to_states
from quest_lab.network import Network
from quest_lab.placement import Placement

Levels = NDArray[np.int8]
ANALOGUE = ("reference", "differential")


class Encoding(Protocol):
    """What a way to hold weights in cells has to say of itself."""

    @property
    def name(self) -> str: ...

    @property
    def found(self) -> Characterization:
        """The states in use."""
        ...

    def placements(self, network: Network, *, tiles: bool) -> list[Placement]:
        """Where the weights lie, part after part with `tiles`; BadInput if they do not fit without."""
        ...

    def targets(self, placement: Placement, levels: Levels) -> States:
        """The state of each of `placement.every`."""
        ...


class Analogue(Encoding, Protocol):
    """An encoding whose conductances are weights."""

    def weights(self, placement: Placement, ohm: Floats, at: Characterization) -> tuple[Floats, Floats]:
        """Weights in units of a level from the reads of `placement.every`: as read, baselines corrected.

        `at`: the cells' baselines at the voltage of these reads.
        """
        ...


@dataclass(frozen=True)
class Decoded:
    """One cell a weight, decoded to a level."""

    found: Characterization
    pattern: Pattern
    name: str = "decoded"

    def placements(self, network: Network, *, tiles: bool) -> list[Placement]:
        check(self.pattern, level_count(network.bits), self.found.states)
        return _placements(self.found, network, 1, tiles=tiles)

    def targets(self, placement: Placement, levels: Levels) -> States:
        return to_states(levels[placement.placed], self.pattern)


@dataclass(frozen=True)
class Reference:
    """One cell a weight against a reference column; `pattern` is monotone in conductance."""

    found: Characterization
    pattern: Pattern
    name: str = "reference"

    @classmethod
    def of(cls, found: Characterization, pattern: Pattern) -> Reference:
        """With `pattern` if it is monotone, else with the levels in the order of the states."""
        if list(pattern) in (sorted(pattern), sorted(pattern, reverse=True)):
            return cls(found, pattern)
        return cls(found, _spread(found, len(pattern)))

    def placements(self, network: Network, *, tiles: bool) -> list[Placement]:
        check(self.pattern, level_count(network.bits), self.found.states)
        return Placement.referenced(self.found, network.infos, tiles=tiles)

    def targets(self, placement: Placement, levels: Levels) -> States:
        zero = np.full(placement.references.size, self.pattern[len(self.pattern) // 2], np.int8)
        return np.concatenate([to_states(levels[placement.placed], self.pattern), zero])

    def weights(self, placement: Placement, ohm: Floats, at: Characterization) -> tuple[Floats, Floats]:
        unit = _unit(at, self.pattern[0], self.pattern[-1], len(self.pattern) - 1)
        raw, corrected = (
            (g[: placement.weights] - g[placement.weights :][placement.reference_of]) / unit
            for g in _conductances(at, placement.every, ohm)
        )
        return raw, corrected


@dataclass(frozen=True)
class Differential:
    """Two cells a weight; `ladder[v]` is the state that holds |v|."""

    found: Characterization
    ladder: Pattern
    name: str = "differential"

    @classmethod
    def of(cls, found: Characterization, bits: int) -> Differential:
        """States evenly spread from R0 to the top. Raises BadInput if there are too few."""
        steps = level_count(bits) // 2
        if found.states < steps + 1:
            raise BadInput(
                f"differential pairs at {bits} bits need {steps + 1} states, the cells have {found.states}"
            )
        return cls(found, _spread(found, steps + 1))

    def placements(self, network: Network, *, tiles: bool) -> list[Placement]:
        return _placements(self.found, network, 2, tiles=tiles)

    def targets(self, placement: Placement, levels: Levels) -> States:
        own, ladder = levels[placement.placed].astype(np.int64), np.asarray(self.ladder, np.int8)
        return np.stack([ladder[np.maximum(own, 0)], ladder[np.maximum(-own, 0)]], axis=1).ravel()

    def weights(self, placement: Placement, ohm: Floats, at: Characterization) -> tuple[Floats, Floats]:
        unit = _unit(at, self.ladder[0], self.ladder[-1], len(self.ladder) - 1)
        raw, corrected = ((g[0::2] - g[1::2]) / unit for g in _conductances(at, placement.every, ohm))
        return raw, corrected


def _placements(
    found: Characterization, network: Network, per_weight: int, *, tiles: bool
) -> list[Placement]:
    weights = network.levels.size
    if tiles:
        return Placement.tiles(found, weights, per_weight)
    return [Placement.on(found, weights, per_weight)]


def _spread(found: Characterization, count: int) -> Pattern:
    """`count` states from R0 to the top, evenly spread."""
    return tuple(np.round(np.linspace(0, found.states - 1, count)).astype(int).tolist())


def _unit(at: Characterization, low: int, high: int, steps: int) -> float:
    """Mean conductance of a level where `steps` of them lie between the states `low` and `high`, siemens."""
    span = at.top_ohm - at.baseline_ohm
    ends = [1.0 / (at.baseline_ohm + at.levels.mean[state] * span) for state in (low, high)]
    return float(np.mean(ends[1] - ends[0])) / steps


def _conductances(at: Characterization, cells: Cells, ohm: Floats) -> tuple[Floats, Floats]:
    """Conductances as read, and as read relative to each cell's own baseline, both in siemens."""
    own = 1.0 / at.baseline_ohm[at.index_of(cells)]
    return 1.0 / ohm, (1.0 / ohm / own - 1.0) * float(np.mean(1.0 / at.baseline_ohm))
