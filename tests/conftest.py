"""Simulated chips, sessions on them, and characterisations that many tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

CELLS = 240
QUICK = CharacterizeSettings(confidence=0.06, repeats=2, max_cycles=40)
NOISE_FREE = {
    "d_cell": 0.0,
    "xi_pulse": 0.0,
    "r0_spread": 0.0,
    "tmr_spread": 0.0,
    "residual_states": 0.0,
    "read_noise": 0.0,
}


@pytest.fixture(scope="session")
def session_on() -> Iterator[Callable[..., Session]]:
    """session_on(model, cells, seed): a session on a fresh simulated chip, closed at the end."""
    opened: list[CellArray] = []

    def make(model: SkMTJ, cells: int = CELLS, seed: int = 5) -> Session:
        clock = VirtualClock()
        opened.append(CellArray(model, cells, seed=seed))
        return Session(SimulatedChip(opened[-1], clock), clock, seed=seed)

    yield make
    for array in opened:
        array.close()


@pytest.fixture(scope="session")
def noise_free() -> Callable[[str], SkMTJ]:
    """noise_free(preset): the law without any spread."""
    return lambda preset: SkMTJ.preset(preset, **NOISE_FREE)


@pytest.fixture(scope="session")
def characterized(session_on: Callable[..., Session]) -> Callable[[SkMTJ], Characterization]:
    """characterized(model): of the chip that session_on(model) makes; each model once."""

    @cache
    def measure(model: SkMTJ) -> Characterization:
        everyone = np.arange(CELLS)
        return characterize(session_on(model), everyone, everyone, QUICK)[0]

    return measure


@pytest.fixture(scope="session")
def restricted(characterized: Callable[[SkMTJ], Characterization]) -> Callable[..., Characterization]:
    """restricted(model, baselines): states (0, 3, 6) of it; with fewer baselines if asked."""

    def make(model: SkMTJ, baselines: int = CELLS) -> Characterization:
        found = characterized(model).restrict((0, 3, 6))
        few = {n: getattr(found, n)[:baselines] for n in ("cells", "baseline_ohm", "top_ohm")}
        return replace(found, **few)

    return make
