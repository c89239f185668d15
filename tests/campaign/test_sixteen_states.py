"""A chip of sixteen states, the whole way: characterised, its energy matrix, 4-bit patterns by quadratic assignment."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from quest_lab.assignment import exchanged
from quest_lab.characterization import Characterization
from quest_lab.energy import Counts, count
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.ranking import Ranking, rank
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.skmtj import SkMTJ

pytestmark = pytest.mark.campaign
SIXTEEN = SkMTJ.preset(
    "scaled", set_v=tuple(np.round(np.linspace(0.45, 1.08, 15), 3)), d_cell=0.005, xi_pulse=0.004, tmr=1.0,
    read_noise=0.002, residual_states=0.05,
)  # fmt: skip
SETTINGS = CharacterizeSettings(
    start_v=0.35, stop_v=1.2, step_v=0.02, repeats=2, confidence=0.2, max_cycles=16
)

PAGE = """A simulated chip of sixteen states, characterised by 96 cells (16 states found, largest decoding
error {error:.1e}), its energy matrix, and 15 weight levels of a made-up schedule (144 weights, 30 steps) on its
states by quadratic assignment.

| update and gated activation energy | |
|---|---|
| pattern found | {least:.4g} J |
| above Gilmore and Lawler's bound, at most from the optimum | {above:.2%} |
| levels in their natural order, above it | {natural:.1%} |
| 20 random orders improved by exchanges: best, worst, above it | {best:.2%}, {worst:.2%} |
| of them, as good | {same} |

On eight of the states the 3-bit pattern found is the cheapest of all 40320 (term by term)."""


@pytest.fixture(scope="module")
def found(session_on: Callable[..., Session]) -> Characterization:
    everyone = np.arange(96)
    return characterize(session_on(SIXTEEN, everyone.size), everyone, everyone, SETTINGS)[0]


def counted(folder: Path, bits: int) -> Counts:
    path = synthesize(folder / "s.h5", [(4, 4, 3, 3)], steps=30, change_rate=0.1, seed=1, bits=bits)
    with Schedule.open(path) as schedule:
        return count(schedule)


def asked(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Writes [from, to] and gated reads [level] of the whole schedule."""
    writes = counts.transitions.sum(axis=(0, 1)).astype(float)
    np.fill_diagonal(writes, 0.0)
    return writes, counts.gated_reads.astype(float)


def energies_j(counts: Counts, ranking: Ranking, patterns: np.ndarray) -> np.ndarray:
    """Of each row of `patterns`, term by term."""
    (writes, reads), out = asked(counts), np.zeros(len(patterns))
    for i, j in np.ndindex(writes.shape):
        out += writes[i, j] * ranking.cost.pulse_j[patterns[:, i], patterns[:, j]]
    return out + (reads * ranking.matrices.read_j[patterns]).sum(axis=1)


def test_sixteen_states_are_found_and_told_apart(found: Characterization) -> None:
    assert found.states == 16
    assert found.levels.decoding_error.max() <= 0.01
    rising = found.set_v[1:] - found.set_v[:-1]
    np.testing.assert_allclose(rising[:-1], 0.045, atol=0.006)


def test_three_bits_on_eight_of_them_are_optimal_under_all_40320_patterns(
    found: Characterization, tmp_path: Path
) -> None:
    counts, eight = counted(tmp_path, 3), found.restrict(tuple(range(0, 16, 2)))
    ranking = rank(eight, counts)
    every = energies_j(counts, ranking, np.array(list(permutations(range(8), 7))))
    assert ranking.bound_j is not None
    assert ranking.bound_j <= every.min()
    assert ranking.sum_j[0].min() == pytest.approx(every.min(), rel=1e-9)


def test_four_bits_come_close_to_the_bound_and_no_random_start_ends_below(
    found: Characterization, tmp_path: Path, publish: Callable[[str, str, str], None]
) -> None:
    """15 levels on 16 states are 2e13 patterns: Gilmore and Lawler's bound below, exchanges from 20 random orders
    above."""
    counts = counted(tmp_path, 4)
    ranking, (writes, reads) = rank(found, counts), asked(counts)
    pulse_j, read_j = ranking.cost.pulse_j, ranking.matrices.read_j

    def cost(order: np.ndarray) -> float:
        pattern = order[:15]
        return float((writes * pulse_j[np.ix_(pattern, pattern)]).sum() + reads @ read_j[pattern])

    least, rng = float(ranking.sum_j[0].min()), np.random.default_rng(0)
    ends = np.array([cost(exchanged(rng.permutation(16), cost)) for _ in range(20)])
    natural = cost(np.arange(16))
    assert ranking.bound_j is not None
    publish("sixteen-states", "4 bits on sixteen states", PAGE.format(
        error=float(found.levels.decoding_error.max()), least=least, above=least / ranking.bound_j - 1.0,
        natural=natural / least - 1.0, best=ends.min() / least - 1.0, same=int((ends <= least * (1 + 1e-9)).sum()),
        worst=ends.max() / least - 1.0,
    ))  # fmt: skip
    assert ranking.bound_j <= least <= ends.min() * (1 + 1e-9)
    assert least < natural
    assert least / ranking.bound_j < 1.05
