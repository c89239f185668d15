"""Levels found in synthetic reads, and their decoding error against drawn reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from quest_lab.levels import Levels, find_levels, stays


def mixture(centres: np.ndarray, spread: float, each: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(c, spread, rng.integers(each // 2, each)) for c in centres])


def unequal(n: int, seed: int) -> np.ndarray:
    """n positions from 0 on whose steps differ by up to three times."""
    steps = np.random.default_rng(seed).uniform(1.0, 3.0, n - 1)
    return np.concatenate([[0.0], np.cumsum(steps)]) / max(1.0, steps.sum())


@pytest.mark.parametrize("n", range(1, 10))
@pytest.mark.parametrize("seed", [0, 1])
def test_the_number_of_levels_is_found(n: int, seed: int) -> None:
    centres = unequal(n, seed)
    spread = (np.diff(centres).min() if n > 1 else 1.0) / 7
    found = find_levels(mixture(centres, spread, 80, seed), floor=spread / 4)
    assert found.size == n
    np.testing.assert_allclose(found, centres, atol=spread)


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 7), st.integers(0, 10_000), st.floats(0.0, 0.3))
def test_a_level_far_rarer_than_the_others_is_found(n: int, seed: int, spread: float) -> None:
    centres = unequal(n, seed)
    own = max(0.01, spread * 0.4) * np.diff(centres).min()
    observations = np.concatenate(
        [mixture(centres[:-1], own, 200, seed), mixture(centres[-1:], own, 20, seed)]
    )
    assert find_levels(observations, floor=own / 2).size == n


def test_levels_that_no_read_tells_apart_are_one() -> None:
    observations = mixture(np.array([0.0, 0.5, 0.52, 1.0]), 0.02, 300, 0)
    assert find_levels(observations, floor=0.02).size == 3


def test_equal_reads_are_one_level() -> None:
    assert find_levels(np.full(50, 0.3), floor=1e-4).tolist() == pytest.approx([0.3])


def test_a_stay_is_one_observation_however_often_it_is_read() -> None:
    rng = np.random.default_rng(0)
    lengths = [(0, 5), (0.3, 40), (1.0, 1), (0.5, 7)]
    tracks = np.column_stack([
        np.concatenate([rng.normal(c, 0.01, n) for c, n in lengths]), rng.normal(0.2, 0.02, 53)
    ])  # fmt: skip
    found = stays(tracks, np.array([0.01, 0.02]))
    assert np.bincount(found[:, 0]).tolist() == [n for _, n in lengths]
    assert found[-1, 1] == 0


def test_stays_closer_than_a_read_tells_apart_are_cut_where_reads_are_many() -> None:
    tracks = np.repeat([0.0, 1.0], 25)[:, None] + np.random.default_rng(1).normal(0, 0.5, (50, 200))
    cuts = np.diff(stays(tracks, np.full(200, 0.5)), axis=0)
    assert np.mean(cuts[22:27].sum(axis=0) == 1) > 0.9
    assert cuts.sum(axis=0).mean() == pytest.approx(1.0, abs=0.1)


def test_decoding_error_is_that_of_drawn_reads() -> None:
    levels = Levels(np.array([0.0, 0.4, 1.0]), np.array([0.1, 0.15, 0.2]), np.array([0.16, 0.66]))
    rng = np.random.default_rng(1)
    drawn = rng.normal(levels.mean, levels.std, (400_000, 3))
    decoded = np.searchsorted(levels.boundary, drawn)
    wrong_up, wrong_down = np.mean(decoded > np.arange(3), axis=0), np.mean(decoded < np.arange(3), axis=0)
    np.testing.assert_allclose(levels.decoding_error, 0.5 * (wrong_up[:-1] + wrong_down[1:]), atol=6e-4)


def test_boundaries_are_as_many_deviations_from_either_side() -> None:
    levels = Levels.of(np.array([0.0, 0.5, 1.0]), np.array([0.03, 0.03, 0.09]))
    low = (levels.boundary - levels.mean[:-1]) / levels.std[:-1]
    np.testing.assert_allclose(low, (levels.mean[1:] - levels.boundary) / levels.std[1:])
    np.testing.assert_allclose(levels.decoding_error, norm.sf(low))
