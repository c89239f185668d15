"""Budgets before the first pulse: what is expected is what is then used, and a shortfall is told with its unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quest_lab.budget import Budget, Budgeted, Ledger, open_ledger
from quest_lab.characterization import Characterization
from quest_lab.errors import LimitExceeded
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import characterize
from quest_lab.protocols.life import of_array_steps, of_replay
from quest_lab.protocols.measurements import MEASUREMENTS, settings_of
from quest_lab.protocols.replay import replay_tiles
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.write import policy_for

PATTERN, CELLS = (1, 0, 2), 240
Make = Callable[..., Any]
Counted = tuple[Callable[..., Session], Ledger]


@pytest.fixture(params=["scaled", "lab"])
def model(request: pytest.FixtureRequest, noise_free: Make) -> SkMTJ:
    """Without chance: what is expected of a write is what it takes."""
    quiet: SkMTJ = noise_free(request.param)
    return quiet


@pytest.fixture
def counted(model: SkMTJ, session_on: Make, tmp_path: Path) -> Iterator[Counted]:
    """counted(pulses=, energy_j=): a session whose cells may get so much in their life; and the ledger."""
    with open_ledger(tmp_path / "ledger", f"simulated-{CELLS}", CELLS) as ledger:

        def make(**budget: Any) -> Session:
            session = session_on(model)
            device = Budgeted(session.device, ledger, Budget(**budget))
            return replace(session, device=device, pulses_left=device.pulses_left,
                           energy_left_j=device.energy_left_j)  # fmt: skip

        yield make, ledger


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedule]:
    path = tmp_path_factory.mktemp("life") / "schedule.h5"
    synthesize(path, [(4, 3, 3, 3)], steps=12, change_rate=0.1, seed=2, image=(5, 5))
    with Schedule.open(path) as opened:
        yield opened


def test_a_replay_takes_what_was_expected_of_it(
    counted: Counted, model: SkMTJ, restricted: Callable[..., Characterization], schedule: Schedule
) -> None:
    (session_of, ledger), found = counted, restricted(model, 60)
    placements, session = Placement.tiles(found, schedule.weights), session_of()
    need = of_replay(session, schedule, found, PATTERN, placements, 0, 12, (), "energy")
    replay_tiles(session, schedule, found, PATTERN, placements)
    for want, got in ((need.pulses, ledger.pulses), (need.energy_j, ledger.energy_j)):
        assert np.all(got <= 1.02 * want)  # at first the dearest state is taken; energies are means of cells
        assert got.sum() > 0.8 * want.sum()


def test_a_write_has_one_expected_cost_in_budget_and_replay(
    session_on: Make, restricted: Callable[..., Characterization], schedule: Schedule
) -> None:
    """Of cells under the threshold law, whose later writes are cheaper: the steps behind the load."""
    model = SkMTJ.preset("lab")
    found, session = restricted(model), session_on(model)
    assert policy_for(found).model.lasting
    placements = [Placement.on(found, schedule.weights)]
    load, whole = (
        of_replay(session, schedule, found, PATTERN, placements, 0, last, (), "energy").energy_j
        for last in (0, 12)
    )
    done = replay_tiles(session, schedule, found, PATTERN, placements)
    assert whole.sum() - load.sum() == pytest.approx(done.total("predicted_energy_j"), rel=1e-9)


@pytest.mark.parametrize("budget", [{"pulses": 5}, {"energy_j": 1e-15}])
def test_a_replay_beyond_the_budget_gives_no_pulse(
    counted: Counted, model: SkMTJ, restricted: Callable[..., Characterization], schedule: Schedule,
    budget: dict[str, float],
) -> None:  # fmt: skip
    (session_of, ledger), found = counted, restricted(model)
    unit = "pulses" if "pulses" in budget else "J"
    with pytest.raises(LimitExceeded, match=rf"left of its life: \S+ {unit} short .*no pulse was given"):
        replay_tiles(session_of(**budget), schedule, found, PATTERN, [Placement.on(found, schedule.weights)])
    assert not ledger.pulses.any()


def test_what_a_replay_had_done_is_not_asked_for_again(
    counted: Counted, model: SkMTJ, restricted: Callable[..., Characterization], schedule: Schedule
) -> None:
    (session_of, _), found = counted, restricted(model)
    placements = [Placement.on(found, schedule.weights)]
    whole, rest, none = (
        of_replay(session_of(), schedule, found, PATTERN, placements, 0, 12, done, "energy").pulses.sum()
        for done in ((), (7,), (13,))
    )
    assert whole > rest > none == 0.0


def test_a_training_asks_for_each_reset_of_the_array(
    counted: Counted, model: SkMTJ, restricted: Callable[..., Characterization]
) -> None:
    session, found = counted[0](), restricted(model)
    need, array = of_array_steps(session, found, np.arange(10), steps=50), found.reset_scope == "array"
    assert need.pulses[100] == (50 if array else 0)
    assert need.pulses[0] > (75 if array else -1)  # a third of the cells is to be at R0


def test_a_characterisation_beyond_the_energy_left_gives_no_pulse(counted: Counted) -> None:
    session_of, ledger = counted
    with pytest.raises(
        LimitExceeded, match=r"at least \S+ J at its present .*: \S+ J too few; no pulse was given"
    ):
        characterize(session_of(energy_j=1e-20), np.arange(4), np.arange(4))
    assert not ledger.pulses.any()


@pytest.mark.parametrize("kind", ["yield", "endurance", "retention", "disturb", "width"])
def test_a_measurement_beyond_the_energy_left_gives_no_pulse(counted: Counted, kind: str) -> None:
    session_of, ledger = counted
    more = ["top=true"] if kind == "disturb" else []
    with pytest.raises(LimitExceeded, match=r"J are left in its ledger: \S+ J too few; no pulse was given"):
        MEASUREMENTS[kind].measure(session_of(energy_j=1e-20), np.arange(4), settings_of(kind, more))
    assert not ledger.pulses.any()
