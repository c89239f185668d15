"""A passive array in the world: sneak paths in what is read, half-selected cells that are really disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from quest_lab.clock import VirtualClock
from quest_lab.crossbar import Crossbar, Scheme, sensitivity
from quest_lab.device import ReadPulse
from quest_lab.errors import BadInput
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.sim.cells import CellArray
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.passive import PassiveCells
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.world import World

READ = ReadPulse(0.1, 1e-3)
EVERYONE = np.arange(36)
SOME = np.array([14])  # word 2, bit 2 of 6x6
ROW, COLUMN = np.array([12, 13, 15, 16, 17]), np.array([2, 8, 20, 26, 32])


@pytest.fixture
def walls() -> Iterator[DomainWallArray]:
    array = DomainWallArray(DomainWall(), 36, seed=4)
    yield array
    array.close()


@pytest.fixture
def junctions() -> Iterator[CellArray]:
    array = CellArray(SkMTJ.preset("lab"), 36, seed=1)
    yield array
    array.close()


def passive(
    array: DomainWallArray | CellArray, read: Scheme, write: Scheme, line_ohm: float = 0.0
) -> PassiveCells:
    return PassiveCells(array, Crossbar(6, 6, line_ohm), read_scheme=read, write_scheme=write)


def test_a_floating_array_reads_the_sneak_paths(walls: DomainWallArray) -> None:
    conductance_s = np.mean(1.0 / walls.resistance(EVERYONE, 0.1))
    found = passive(walls, "floating", "V/3").read(SOME, READ)[0]
    assert found == pytest.approx(11 / 36 / conductance_s, rel=0.03)  # (n + m - 1) / (n m), cells within 5 %


def test_a_grounded_array_reads_the_cell_alone(walls: DomainWallArray) -> None:
    found = passive(walls, "grounded", "V/3").resistance(EVERYONE, 0.1)
    np.testing.assert_allclose(found, walls.resistance(EVERYONE, 0.1), rtol=1e-9)


def test_a_reading_has_the_noise_of_the_cells_in_its_way(walls: DomainWallArray) -> None:
    def noise(scheme: Scheme) -> float:
        array = passive(walls, scheme, "V/3")
        ohm = np.array([array.read(SOME, READ)[0] for _ in range(400)])
        return float(ohm.std() / ohm.mean())

    share = sensitivity(Crossbar(6, 6), walls.resistance(EVERYONE, 0.1).reshape(6, 6), (2, 2), "floating")
    assert noise("grounded") == pytest.approx(0.003, rel=0.15)
    assert noise("floating") == pytest.approx(0.003 * np.sqrt(np.sum(share**2)), rel=0.15)


@pytest.mark.parametrize(("scheme", "disturbed"), [("V/2", True), ("V/3", False)])
def test_half_a_reset_moves_half_selected_walls_and_a_third_does_not(
    walls: DomainWallArray, scheme: Scheme, disturbed: bool
) -> None:
    walls.pulse(EVERYONE, 1.0, 1e-6)
    passive(walls, "grounded", scheme).pulse(SOME, -1.0, 1e-6)  # 0.5 V is above the first threshold, 0.48 V
    states = walls.states(EVERYONE)
    assert states[SOME] == 0
    half = np.concatenate([ROW, COLUMN])
    assert np.all(states[half] < 4) == disturbed
    assert np.all(np.delete(states, np.concatenate([half, SOME])) == 4)


def test_the_far_cell_of_resistive_lines_gets_less_volts(junctions: CellArray) -> None:
    near, far = np.array([0]), np.array([35])
    passive(junctions, "grounded", "V/3", line_ohm=20.0).pulse(np.concatenate([near, far]), 0.76, 1e-6)
    assert junctions.states(near)[0] > junctions.states(far)[0]


def test_each_cell_has_the_resistance_of_its_own_volts(junctions: CellArray) -> None:
    junctions.pulse(EVERYONE, 0.85, 1e-6)
    found = passive(junctions, "V/2", "V/3").resistance(SOME, 0.5)[0]
    half = np.sum(0.25 / junctions.resistance(COLUMN, 0.25))  # ampere of the cells on the sensed line
    assert 0.5 / found == pytest.approx(0.5 / junctions.resistance(SOME, 0.5)[0] + half, rel=1e-6)


def test_the_world_reads_a_passive_array_as_it_reads_any(walls: DomainWallArray) -> None:
    array = passive(walls, "floating", "V/3")
    world = World(array, VirtualClock(), Wiring(36, 6, 6), path=SignalPath(buffered=True))
    world.switch(frozenset({(3, world.meter.row, 3)}))  # word 3, bit 3, counted from 1
    world.clock.sleep(0.01)
    world.drive(world.meter, True, 0.1)
    volts, ampere = world.measure(0.1, 1.0, 1e-3)
    assert volts / ampere == pytest.approx(array.resistance(SOME, 0.1)[0], rel=0.01)
    assert world.violations == []


def test_as_many_cells_as_crosspoints(walls: DomainWallArray) -> None:
    with pytest.raises(BadInput, match="36 cells: a 5x6 crossbar"):
        PassiveCells(walls, Crossbar(5, 6), read_scheme="V/2", write_scheme="V/2")
