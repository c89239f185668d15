"""Every mapping pattern's energy for a training run on a characterised chip, and which one is cheapest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import perm

import numpy as np
from numpy.typing import NDArray

from quest_lab.assignment import exchanged, linear_order, lower_bound, quadratic_patterns
from quest_lab.characterization import Characterization
from quest_lab.device import Floats, Scope
from quest_lab.energy import (
    Asked,
    Counts,
    Crossover,
    Ints,
    activation_energy,
    array_update_energy,
    crossovers,
    update_energy,
)
from quest_lab.mapping import MOST_PATTERNS, Pattern, all_patterns
from quest_lab.matrices import SCOPES, Errors, Matrices, reset_energies, single_cell_cost
from quest_lab.policy import WriteCost

STAGES = ("all steps", "early", "middle", "final")  # the last three: stages of the first epoch, as in QUEST
_NEVER = 100.0  # times the dearest write: what a search takes a write for that never arrives


@dataclass(frozen=True, slots=True)
class PatternErrors:
    """Errors of a pattern's whole run over resampled cells (as in `matrices.Errors`), joule: of its update energy
    `write_j[scope, pattern]`, gated activation energy `activation_j[pattern]`, `sum_j[scope, pattern]` of both, and
    of its distance to the cheapest pattern `lead_j[scope, pattern]` (paired: most that is uncertain is common)."""

    write_j: Floats
    activation_j: Floats
    sum_j: Floats
    lead_j: Floats

    @classmethod
    def of(cls, drawn: Sequence[Matrices], asked: Asked, best: Ints, widened: Floats) -> PatternErrors:
        """`best[scope]` is the cheapest pattern; `widened[scope]` as the fewest cells behind a write ask for."""
        write = np.stack([asked.write_j(m.pulse_j) for m in drawn])
        activation = np.stack([asked.activation_j(m.read_j) for m in drawn])
        both = write + activation[:, None]
        lead = both - np.take_along_axis(both, best[None, :, None], axis=2)
        scatter = [x.std(axis=0, ddof=1) for x in (write, activation, both, lead)]
        return cls(*(x * widened[:, None] if x.ndim == 2 else x for x in scatter))


@dataclass(frozen=True)
class Ranking:
    """Energies in joule, summed over the steps of each stage of `STAGES`.

    `update_j[pattern, layer, stage]` (Algorithm 1) is for single-cell resets of `reset_j`, whose costs of a
    write [from, to] are `cost`; `array_j[pattern, stage]` is for resets of the whole array by a field of
    `field_j` (no per-layer split exists). `scope` says which of the two the chip has; the other answers "what
    if". `gated_j` and `row_j[pattern, layer, stage]` (Algorithm 2). `steps[stage]`, `samples[stage]`.
    `bound_j`: where patterns were searched for, not compared one by one, none of them all costs less (single-cell
    resets, update and gated activation together). `never[scope, pattern]`: it needs writes that never arrive, which
    are given up at once and seem cheap; such patterns rank last. Errors, if cells were resampled.
    """

    patterns: list[Pattern]
    scope: Scope
    reset_j: float
    field_j: float
    matrices: Matrices
    update_j: Floats
    array_j: Floats
    gated_j: Floats
    row_j: Floats
    steps: Floats
    samples: Floats
    never: NDArray[np.bool_]
    changes: list[Crossover]
    bound_j: float | None
    errors: Errors | None
    pattern_errors: PatternErrors | None

    @property
    def cost(self) -> WriteCost:
        return self.matrices.cell

    @property
    def run_j(self) -> Floats:
        """Update energy of the whole run under both scopes, [scope, pattern]."""
        return np.stack([self.update_j[:, :, 0].sum(axis=1), self.array_j[:, 0]])

    @property
    def write_j(self) -> Floats:
        """Update energy of the whole run by pattern, under the chip's scope."""
        return self.run_j[SCOPES.index(self.scope)]

    @property
    def read_j(self) -> Floats:
        """Gated activation energy of the whole run by pattern."""
        return self.gated_j[:, :, 0].sum(axis=1)

    @property
    def sum_j(self) -> Floats:
        """Update and gated activation energy together, [scope, pattern]."""
        return self.run_j + self.read_j

    @property
    def lead_j(self) -> Floats:
        """Distance of `sum_j` to the cheapest pattern's, [scope, pattern]."""
        best = [self.order_of(scope)[0] for scope in SCOPES]
        return self.sum_j - self.sum_j[np.arange(len(SCOPES)), best, None]

    @property
    def order(self) -> list[int]:
        """Patterns from cheapest to dearest under the chip's scope, update and gated activation together."""
        return self.order_of(self.scope)

    def order_of(self, scope: Scope) -> list[int]:
        """The same under either scope."""
        which = SCOPES.index(scope)
        return np.lexsort((self.sum_j[which], self.never[which])).tolist()

    def tied(self, scope: Scope) -> list[int] | None:
        """Patterns whose distance to the cheapest one is within its 95 % interval; None without intervals."""
        if self.errors is None or self.pattern_errors is None:
            return None
        near = self.lead_j <= self.errors.reach * self.pattern_errors.lead_j
        return [p for p in self.order_of(scope)[1:] if near[SCOPES.index(scope), p]]


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
    found: Characterization,
    counts: Counts,
    *,
    reset_j: float | None = None,
    field_j: float | None = None,
    replicas: Iterable[Characterization] = (),
) -> Ranking:
    """Rank all patterns of the counted levels on the states of `found` (restricted to those in use).

    `reset_j` of a cell and `field_j` of the array default to the chip's own (`reset_energies`). `replicas` of
    `found` (`bootstrap.resampled`, restricted to the same states) give the intervals. Where there are more than
    5040 patterns, the cheapest ones are searched for (`assignment`).
    """
    reset = reset_energies(found)[0] if reset_j is None else reset_j
    field = reset_energies(found)[1] if field_j is None else field_j
    matrices = Matrices.of(found, reset)
    patterns, bound = _patterns(counts, matrices, field)
    in_stage = np.stack([np.ones_like(counts.stage)] + [counts.stage == s for s in (1, 2, 3)]).astype(
        np.int64
    )
    moves = np.einsum("st,tlij->slij", in_stage, counts.transitions)
    reads = np.einsum("st,tlv->slv", in_stage, counts.reads)
    chip = counts.transitions.sum(axis=1), counts.levels.sum(axis=1), matrices.array.pulse_j, field
    array = np.stack([array_update_energy(*chip, p) for p in patterns]) @ in_stage.T
    asked, cost, read_j = Asked.of(counts, patterns, found.states), matrices.cell, matrices.read_j
    total = asked.write_j(matrices.pulse_j, field) + asked.activation_j(read_j)
    never = asked.never(matrices.reachable)
    best = np.where(never, np.inf, total).argmin(axis=1)
    drawn = [Matrices.of(one, reset_j) for one in replicas]
    errors = Errors.of(drawn, found)
    return Ranking(
        patterns=patterns,
        scope=found.reset_scope,
        reset_j=reset,
        field_j=field,
        matrices=matrices,
        update_j=np.stack([update_energy(moves, cost.pulse_j, p).T for p in patterns]),
        array_j=array,
        gated_j=np.stack([activation_energy(reads, read_j, p).T for p in patterns]),
        row_j=np.stack([activation_energy(reads, read_j, p, gated=False).T for p in patterns]),
        steps=in_stage.sum(axis=1).astype(np.float64),
        samples=(in_stage @ counts.samples).astype(np.float64),
        never=never,
        changes=crossovers(moves[0].sum(axis=0), cost.pulse_j - cost.resets * reset, cost.resets, patterns),
        bound_j=bound,
        errors=errors,
        pattern_errors=None
        if errors is None
        else PatternErrors.of(drawn, asked, best, errors.widened.max(axis=(1, 2))),
    )


def _patterns(counts: Counts, matrices: Matrices, field_j: float) -> tuple[list[Pattern], float | None]:
    """All patterns; where there are too many, good ones under either scope, and a bound for single-cell resets."""
    levels, states = counts.levels.shape[-1], matrices.read_j.size
    if perm(states, levels) <= MOST_PATTERNS or levels > states:
        return all_patterns(levels, states), None
    moves = counts.transitions.sum(axis=(0, 1)) * ~np.eye(levels, dtype=bool)
    asked = (moves + np.diag(counts.gated_reads)).astype(np.float64)
    pulse_j = matrices.pulse_j
    dear_j = np.where(matrices.reachable, pulse_j, _NEVER * pulse_j.max())
    price_j = dear_j[0] + np.diag(matrices.read_j)
    ends = [tuple(range(levels)), tuple(range(states - 1, states - 1 - levels, -1))]
    found = [*quadratic_patterns(asked, price_j), _array_pattern(counts, matrices, field_j), *ends]
    return list(dict.fromkeys(found)), lower_bound(asked, price_j)


def _array_pattern(counts: Counts, matrices: Matrices, field_j: float) -> Pattern:
    """Where a field resets all: one that no exchange of two states makes cheaper, from the best if every step fell."""
    moves, held, reads = counts.transitions.sum(axis=1), counts.levels.sum(axis=1), counts.gated_reads
    pulse_j, read_j, n = matrices.array.pulse_j, matrices.read_j, held.shape[1]

    def cost(order: Ints) -> float:
        pattern = tuple(order[:n].tolist())
        update = array_update_energy(moves, held, pulse_j, field_j, pattern).sum()
        return float(update + reads @ read_j[order[:n]])

    begin = linear_order(np.outer(held.sum(axis=0), pulse_j[0]) + np.outer(reads, read_j))
    return tuple(exchanged(begin, cost)[:n].tolist())
