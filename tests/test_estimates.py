"""Stated intervals against what is drawn: cells, not what is seen of them, are independent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from quest_lab.estimates import (
    Estimate,
    between_cells,
    mean_over_cells,
    ratio_over_cells,
    share_over_cells,
    within_cells,
)

CELLS, TRIES, SHOTS = 60, 5, 400


def drawn(rng: np.random.Generator) -> np.ndarray:
    """Values 10 + a cell's own (deviation 2) + each one's own (deviation 3), [cell, try]."""
    return 10 + 2 * rng.standard_normal((CELLS, 1)) + 3 * rng.standard_normal((CELLS, TRIES))


def of_share(x: np.ndarray) -> Estimate:
    return share_over_cells((x > 12).sum(axis=1), np.full(CELLS, TRIES))


@pytest.mark.parametrize(("estimate", "truth"), [
    (lambda x: ratio_over_cells(x.sum(axis=1), np.full(CELLS, TRIES)), 10.0),
    (lambda x: mean_over_cells(x[:, 0]), 10.0),
    (lambda x: between_cells(x.mean(axis=1), 9 / TRIES), 2.0),
    (of_share, 0.2895),  # 1 - Phi(2 / sqrt(13))
], ids=["mean of all", "mean of one a cell", "between cells", "share"])  # fmt: skip
def test_intervals_hold_the_truth_as_often_as_they_say(
    estimate: Callable[[np.ndarray], Estimate], truth: float
) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(SHOTS):
        e = estimate(drawn(rng))
        held += bool(e.low <= truth <= e.high)
    assert binomtest(held, SHOTS, 0.95).pvalue > 0.002


def test_a_spread_that_measurement_explains_may_be_none() -> None:
    e = between_cells(np.random.default_rng(1).normal(0, 1.0, CELLS), noise=1.5)
    assert (float(e.value), float(e.low)) == (0.0, 0.0)
    assert 0 <= e.high < 1


@pytest.mark.parametrize("cells", [4, CELLS])
def test_the_noise_of_few_cells_is_held_no_less_often(cells: int) -> None:
    of_cells = np.random.default_rng(2).chisquare(7, (2 * SHOTS, cells)) / 7
    stated = [within_cells(each, 7) for each in of_cells]
    held = sum(bool(e.low <= 1.0 <= e.high) for e in stated)
    assert binomtest(held, len(stated), 0.95, alternative="less").pvalue > 0.002


@pytest.mark.parametrize("tries", [0, 40])
def test_a_share_without_a_miss_is_not_certain(tries: int) -> None:
    e = share_over_cells(np.full(1, tries), np.full(1, tries))
    assert np.isnan(e.value) if not tries else e.low < 0.9 < e.high
