"""Which of a cell's states hold the weight levels: the cheapest choice that reads tell apart well enough.

Few states far apart are read without error, and writes between them may cost more; all C(S, L) choices are compared,
each with its own write policy and its cheapest pattern. R0 is where a reset leads and is used in every choice, but
need not hold a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, factorial

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import Scope
from quest_lab.energy import Asked, Counts
from quest_lab.errors import BadInput
from quest_lab.mapping import MOST_PATTERNS, Pattern, all_patterns
from quest_lab.matrices import SCOPES, Matrices, reset_energies

MOST_CHOICES = 600  # sets of states that are compared one by one


@dataclass(frozen=True, slots=True)
class Choice:
    """`states` that hold levels, on the chip; `error`: that a read falls on the wrong side of two neighbours, at
    worst. By scope (cell, array): the cheapest `patterns` (of the chip's states), their update and gated activation
    energy of the run `sum_j`, infinite where a write would never arrive.
    """

    states: tuple[int, ...]
    error: float
    patterns: tuple[Pattern, Pattern]
    sum_j: tuple[float, float]

    @property
    def used(self) -> tuple[int, ...]:
        """With R0: the states that the cells are used with."""
        return tuple(sorted({0, *self.states}))

    def cost_j(self, scope: Scope) -> float:
        return self.sum_j[SCOPES.index(scope)]

    def pattern(self, scope: Scope) -> Pattern:
        return self.patterns[SCOPES.index(scope)]


def countable(levels: int, states: int) -> bool:
    """Whether there are few enough choices and patterns to compare them all."""
    return levels <= states and comb(states, levels) <= MOST_CHOICES and factorial(levels) <= MOST_PATTERNS


def compare_choices(found: Characterization, counts: Counts) -> list[Choice]:
    """Every choice of states of the whole chip `found` for the counted levels, in the order of `combinations`."""
    levels = counts.levels.shape[-1]
    if not countable(levels, found.states):
        raise BadInput(
            f"{levels} weight levels on {found.states} states: {comb(found.states, levels)} choices of states with "
            f"{factorial(levels)} patterns each; up to {MOST_CHOICES} with {MOST_PATTERNS} are compared: say which "
            "with --states"
        )
    return [_choice(found, counts, states) for states in combinations(range(found.states), levels)]


def cheapest(choices: Sequence[Choice], scope: Scope, max_error: float) -> Choice:
    """The cheapest choice whose decoding error is at most `max_error`. BadInput says the least error there is."""
    admissible = [c for c in choices if c.error <= max_error and np.isfinite(c.cost_j(scope))]
    if not admissible:
        least = min(choices, key=lambda c: c.error)
        raise BadInput(
            f"--max-decoding-error {max_error:g}: no {len(least.states)} states are read that well; the least, "
            f"{least.error:.2g}, have {', '.join(f'R{s}' for s in least.states)}"
        )
    return min(admissible, key=lambda c: (c.cost_j(scope), c.error))


def pareto(choices: Sequence[Choice], scope: Scope) -> list[Choice]:
    """Choices than which none is both cheaper and read better, by ascending error."""
    front, least = list[Choice](), np.inf
    for one in sorted(choices, key=lambda c: (c.error, c.cost_j(scope))):
        if one.cost_j(scope) < least:
            least = one.cost_j(scope)
            front.append(one)
    return front


def _choice(found: Characterization, counts: Counts, states: tuple[int, ...]) -> Choice:
    used = tuple(sorted({0, *states}))
    part, skipped = found.restrict(used), len(used) - len(states)
    reset_j, field_j = reset_energies(found)
    matrices = Matrices.of(part, reset_j)
    patterns = [tuple(s + skipped for s in p) for p in all_patterns(len(states), len(states))]
    asked = Asked.of(counts, patterns, part.states)
    total = asked.write_j(matrices.pulse_j, field_j) + asked.activation_j(matrices.read_j)
    total = np.where(asked.never(matrices.reachable), np.inf, total)
    best = total.argmin(axis=1)
    cell, array = (tuple(used[s] for s in patterns[p]) for p in best)
    return Choice(
        states=states,
        error=float(part.levels.decoding_error[skipped:].max()),
        patterns=(cell, array),
        sum_j=(float(total[0, best[0]]), float(total[1, best[1]])),
    )
