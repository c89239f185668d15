"""Placement: every weight on cells of its own, refused where the chip is too small."""

from __future__ import annotations

import numpy as np
import pytest

from quest_lab.errors import BadInput
from quest_lab.placement import Placement


@pytest.mark.parametrize(("first", "per_weight"), [(0, 1), (5, 1), (0, 2), (3, 2)])
def test_every_weight_has_cells_of_its_own(first: int, per_weight: int) -> None:
    placement = Placement(7, 40, first=first, per_weight=per_weight)
    starts = placement.cells_of(np.arange(7))
    mine = (starts[:, None] + np.arange(per_weight)).ravel()
    assert mine.tolist() == placement.all_cells().tolist()
    assert np.unique(mine).size == 7 * per_weight
    assert mine.min() == first


def test_a_placement_may_fill_the_chip_and_no_more() -> None:
    Placement(20, 43, first=3, per_weight=2)
    with pytest.raises(BadInput, match="needs 43 cells, the chip has 42"):
        Placement(20, 42, first=3, per_weight=2)


@pytest.mark.parametrize("bad", [{"weights": 0}, {"first": -1}, {"per_weight": 0}])
def test_what_is_no_placement_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=next(iter(bad))):
        Placement(**{"weights": 4, "cells": 8, **bad})
