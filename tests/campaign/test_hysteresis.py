"""Energy-aware training: accuracy against the energy of weight updates, over the hysteresis of the rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quest_lab.cli import characterize
from quest_lab.cli.common import load_restricted
from quest_lab.energy import count
from quest_lab.ranking import rank
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig
from quest_lab.train.data import load_dataset
from quest_lab.train.loop import train

pytestmark = pytest.mark.campaign

MARGINS = (0.0, 0.025, 0.05, 0.1, 0.2, 0.3)
SEEDS = (0, 1, 2)
EPOCHS = 8


def test_accuracy_against_update_energy(tmp_path: Path, publish: Callable[[str, str, str], None]) -> None:
    digits, chip = load_dataset("digits"), tmp_path / "chip.h5"
    characterize.execute(
        device="scaled", out=chip, cells=2048, sample=128, chip=None, seed=0, overwrite=False
    )
    found, _ = load_restricted(chip, None, 3)
    measured = {}
    for margin in MARGINS:
        for seed in SEEDS:
            weights, schedule = tmp_path / f"w{margin}-{seed}.h5", tmp_path / f"s{margin}-{seed}.h5"
            config = TrainConfig(hysteresis=margin, seed=seed, epochs=EPOCHS)
            done = train(config, weights=weights, schedule=schedule, dataset=digits)
            assert done.agreement.exact
            with Schedule.open(schedule) as source:
                ranking = rank(found, count(source))
                writes = source.writes
            energy_j = ranking.update_j[ranking.order[0], :, 0].sum()
            measured[margin, seed] = (done.test_accuracy, writes, energy_j)
    publish("hysteresis", "Accuracy against update energy: hysteresis of the rounding", _table(measured))
    plain, held = (np.mean([measured[m, s][1] for s in SEEDS]) for m in (0.0, 0.2))
    assert held < 0.8 * plain


def _table(measured: dict[tuple[float, int], tuple[float, int, float]]) -> str:
    lines = [
        f"Digits, 2 bits, {EPOCHS} epochs, {len(SEEDS)} seeds (mean, and standard deviation of the accuracy); a weight "
        "changes its level only when it is 1/2 + hysteresis levels away from it. Energy: cheapest pattern, "
        "single-cell resets, preset `scaled` (assumed cell).",
        "",
        "| hysteresis (levels) | held-out accuracy | weight changes | update energy of the run |",
        "|---|---|---|---|",
    ]
    for margin in MARGINS:
        rows = np.array([measured[margin, seed] for seed in SEEDS])
        accuracy, spread = 100 * rows[:, 0].mean(), 100 * rows[:, 0].std(ddof=1)
        lines.append(
            f"| {margin:g} | {accuracy:.2f} ± {spread:.2f} % | {rows[:, 1].mean():.0f} | "
            f"{1e9 * rows[:, 2].mean():.1f} nJ |"
        )
    return "\n".join(lines)
