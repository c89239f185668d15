"""What a wait does to a programmed network: the share of cells that change is that of the law of thermal decay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from quest_lab.network import Network
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.validate_plan import ValidateSettings, plan_of
from quest_lab.protocols.validate_tiles import program
from quest_lab.session import Session
from quest_lab.sim.skmtj import SkMTJ

CELLS, STATES = 1200, tuple(range(7))


def changed(k: int, wait_s: float) -> float:
    """Share of cells with k skyrmions that lose one or more, each at the rate exp(-barrier / kT) / 1 ns, where the
    barriers of the cells are normal: 60 kT and 5 % of it."""

    def kept(barrier: float) -> float:
        return float(np.exp(-k * wait_s / 1e-9 * np.exp(-barrier))) * norm.pdf(barrier, 60.0, 3.0)

    return 1.0 - quad(kept, 40.0, 80.0, limit=200)[0]


@pytest.mark.parametrize("wait_s", [1e15, 1e17])
def test_after_a_wait_as_many_cells_have_changed_as_the_law_says(
    session_on: Callable[..., Session], network: Callable[..., Network], wait_s: float
) -> None:
    session, everyone = session_on(SkMTJ.preset("lab-ageing"), CELLS), np.arange(CELLS)
    settings = CharacterizeSettings(confidence=0.2, repeats=2, max_cycles=6)
    found = characterize(session, everyone, everyone[::8], settings)[0]
    weights = network(3, "10-12-A")
    waiting = ValidateSettings(wait_s=wait_s, analogue=(), open_loop=False)
    plan = plan_of(weights, found, STATES, STATES, waiting)
    (done,) = program(session, weights.levels, plan.programmings)
    before, after = done.states(0), done.states(1)
    for k in STATES[1:]:
        mine = before == k
        p, n = changed(k, wait_s), int(mine.sum())
        print(
            f"{wait_s:g} s, {k} skyrmions: {np.mean(after[mine] != k):.3f} of {n} changed, {p:.3f} by the law"
        )
        assert (
            abs(np.mean(after[mine] != k) - p) < 3.5 * np.sqrt(p * (1 - p) / n) + 0.01
        )  # reads that go wrong
        assert np.mean(after[mine] > k) < 0.01  # reads that go wrong: 1 % of each two, half of them upwards
    assert np.mean(after[before == 0] != 0) < 0.01
