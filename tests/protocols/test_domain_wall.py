"""Bipolar cells, reset by a pulse of the other polarity, through characterisation, writing and its file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.cli.characterize import execute
from quest_lab.clock import VirtualClock
from quest_lab.device import Scope, VoltagePulse
from quest_lab.policy import solve
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay import replay
from quest_lab.ranking import single_cell_cost
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session, open_bench
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.domain_wall import SITES, DomainWall, thresholds_v
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.write import Programmer
from quest_lab.write_model import WriteModel

CELLS = 96
ALL = np.arange(CELLS)


def session_on(sites: int, cells: int = CELLS) -> tuple[Session, DomainWallArray]:
    clock = VirtualClock()
    array = DomainWallArray(DomainWall(sites=sites), cells, seed=5)
    return Session(SimulatedChip(array, clock), clock, seed=5), array


@cache
def characterized(sites: int, cells: int = CELLS) -> Characterization:
    session, array = session_on(sites, cells)
    everyone = np.arange(cells)
    found, _ = characterize(session, everyone, everyone, CharacterizeSettings(confidence=0.05))
    array.close()
    return found


@pytest.mark.parametrize("sites", SITES)
def test_every_site_is_found_as_a_state(sites: int) -> None:
    found = characterized(sites)
    assert found.states == sites
    assert found.stuck.size == 0
    assert found.reset == VoltagePulse(-1.0, 10e-9)
    assert found.reset_scope is Scope.CELL


@pytest.mark.parametrize("sites", [3, 5])
def test_set_amplitudes_lie_on_their_plateaus(sites: int) -> None:
    """With wide plateaus a landing is sure; with narrow ones the staircase meets the scatter's tails first."""
    found, limits = characterized(sites), thresholds_v(DomainWall(sites=sites))
    assert np.all(found.set_v > limits)
    assert np.all(found.set_v[:-1] < limits[1:])
    assert np.nanmin(found.set_probability()[1:, 0]) > 0.98


def test_every_state_empties_by_one_reset() -> None:
    """Many cells are confident after one cycle of trials, whose resets are all from the top: one more follows."""
    assert single_cell_cost(characterized(3, 512)).pulses[1:, 0] == pytest.approx(1.0)


def test_a_reset_always_lands_and_spends_what_a_pulse_spends() -> None:
    found = characterized(5)
    counts = found.counts[0].sum(axis=(0, 1))
    assert counts[:, 0].sum() == counts.sum()
    share = counts.sum(axis=1) / counts.sum()
    by_hand = float(share @ (10e-9 / found.resistance_ohm))  # (-1 V)^2 10 ns / R, by the states it came from
    assert found.reset_energy_j == pytest.approx(by_hand, rel=0.02)


def test_the_way_down_is_reset_and_set() -> None:
    found = characterized(5)
    policy = solve(WriteModel.measured(found))
    middle = found.attempts // 2
    for start in range(1, 5):
        for target in range(start):
            assert policy.action[policy.horizon, start, 2 * middle, target] == 0
    assert policy.model.operation[policy.action[policy.horizon, 0, 2 * middle, 3]] == 3


@pytest.mark.parametrize("sites", [5, 9])
def test_a_write_brings_walls_up_and_down(sites: int) -> None:
    session, array = session_on(sites)
    programmer = Programmer(session.device, characterized(sites))
    rng = np.random.default_rng(0)
    for _ in range(2):
        target = rng.integers(0, sites, CELLS)
        done = programmer.write(ALL, target)
        assert np.array_equal(array.states(ALL), target)
        assert not done.wrong.any()
    assert done.resets > 0
    assert done.field_j == 0.0
    array.close()


def test_resets_and_pulses_are_booked_apart() -> None:
    session, array = session_on(5)
    programmer = Programmer(session.device, characterized(5))
    up = programmer.write(ALL, np.full(CELLS, 2))
    assert (up.pulses, up.resets) == (CELLS, 0)
    down = programmer.write(ALL, np.full(CELLS, 0))
    assert (down.pulses, down.resets) == (0, CELLS)
    by_hand = 10e-9 / array.model.r0_ohm * 1.15 * CELLS  # half way along the track the conductance is 1.15 G0
    assert down.write_j == pytest.approx(by_hand, rel=0.05)
    array.close()


def test_a_training_replays_on_walls(tmp_path: Path) -> None:
    session, array = session_on(5)
    path = tmp_path / "schedule.h5"
    synthesize(path, [(2, 2, 3, 3)], steps=6, change_rate=0.1, seed=2, image=(5, 5))
    with Schedule.open(path) as schedule:
        out = replay(session, schedule, characterized(5).restrict((0, 2, 4)), (1, 0, 2))
        states = array.states(np.arange(schedule.weights))
        levels = [(1, 0, 2).index(int(s) // 2) - 1 for s in states]
        assert levels == schedule.final_levels.tolist()
    assert out.diverged == 0
    assert sum(out.steps["resets"]) > 0
    assert sum(out.steps["field_energy_j"]) == 0.0
    array.close()


@pytest.mark.parametrize("bench", ["domain-wall", "arc-one"])
def test_the_command_finds_the_states_and_the_file_keeps_the_reset(tmp_path: Path, bench: str) -> None:
    out = tmp_path / "dw.h5"
    settings = CharacterizeSettings(step_v=0.025, confidence=0.2, max_cycles=20)
    found = execute(
        device=bench, out=out, cells=8, sample=None, chip=None, seed=0, overwrite=False, settings=settings
    )
    assert found.states == 5
    loaded = load_characterization(out)
    assert loaded.reset == found.reset == VoltagePulse(-1.0, 10e-9 if bench == "domain-wall" else 1e-6)
    assert np.array_equal(loaded.counts, found.counts)


def test_chip_and_board_give_the_same_characterisation() -> None:
    """The same cells with the same pulses, once alone and once behind the board's bytes."""
    cells, settings = np.arange(8), CharacterizeSettings(step_v=0.025, confidence=0.2, max_cycles=20)
    with open_bench("arc-one", cells=8, seed=3) as session:
        can = session.device.capabilities
        on_board, _ = characterize(session, cells, cells, settings)
    clock = VirtualClock()
    reset = VoltagePulse(-1.0, 1e-6)
    array = DomainWallArray(
        DomainWall(t_ref_s=1e-6, reset=reset, read=can.read), 8, seed=3, chip_id=can.chip_id
    )
    alone, _ = characterize(Session(SimulatedChip(array, clock), clock, seed=3), cells, cells, settings)
    assert np.array_equal(alone.counts, on_board.counts)
    assert np.array_equal(alone.set_v, on_board.set_v)
    # the board reads after every pulse, wanted or not, so it draws other read noise: 0.3 % a read, 8 reads
    np.testing.assert_allclose(on_board.baseline_ohm, alone.baseline_ohm, rtol=0.006)
    array.close()
