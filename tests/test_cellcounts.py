"""Counts of each cell, and what other samples of cells would have shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from quest_lab.bootstrap import drawn, resampled
from quest_lab.cellcounts import CellCounts
from quest_lab.characterization import Characterization
from quest_lab.errors import BadInput
from quest_lab.sim.skmtj import SkMTJ


@pytest.fixture(scope="module")
def found(characterized: Callable[[SkMTJ], Characterization]) -> Characterization:
    return characterized(SkMTJ.preset("scaled"))


def test_events_are_summed_by_cell_and_transition() -> None:
    one = (np.array([0, 1, 0]), np.array([5, 5, 5]), np.array([1.0, 2.0, 3.0]))
    two = (np.array([1]), np.array([0]), np.array([7.0]))
    got = CellCounts.summed([one, two])
    rows = zip(
        got.cell.tolist(), got.transition.tolist(), got.count.tolist(), got.energy_j.tolist(), strict=True
    )
    assert list(rows) == [(0, 5, 2, 4.0), (1, 0, 1, 7.0), (1, 5, 1, 2.0)]


def test_a_part_of_the_cells_is_numbered_anew() -> None:
    each = CellCounts(*(np.array(x) for x in ([0, 2, 3, 3], [1, 1, 0, 1], [1, 2, 3, 4])), np.ones(4))
    got = each.of_cells(np.array([2, 3]))
    assert (got.cell.tolist(), got.count.tolist()) == ([0, 1, 1], [2, 3, 4])


def test_every_cell_once_is_what_was_measured(found: Characterization) -> None:
    again = drawn(found, np.ones(found.sample.size, np.int64))
    assert np.array_equal(again.counts, found.counts)
    np.testing.assert_allclose(again.energy_j, found.energy_j, rtol=1e-12, equal_nan=True)
    np.testing.assert_allclose(again.resistance_ohm, found.resistance_ohm, rtol=1e-12)


def test_shares_scatter_as_those_of_correlated_cells(found: Characterization) -> None:
    """Against the linearised standard error of a ratio over cells (Cochran 1977, section 2.11)."""
    assert found.by_cell is not None
    operation, middle = found.states // 2, found.attempts // 2
    cells = np.eye(found.sample.size, dtype=np.int64)
    each = np.array(
        [found.by_cell.pooled(one, found.counts.shape)[0][operation, middle, 0, 0] for one in cells]
    )
    hits, tries = each[:, operation], each.sum(axis=1)
    share = hits.sum() / tries.sum()
    want = np.sqrt(((hits - share * tries) ** 2).sum()) / tries.sum()
    shares = []
    for one in resampled(found, 400, seed=3):
        landed = one.counts[operation, middle, 0, 0]
        shares.append(landed[operation] / landed.sum())
    assert np.std(shares) == pytest.approx(want, rel=0.15)


def test_resamples_are_a_matter_of_the_seed(found: Characterization) -> None:
    first, again, other = (next(resampled(found, 1, seed)).counts for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_counts_of_each_cell_there_is_no_resample(found: Characterization) -> None:
    with pytest.raises(BadInput, match="no counts of each cell"):
        next(resampled(replace(found, by_cell=None), 1))
    assert found.restrict((0, 3, 6)).by_cell is None
