"""Quadratic assignment against the exhaustive optimum where that can be had, and the bound below it."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from quest_lab.assignment import exchanged, linear_order, lower_bound, padded, quadratic_patterns


def problem(levels: int, states: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Writes that fall off with the distance of levels, reads on the diagonal; energies of a staircase with resets."""
    rng = np.random.default_rng(seed)
    i, j = np.indices((levels, levels))
    asked = rng.integers(50, 150, (levels, levels)) * np.exp(-2.0 * np.abs(i - j)) * 100.0
    np.fill_diagonal(asked, rng.integers(0, 5000, levels))
    rise = np.cumsum(rng.uniform(0.5, 2.0, states))
    energy = np.where(
        np.arange(states)[:, None] < np.arange(states), rise[None, :] * 0.8, rise[None, :] + 1.0
    )
    np.fill_diagonal(energy, np.linspace(0.05, 0.02, states))
    return asked, energy


def cost(asked: np.ndarray, energy: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Of each row of `patterns`, term by term."""
    out = np.zeros(len(patterns))
    for i, j in np.ndindex(asked.shape):
        out += asked[i, j] * energy[patterns[:, i], patterns[:, j]]
    return out


@pytest.mark.parametrize(("levels", "states"), [(7, 7), (3, 7), (8, 8)])
def test_the_search_finds_the_exhaustive_optimum(levels: int, states: int) -> None:
    gaps = []
    every = np.array(list(permutations(range(states), levels)))
    for seed in range(3):
        asked, energy = problem(levels, states, seed)
        found = quadratic_patterns(asked, energy)
        least = cost(asked, energy, every).min()
        gaps.append(cost(asked, energy, np.array(found[:1]))[0] / least - 1.0)
        assert lower_bound(asked, energy) <= least * (1 + 1e-12)
    print(f"{levels} levels on {states} states: gaps {gaps}")
    assert max(gaps) < 1e-9


def test_fifteen_levels_stay_within_reach_of_the_bound_and_beat_the_natural_order() -> None:
    asked, energy = problem(15, 16, 0)
    found = quadratic_patterns(asked, energy, starts=4)
    best = cost(asked, energy, np.array(found))
    bound = lower_bound(asked, energy)
    print(f"15 levels on 16 states: {best[0] / bound - 1:.1%} above the bound, {len(found)} local optima")
    assert all(len(set(p)) == 15 for p in found)
    assert bound <= best[0] == best.min()
    assert best[0] <= cost(asked, energy, np.array([range(15)]))[0]
    assert best[0] / bound < 1.2


def test_the_search_is_a_matter_of_its_seed_alone() -> None:
    asked, energy = problem(7, 7, 1)
    assert quadratic_patterns(asked, energy, starts=3, seed=4) == quadratic_patterns(
        asked, energy, starts=3, seed=4
    )


def test_no_exchange_betters_what_exchanges_ended_in() -> None:
    asked, energy = problem(6, 6, 2)

    def of(order: np.ndarray) -> float:
        return float(cost(asked, energy, order[None])[0])

    end = exchanged(np.arange(6), of)
    for i, j in np.ndindex(6, 6):
        other = end.copy()
        other[[i, j]] = other[[j, i]]
        assert of(end) <= of(other) * (1 + 1e-12)


def test_without_writes_the_assignment_is_linear() -> None:
    reads, energy = np.array([5.0, 100.0, 1.0]), np.array([3.0, 1.0, 2.0, 5.0])
    assert linear_order(np.outer(reads, energy))[:3].tolist() == [2, 1, 0]
    assert lower_bound(np.diag(reads), np.diag(energy)) == 5 * 2 + 100 * 1 + 1 * 3


def test_levels_that_nothing_asks_for_fill_up() -> None:
    assert padded(np.ones((2, 2)), 3).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
