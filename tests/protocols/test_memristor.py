"""Cells that are no staircase, through characterisation, energy, writing and replay: a continuum of gaps."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.cli.characterize import execute
from quest_lab.clock import VirtualClock
from quest_lab.device import Scope, VoltagePulse
from quest_lab.policy import solve
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay import replay
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.memristor import Memristor
from quest_lab.sim.memristor_cells import MemristorArray
from quest_lab.write import Programmer
from quest_lab.write_model import WriteModel

CELLS = 40
ALL = np.arange(CELLS)


def session_on() -> tuple[Session, MemristorArray]:
    clock = VirtualClock()
    array = MemristorArray(Memristor(), CELLS, seed=5)
    return Session(SimulatedChip(array, clock), clock, seed=5), array


@cache
def characterized() -> Characterization:
    session, array = session_on()
    found, _ = characterize(session, ALL, ALL, CharacterizeSettings(step_v=0.02, repeats=3, confidence=0.1))
    array.close()
    return found


def test_levels_are_found_within_the_window_of_the_gap() -> None:
    found = characterized()
    assert found.states >= 3
    assert found.stuck.size == 0
    assert (found.reset, found.reset_scope) == (VoltagePulse(-1.5, 1e-5), Scope.CELL)
    assert np.all(np.diff(found.resistance_ohm) > 0)
    assert found.resistance_ohm[-1] / found.resistance_ohm[0] < Memristor().window


def test_a_write_ends_between_the_boundaries_of_its_level() -> None:
    """The oracle is the noiseless resistance: what was written stays what it was verified to be."""
    (session, array), found = session_on(), characterized()
    programmer, target = Programmer(session.device, found), np.arange(CELLS) % found.states
    programmer.write(ALL, target[::-1])
    done = programmer.write(ALL, target)
    assert done.wrong.mean() <= 0.02
    span = found.top_ohm - found.baseline_ohm
    position = (array.resistance(ALL, 0.1) - found.baseline_ohm) / span
    truly = np.searchsorted(found.levels.boundary, position)
    assert np.mean(truly != target) < 0.05  # a read beside a boundary may fall on either side
    assert done.resets > 0
    assert done.field_j == 0.0
    array.close()


def test_the_way_down_is_the_abrupt_closing() -> None:
    found = characterized()
    policy = solve(WriteModel.measured(found))
    top, middle = found.states - 1, found.attempts // 2
    assert np.all(policy.action[policy.horizon, top, 2 * middle, :top] == 0)


def test_a_training_replays_on_memristors(tmp_path: Path) -> None:
    session, array = session_on()
    found, path = characterized(), tmp_path / "schedule.h5"
    used = (0, found.states // 2, found.states - 1)
    synthesize(path, [(2, 2, 3, 3)], steps=6, change_rate=0.1, seed=2, image=(5, 5))
    with Schedule.open(path) as schedule:
        out = replay(session, schedule, found.restrict(used), (1, 0, 2))
    assert out.diverged == 0
    assert sum(out.steps["resets"]) > 0
    array.close()


def test_the_command_finds_levels_and_the_file_keeps_the_reset(tmp_path: Path) -> None:
    out = tmp_path / "m.h5"
    settings = CharacterizeSettings(step_v=0.04, repeats=2, confidence=0.2, max_cycles=20)
    found = execute(
        device="memristor",
        out=out,
        cells=12,
        sample=None,
        chip=None,
        seed=0,
        overwrite=False,
        settings=settings,
    )
    loaded = load_characterization(out)
    assert loaded.reset == found.reset == VoltagePulse(-1.5, 1e-5)
    assert np.array_equal(loaded.counts, found.counts)
