"""Which states hold the weight levels: every choice, the cheapest below a bound, the front."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from scipy.special import ndtr

from quest_lab.characterization import Characterization
from quest_lab.choices import Choice, cheapest, compare_choices, countable, pareto
from quest_lab.device import Scope
from quest_lab.energy import Counts
from quest_lab.errors import BadInput
from quest_lab.matrices import single_cell_cost
from quest_lab.sim.skmtj import SkMTJ

MOVES = np.array([[0, 20, 1], [25, 0, 24], [2, 21, 0]])
COUNTS = Counts(
    transitions=MOVES[None, None],
    levels=np.array([[[100, 300, 90]]]),
    reads=np.array([[[1000, 5000, 900]]]),
    samples=np.array([64]),
    stage=np.zeros(1, np.int8),
)


@pytest.fixture(scope="module")
def found(characterized: Callable[[SkMTJ], Characterization]) -> Characterization:
    return characterized(SkMTJ.preset("scaled"))


@pytest.fixture(scope="module")
def choices(found: Characterization) -> list[Choice]:
    return compare_choices(found, COUNTS)


def test_every_three_of_seven_states_are_compared(choices: list[Choice]) -> None:
    assert [c.states for c in choices] == list(combinations(range(7), 3))


@pytest.mark.parametrize("states", [(0, 3, 6), (0, 1, 2), (1, 3, 6)])
def test_the_pattern_of_a_choice_is_the_cheapest_of_its_six(
    choices: list[Choice], found: Characterization, states: tuple[int, ...]
) -> None:
    mine = next(c for c in choices if c.states == states)
    used = tuple(sorted({0, *states}))
    energy, read = single_cell_cost(found.restrict(used)).pulse_j, found.read_energy_j()
    costs = {}
    for p in permutations(states):
        moves = [(i, j) for i, j in np.ndindex(3, 3) if i != j]
        update = sum(MOVES[i, j] * energy[used.index(p[i]), used.index(p[j])] for i, j in moves)
        costs[p] = float(update + 1000 * read[p[0]] + 900 * read[p[2]])
    assert mine.pattern(Scope.CELL) == min(costs, key=lambda p: costs[p])
    assert mine.cost_j(Scope.CELL) == pytest.approx(min(costs.values()), rel=1e-12)


def test_the_decoding_error_is_that_of_the_closest_two(
    choices: list[Choice], found: Characterization
) -> None:
    """Normal tails at the boundary of R2 and R3, of which R2's side is the neighbour's."""
    mine = next(c for c in choices if c.states == (0, 2, 3))
    levels = found.levels
    low = ndtr(-(levels.boundary[2] - levels.mean[2]) / levels.std[2])
    high = ndtr(-(levels.mean[3] - levels.boundary[2]) / levels.std[3])
    assert mine.error == pytest.approx(0.5 * (low + high), rel=1e-9)


def test_states_far_apart_are_read_best(choices: list[Choice]) -> None:
    error = {c.states: c.error for c in choices}
    assert error[0, 3, 6] < error[0, 2, 6] < error[0, 1, 2]


def test_the_cheapest_below_a_bound_keeps_it(choices: list[Choice]) -> None:
    for bound in (1e-2, 1e-4, 1e-10):
        best = cheapest(choices, Scope.CELL, bound)
        assert best.error <= bound
        assert all(c.cost_j(Scope.CELL) >= best.cost_j(Scope.CELL) for c in choices if c.error <= bound)


def test_a_bound_that_no_states_keep_is_refused_with_the_least(choices: list[Choice]) -> None:
    with pytest.raises(BadInput, match=r"max-decoding-error 1e-200.*least.*R0, R3, R6"):
        cheapest(choices, Scope.CELL, 1e-200)


@pytest.mark.parametrize("scope", list(Scope))
def test_nothing_is_both_cheaper_and_read_better_than_the_front(choices: list[Choice], scope: Scope) -> None:
    front = pareto(choices, scope)
    for one in front:
        assert not any(c.error < one.error and c.cost_j(scope) < one.cost_j(scope) for c in choices)
    assert min(c.cost_j(scope) for c in choices) == front[-1].cost_j(scope)


def test_too_many_choices_are_refused(found: Characterization) -> None:
    assert countable(3, 16)
    assert not countable(7, 16)
    assert not countable(15, 15)
    many = Counts(*(np.zeros((1, 1, 15, 15)[:d], np.int64) for d in (4, 3, 3, 1)), np.zeros(1, np.int8))
    with pytest.raises(BadInput, match="15 weight levels on 7 states"):
        compare_choices(found, many)
