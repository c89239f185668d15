"""The threshold law and its beliefs: what they expect, against writes on simulated chips and rules made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pytest

from quest_lab.beliefs import threshold_model, write_model
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Scope
from quest_lab.policy import expect
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ, thresholds_v
from quest_lab.thresholds import ThresholdLaw
from quest_lab.write import Programmer, Written

CELLS, SAMPLE, ROUNDS = 6000, 240, 3
LAW = ThresholdLaw(np.array([0.5, 0.6]), np.array([0.02, 0.025]), 0.7, 200)


@dataclass(frozen=True)
class Chip:
    """A chip with default spread and what was measured of it."""

    array: CellArray
    found: Characterization

    @property
    def device(self) -> SimulatedChip:
        return SimulatedChip(self.array, VirtualClock())


def made(preset: str) -> Chip:
    array, clock = CellArray(SkMTJ.preset(preset), CELLS, seed=7), VirtualClock()
    session = Session(SimulatedChip(array, clock), clock, seed=7)
    settings = CharacterizeSettings(confidence=0.04, repeats=2, max_cycles=80)
    return Chip(array, characterize(session, np.arange(CELLS), np.arange(SAMPLE), settings)[0])


@pytest.fixture(scope="module")
def chips() -> Iterator[Callable[[str], Chip]]:
    """chips(preset): each measured once, closed at the end."""
    kept = cache(made)
    yield kept
    for preset in ("scaled", "lab"):
        kept(preset).array.close()


@pytest.fixture(params=["scaled", "lab"])
def chip(request: pytest.FixtureRequest, chips: Callable[[str], Chip]) -> Chip:
    return chips(request.param)


@pytest.fixture
def scaled(chips: Callable[[str], Chip]) -> Chip:
    return chips("scaled")


def test_the_law_is_that_of_the_chip(scaled: Chip) -> None:
    law, model = ThresholdLaw.fit(scaled.found), scaled.array.model
    assert law is not None
    true = thresholds_v(model, scaled.found.set_width_s)
    spread = true * np.hypot(model.d_cell, model.xi_pulse)
    offset = scaled.array._columns.shift[:SAMPLE].mean() / model.d_cell  # of these cells, not of all
    np.testing.assert_allclose((law.volts - true) / spread, 0.9 * offset, atol=0.2)
    np.testing.assert_allclose(law.spread_v, spread, rtol=0.2)
    assert law.shared == pytest.approx(0.8, abs=0.08)
    assert law.misfit(scaled.found) < 0.04


@pytest.mark.parametrize("states", [(0, 3, 6), (0, 1, 2, 3, 4, 5, 6)], ids=["3", "7"])
def test_expected_cost_is_that_of_the_writes(chip: Chip, states: tuple[int, ...]) -> None:
    """Round after round: what the writer has learned of each cell is in what it expects."""
    found = chip.found.restrict(states)
    programmer, before = Programmer(chip.device, found), np.zeros(found.cells.size, int)
    programmer.write(found.cells, before)
    model, rng = programmer.policy.model, np.random.default_rng(0)
    assert model.lasting == (len(states) == 7)
    for _ in range(ROUNDS):
        target = rng.integers(0, len(states), found.cells.size)
        start = before if found.reset_scope is Scope.CELL else np.zeros_like(before)
        memory = programmer.memory[found.cells] if model.lasting else programmer.policy.start[start, target]
        asked = np.zeros((model.memories, len(states), len(states)), np.int64)
        np.add.at(asked, (memory, start, target), 1)
        done = programmer.write(found.cells, target)
        check(programmer, found, asked, done)
        before = done.states.astype(int)


def check(programmer: Programmer, found: Characterization, asked: np.ndarray, done: Written) -> None:
    """Within the interval of the model (of counted shares: as asked of the characterisation) and 4 standard errors."""
    cost, energy, pulses = expect(programmer.policy, asked), np.zeros(CELLS), np.zeros(CELLS)
    for cells, joule in done.energies:
        energy[cells] += joule
        pulses[cells] += 1
    told = 0.0 if programmer.policy.model.lasting else found.confidence
    own = cost.pulses if found.reset_scope is Scope.CELL else cost.pulses - cost.resets
    for expected, seen in ((cost.pulse_j, energy), (own, pulses)):
        error = 4 * seen.std() * np.sqrt(seen.size) + told * expected.mean()
        assert expected.min() - error <= seen.sum() <= expected.max() + error
    failures = asked.sum() - cost.success
    assert done.wrong.sum() <= failures.max() + 4 * np.sqrt(failures.max()) + 3


def again(_found: Characterization, attempt: np.ndarray, _short: np.ndarray) -> np.ndarray:
    return attempt


def ispp(found: Characterization, attempt: np.ndarray, short: np.ndarray) -> np.ndarray:
    return np.clip(attempt + np.sign(short), 0, found.attempts - 1)


@dataclass(frozen=True)
class Rule:
    """A write policy made by hand: where it starts, what it does after a miss, whether it always resets first."""

    start: Callable[[Characterization], int]
    following: Callable[[Characterization, np.ndarray, np.ndarray], np.ndarray]
    reset_always: bool = False

    def spends(self, chip: Chip, target: np.ndarray) -> tuple[float, int]:
        """Energy of pulses and verify reads, and cells that are not in their target after 12 pulses."""
        found, device, cells = chip.found, chip.device, chip.found.cells
        reading = device.read(cells)
        state, spent = found.decode(reading).astype(int), float(reading.energy_j.sum())
        attempt, fresh = np.full(cells.size, self.start(found)), np.zeros(cells.size, bool)
        for _ in range(12):
            away = state != target
            falls = away & ((state > target) | (self.reset_always & ~fresh & (state > 0)))
            for op, a in {
                (0, 0),
                *zip(target[away & ~falls].tolist(), attempt[away & ~falls].tolist(), strict=True),
            }:
                mine = np.flatnonzero(falls if op == 0 else away & ~falls & (target == op) & (attempt == a))
                if not mine.size:
                    continue
                done = device.apply(found.operation(op, a), cells[mine], then_read=True)
                spent += float(done.energy_j.sum() + done.expect_reading().energy_j.sum())
                state[mine], fresh[mine] = found.decode(done.expect_reading()), op == 0
                if op:
                    attempt[mine] = self.following(found, attempt[mine], op - state[mine])
        return spent, int(np.count_nonzero(state != target))


RULES = {
    "reset always": Rule(lambda f: f.attempts // 2, again, reset_always=True),
    "the same pulse again": Rule(lambda f: f.attempts // 2, again),
    "nominal ISPP": Rule(lambda f: f.attempts // 2, ispp),
    "from below": Rule(lambda _: 0, ispp),
}


def test_no_policy_made_by_hand_is_cheaper(scaled: Chip) -> None:
    """Energy of pulses and reads, failures at the declared penalty, over several writes of every cell."""

    def total(spend: Callable[[np.ndarray], tuple[float, int]]) -> float:
        spend(np.zeros(scaled.found.cells.size, int))
        rng = np.random.default_rng(1)
        runs = [spend(rng.integers(0, 7, scaled.found.cells.size)) for _ in range(ROUNDS)]
        return sum(joule + programmer.policy.penalty * wrong for joule, wrong in runs)

    def by_policy(target: np.ndarray) -> tuple[float, int]:
        done = programmer.write(scaled.found.cells, target)
        return done.write_j + done.verify_j, int(done.wrong.sum())

    programmer = Programmer(scaled.device, scaled.found)
    optimum = total(by_policy)
    costs = {name: total(partial(rule.spends, scaled)) for name, rule in RULES.items()}
    assert {name: cost / optimum for name, cost in costs.items() if cost <= optimum} == {}


def test_evidence_on_a_cell_saves_pulses(scaled: Chip) -> None:
    programmer, rng = Programmer(scaled.device, scaled.found), np.random.default_rng(2)
    pulses = []
    for _ in range(4):
        programmer.write(scaled.found.cells, np.zeros(scaled.found.cells.size, int))
        done = programmer.write(scaled.found.cells, rng.integers(1, 7, scaled.found.cells.size))
        pulses.append((done.pulses + done.resets) / done.cells.size)
    assert pulses[-1] - 1 < 0.8 * (pulses[0] - 1)


def test_what_the_staircase_tells_is_where_a_cell_begins(scaled: Chip) -> None:
    model = write_model(scaled.found)
    assert model.known_cells.tolist() == list(range(SAMPLE))
    believed = model.share[model.known_memory] @ np.linspace(-6.0, 6.0, model.share.shape[1])
    assert np.corrcoef(believed, scaled.array._columns.shift[:SAMPLE])[0, 1] > 0.85


def test_cells_that_do_not_follow_the_law_keep_their_counted_shares(scaled: Chip) -> None:
    counts = scaled.found.counts.copy()
    counts[4] = counts[4, :, :, :, ::-1]  # as often as it landed on s, it now landed on 6 - s
    assert not write_model(replace(scaled.found, counts=counts)).lasting
    assert write_model(scaled.found).lasting


def test_landings_have_the_share_that_drawing_cells_and_pulses_gives() -> None:
    rng = np.random.default_rng(0)
    u, w = rng.standard_normal((2, 10**6))
    threshold = LAW.volts[:, None] + LAW.spread_v[:, None] * (np.sqrt(0.7) * u + np.sqrt(0.3) * w)
    landed = (threshold <= 0.54).sum(axis=0)
    said = LAW.landing(np.array([0.54]), np.zeros(1), np.ones(1))[0, 0]
    np.testing.assert_allclose(said[0], np.bincount(landed, minlength=3) / u.size, atol=0.002)
    np.testing.assert_allclose(said[1], [0.0, said[0, :2].sum(), said[0, 2]])


def test_what_a_landing_tells_is_the_mean_of_the_cells_that_landed_so() -> None:
    rng = np.random.default_rng(1)
    u, w = rng.standard_normal((2, 10**6))
    y = np.sqrt(0.7) * u + np.sqrt(0.3) * w
    mean, deviation, told = LAW.learned(np.array([0.54]), 0.0, 1.0)
    for landed in (0, 1):
        mine = u[((LAW.volts[:, None] + LAW.spread_v[:, None] * y) <= 0.54).sum(axis=0) == landed]
        assert mean[0, 0, landed] == pytest.approx(mine.mean(), abs=0.01)
        assert deviation[0, 0, landed] == pytest.approx(mine.std(), abs=0.01)
        assert told[0, 0, landed]


def test_under_scope_array_a_law_resets_no_single_cell(scaled: Chip) -> None:
    law = ThresholdLaw.fit(scaled.found)
    assert law is not None
    model = threshold_model(law, scaled.found, scope=Scope.ARRAY)
    assert not model.probability[:, 0].any()
