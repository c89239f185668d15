"""characterize on passive crossbars: what isolates passes, what does not is refused with its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import pytest

from quest_lab.clock import VirtualClock
from quest_lab.crossbar import Crossbar, Scheme
from quest_lab.errors import BadInput
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.passive import PassiveCells

Make = Callable[[Scheme], Session]
CELLS = np.arange(16)
QUICK = CharacterizeSettings(confidence=0.2, repeats=2, max_cycles=2, step_v=0.025)


@pytest.fixture
def walls() -> Iterator[Make]:
    with closing(DomainWallArray(DomainWall(), 16, seed=4)) as array:

        def make(read: Scheme) -> Session:
            lines = PassiveCells(array, Crossbar(4, 4), read_scheme=read, write_scheme="V/3")
            return Session(SimulatedChip(lines, VirtualClock()), VirtualClock())

        yield make


def test_a_grounded_passive_array_is_characterised_as_isolated_cells_are(
    walls: Make,
) -> None:
    found, _ = characterize(walls("grounded"), CELLS, CELLS, QUICK)
    with closing(DomainWallArray(DomainWall(), 16, seed=4)) as array:
        isolated, _ = characterize(
            Session(SimulatedChip(array, VirtualClock()), VirtualClock()), CELLS, CELLS, QUICK
        )
    assert found.states == isolated.states == 5
    np.testing.assert_allclose(found.levels.mean, isolated.levels.mean, atol=0.01)
    np.testing.assert_allclose(found.baseline_ohm, isolated.baseline_ohm, rtol=5 * 0.003 / np.sqrt(8))


@pytest.mark.parametrize("scheme", ["floating", "V/2", "V/3"])
def test_an_array_whose_cells_hide_each_other_is_refused(walls: Make, scheme: Scheme) -> None:
    numbers = r"levels \d and \d read .* ohm with all other cells at R0, .* sigma of a read are left"
    with pytest.raises(BadInput, match=numbers):
        characterize(walls(scheme), CELLS, CELLS, QUICK)
