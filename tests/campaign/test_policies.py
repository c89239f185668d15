"""Expected and Monte Carlo cost of the write policies on chips of default spread, beside rules made by hand and a
linear program."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from rules import RULES, Tally, by_linear_program
from scipy.stats import t as student

from quest_lab.beliefs import write_model
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Scope
from quest_lab.policy import Objective, Policy, solve
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay_costs import Asked
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import Preset, SkMTJ
from quest_lab.write import Programmer
from quest_lab.write_costs import evaluate_writes, expect, interval

pytestmark = pytest.mark.campaign

CHIPS = int(os.environ.get("QUEST_LAB_CHIPS", "20"))
CELLS, SAMPLE, ROUNDS = 10_000, 200, 6
SETTINGS = CharacterizeSettings(confidence=0.05, max_cycles=60)
STATES = {2: (0, 3, 6), 3: (0, 1, 2, 3, 4, 5, 6)}
OBJECTIVES: tuple[Objective, ...] = ("energy", "time", "pulses")
PRESETS: tuple[Preset, ...] = ("scaled", "lab")
Key = tuple[Preset, int, Objective]
QUANTITY = {"energy": ("total_j", "read_j"), "time": ("time_s", "read_s"), "pulses": ("pulses", "")}


@dataclass(frozen=True)
class Outcome:
    """A policy on one chip, in the unit of its objective: expected cost with its 95 % interval, Monte Carlo cost of
    all writes and its standard error, failures; what the cells pay more by each rule made by hand, over what they pay
    by the policy, and its standard error, failures at the declared penalty in both."""

    expected: float
    low: float
    high: float
    observed: float
    error: float
    failures: float
    failed: int
    dearer: dict[str, tuple[float, float]]

    @property
    def told(self) -> float:
        """Standard error of the expected cost, relative."""
        return float(np.log(self.high / self.low) / (2 * 1.96))

    @property
    def deviation(self) -> float:
        """Of the expected from the observed cost, in standard errors of both."""
        return float((self.expected - self.observed) / np.hypot(self.told * self.expected, self.error))


def one(chip: tuple[Preset, int]) -> tuple[dict[Key, Outcome], dict[Key, float]]:
    """Every policy on a chip; of the first chip of a preset the gaps to the linear program too."""
    preset, seed = chip
    array, clock = CellArray(SkMTJ.preset(preset), CELLS, seed=100 + seed), VirtualClock()
    device, sample = SimulatedChip(array, clock), np.arange(0, CELLS, CELLS // SAMPLE)
    full = characterize(Session(device, clock, seed=seed), np.arange(CELLS), sample, SETTINGS)[0]
    outcomes, gaps = dict[Key, Outcome](), dict[Key, float]()
    for bits, states in STATES.items():
        found = full.restrict(states)
        rules = by_hand(device, found)
        for objective in OBJECTIVES:
            key = preset, bits, objective
            if seed == 0 and objective != "time":
                gaps[key] = solver_gap(found, objective)
            outcomes[key] = followed(device, found, objective, rules)
            print(seed, *key, outcomes[key], outcomes[key].deviation, flush=True)
    array.close()
    return outcomes, gaps


def targets(states: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, states, (ROUNDS + 1, CELLS)).astype(np.int8)


def followed(
    device: SimulatedChip,
    found: Characterization,
    objective: Objective,
    rules: dict[str, tuple[Tally, np.ndarray]],
) -> Outcome:
    """`ROUNDS` writes of every cell, after a first one that is not counted."""
    tally = Tally.of(device)
    programmer, wanted = Programmer(tally, found, objective=objective), targets(found.states)
    model, (quantity, reads) = programmer.policy.model, QUANTITY[objective]
    read = {"": 0.0, "read_j": model.read_j[:, None], "read_s": model.read_s}[reads]
    each = getattr(evaluate_writes(programmer.policy, ROUNDS + 1), quantity) - read * ~np.eye(
        found.states, dtype=bool
    )
    programmer.write(found.cells, wanted[0])
    start, asked = getattr(tally, objective).copy(), Asked.loaded(wanted[0], found.states)
    due, failed = 0.0, np.zeros(CELLS)
    for before, after in pairwise(wanted):
        held = before if found.reset_scope is Scope.CELL else np.zeros_like(before)
        due = due + each[asked.written, held.astype(int), after.astype(int)]
        asked.step(found.reset_scope, before, after, np.arange(CELLS))
        failed += programmer.write(found.cells, after).wrong
    spent, moved = getattr(tally, objective) - start, asked.moves[0] * ~np.eye(found.states, dtype=bool)
    cost = expect(programmer.policy, asked.moves[0])
    mean, low, high = interval(getattr(cost, quantity) - float((moved * read).sum()))
    apart, penalty = spent - due, programmer.policy.penalty
    error = float(np.hypot(np.sqrt(((apart - apart.mean()) ** 2).sum()), penalty / 100))  # one pulse at least
    failures = float(asked.moves[0].sum() - cost.success[0])
    mine, dearer = spent + penalty * failed, {}
    for name, (used, wrong) in rules.items():
        more = getattr(used, objective) + penalty * wrong - mine
        dearer[name] = float(more.sum() / mine.sum()), float(np.sqrt(CELLS) * more.std() / mine.sum())
    return Outcome(mean, low, high, float(spent.sum()), error, failures, int(failed.sum()), dearer)


def by_hand(device: SimulatedChip, found: Characterization) -> dict[str, tuple[Tally, np.ndarray]]:
    """What the same writes take of each cell by each rule made by hand, and how many of them fail."""
    out = {}
    for name, rule in RULES.items():
        if found.states < 7 and name == "from below":
            continue  # it does not aim at the used state: it would land next to the boundary
        first, *rest = targets(found.states)
        rule.write(device, found, first)
        tally = Tally.of(device)
        out[name] = tally, np.sum([rule.write(tally, found, target) for target in rest], axis=0)
    return out


def solver_gap(found: Characterization, objective: Objective) -> float:
    """Largest relative distance of our values, with 200 pulses, from those of a linear program without horizon; of
    values below a hundredth of the dearest pulse, in hundredths of it."""
    model = write_model(found)
    policy = solve(model, objective=objective, horizon=200)
    cost = {
        "energy": model.pulse_j + model.expected @ model.read_j,
        "pulses": np.ones(model.after.shape[:3]),
    }[objective]
    gap, unit = 0.0, policy.penalty / 100  # the dearest action: the program's tolerances are absolute
    for target in {1, found.states // 2, found.states - 1}:
        away = np.arange(found.states) != target
        want = by_linear_program(model, cost / unit, target, 100.0)[away]
        apart = abs(value(policy, cost, target)[away] / unit - want)
        gap = max(gap, float((apart / np.maximum(want, 0.01)).max()))
    return gap


def value(policy: Policy, cost: np.ndarray, target: int) -> np.ndarray:
    """Expected cost [state, memory] of following `policy` on its own belief, giving up at the penalty."""
    model = policy.model
    state, memory = np.indices((model.states, model.memories))
    cost = np.broadcast_to(cost, model.after.shape[:3])
    none = out = np.where(state == target, 0.0, policy.penalty)
    for left in range(1, policy.horizon + 1):
        action = policy.action[left, :, :, target]
        chance, then = model.expected[action, memory, state], model.after[action, memory, state]
        ahead = cost[action, memory, state] + (chance * out[np.arange(model.states), then]).sum(axis=-1)
        out = np.where(action < 0, none, ahead)
    return out


def test_expected_cost_is_that_of_monte_carlo_and_no_rule_beats_the_policy(
    publish: Callable[[str, str, str], None],
) -> None:
    outcomes = {(p, b, o): list[Outcome]() for p in PRESETS for b in STATES for o in OBJECTIVES}
    gaps = dict[Key, float]()
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for mine, apart in pool.map(one, [(preset, seed) for preset in PRESETS for seed in range(CHIPS)]):
            gaps |= apart
            for key, outcome in mine.items():
                outcomes[key].append(outcome)
    page = _page(outcomes, gaps)
    publish("policies", "Write policies: expected cost, Monte Carlo, rules made by hand", page)
    everything = [one for some in outcomes.values() for one in some]
    inside = np.mean([abs(one.deviation) <= 1.96 for one in everything])
    assert inside >= 0.90  # of 95 %: three objectives on one chip are no independent tries
    assert max(gaps.values()) < 1e-3
    for some in outcomes.values():
        for rule in some[0].dearer:
            mean, error = _over_chips([one.dearer[rule][0] for one in some])
            assert mean >= -3.1 * error  # 42 comparisons, 5 % in all


def _over_chips(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _page(outcomes: dict[Key, list[Outcome]], gaps: dict[Key, float]) -> str:
    rows = [
        f"{CHIPS} chips of each preset with default spread, {CELLS} cells each, {SAMPLE} of them characterised "
        f"({SETTINGS.max_cycles} cycles at most); {ROUNDS} writes of every cell to random targets after a first one. "
        "Costs of pulses, resets and the reads behind them; array-wide fields are counted apart. Every cell parameter "
        "is assumed. Inside: chips whose Monte Carlo cost is within 1.96 standard errors of the expected one, those of "
        "the law learned from the characterised cells and of the Monte Carlo together (failures of a cell are "
        "correlated, so cells are the units; one pulse at least, since events too rare to be seen show no spread). "
        "Rule: the cheapest policy made by hand, what it costs more than ours, failures at the declared penalty, mean "
        "over chips with its 95 % interval. Solver: relative distance from the "
        "values of a linear program without horizon (not of time: a set pulse takes 10⁻⁶ of a reset there, so that "
        "trying on without end is best). Expected and Monte Carlo cost (J, s, pulses) are those of the first chip.",
        "",
        "| preset | bits | saves | expected | its error (±) | Monte Carlo | its error (±) | mean deviation | inside | "
        "failures expected / seen | rule | solver |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key, some in outcomes.items():
        off, error = _over_chips([one.expected / one.observed - 1 for one in some])
        told = np.mean([one.told for one in some])
        chance = np.mean([one.error / one.observed for one in some])
        rules = {rule: _over_chips([one.dearer[rule][0] for one in some]) for rule in some[0].dearer}
        rule = min(rules, key=lambda rule: rules[rule][0])
        more, about = (100 * x for x in rules[rule])
        two_sided = student.ppf(0.975, CHIPS - 1)
        rows.append(
            f"| {key[0]} | {key[1]} | {key[2]} | {some[0].expected:.5g} | {196 * told:.2f} % | {some[0].observed:.5g} "
            f"| {196 * chance:.2f} % | {100 * off:+.2f} ± {100 * two_sided * error:.2f} % | {_inside(some)} "
            f"| {sum(o.failures for o in some):.3g} / {sum(o.failed for o in some)} "
            f"| {rule}: {more:+.2f} ± {two_sided * about:.2f} % | {f'{gaps[key]:.0e}' if key in gaps else '–'} |"
        )
    return "\n".join(
        [*rows, "", f"All together inside: {_inside([one for some in outcomes.values() for one in some])}."]
    )


def _inside(outcomes: Sequence[Outcome]) -> str:
    inside = sum(abs(one.deviation) <= 1.96 for one in outcomes)
    return f"{inside} of {len(outcomes)} ({100 * inside / len(outcomes):.1f} %)"
