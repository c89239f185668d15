"""Every mapping pattern's energy for a training run on a characterised chip, and which one is cheapest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import Floats, Scope
from quest_lab.energy import (
    Counts,
    Crossover,
    Ints,
    activation_energy,
    array_update_energy,
    crossovers,
    update_energy,
)
from quest_lab.mapping import Pattern, all_patterns
from quest_lab.policy import WriteCost, WriteModel, evaluate, solve
from quest_lab.schema import Field, Result

STAGES = ("all steps", "early", "middle", "final")  # the last three: stages of the first epoch, as in QUEST


@dataclass(frozen=True)
class Ranking:
    """Energies in joule, summed over the steps of each stage of `STAGES`.

    `update_j[pattern, layer, stage]` (Algorithm 1) is for single-cell resets of `reset_j`, whose costs of a
    write [from, to] are `cost`; `array_j[pattern, stage]` is for resets of the whole array by a field of
    `field_j` (no per-layer split exists). `scope` says which of the two the chip has; the other answers "what
    if". `gated_j` and `row_j[pattern, layer, stage]` (Algorithm 2). `steps[stage]`, `samples[stage]`.
    """

    patterns: list[Pattern]
    scope: Scope
    reset_j: float
    field_j: float
    cost: WriteCost
    update_j: Floats
    array_j: Floats
    gated_j: Floats
    row_j: Floats
    steps: Floats
    samples: Floats
    changes: list[Crossover]

    @property
    def write_j(self) -> Floats:
        """Update energy of the whole run by pattern, under this scope."""
        return self.array_j[:, 0] if self.scope is Scope.ARRAY else self.update_j[:, :, 0].sum(axis=1)

    @property
    def read_j(self) -> Floats:
        """Gated activation energy of the whole run by pattern."""
        return self.gated_j[:, :, 0].sum(axis=1)

    @property
    def order(self) -> list[int]:
        """Patterns from cheapest to dearest, update and gated activation together."""
        return np.argsort(self.write_j + self.read_j, kind="stable").tolist()


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


@dataclass(frozen=True, slots=True)
class Prices:
    """What a chip charges: `pulse_j[from, to]` for a write (single-cell resets), `read_j[state]` for a read."""

    pulse_j: Floats
    read_j: Floats
    patterns: list[Pattern]

    @classmethod
    def of(cls, found: Characterization, levels: int) -> Prices:
        """Of a characterised chip, restricted to the states in use, for patterns of `levels` weight levels."""
        patterns = all_patterns(levels, found.states)
        return cls(single_cell_cost(found).pulse_j, found.read_energy_j(), patterns)


@dataclass(frozen=True, slots=True)
class Spent:
    """Energies in joule by (pattern, layer): update, activation gated and row-activated, neuron cells.

    `neuron_j` has a mapping of its own: its rows are patterns of membrane levels.
    """

    update_j: Floats
    gated_j: Floats
    row_j: Floats
    neuron_j: Floats

    @property
    def best(self) -> int:
        """The pattern with the least update and gated activation energy together."""
        return int((self.update_j + self.gated_j).sum(axis=1).argmin())

    @property
    def best_neuron(self) -> int:
        return int(self.neuron_j.sum(axis=1).argmin())


def spend(prices: Prices, transitions: Ints, reads: Ints, neuron_moves: Ints) -> Spent:
    """QUEST's Algorithms 1 and 2 for every pattern, from counts by layer: [layer, from, to], [layer, level]."""
    update, neuron = (
        np.array([update_energy(moves, prices.pulse_j, p) for p in prices.patterns])
        for moves in (transitions, neuron_moves)
    )
    gated, row = (
        np.array([activation_energy(reads, prices.read_j, p, gated=gated) for p in prices.patterns])
        for gated in (True, False)
    )
    return Spent(update, gated, row, neuron)


def rank(
    found: Characterization, counts: Counts, *, reset_j: float | None = None, field_j: float | None = None
) -> Ranking:
    """Rank all patterns of the counted levels on the states of `found` (restricted to those in use).

    `reset_j` of a cell and `field_j` of the array default to the chip's own (`reset_energies`).
    """
    reset = reset_energies(found)[0] if reset_j is None else reset_j
    field = reset_energies(found)[1] if field_j is None else field_j
    cost = single_cell_cost(found, reset)
    upward = evaluate(
        solve(WriteModel.measured(found, scope=Scope.ARRAY), objective="pulse_energy", free_start=True)
    )
    patterns = all_patterns(counts.levels.shape[-1], found.states)
    in_stage = np.stack([np.ones_like(counts.stage)] + [counts.stage == s for s in (1, 2, 3)]).astype(
        np.int64
    )
    moves = np.einsum("st,tlij->slij", in_stage, counts.transitions)
    reads = np.einsum("st,tlv->slv", in_stage, counts.reads)
    chip_moves, chip_levels = counts.transitions.sum(axis=1), counts.levels.sum(axis=1)
    array = [array_update_energy(chip_moves, chip_levels, upward.pulse_j, field, p) for p in patterns]
    without = cost.pulse_j - cost.resets * reset
    read_j = found.read_energy_j()
    return Ranking(
        patterns=patterns,
        scope=found.reset_scope,
        reset_j=reset,
        field_j=field,
        cost=cost,
        update_j=np.stack([update_energy(moves, cost.pulse_j, p).T for p in patterns]),
        array_j=np.stack(array) @ in_stage.T,
        gated_j=np.stack([activation_energy(reads, read_j, p).T for p in patterns]),
        row_j=np.stack([activation_energy(reads, read_j, p, gated=False).T for p in patterns]),
        steps=in_stage.sum(axis=1).astype(np.float64),
        samples=(in_stage @ counts.samples).astype(np.float64),
        changes=crossovers(moves[0].sum(axis=0), without, cost.resets, patterns),
    )


def to_results(ranking: Ranking, layers: list[str]) -> list[Result]:
    """The ranking for a run file: the energy matrix and the energies of every pattern."""
    n = ranking.cost.pulse_j.shape[0]
    states = np.arange(n)
    pair = ("state_from", "state_to")
    matrix = {
        "pulse_j": Field(ranking.cost.pulse_j, "J", "expected pulse energy of a write", pair),
        "total_j": Field(ranking.cost.total_j, "J", "expected energy with verify reads", pair),
        "pulses": Field(ranking.cost.pulses, "", "expected operations", pair),
        "resets": Field(ranking.cost.resets, "", "expected resets", pair),
        "success": Field(ranking.cost.success, "", "probability to end in the target", pair),
        "state_from": Field(states, "", "state before", pair[:1]),
        "state_to": Field(states, "", "state after", pair[1:]),
    }
    cube = ("pattern", "layer", "stage")
    energies = {
        "update_j": Field(ranking.update_j, "J", "update energy, Algorithm 1", cube),
        "gated_j": Field(ranking.gated_j, "J", "activation energy, zero weights not read", cube),
        "row_j": Field(ranking.row_j, "J", "activation energy, whole rows biased", cube),
        "array_j": Field(
            ranking.array_j, "J", "update energy with an array-wide reset", ("pattern", "stage")
        ),
        "write_j": Field(ranking.write_j, "J", "update energy of the run under the chip's scope", cube[:1]),
        "states": Field(np.array(ranking.patterns), "", "state of each level", ("pattern", "level")),
        "layer_name": Field(np.array(layers), "", "layer", ("layer",)),
        "stage_name": Field(np.array(STAGES), "", "stage", ("stage",)),
        "steps": Field(ranking.steps, "", "optimizer steps in the stage", ("stage",)),
        "samples": Field(ranking.samples, "", "images in the stage", ("stage",)),
        "pattern": Field(np.arange(len(ranking.patterns)), "", "row of `states`", cube[:1]),
    }
    about: dict[str, str | int | float | bool] = {
        "scope": str(ranking.scope),
        "reset_j": ranking.reset_j,
        "field_j": ranking.field_j,
        "best": ranking.order[0],
    }
    levels = len(ranking.patterns[0])
    changes = {
        "reset_j": Field(np.array([c.reset_j for c in ranking.changes]), "J", "reset energy", ("change",)),
        "below": Field(
            _states([c.below for c in ranking.changes], levels), "", "cheapest below", ("change", "level")
        ),
        "above": Field(
            _states([c.above for c in ranking.changes], levels), "", "cheapest above", ("change", "level")
        ),
    }
    return [
        Result("energy_matrix", matrix, title="Write energy", signal="pulse_j", axes=pair, attrs=about),
        Result("patterns", energies, title="Energy of every pattern", signal="write_j", axes=("pattern",),
               attrs=about),
        Result("optimum_changes", changes, title="Reset energies at which the cheapest pattern changes"),
    ]  # fmt: skip


def _states(patterns: list[Pattern], levels: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Shape (patterns, levels), also where there is none (scope array)."""
    return np.array(patterns, np.int64).reshape(len(patterns), levels)
