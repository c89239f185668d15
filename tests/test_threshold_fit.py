"""Thresholds of drawn cells from drawn staircases."""

from __future__ import annotations

import numpy as np
import pytest

from quest_lab.threshold_fit import fit_threshold

VOLTS = np.arange(0.35, 0.86, 0.01)
CELLS, REPEATS = 100, 4


def staircases(mean: float, cells: float, cycles: float, seed: int, step_v: float = 0.01) -> np.ndarray:
    """First step over the threshold, [repeat, cell]."""
    rng, volts = np.random.default_rng(seed), np.arange(0.35, 0.86, step_v)
    own = rng.normal(mean, cells, CELLS)[:, None]
    over = volts >= own + rng.normal(0, cycles, (REPEATS, CELLS, volts.size))
    return np.where(over.any(axis=2), over.argmax(axis=2), volts.size)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = {"mean_v": 0.6, "cells_v": 0.012, "cycles_v": 0.006}
    held = dict.fromkeys(truth, 0)
    for seed in range(25):
        found = fit_threshold(staircases(*truth.values(), seed), VOLTS, 1e-4)
        for name, value in truth.items():
            held[name] += bool(getattr(found, name).low <= value <= getattr(found, name).high)
    assert min(held.values()) >= 20  # of 23.75 +- 1.1


def test_a_fine_staircase_does_not_bias_the_threshold() -> None:
    """The step that does it lies well below the threshold: many tries, one lucky one suffices."""
    volts = np.arange(0.35, 0.86, 0.002)
    first = staircases(0.6, 0.01, 0.012, 0, 0.002)
    assert volts[first].mean() < 0.593
    assert float(fit_threshold(first, volts, 1e-4).mean_v.value) == pytest.approx(0.6, abs=0.004)


def test_a_spread_below_the_steps_is_said_to_be_anything_down_to_none() -> None:
    found = fit_threshold(staircases(0.605, 0.0, 0.0, 1), VOLTS, 1e-4)
    assert found.cycles_v.low == found.cells_v.low == 0.0
    assert found.cycles_v.high < 0.01
    assert found.mean_v.low < 0.605 < found.mean_v.high


def test_stray_landings_spoil_little() -> None:
    first = staircases(0.6, 0.01, 0.005, 2)
    first[0, ::25] = 5  # 1 % of all, at 0.40 V
    found = fit_threshold(first, VOLTS, 0.01)
    assert float(found.mean_v.value) == pytest.approx(0.6, abs=0.004)
    assert found.cycles_v.high < 0.007
