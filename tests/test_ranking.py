"""Ranking of the six patterns on a characterised chip: sums by hand, stages, scopes, results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.energy import Counts, count
from quest_lab.ranking import Ranking, rank, to_results
from quest_lab.schedule import Schedule, synthesize
from quest_lab.sim.skmtj import SkMTJ

Restricted = Callable[..., Characterization]


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
    matrix, patterns, changes = to_results(ranking, ["conv1", "conv2"])
    assert np.array_equal(matrix.fields["pulse_j"].values, ranking.cost.pulse_j)
    assert matrix.fields["pulse_j"].unit == "J"
    assert patterns.fields["states"].values.tolist() == [list(p) for p in ranking.patterns]
    assert patterns.attrs["best"] == ranking.order[0]
    assert changes.fields["reset_j"].values.size == len(ranking.changes)
