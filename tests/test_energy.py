"""QUEST's Algorithms 1 and 2 by hand, counts against brute force, the optimum and where it changes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from quest_lab.energy import activation_energy, array_update_energy, count, crossovers, update_energy
from quest_lab.mapping import Pattern, all_patterns
from quest_lab.policy import evaluate, solve
from quest_lab.schedule import Schedule, synthesize
from quest_lab.write_model import WriteModel

PATTERNS = all_patterns(3, 3)
PULSES = np.array([[0, 125, 281], [0, 0, 270], [0, 0, 0]]) * 1e-12
READS = np.array([20.0, 18.0, 16.0]) * 1e-12
SHAPES = [(4, 3, 3, 3), (5, 4, 3, 3)]


def matrix(reset_j: float) -> np.ndarray:
    return evaluate(
        solve(WriteModel.certain(PULSES, reset_j, READS), objective="pulse_energy", horizon=3)
    ).pulse_j


def balanced(away: int, towards: int) -> np.ndarray:
    """Level transitions: none between -1 and +1, as in QUEST."""
    return np.array([[0, towards, 0], [away, 0, away], [0, towards, 0]])


def cheapest(moves: np.ndarray, energy: np.ndarray) -> Pattern:
    return min(PATTERNS, key=lambda p: float(update_energy(moves, energy, p)))


def test_algorithm_1_by_hand() -> None:
    moves = np.array([[9, 2, 3], [5, 9, 7], [11, 13, 9]])
    energy = np.array([[0, 10, 20], [1, 0, 30], [1, 11, 0]])
    # pattern (R1, R0, R2): -1 on R1, 0 on R0, +1 on R2
    by_hand = 2 * 1 + 3 * 30 + 5 * 10 + 7 * 20 + 11 * 11 + 13 * 1
    assert update_energy(moves, energy, (1, 0, 2)) == by_hand


def test_algorithm_1_keeps_leading_dimensions_and_ignores_what_stays() -> None:
    moves = np.arange(36).reshape(2, 2, 3, 3)
    energy = np.where(np.eye(3, dtype=bool), 1e9, matrix(1e-12))
    got = update_energy(moves, energy, (2, 0, 1))
    want = [[update_energy(m, matrix(1e-12), (2, 0, 1)) for m in row] for row in moves]
    np.testing.assert_allclose(got, want)


def test_algorithm_2_by_hand_gated_and_by_rows() -> None:
    reads, cost = np.array([[100, 1000, 10], [1, 2, 3]]), np.array([7.0, 5.0, 3.0])
    assert activation_energy(reads, cost, (1, 0, 2)).tolist() == [100 * 5 + 10 * 3, 5 + 9]
    rows = activation_energy(reads, cost, (1, 0, 2), gated=False)
    assert rows.tolist() == [100 * 5 + 1000 * 7 + 10 * 3, 5 + 14 + 9]


def test_gating_can_reverse_the_ranking() -> None:
    """Many zeros: gated prefers zero on the state of least resistance, whole rows the opposite."""
    reads = np.array([10, 100, 10])
    best = [
        min(PATTERNS, key=lambda p: float(activation_energy(reads, READS, p, gated=g))) for g in (True, False)
    ]
    assert (best[0][1], best[1][1]) == (0, 2)


def test_array_scope_by_hand() -> None:
    """A step with a fall costs the field and every cell not at R0 again; one without, its pulses alone."""
    rises = np.array([[0, 0, 0], [4, 0, 2], [0, 0, 0]])  # 0 -> -1 four times, 0 -> +1 twice
    falls = np.array([[0, 1, 0], [4, 0, 2], [0, 0, 0]])
    levels = np.array([[10, 50, 40], [9, 53, 38]])
    energy = np.array([[0, 10, 20], [1, 0, 30], [1, 11, 0]])
    got = array_update_energy(np.stack([rises, falls]), levels, energy, 1000.0, (1, 0, 2))
    assert got.tolist() == [4 * 10 + 2 * 20, 1000 + 9 * 10 + 38 * 20]


def test_whether_a_move_falls_is_a_matter_of_the_pattern() -> None:
    moves, levels = np.array([[[0, 0, 0], [3, 0, 0], [0, 0, 0]]]), np.array([[3, 5, 1]])
    energy = np.array([[0, 10, 20], [1, 0, 30], [1, 11, 0]])
    assert array_update_energy(moves, levels, energy, 1000.0, (2, 1, 0)).tolist() == [90]
    assert array_update_energy(moves, levels, energy, 1000.0, (0, 1, 2)).tolist() == [1000 + 5 * 10 + 1 * 20]


def test_a_cheap_reset_puts_zero_on_r0() -> None:
    assert cheapest(balanced(100, 100), matrix(1e-12))[1] == 0
    assert cheapest(balanced(40, 60), matrix(1e-12))[1] == 0


def test_a_dear_reset_and_traffic_towards_zero_put_zero_on_r2() -> None:
    assert cheapest(balanced(40, 60), matrix(1e-9))[1] == 2


def test_crossovers_are_where_a_scan_over_reset_energies_changes_its_mind() -> None:
    moves = balanced(40, 60)
    cost = evaluate(solve(WriteModel.certain(PULSES, 1e-12, READS), objective="pulse_energy"))
    changes = crossovers(moves, cost.pulse_j - 1e-12 * cost.resets, cost.resets, PATTERNS)
    assert changes
    for reset_j in np.linspace(0, 2e-9, 41):
        energy = matrix(reset_j)
        past = [c for c in changes if c.reset_j <= reset_j]
        best = past[-1].above if past else changes[0].below
        lines = {p: float(update_energy(moves, energy, p)) for p in PATTERNS}
        assert lines[best] == pytest.approx(min(lines.values()), rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_crossovers_are_the_lower_envelope_of_any_lines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moves, pulse = rng.integers(0, 50, (3, 3)), rng.uniform(0, 5, (3, 3))
    resets = np.tril(rng.integers(0, 3, (3, 3)), -1).astype(float)
    changes = crossovers(moves, pulse, resets, PATTERNS)
    at = [c.reset_j for c in changes]
    assert at == sorted(at)
    assert all(a.above == b.below for a, b in pairwise(changes))
    for reset in np.concatenate(
        [np.linspace(0, 20, 81), [x + d for x in at for d in (-1e-6, 1e-6) if x > 1e-6]]
    ):
        past = [c.above for c in changes if c.reset_j <= reset]
        start = changes[0].below if changes else cheapest(moves, pulse + resets)
        best = past[-1] if past else start
        least = min(float(update_energy(moves, pulse + reset * resets, p)) for p in PATTERNS)
        assert update_energy(moves, pulse + reset * resets, best) == pytest.approx(least, rel=1e-6, abs=1e-9)


@pytest.fixture(params=[2, 3])
def schedule(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Schedule]:
    path = synthesize(
        tmp_path / "s.h5", SHAPES, steps=14, change_rate=0.05, seed=3, bits=request.param, image=(5, 5)
    )
    with Schedule.open(path) as opened:
        yield opened


def test_counts_equal_those_of_the_snapshots(schedule: Schedule) -> None:
    got, top = count(schedule), 2 ** (schedule.header.bits - 1) - 1
    snapshots = [schedule.levels_at(t).astype(int) for t in range(schedule.steps + 1)]
    for t, (old, new) in enumerate(pairwise(snapshots)):
        for i, layer in enumerate(schedule.layers):
            want = np.zeros_like(got.transitions[t, i])
            for a, b in zip(old[layer.weights_slice], new[layer.weights_slice], strict=True):
                want[a + top, b + top] += a != b
            assert np.array_equal(got.transitions[t, i], want)
            held = [int((new[layer.weights_slice] == v).sum()) for v in range(-top, top + 1)]
            assert got.levels[t, i].tolist() == held
    assert got.transitions.sum() == schedule.writes > 0


def test_reads_equal_those_of_every_pair_of_weight_and_tap(schedule: Schedule) -> None:
    got, top = count(schedule), 2 ** (schedule.header.bits - 1) - 1
    for t, step in enumerate(schedule):
        levels = schedule.levels_at(t)  # before the writes of this step
        want = np.zeros_like(got.reads[t])
        for i, layer in enumerate(schedule.layers):
            for c_out, tap in np.ndindex(layer.shape[0], layer.taps):
                level = int(levels[layer.offset + c_out * layer.taps + tap])
                want[i, level + top] += step.taps[layer.taps_offset + tap]
        assert np.array_equal(got.reads[t], want)


def test_counts_know_samples_and_stages(schedule: Schedule) -> None:
    got = count(schedule)
    assert got.samples.tolist() == [64] * 14
    assert got.stage.tolist() == [step.stage for step in schedule]
    assert set(got.stage.tolist()) == {0, 1, 2, 3}
