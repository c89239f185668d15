"""Ranking of the six patterns on a characterised chip: sums by hand, stages, scopes, results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from quest_lab.bootstrap import resampled
from quest_lab.characterization import Characterization
from quest_lab.device import FieldPulse, ReadPulse, Scope
from quest_lab.energy import Asked, Counts, count
from quest_lab.levels import Levels
from quest_lab.matrices import SCOPES, cells_behind, widening
from quest_lab.ranking import Ranking, rank
from quest_lab.ranking_file import to_results
from quest_lab.schedule import Schedule, synthesize
from quest_lab.sim.skmtj import SkMTJ

Restricted = Callable[..., Characterization]
USED = (0, 3, 6)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    path = tmp_path_factory.mktemp("ranking") / "s.h5"
    with Schedule.open(
        synthesize(path, [(6, 4, 3, 3), (4, 6, 3, 3)], steps=20, change_rate=0.03, seed=1)
    ) as opened:
        return count(opened)


@pytest.fixture(scope="module")
def found(restricted: Callable[..., Characterization]) -> Characterization:
    return restricted(SkMTJ.preset("scaled"))


@pytest.fixture(scope="module")
def ranking(found: Characterization, counts: Counts) -> Ranking:
    return rank(found, counts)


def test_every_energy_is_the_sum_over_its_steps(ranking: Ranking, counts: Counts) -> None:
    for p, pattern in enumerate(ranking.patterns):
        for layer in range(2):
            for stage, steps in enumerate(
                [range(20), *(np.flatnonzero(counts.stage == s) for s in (1, 2, 3))]
            ):
                want = 0.0
                for t, i, j in np.ndindex(20, 3, 3):
                    if t in steps and i != j:
                        energy = ranking.cost.pulse_j[pattern[i], pattern[j]]
                        want += counts.transitions[t, layer, i, j] * energy
                assert ranking.update_j[p, layer, stage] == pytest.approx(want, rel=1e-12)


def test_reads_cost_v_squared_over_r_times_t(
    ranking: Ranking, counts: Counts, found: Characterization
) -> None:
    read_j = 0.1**2 * 10e-9 / found.resistance_ohm
    reads = counts.reads.sum(axis=(0, 1))
    for p, pattern in enumerate(ranking.patterns):
        gated = reads[0] * read_j[pattern[0]] + reads[2] * read_j[pattern[2]]
        assert ranking.gated_j[p, :, 0].sum() == pytest.approx(gated)
        assert ranking.row_j[p, :, 0].sum() == pytest.approx(gated + reads[1] * read_j[pattern[1]])


def test_the_order_is_by_update_and_gated_activation(ranking: Ranking) -> None:
    total = ranking.update_j[:, :, 0].sum(axis=1) + ranking.gated_j[:, :, 0].sum(axis=1)
    assert sorted(ranking.order) == list(range(6))
    assert np.all(np.diff(total[ranking.order]) >= 0)


def test_zero_is_on_r0_where_a_reset_is_cheap(ranking: Ranking) -> None:
    assert ranking.patterns[int(np.argmin(ranking.write_j))][1] == 0


def test_the_optimum_changes_where_rankings_at_other_reset_energies_differ(
    ranking: Ranking, found: Characterization, counts: Counts
) -> None:
    """The policy is solved afresh at each energy, the crossover keeps it: equal to two percent."""
    for change in ranking.changes:
        for factor, pattern in ((0.8, change.below), (1.25, change.above)):
            other = rank(found, counts, reset_j=change.reset_j * factor)
            least = other.write_j.min()
            assert other.write_j[other.patterns.index(pattern)] == pytest.approx(least, rel=0.02)


def test_an_array_reset_charges_the_field_in_every_step_that_falls(
    found: Characterization, counts: Counts
) -> None:
    ranking, moves = rank(found, counts, field_j=0.1), counts.transitions.sum(axis=1)
    for p, pattern in enumerate(ranking.patterns):
        falls = sum(any(m[i, j] and pattern[j] < pattern[i] for i, j in np.ndindex(3, 3)) for m in moves)
        assert ranking.array_j[p, 0] == pytest.approx(0.1 * falls, rel=1e-6)


def test_the_chips_own_scope_ranks(ranking: Ranking, counts: Counts, restricted: Restricted) -> None:
    lab = rank(restricted(SkMTJ.preset("lab")), counts)
    assert np.array_equal(lab.write_j, lab.array_j[:, 0])
    assert np.array_equal(ranking.write_j, ranking.update_j[:, :, 0].sum(axis=1))
    assert lab.field_j == pytest.approx(0.1)
    assert ranking.reset_j == pytest.approx(1e-12)


def test_stages_count_their_steps_and_images(ranking: Ranking, counts: Counts) -> None:
    assert ranking.steps.tolist() == [20, *((counts.stage == s).sum() for s in (1, 2, 3))]
    assert ranking.samples.tolist() == (ranking.steps * 64).tolist()


def test_results_hold_what_was_ranked(ranking: Ranking) -> None:
    matrix, _, patterns, changes = to_results(ranking, ["conv1", "conv2"])
    assert np.array_equal(matrix.fields["pulse_j"].values, ranking.cost.pulse_j)
    assert matrix.fields["pulse_j"].unit == "J"
    assert patterns.fields["states"].values.tolist() == [list(p) for p in ranking.patterns]
    assert patterns.attrs["best"] == ranking.order[0]
    assert changes.fields["reset_j"].values.size == len(ranking.changes)


def test_both_scopes_are_ranked_with_the_reads(ranking: Ranking) -> None:
    for k, scope in enumerate(SCOPES):
        total = ranking.run_j[k] + ranking.gated_j[:, :, 0].sum(axis=1)
        order = ranking.order_of(scope)
        assert np.all(np.diff(total[order]) >= 0)
        np.testing.assert_allclose(ranking.lead_j[k], total - total.min(), rtol=1e-9, atol=1e-24)


def test_what_patterns_ask_for_gives_their_energies(
    found: Characterization, counts: Counts, ranking: Ranking
) -> None:
    asked = Asked.of(counts, ranking.patterns, found.states)
    got = asked.write_j(ranking.matrices.pulse_j, ranking.field_j)
    np.testing.assert_allclose(got, ranking.run_j, rtol=1e-12)
    np.testing.assert_allclose(asked.activation_j(ranking.matrices.read_j), ranking.read_j, rtol=1e-12)


@pytest.fixture(scope="module")
def whole(characterized: Callable[[SkMTJ], Characterization]) -> Characterization:
    return characterized(SkMTJ.preset("scaled"))


@pytest.fixture(scope="module")
def sure(whole: Characterization, counts: Counts) -> Ranking:
    """With intervals of 12 resamples."""
    return rank(whole.restrict(USED), counts, replicas=(one.restrict(USED) for one in resampled(whole, 12)))


def test_errors_are_the_scatter_of_rankings_of_replicas(
    sure: Ranking, whole: Characterization, counts: Counts
) -> None:
    others = [rank(one.restrict(USED), counts) for one in resampled(whole, 12)]
    assert sure.errors is not None
    assert sure.pattern_errors is not None
    best = sure.sum_j.argmin(axis=1)
    lead = [other.sum_j - other.sum_j[[0, 1], best][:, None] for other in others]
    widest = sure.errors.widened.max(axis=(1, 2))[:, None]
    np.testing.assert_allclose(
        sure.pattern_errors.lead_j, widest * np.std(lead, axis=0, ddof=1), rtol=1e-6, atol=1e-20
    )
    pulse = sure.errors.widened * np.std([other.matrices.pulse_j for other in others], axis=0, ddof=1)
    np.testing.assert_allclose(sure.errors.pulse_j, pulse, rtol=1e-9, atol=1e-24)


def test_intervals_of_a_mean_over_few_cells_hold_the_truth() -> None:
    """Twelve normal values and forty resamples of them: the scatter of their means, widened, as of 256 cells."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(4000, 12))
    draws = rng.integers(0, 12, size=(4000, 40, 12))
    error = np.take_along_axis(values[:, None], draws, axis=2).mean(axis=2).std(axis=1, ddof=1)
    half = 1.9693 * error * widening(np.array(12.0), 256, 40)
    assert np.mean(abs(values.mean(axis=1)) <= half) == pytest.approx(0.95, abs=0.012)
    assert np.mean(abs(values.mean(axis=1)) <= 1.9693 * error) < 0.92


def test_cells_behind_a_write_are_those_that_gave_its_first_pulse(whole: Characterization) -> None:
    """Given each equally often they count as they are; the pulses that few were given begin the writes from below."""
    assert whole.by_cell is not None
    op, attempt, _, start, _ = np.unravel_index(whole.by_cell.transition, whole.counts.shape)
    gave = []
    for a in range(whole.attempts):
        mine = (op == USED[2]) & (attempt == a) & (start == 0)
        times = np.bincount(whole.by_cell.cell[mine], whole.by_cell.count[mine])
        gave.append(times.sum() ** 2 / (times**2).sum())
    behind = cells_behind(whole.restrict(USED))
    assert np.any(np.isclose(behind[0, 0, 2], gave))
    assert np.any(np.isclose(behind[1, 0, 2], gave))
    assert np.all(behind[0, 2] == [whole.sample.size, behind[0, 0, 1], whole.sample.size])


def test_an_interval_is_a_few_per_cent_where_cells_are_hundreds(sure: Ranking) -> None:
    """A write takes one or two pulses of which one in ten misses: 240 cells tell its energy to some per cent."""
    assert sure.errors is not None
    upward = np.triu(np.ones((3, 3), bool), 1)
    relative = (sure.errors.reach * sure.errors.pulse_j[0] / np.maximum(sure.cost.pulse_j, 1e-30))[upward]
    assert np.all((relative > 1e-3) & (relative < 0.1))
    assert sure.errors.reach == pytest.approx(1.97, abs=0.01)


def test_patterns_are_tied_whose_distance_is_within_its_interval(sure: Ranking) -> None:
    assert sure.errors is not None
    assert sure.pattern_errors is not None
    for factor in (1e-3, 1e3):  # as with a million times the cells, and with a millionth of them
        errors = replace(sure.pattern_errors, lead_j=factor * sure.pattern_errors.lead_j)
        other = replace(sure, pattern_errors=errors)
        for scope in SCOPES:
            assert other.tied(scope) == (other.order_of(scope)[1:] if factor > 1 else [])


def test_without_replicas_nothing_is_said_to_be_tied(ranking: Ranking) -> None:
    assert ranking.tied(Scope.CELL) is None
    assert ranking.errors is None


def test_patterns_whose_writes_never_arrive_rank_last(
    characterized: Callable[[SkMTJ], Characterization], counts: Counts
) -> None:
    full = characterized(SkMTJ.preset("scaled"))
    seen = full.counts.copy()
    seen[..., 1] = 0  # no pulse was ever seen to land in R1
    ranked = rank(replace(full, counts=seen), counts)
    unreached = np.array([1 in pattern for pattern in ranked.patterns])
    for which, scope in enumerate(SCOPES):
        np.testing.assert_array_equal(ranked.never[which], unreached)
        assert np.all(np.diff(unreached[ranked.order_of(scope)].astype(int)) >= 0)
        assert ranked.lead_j[which, ~unreached].min() == 0.0


def test_too_many_patterns_are_searched_for() -> None:
    """Seven levels on eight states: 40320 patterns. Against all of them, one by one."""
    chip, counts = staircase(8), made_up_counts(7)
    got = rank(chip, counts)
    every = np.array(list(permutations(range(8), 7)))
    asked = counts.transitions.sum(axis=(0, 1)) * ~np.eye(7, dtype=bool)
    least = np.zeros(len(every))
    for i, j in np.ndindex(7, 7):
        least += asked[i, j] * got.cost.pulse_j[every[:, i], every[:, j]]
    least += (counts.gated_reads * got.matrices.read_j[every]).sum(axis=1)
    gap = got.sum_j[0].min() / least.min() - 1.0
    print(f"7 levels on 8 states: {gap:.2%} above the optimum, bound {got.bound_j / least.min() - 1:.2%}")
    assert 0.0 <= gap + 1e-12 < 1e-9
    assert got.bound_j <= least.min()


def staircase(states: int) -> Characterization:
    """A chip whose every pulse lands, of states at rising volts."""
    counts = np.zeros((states, 1, 2, states, states), np.int64)
    for op in range(states):
        counts[op, 0, :, : op if op else states, op] = 100
    volts = 0.5 + 0.05 * np.arange(1, states)
    ohm = 2000.0 + 100.0 * np.arange(states)
    energy = np.full((states, 1, states), 1e-12)
    energy[1:, 0] = volts[:, None] ** 2 * 2e-8 / ohm
    mean = np.linspace(0, 1, states)
    levels = Levels(mean, np.full(states, 0.01), 0.5 * (mean[1:] + mean[:-1]))
    return Characterization(
        chip_id="staircase", set_v=volts, set_width_s=2e-8, reset=FieldPulse(0.1, 1e-2),
        reset_scope=Scope.CELL, reset_energy_j=1e-12, read=ReadPulse(0.1, 1e-8), levels=levels,
        resistance_ohm=ohm, attempt_step_v=0.01, counts=counts, energy_j=energy, cells=np.arange(4),
        baseline_ohm=np.full(4, 2000.0), top_ohm=np.full(4, ohm[-1]), sample=np.arange(4),
        threshold_v=np.tile(volts, (4, 1)), read_noise=0.003, repeat_std=np.zeros(states),
        threshold_repeat_v=0.0, stuck=np.empty(0, np.int64), confidence=0.03, half_width=0.03,
    )  # fmt: skip


def made_up_counts(levels: int) -> Counts:
    """A step whose writes fall off with the distance of levels."""
    rng = np.random.default_rng(4)
    i, j = np.indices((levels, levels))
    moves = (rng.integers(50, 150, (levels, levels)) * np.exp(-1.5 * np.abs(i - j)) * 10).astype(np.int64)
    held, reads = rng.integers(100, 500, (2, levels))
    return Counts(
        moves[None, None], held[None, None], reads[None, None], np.array([64]), np.zeros(1, np.int8)
    )
