"""Domain-wall cells with a memory: files, keyed draws, stuck cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quest_lab.errors import BadInput
from quest_lab.sim.cells import CellArray
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.skmtj import SkMTJ

MODEL = DomainWall(sites=9)
LADDER = (0.6, -0.55, 0.7, -0.5, 0.8)
CELLS = np.arange(64)


def test_a_reopened_chip_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole, path = DomainWallArray(MODEL, 64, seed=3), tmp_path / "walls.cells"
    for volts in LADDER:
        kept = DomainWallArray(MODEL, 64, seed=3, path=path)
        spent, ohm = kept.pulse(CELLS, volts, 1e-8), kept.read(CELLS, MODEL.read)
        kept.close()
        assert np.array_equal(spent, whole.pulse(CELLS, volts, 1e-8))
        assert np.array_equal(ohm, whole.read(CELLS, MODEL.read))
    whole.close()


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_grouping_of_cells_change_nothing(order: list[int], cut: int) -> None:
    whole, parts = DomainWallArray(MODEL, 12, seed=9), DomainWallArray(MODEL, 12, seed=9)
    cells, mixed = np.arange(12), np.array(order)
    for volts in LADDER:
        spent, ohm = whole.pulse(cells, volts, 1e-8), whole.read(cells, MODEL.read)
        for some in (mixed[:cut], mixed[cut:]):
            assert np.array_equal(parts.pulse(some, volts, 1e-8), spent[some])
        assert [parts.read(np.array([cell]), MODEL.read)[0] for cell in mixed] == ohm[mixed].tolist()
    whole.close()
    parts.close()


def test_cells_of_another_law_are_refused(tmp_path: Path) -> None:
    skyrmions, walls = tmp_path / "skmtj.cells", tmp_path / "walls.cells"
    CellArray(SkMTJ(), 8, seed=0, path=skyrmions, chip_id="x").close()
    DomainWallArray(MODEL, 8, seed=0, path=walls, chip_id="x").close()
    with pytest.raises(BadInput, match="holds quest-lab-cells-1"):
        DomainWallArray(MODEL, 8, seed=0, path=skyrmions, chip_id="x")
    with pytest.raises(BadInput, match="holds quest-lab-domain-walls-1"):
        CellArray(SkMTJ(), 8, seed=0, path=walls, chip_id="x")
    with pytest.raises(BadInput, match="model is"):
        DomainWallArray(DomainWall(sites=5), 8, seed=0, path=walls, chip_id="x")


def test_a_stuck_wall_stays(tmp_path: Path) -> None:
    array = DomainWallArray(MODEL, 64, seed=3, path=tmp_path / "walls.cells")
    array.stick(CELLS[:3])
    array.pulse(CELLS, 1.0, 1e-8)
    assert array.states(CELLS).tolist() == [0] * 3 + [8] * 61
    array.close()


def test_a_seed_makes_the_chip() -> None:
    arrays = [DomainWallArray(MODEL, 64, seed=seed) for seed in (3, 3, 4)]
    ohm = [array.resistance(CELLS, 0.1) for array in arrays]
    assert np.array_equal(ohm[0], ohm[1])
    assert not np.any(ohm[0] == ohm[2])
    for array in arrays:
        array.close()
