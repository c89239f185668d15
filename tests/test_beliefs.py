"""The threshold law and its beliefs: what they expect, against writes on simulated chips and rules made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from rules import RULES, Tally
from scipy.special import logit
from scipy.stats import chi2, norm

from quest_lab.beliefs import TYPES, threshold_model, write_model
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Scope
from quest_lab.policy import Policy, solve, sums_by_type
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay_costs import Asked
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ, thresholds_v
from quest_lab.thresholds import ThresholdLaw
from quest_lab.write import Programmer
from quest_lab.write_costs import evaluate_writes, expect, interval

CELLS, SAMPLE, ROUNDS = 6000, 240, 3
LAW = ThresholdLaw(np.array([0.5, 0.6]), np.array([0.02, 0.025]), 0.7, np.zeros((5, 0)))


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
    np.testing.assert_allclose((law.volts - true) / spread, 0.9 * offset, atol=0.15)
    np.testing.assert_allclose(law.spread_v, spread, rtol=0.15)
    assert law.shared == pytest.approx(0.8, abs=0.08)
    assert law.misfit(scaled.found) < 0.01


def test_the_errors_of_the_law_are_those_of_its_distance_from_the_chip(scaled: Chip) -> None:
    law, model = ThresholdLaw.fit(scaled.found), scaled.array.model
    assert law is not None
    true = thresholds_v(model, scaled.found.set_width_s)
    spread = true * np.hypot(model.d_cell, model.xi_pulse)
    apart = [
        (true - law.volts) / law.spread_v,
        np.log(spread / law.spread_v),
        [logit(0.8) - logit(law.shared)],
    ]
    chance = chi2.sf(np.sum(np.linalg.solve(law.errors, np.concatenate(apart)) ** 2), len(law.errors))
    assert 1e-3 < chance < 1 - 1e-3


@pytest.mark.parametrize("states", [(0, 3, 6), (0, 1, 2, 3, 4, 5, 6)], ids=["3", "7"])
def test_expected_cost_is_that_of_the_writes(chip: Chip, states: tuple[int, ...]) -> None:
    """Round after round: what the writer learns of each cell is in what it expects."""
    found, tally = chip.found.restrict(states), Tally.of(chip.device)
    programmer, held = Programmer(tally, found), np.zeros(CELLS, np.int8)
    programmer.write(found.cells, held)
    each = evaluate_writes(programmer.policy, ROUNDS + 1).pulses
    begin, due, rng, wrong = tally.pulses.copy(), np.zeros(CELLS), np.random.default_rng(0), 0
    asked = Asked.loaded(held, len(states))
    for _ in range(ROUNDS):
        target = rng.integers(0, len(states), CELLS).astype(np.int8)
        start = held if found.reset_scope is Scope.CELL else np.zeros_like(held)
        due += each[asked.written, start.astype(int), target.astype(int)]
        asked.step(found.reset_scope, held, target, np.arange(CELLS))
        wrong += programmer.write(found.cells, target).wrong.sum()
        held = target
    assert programmer.policy.model.lasting
    cost = expect(programmer.policy, asked.moves[0])
    expected, low, high = interval(cost.pulses)
    seen = tally.pulses - begin
    error = np.hypot((high - low) / 4, (seen - due).std() * np.sqrt(CELLS))
    assert abs(seen.sum() - expected) <= 4 * error + 1
    failures = asked.moves[0].sum() - cost.success[0]
    assert wrong <= failures + 4 * np.sqrt(failures) + 3


def walked(law: ThresholdLaw, found: Characterization, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """Cells drawn from `law`, loaded, then moved by one state four times: the moves [writes before, from, to] and the
    pulses of each cell after the load."""
    model, rng, n, cells = policy.model, np.random.default_rng(3), found.states, 30_000
    pairs = zip(model.operation.tolist(), model.attempt.tolist(), strict=True)
    volts = np.array([found.operation(o, a).amplitude_v if o else 0.0 for o, a in pairs])  # type: ignore[union-attr]
    offset, memory = rng.standard_normal(cells), np.zeros(cells, int)
    state, asked, pulses = np.zeros(cells, int), np.zeros((5, n, n), np.int64), np.zeros(cells)
    for write in range(5):
        target = state + rng.choice((-1, 1), cells) if write else rng.integers(1, n, cells)
        target = np.where((target < 0) | (target >= n), 2 * state - target, target)
        if write:
            np.add.at(asked[write], (state, target), 1)
        for left in range(policy.horizon, 0, -1):
            action = policy.action[left, state, memory, target]
            busy = np.flatnonzero(action >= 0)
            a, was = action[busy], state[busy]
            own, noise = np.sqrt(law.shared) * offset[busy], rng.standard_normal(busy.size)
            y = own + np.sqrt(1.0 - law.shared) * noise
            reached = (volts[a][:, None] >= law.volts + law.spread_v * y[:, None]).sum(axis=1)
            state[busy] = np.where(a == 0, 0, np.maximum(reached, was))
            memory[busy] = model.after[a, memory[busy], was, state[busy]]
            pulses[busy] += write > 0
        state = target.copy()
    return asked, pulses


def test_expected_cost_is_that_of_cells_that_stay_near_their_state(scaled: Chip) -> None:
    """What the writer knows of a cell goes with the state it is in, where weights move by one level."""
    law = ThresholdLaw.fit(scaled.found)
    assert law is not None
    model = threshold_model(law, scaled.found)
    policy = solve(replace(model, begin=np.eye(1, model.memories)[0]))
    asked, pulses = walked(law, scaled.found, policy)
    apart = pulses.sum() - expect(policy, asked).pulses[0]
    assert abs(apart) <= 4 * pulses.std() * np.sqrt(pulses.size)


def test_no_belief_keeps_a_cell_from_its_target(scaled: Chip) -> None:
    """Whatever misreads have made the writer believe."""
    model = write_model(scaled.found)
    success = sums_by_type(solve(model), model.probability, model.pulse_j)[4]
    assert success[abs(TYPES) <= 3.0][:, :, 0, 1:].min() > 0.99


def test_no_policy_made_by_hand_is_cheaper(scaled: Chip) -> None:
    """Energy of pulses and reads, failures at the declared penalty, over several writes of every cell."""

    def total(write: Callable[[Tally, np.ndarray], np.ndarray], tally: Tally) -> float:
        rng = np.random.default_rng(1)
        write(tally, np.zeros(CELLS, int))
        wrong = sum(write(tally, rng.integers(0, 7, CELLS)).sum() for _ in range(ROUNDS))
        return float(tally.energy.sum() + penalty * wrong)

    tally = Tally.of(scaled.device)
    programmer = Programmer(tally, scaled.found)
    penalty = programmer.policy.penalty
    optimum = total(lambda _, x: programmer.write(scaled.found.cells, x).wrong, tally)
    costs = {
        name: total(lambda t, x, r=rule: r.write(t, scaled.found, x), Tally.of(scaled.device))  # type: ignore[misc]
        for name, rule in RULES.items()
    }
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


def test_a_state_beside_the_used_one_is_misread_at_its_own_rate(chips: Callable[[str], Chip]) -> None:
    whole = chips("lab").found
    found, law, levels = whole.restrict((0, 3, 6)), ThresholdLaw.fit(whole), whole.levels
    assert law is not None
    y = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    volts = found.set_v[0] + 2 * found.attempt_step_v
    landed = (volts >= law.volts + law.spread_v * y[:, None]).sum(axis=1)
    want = norm.sf((found.levels.boundary[1] - levels.mean[landed]) / levels.std[landed]).mean()
    model = write_model(found)
    pulse = np.flatnonzero((model.operation == 1) & (model.attempt == 4))[0]
    said = norm.pdf(TYPES) @ model.probability[:, pulse, 0, 0, 2] / norm.pdf(TYPES).sum()
    assert said == pytest.approx(want, rel=0.02)


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
    model = threshold_model(law, replace(scaled.found, reset_scope=Scope.ARRAY))
    assert not model.probability[:, 0].any()
