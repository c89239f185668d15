"""Replay on chips without noise, where everything is known, and on one with stuck cells; stopping midway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.characterization import Characterization
from quest_lab.errors import BadInput, Interrupted
from quest_lab.placement import Placement
from quest_lab.protocols.replay import replay
from quest_lab.protocols.replay_costs import COSTS
from quest_lab.protocols.replay_results import to_results
from quest_lab.protocols.replayed import Replay
from quest_lab.record import Recorded, RunWriter
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

Make = Callable[..., Session]
Restricted = Callable[..., Characterization]
PATTERNS = [(1, 0, 2), (0, 1, 2), (2, 1, 0)]
STEPS = 12


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schedule]:
    path = tmp_path_factory.mktemp("replay") / "schedule.h5"
    synthesize(path, [(4, 3, 3, 3), (3, 4, 3, 3)], steps=STEPS, change_rate=0.04, seed=2, image=(5, 5))
    with Schedule.open(path) as opened:
        yield opened


@pytest.fixture(params=["scaled", "lab"])
def quiet(request: pytest.FixtureRequest, noise_free: Callable[[str], SkMTJ]) -> SkMTJ:
    return noise_free(request.param)


def levels_of(states: np.ndarray, pattern: tuple[int, ...]) -> np.ndarray:
    return np.array([pattern.index(s) - 1 for s in states])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_without_noise_it_ends_in_the_schedules_levels(
    session_on: Make, restricted: Restricted, quiet: SkMTJ, schedule: Schedule, pattern: tuple[int, ...]
) -> None:
    session = session_on(quiet)
    out = replay(session, schedule, restricted(quiet), pattern)
    assert levels_of(out.read, pattern).tolist() == schedule.final_levels.tolist()
    assert isinstance(session.device, SimulatedChip)
    true = session.device.true_states(np.arange(schedule.weights))
    assert np.array_equal(true, 3 * out.read)  # R0, R3, R6
    assert out.diverged == 0
    assert set(out.steps["diverged"]) == {0}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_without_noise_the_prediction_is_what_is_spent(
    session_on: Make, restricted: Restricted, quiet: SkMTJ, schedule: Schedule, pattern: tuple[int, ...]
) -> None:
    out = replay(session_on(quiet), schedule, restricted(quiet), pattern)
    predicted, spent = (np.array(out.steps[c]) for c in ("predicted_energy_j", "spent_energy_j"))
    assert np.isnan(predicted[0])  # nobody knows what the cells held before
    assert np.all(predicted[1:] > 0)
    np.testing.assert_allclose(spent[1:], predicted[1:], rtol=1e-9)


def rounding(name: str) -> float:
    return 1e-9 * (name == "writes_wrong")


@pytest.mark.parametrize("pattern", PATTERNS[:1])
def test_without_noise_every_cost_is_the_expected_one(
    session_on: Make, restricted: Restricted, quiet: SkMTJ, schedule: Schedule, pattern: tuple[int, ...]
) -> None:
    """Reads, resets of cells or of the array, its field, time: each account, under both scopes."""
    out = replay(session_on(quiet), schedule, restricted(quiet), pattern)
    assert set(out.expected) == set(COSTS)
    for name, values in out.expected.items():
        np.testing.assert_allclose(values, out.total(name), rtol=2e-3, atol=rounding(name), err_msg=name)
    for name in ("pulses", "resets", "writes_wrong", "field_energy_j", "time_s", "spent_energy_j"):
        np.testing.assert_allclose(
            out.expected[name], out.total(name), rtol=1e-9, atol=rounding(name), err_msg=name
        )


def test_every_step_is_a_row_and_the_load_is_step_minus_one(
    session_on: Make, restricted: Restricted, schedule: Schedule
) -> None:
    scaled = SkMTJ.preset("scaled")
    out = replay(session_on(scaled), schedule, restricted(scaled), (1, 0, 2))
    assert out.steps["step"] == list(range(-1, STEPS))
    intended = [schedule.weights, *(step.weight.size for step in schedule)]
    assert out.steps["writes_intended"] == intended
    assert out.confusion.sum() == sum(intended)
    assert out.total("writes_intended") == schedule.writes


def test_inference_reads_are_counted_with_the_levels_before_the_step(
    session_on: Make, restricted: Restricted, schedule: Schedule
) -> None:
    scaled = SkMTJ.preset("scaled")
    found = restricted(scaled)
    out = replay(session_on(scaled), schedule, found, (1, 0, 2))
    energy = {-1: found.read_energy_j()[1], 0: found.read_energy_j()[0], 1: found.read_energy_j()[2]}
    for t, step in enumerate(schedule):
        levels, gated, row = schedule.levels_at(t), 0.0, 0.0
        for layer in schedule.layers:
            for i in range(layer.size):
                level = int(levels[layer.offset + i])
                spent = energy[level] * step.taps[layer.taps_offset + i % layer.taps]
                row, gated = row + spent, gated + (spent if level else 0.0)
        assert out.steps["inference_gated_energy_j"][t + 1] == pytest.approx(gated, rel=1e-9)
        assert out.steps["inference_row_energy_j"][t + 1] == pytest.approx(row, rel=1e-9)


def test_the_field_of_an_array_is_an_account_of_its_own(
    session_on: Make, restricted: Restricted, schedule: Schedule
) -> None:
    lab = SkMTJ.preset("lab")
    out = replay(session_on(lab), schedule, restricted(lab), (1, 0, 2))
    assert max(out.steps["resets"]) == 1
    np.testing.assert_allclose(out.steps["field_energy_j"], 0.1 * np.array(out.steps["resets"]))
    assert max(out.steps["spent_energy_j"]) < 1e-6


def test_stuck_cells_are_the_divergence(
    session_on: Make, restricted: Restricted, quiet: SkMTJ, schedule: Schedule
) -> None:
    session = session_on(quiet)
    assert isinstance(session.device, SimulatedChip)
    session.device.array.stick(np.arange(0, 60, 5))
    out = replay(session, schedule, restricted(quiet), (1, 0, 2))
    true = session.device.true_states(np.arange(schedule.weights))
    assert np.array_equal(out.read, true // 3)
    assert out.diverged == np.count_nonzero(3 * out.intended != true) > 0
    assert out.steps["diverged"][-1] == out.diverged
    wrong = out.confusion.sum() - np.trace(out.confusion)
    assert wrong == sum(out.steps["writes_wrong"])


def test_divergence_is_that_of_the_true_states(
    session_on: Make, restricted: Restricted, schedule: Schedule
) -> None:
    """With noise: a read differs from the truth in a few cells at most."""
    scaled = SkMTJ.preset("scaled")
    session = session_on(scaled)
    out = replay(session, schedule, restricted(scaled), (1, 0, 2))
    assert isinstance(session.device, SimulatedChip)
    fold = np.array([0, 0, 1, 1, 1, 2, 2])
    true = fold[session.device.true_states(np.arange(schedule.weights))]
    assert np.count_nonzero(true != out.intended) <= out.diverged + 4
    assert out.diverged <= 4


def test_a_placement_puts_the_weights_elsewhere(
    session_on: Make, restricted: Restricted, quiet: SkMTJ, schedule: Schedule
) -> None:
    session = session_on(quiet)
    placement = Placement(np.arange(20, 20 + schedule.weights))
    out = replay(session, schedule, restricted(quiet), (1, 0, 2), placement=placement)
    assert isinstance(session.device, SimulatedChip)
    true = session.device.true_states(np.arange(240))
    assert np.array_equal(true[20 : 20 + schedule.weights], 3 * out.intended)
    assert not np.any(true[:20])
    assert out.diverged == 0


def test_stuck_cells_that_are_known_are_passed_over(
    session_on: Make, restricted: Restricted, quiet: SkMTJ, schedule: Schedule
) -> None:
    session, found, stuck = session_on(quiet), restricted(quiet), np.arange(0, 100, 10)
    assert isinstance(session.device, SimulatedChip)
    session.device.array.stick(stuck)
    good = ~np.isin(found.cells, stuck)
    left = {n: getattr(found, n)[good] for n in ("cells", "baseline_ohm", "top_ohm")}
    out = replay(session, schedule, replace(found, stuck=stuck, **left), (1, 0, 2))
    assert out.diverged == 0
    assert levels_of(out.read, (1, 0, 2)).tolist() == schedule.final_levels.tolist()


def test_some_steps_may_be_enough(session_on: Make, restricted: Restricted, schedule: Schedule) -> None:
    scaled = SkMTJ.preset("scaled")
    out = replay(session_on(scaled), schedule, restricted(scaled), (1, 0, 2), steps=5)
    assert out.steps["step"] == list(range(-1, 5))
    assert np.array_equal(levels_of(out.intended, (1, 0, 2)), schedule.levels_at(5))


@pytest.mark.parametrize("stop_at", [0, 4])
def test_a_replay_stopped_midway_leaves_a_readable_file(
    session_on: Make, restricted: Restricted, schedule: Schedule, tmp_path: Path, stop_at: int
) -> None:
    scaled = SkMTJ.preset("scaled")
    session = session_on(scaled)

    def progress(what: str, done: int, _total: int) -> None:
        if what == "replay" and done == stop_at:
            session.stop.request()

    path = tmp_path / "r.h5"
    with RunWriter.create(path, kind="replay", title="", seed=0, settings={}) as run:
        device = Recorded(session.device, run, session.clock)
        watched = replace(session, device=device, run=run, progress=progress)
        with pytest.raises(Interrupted):
            replay(watched, schedule, restricted(scaled), (1, 0, 2))
        run.close("aborted")
    with open_run(tmp_path / "r.h5") as again:
        assert again.status == "aborted"
        assert again.table("replay_steps")["step"].tolist() == list(range(-1, stop_at))
        assert again.calls["count"].sum() == len(again.applies) + len(again.reads) > schedule.weights


def test_the_table_in_the_file_is_the_outcome(
    session_on: Make, restricted: Restricted, schedule: Schedule, tmp_path: Path
) -> None:
    scaled = SkMTJ.preset("scaled")
    with RunWriter.create(tmp_path / "r.h5", kind="replay", title="", seed=0, settings={}) as run:
        session = replace(session_on(scaled), run=run)
        out = replay(session, schedule, restricted(scaled), (1, 0, 2))
        for result in to_results(out, schedule.layers):
            run.add_result(result)
    with open_run(tmp_path / "r.h5") as again:
        table = again.table("replay_steps")
        assert all(np.array_equal(table[c], out.steps[c], equal_nan=True) for c in out.steps)
        assert np.array_equal(again.result("final_states")["read"], out.read)
        assert np.array_equal(again.result("confusion")["writes"], out.confusion)


@pytest.mark.parametrize("bad", [
    {"pattern": (0, 1)}, {"pattern": (0, 1, 3)}, {"pattern": (0, 0, 1)}, {"placement": Placement(np.arange(5))},
    {"placement": Placement(np.arange(210), per_weight=2)}, {"placement": Placement(np.arange(22, 238))},
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_the_first_pulse(
    session_on: Make, restricted: Restricted, schedule: Schedule, bad: dict[str, object]
) -> None:
    scaled = SkMTJ.preset("scaled")
    session, found = session_on(scaled), restricted(scaled, 235)
    with pytest.raises(BadInput):
        replay(session, schedule, found, **{"pattern": (1, 0, 2), **bad})  # type: ignore[arg-type]
    assert session.clock.now() == 0.0


def test_an_outcome_without_steps_has_no_total() -> None:
    out = Replay.of(Placement(np.arange(3)), np.zeros(3, np.int8), 3)
    out.steps["pulses"].append(5.0)
    assert out.total("pulses") == 0.0
