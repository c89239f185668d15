"""Write policy: QUEST's matrices by hand, and a second value iteration, by recursion over dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules import by_linear_program

from quest_lab.characterization import Characterization
from quest_lab.device import Scope
from quest_lab.errors import BadInput
from quest_lab.policy import HORIZON, Policy, evaluate, solve
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.write_model import WriteModel, next_attempt

PULSES = np.array([[0, 140, 200], [0, 0, 180], [0, 0, 0]]) * 1e-12
READS = np.array([20.0, 18.0, 16.0]) * 1e-12


@dataclass(frozen=True)
class Table:
    """probability[operation, attempt, missed, from, to] and pulse_j[operation, attempt, from]: what oracles use."""

    probability: np.ndarray
    pulse_j: np.ndarray
    read_j: np.ndarray

    @property
    def model(self) -> WriteModel:
        return WriteModel.markov(self.probability, self.pulse_j, self.read_j)

    @property
    def states(self) -> int:
        return len(self.read_j)


def random_table(seed: int, states: int, attempts: int) -> Table:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(states, 0.6), (states, attempts, 2, states))
    p[rng.random(p.shape[:4]) < 0.15] = 0.0  # some actions are not available
    for op in range(1, states):
        p[op, :, :, op:] = 0.0
    p[0] = p[0, 0, 0]  # a reset knows no attempts
    return Table(p, rng.uniform(0.1, 3.0, (states, attempts, states)), rng.uniform(0.0, 0.5, states))


def step(table: Table, op: int, s: int, a: int, m: int) -> list[tuple[float, int, int, int]]:
    """What an action leads to: (probability, state, attempt, missed)."""
    out = []
    for to in range(table.states):
        short = op - to if abs(op - to) < 2 else 2 * (op - to)
        after = a if op == 0 else min(max(a + short, 0), table.probability.shape[1] - 1)
        out.append((float(table.probability[op, a, m, s, to]), to, after, m if op == 0 else int(to != op)))
    return out


Choose = Callable[[int, int, int, int], list[int]]


def cost_of(table: Table, target: int, penalty: float, reads: bool, choose: Choose) -> Choose:
    """Least expected cost-to-go over the actions that `choose` allows (and giving up), by recursion."""

    @cache
    def value(left: int, s: int, a: int, m: int) -> float:
        if s == target:
            return 0.0
        best = penalty
        for op in choose(left, s, a, m) if left else []:
            ways = step(table, op, s, a, m)
            if sum(w[0] for w in ways) == 0:
                continue
            ahead = sum(
                p * ((table.read_j[to] if reads else 0) + value(left - 1, to, b, n)) for p, to, b, n in ways
            )
            best = min(best, float(table.pulse_j[op, a, s] + ahead))
        return best

    return value  # type: ignore[return-value]


def test_certain_transitions_give_quests_matrix() -> None:
    """By hand: up is one pulse, down to R0 a reset, R2 -> R1 a reset and a pulse."""
    cost = evaluate(solve(WriteModel.certain(PULSES, 1e-12, READS), objective="pulse_energy"))
    want = np.array([[0, 140, 200], [1, 0, 180], [1, 141, 0]]) * 1e-12
    np.testing.assert_allclose(cost.pulse_j, want, rtol=1e-12)
    assert cost.pulses.tolist() == [[0, 1, 1], [1, 0, 1], [1, 2, 0]]
    assert cost.resets.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert np.all(cost.success == 1.0)


def test_verify_reads_are_counted_before_the_first_and_after_every_pulse() -> None:
    cost = evaluate(solve(WriteModel.certain(PULSES, 1e-12, READS), objective="energy"))
    want = np.array([[0, 140 + 20 + 18, 200 + 20 + 16], [1 + 18 + 20, 0, 180 + 18 + 16],
                     [1 + 16 + 20, 141 + 16 + 20 + 18, 0]]) * 1e-12  # fmt: skip
    np.testing.assert_allclose(cost.total_j, want, rtol=1e-12)


@pytest.mark.parametrize(("direct", "want"), [(180, 180), (300, 210)])
def test_a_dear_direct_pulse_is_replaced_by_reset_and_pulse(direct: float, want: float) -> None:
    pulses = PULSES.copy()
    pulses[1, 2] = direct * 1e-12
    cost = evaluate(solve(WriteModel.certain(pulses, 10e-12, READS), objective="pulse_energy"))
    assert cost.pulse_j[1, 2] == pytest.approx(want * 1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 4),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from(["pulse_energy", "energy"]),
)
def test_the_policy_is_as_good_as_brute_force(
    seed: int, states: int, attempts: int, horizon: int, objective: str
) -> None:
    table = random_table(seed, states, attempts)
    cost = evaluate(solve(table.model, objective=objective, horizon=horizon, penalty=20.0))
    reads = objective == "energy"
    spent = cost.total_j - table.read_j[:, None] * (1 - np.eye(states)) if reads else cost.pulse_j
    for target in range(states):
        best = cost_of(table, target, 20.0, reads, lambda *_: list(range(states)))
        want = [best(horizon, s, attempts // 2, 0) for s in range(states)]
        np.testing.assert_allclose(
            (spent + 20.0 * (1 - cost.success))[:, target], want, rtol=1e-9, atol=1e-12
        )


def test_a_free_start_takes_the_best_first_attempt() -> None:
    table = random_table(4, 3, 3)
    cost = evaluate(solve(table.model, objective="pulse_energy", horizon=4, penalty=20.0, free_start=True))
    for target in range(3):
        best = cost_of(table, target, 20.0, False, lambda *_: [0, 1, 2])
        want = [min(best(4, s, a, 0) for a in range(3)) for s in range(3)]
        got = (cost.pulse_j + 20.0 * (1 - cost.success))[:, target]
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def follow(
    table: Table, policy: Policy, start: int, target: int, rng: np.random.Generator
) -> tuple[float, ...]:
    s, a, m, pulses, energy = start, 1, 0, 0, 0.0
    for left in range(policy.horizon, 0, -1):
        action = int(policy.action[left, s, 2 * a + m, target])
        if action < 0:
            break
        op = int(policy.model.operation[action])
        energy, pulses = energy + float(table.pulse_j[op, a, s]), pulses + 1
        ways = step(table, op, s, a, m)
        _, s, a, m = ways[rng.choice(len(ways), p=[w[0] for w in ways])]
    return s == target, pulses, energy


def test_expectations_are_means_of_simulated_writes() -> None:
    table, rng = random_table(11, 3, 3), np.random.default_rng(0)
    policy = solve(table.model, horizon=6, penalty=20.0)
    cost = evaluate(policy)
    for start, target in [(0, 2), (2, 1), (1, 0)]:
        runs = np.array([follow(table, policy, start, target, rng) for _ in range(2000)], float)
        want = [m[start, target] for m in (cost.success, cost.pulses, cost.pulse_j)]
        error = runs.std(axis=0) / np.sqrt(2000)
        assert np.all(np.abs(runs.mean(axis=0) - want) <= 4.5 * error + 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_no_rule_of_thumb_is_cheaper(seed: int) -> None:
    table = random_table(seed, 3, 3)
    cost = evaluate(solve(table.model, objective="pulse_energy", horizon=5, penalty=20.0))
    optimum = cost.pulse_j + 20.0 * (1 - cost.success)
    for target in range(3):
        reset_then_set = cost_of(
            table, target, 20.0, False, lambda _l, s, _a, _m, t=target: [t if s == 0 else 0]
        )
        always_set = cost_of(table, target, 20.0, False, lambda *_, t=target: [t])
        for s in range(3):
            assert optimum[s, target] <= min(reset_then_set(5, s, 1, 0), always_set(5, s, 1, 0)) + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_program_finds_the_same_cost(seed: int) -> None:
    """HiGHS shares nothing with our induction."""
    table = random_table(seed, 3, 3)
    policy = solve(table.model, objective="pulse_energy", horizon=400, penalty=20.0)
    cost = evaluate(policy)
    for target in range(3):
        want = by_linear_program(table.model, table.model.pulse_j, target, 20.0)[:, 2]
        got = (cost.pulse_j + 20.0 * (1 - cost.success))[:, target]
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_attempts_go_up_after_a_miss_and_down_after_an_overshoot() -> None:
    attempt, landed = np.array([2, 2, 2, 4, 0], np.int8), np.array([1, 3, 2, 0, 4], np.int8)
    operation = np.array([2, 2, 2, 2, 2], np.int8)
    assert next_attempt(attempt, operation, landed, 5).tolist() == [3, 1, 2, 4, 0]
    assert next_attempt(attempt, np.zeros(5, np.int8), landed, 5).tolist() == attempt.tolist()


def test_a_miss_by_several_states_moves_two_attempts_a_state() -> None:
    attempt, landed = np.array([6, 6, 11, 1], np.int8), np.array([0, 5, 0, 6], np.int8)
    assert next_attempt(attempt, np.full(4, 3, np.int8), landed, 13).tolist() == [12, 2, 12, 0]


def test_an_unreachable_target_is_given_up_at_once() -> None:
    model = WriteModel.certain(PULSES, 1e-12, READS)
    model.probability[0] = 0.0  # no reset
    policy = solve(model)
    cost = evaluate(policy)
    assert cost.success[2, 0] == cost.pulses[2, 0] == 0.0
    assert np.all(policy.action[:, 2, :, 0] == -1)


def test_no_write_gives_more_pulses_than_the_horizon() -> None:
    for seed in range(5):
        cost = evaluate(solve(random_table(seed, 4, 3).model, penalty=1e6))
        assert cost.pulses.max() <= HORIZON


def test_another_objective_is_refused() -> None:
    with pytest.raises(BadInput, match="objective 'speed'"):
        solve(WriteModel.certain(PULSES, 1e-12, READS), objective="speed")  # type: ignore[arg-type]  # bad input


def test_a_measured_model_has_shares_that_sum_to_one_or_nothing(
    restricted: Callable[..., Characterization],
) -> None:
    found = restricted(SkMTJ.preset("scaled"))
    model = WriteModel.measured(found)
    total = model.expected.sum(axis=-1)
    assert np.all(np.isclose(total, 1.0) | (total == 0.0))
    first, middle = found.counts[2, found.attempts // 2, 0, 0], 2 * (found.attempts // 2)
    pulse = np.flatnonzero((model.operation == 2) & (model.attempt == found.attempts // 2))[0]
    np.testing.assert_allclose(model.expected[pulse, middle, 0], first / first.sum())
    assert np.all(model.expected[model.operation == 1, :, 1:] == 0.0)  # a set pulse is for raising only


def test_an_unavailable_action_is_never_taken() -> None:
    table = random_table(3, 3, 3)
    policy = solve(table.model, penalty=1e6)
    left, state, memory, target = np.nonzero(policy.action >= 0)
    action = policy.action[left, state, memory, target]
    assert np.all(table.model.expected[action, memory, state].sum(axis=-1) > 0)


def test_saving_pulses_and_saving_time_are_other_policies_than_saving_energy() -> None:
    """By hand: a reset of 1000 s that costs little, against a dear pulse of 1 s."""
    p = np.zeros((3, 1, 2, 3, 3))
    p[0, ..., 0] = p[1, 0, :, 0, 1] = p[2, 0, :, 0, 2] = p[2, 0, :, 1, 2] = 1.0
    joule = np.array([[[0.5] * 3], [[1.0] * 3], [[1.0, 9.0, 1.0]]])
    model = WriteModel.markov(p, joule, np.zeros(3), (1000.0, 1.0, 0.5))
    costs = {o: evaluate(solve(model, objective=o)) for o in ("energy", "time", "pulses")}
    assert [costs[o].pulses[1, 2] for o in costs] == [2, 1, 1]
    assert [costs[o].pulse_j[1, 2] for o in costs] == [1.5, 9, 9]
    assert [costs[o].time_s[1, 2] for o in costs] == [1000 + 1 + 3 * 0.5, 1 + 2 * 0.5, 2]


def test_under_scope_array_no_cell_is_reset_alone(restricted: Callable[..., Characterization]) -> None:
    found = restricted(SkMTJ.preset("scaled"))
    cost = evaluate(solve(WriteModel.measured(found, scope=Scope.ARRAY), free_start=True))
    assert np.all(cost.resets == 0.0)
    assert np.all(cost.success[np.tril_indices(3, -1)] == 0.0)
    assert cost.success[0, 2] > 0.95


def test_the_reset_energy_may_be_asked_for(restricted: Callable[..., Characterization]) -> None:
    found = restricted(SkMTJ.preset("scaled"))
    cheap, dear = (
        evaluate(solve(WriteModel.measured(found, reset_j=j), objective="pulse_energy")) for j in (0.0, 4e-12)
    )
    assert dear.pulse_j[2, 0] - cheap.pulse_j[2, 0] == pytest.approx(4e-12, rel=0.05)
