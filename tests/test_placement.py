"""Placement: every weight on usable cells of its own, refused where the chip has too few."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.errors import BadInput
from quest_lab.layers import Topology
from quest_lab.placement import Placement
from quest_lab.sim.skmtj import SkMTJ


@pytest.fixture(scope="module")
def found(restricted: Callable[..., Characterization]) -> Characterization:
    """A chip on which every seventh cell is stuck: no baseline there."""
    whole = restricted(SkMTJ.preset("scaled"))
    good = whole.cells % 7 != 0
    left = {n: getattr(whole, n)[good] for n in ("cells", "baseline_ohm", "top_ohm")}
    return replace(whole, stuck=whole.cells[~good], **left)


@pytest.mark.parametrize("per_weight", [1, 2])
def test_every_weight_has_usable_cells_of_its_own(found: Characterization, per_weight: int) -> None:
    placement = Placement.on(found, 100, per_weight)
    assert placement.weights == 100
    assert np.unique(placement.cells).size == placement.cells.size == 100 * per_weight
    assert not np.any(placement.cells % 7 == 0)
    assert placement.cells.tolist() == sorted(placement.cells)


@pytest.mark.parametrize("per_weight", [1, 2])
def test_cells_and_weights_find_each_other(found: Characterization, per_weight: int) -> None:
    placement, weight = Placement.on(found, 50, per_weight), np.array([7, 0, 49])
    assert placement.rows_on(placement.cells_of(weight)).tolist() == weight.tolist()
    mine = [int(np.flatnonzero(placement.cells == c)[0]) for c in placement.cells_of(weight)]
    assert mine == [per_weight * w for w in weight]


def test_a_placement_may_fill_the_chip_and_no_more(found: Characterization) -> None:
    usable = found.cells.size
    assert Placement.on(found, usable).cells.tolist() == found.cells.tolist()
    with pytest.raises(
        BadInput, match=rf"needs {usable + 1} cells, .* has {usable} .*\({found.stuck.size} are stuck"
    ):
        Placement.on(found, usable + 1)
    with pytest.raises(BadInput, match=f"2 cells each: needs {2 * usable} cells"):
        Placement.on(found, usable, 2)


def test_pairs_are_never_split_between_tiles(found: Characterization) -> None:
    tiles = Placement.tiles(found, 250, 2)
    assert [tile.cells.size for tile in tiles] == [204, 204, 92]  # of 205 usable cells
    assert np.concatenate([tile.placed for tile in tiles]).tolist() == list(range(250))


@pytest.mark.parametrize("cells", [2, 11, 60, 205])
def test_every_tile_has_one_reference_for_each_of_its_rows(found: Characterization, cells: int) -> None:
    """Counted weight by weight: a row is an input channel and kernel position of a layer."""
    layers = Topology.parse("3-4-5-A", (1, 4, 4), 2).layers()
    few = replace(found, **{n: getattr(found, n)[:cells] for n in ("cells", "baseline_ohm", "top_ohm")})
    tiles = Placement.referenced(few, layers, tiles=True)
    assert np.concatenate([tile.placed for tile in tiles]).tolist() == list(range(4 * 27 + 5 * 36))
    row = [(layer.name, w % layer.taps) for layer in layers for w in range(layer.size)]
    for tile, following in zip(tiles, [*tiles[1:], None], strict=True):
        assert np.unique(tile.every).size == tile.every.size <= cells
        rows = [row[w] for w in tile.placed]
        assert (
            len({*zip(rows, tile.reference_of.tolist(), strict=True)}) == len({*rows}) == tile.references.size
        )
        if following is not None:  # one weight more would not have fitted
            assert tile.every.size + 1 + (row[following.placed[0]] not in rows) > cells


def test_a_reference_column_needs_its_cells(found: Characterization) -> None:
    layers = Topology.parse("3-4-5-A", (1, 4, 4), 2).layers()
    with pytest.raises(BadInput, match=r"288 weights, .* each of 63 rows: needs 351 cells, .* has 205"):
        Placement.referenced(found, layers)


@pytest.mark.parametrize("bad", [(0, 1), (-1, 1), (4, 0)])
def test_what_is_no_placement_is_refused(found: Characterization, bad: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="want at least 1 of each"):
        Placement.on(found, *bad)
