"""Which levels can be told apart, from mixtures with known answers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from quest_lab.estimates import Estimate
from quest_lab.mixture import fit_mixture, split_twice
from quest_lab.segmentation import Observations
from quest_lab.separation import largest_set, separate

CELLS, EACH = 100, 6


def landings(
    mean: list[float], std: list[float], noise: float, volts: list[float] | None = None
) -> Observations:
    """EACH landings of each level on CELLS cells, measured with variance `noise` squared; one staircase a landing."""
    rng = np.random.default_rng(2)
    level = np.tile(np.arange(len(mean)), CELLS * EACH)
    x = rng.normal(np.array(mean)[level], np.hypot(np.array(std)[level], noise))
    cell = np.repeat(np.arange(CELLS), EACH * len(mean))
    since = np.full(x.size, np.nan) if volts is None else rng.normal(np.array(volts)[level], 0.01)
    track, pulse = np.repeat(np.arange(CELLS * EACH), len(mean)), np.zeros(x.size, np.int64)
    return Observations.certain(x, np.full(x.size, noise**2), cell, since, track, pulse)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6), st.integers(0, 1000))
def test_the_largest_set_is_that_of_all_sets(steps: list[float], seed: int) -> None:
    mean = np.append(0.0, np.cumsum(steps))
    std = np.random.default_rng(seed).uniform(0.03, 0.2, mean.size)
    std[0] = std.min()  # nothing lands at R0
    error = norm.sf(np.abs(mean[:, None] - mean) / (std[:, None] + std))
    most = max(
        size for size in range(1, mean.size + 1) for chosen in combinations(range(mean.size), size)
        if all(error[i, j] <= 0.01 for i, j in combinations(chosen, 2))
    )  # fmt: skip
    found = largest_set(error)
    assert found[0] == 0
    assert found.size == most
    assert all(error[i, j] <= 0.01 for i, j in combinations(found.tolist(), 2))


def test_of_equally_many_levels_those_furthest_apart_are_chosen() -> None:
    mean = np.array([0.0, 0.5, 0.56, 1.0])
    error = norm.sf(np.abs(mean[:, None] - mean) / 0.14)
    assert largest_set(error).tolist() == [0, 1, 3]


def test_pairs_are_told_apart_not_or_undecided() -> None:
    seen = landings([0.0, 0.3, 0.5, 0.97], [0.02, 0.05, 0.05, 0.05], 0.02)
    told = separate(
        fit_mixture(seen, np.array([0.0, 0.3, 0.5, 1.0])),
        Estimate(*np.full((3, 4), 4e-4)),
        np.full(4, 6.0),
        CELLS,
    )
    truth = norm.sf(0.2 / (2 * np.hypot(0.05, 0.02)))  # 3.2 %
    assert told.error.low[1, 2] < truth < told.error.high[1, 2]
    assert told.inseparable() == [(1, 2)]
    assert told.undecided() == []
    assert told.chosen.tolist() in ([0, 1, 3], [0, 2, 3])


def test_two_levels_that_overlap_are_split_by_the_order_of_the_staircase() -> None:
    seen = landings([0.0, 0.5, 0.6, 1.0], [0.01, 0.05, 0.05, 0.05], 0.01, [0.35, 0.5, 0.56, 0.62])
    found = split_twice(fit_mixture(seen, np.array([0.0, 0.55, 1.0])), EACH)
    assert found.mean == pytest.approx([0.0, 0.5, 0.6, 1.0], abs=0.01)
    assert np.sqrt(found.variance[1:]) == pytest.approx([0.05] * 3, rel=0.1)


def test_two_levels_that_overlap_are_told_by_the_pulses_meant_for_them() -> None:
    seen = landings([0.0, 0.5, 0.6], [0.01, 0.05, 0.05], 0.01)
    mostly = np.where(np.random.default_rng(3).random(seen.x.size) < 0.9, 0, 1)  # the other one now and then
    level = np.tile([0, 1, 2], seen.x.size // 3)
    meant = np.where(level > 0, np.where(mostly == 0, level, 3 - level), 0)
    alone = Observations.certain(seen.x, seen.v, seen.cell, seen.volts, np.arange(seen.x.size), meant)
    found = fit_mixture(alone, np.array([0.0, 0.47, 0.63]))
    error = np.sqrt(np.diag(found.covariance))
    assert abs(found.mean - [0.0, 0.5, 0.6]).max() < 4 * error[:3].max() < 0.02


def test_a_known_noise_is_no_spread() -> None:
    seen = landings([0.0, 1.0], [0.0, 0.03], 0.05)
    found = fit_mixture(seen, np.array([0.0, 1.0]))
    error = np.sqrt(np.diag(found.covariance)[2:])
    assert found.variance[0] < 3 * error[0]
    assert abs(found.variance[1] - 0.03**2) < 4 * error[1] < 0.03**2
