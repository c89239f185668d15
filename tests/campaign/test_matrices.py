"""Do the 95 % intervals of energy matrices and patterns hold the truth that many more cells show?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quest_lab.bootstrap import drawn, resampled
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.energy import Counts, count
from quest_lab.matrices import SCOPES
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.ranking import Ranking, rank
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

pytestmark = pytest.mark.campaign
SAMPLES, CELLS, RESAMPLES, SEED = 40, 256, 100, 11
SPLITS = 3  # of the same cells into samples, at random
USED = (0, 3, 6)
KINDS = ("matrix, cell scope", "matrix, array scope", "pattern's sum", "pattern's distance to the best")


def chip() -> Characterization:
    """Ten thousand cells, characterised as one sample."""
    clock, cells = VirtualClock(), SAMPLES * CELLS
    array = CellArray(SkMTJ.preset("scaled"), cells, seed=SEED)
    session = Session(SimulatedChip(array, clock), clock, seed=SEED)
    everyone = np.arange(cells)
    settings = CharacterizeSettings(confidence=1e-4, max_cycles=30)
    found = characterize(session, everyone, everyone, settings)[0]
    array.close()
    return found


def part(found: Characterization, places: np.ndarray) -> Characterization:
    """What a sample of these cells alone would have shown."""
    assert found.by_cell is not None
    times = np.bincount(places, minlength=found.sample.size)
    return replace(drawn(found, times), sample=found.sample[places], by_cell=found.by_cell.of_cells(places))


def ranked(found: Characterization, counts: Counts, resamples: int = 0) -> Ranking:
    replicas = [one.restrict(USED) for one in resampled(found, resamples)]
    return rank(found.restrict(USED), counts, replicas=replicas)


def hits(mine: Ranking, truth: Ranking) -> list[np.ndarray]:
    """Whether each interval of a kind holds the truth; (half-width over value) stands in the imaginary part."""
    assert mine.errors is not None
    assert mine.pattern_errors is not None
    reach, out = mine.errors.reach, []
    away = ~np.eye(len(USED), dtype=bool)
    for k in range(len(SCOPES)):
        use = away & mine.matrices.reachable[k] & (mine.errors.pulse_j[k] > 1e-20)
        half = reach * mine.errors.pulse_j[k][use]
        off = np.abs(mine.matrices.pulse_j[k] - truth.matrices.pulse_j[k])[use]
        out.append((off <= half) + 1j * half / mine.matrices.pulse_j[k][use])
    half = reach * mine.pattern_errors.sum_j
    out.append(((np.abs(mine.sum_j - truth.sum_j) <= half) + 1j * half / mine.sum_j).ravel())
    best = mine.sum_j.argmin(axis=1)[:, None]
    true_lead = truth.sum_j - np.take_along_axis(truth.sum_j, best, axis=1)
    half, others = reach * mine.pattern_errors.lead_j, np.arange(mine.sum_j.shape[1]) != best
    held = np.abs(mine.lead_j - true_lead) <= half
    out.append((held + 1j * half / np.maximum(mine.lead_j, 1e-30))[others])
    return out


def test_intervals_hold_the_truth(publish: Callable[[str, str, str], None], tmp_path: Path) -> None:
    path = synthesize(tmp_path / "s.h5", [(8, 4, 3, 3), (4, 8, 3, 3)], steps=40, change_rate=0.03, seed=SEED)
    with Schedule.open(path) as schedule:
        counts = count(schedule)
    found = chip()
    truth = ranked(found, counts)
    rng = np.random.default_rng(SEED)
    orders = [rng.permutation(found.sample.size) for _ in range(SPLITS)]
    seen: list[list[np.ndarray]] = [[] for _ in KINDS]
    wrong = said = 0
    for places in (some for order in orders for some in np.array_split(order, SAMPLES)):
        mine = ranked(part(found, np.sort(places)), counts, RESAMPLES)
        for into, values in zip(seen, hits(mine, truth), strict=True):
            into.append(values)
        for scope in SCOPES:
            if not mine.tied(scope):
                said += 1
                wrong += mine.order_of(scope)[0] != truth.order_of(scope)[0]
    lines = ["| 95 % intervals of | intervals | hold the truth | median half-width |", "|---|---|---|---|"]
    shares = []
    for kind, each in zip(KINDS, seen, strict=True):
        values = np.concatenate(each)
        shares.append(float(values.real.mean()))
        lines.append(f"| {kind} | {values.size} | {shares[-1]:.1%} | {np.median(values.imag):.2%} |")
    lines += [
        "",
        f"{SPLITS} times {SAMPLES} samples of {CELLS} cells each, seed {SEED}, of one simulated chip `scaled` at its "
        f"default spread (states R0, R3, R6); {RESAMPLES} resamples. The truth is what all {found.sample.size} cells "
        "show. "
        f"A pattern was said to be the cheapest {said} times, {wrong} times wrongly.",
    ]
    publish("matrix-intervals", "Intervals of energy matrices and patterns", "\n".join(lines))
    assert min(shares) >= 0.90
    assert wrong <= 0.05 * said
