"""The training's section: frozen weights counted a second way, its tables from a small real run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quest_lab.cli import train
from quest_lab.cli.trainoptions import Options
from quest_lab.report import frozen, make_report, trained
from quest_lab.report.page import Numbers
from quest_lab.report.sources import Files
from quest_lab.runfile import open_run
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig

from .conftest import Runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, scaled: Runs) -> Path:
    out = tmp_path_factory.mktemp("trained")
    config = TrainConfig(network="4-8M-4-A", epochs=2, batch_size=128, shift_pixels=0)
    train.run(
        out=out, config=config, data=None, overwrite=False, options=Options(energy=scaled.characterization)
    )
    return out


def test_frozen_weights_are_those_that_no_batch_changes(folder: Path) -> None:
    found = frozen.load(folder / "schedule.h5")
    with Schedule.open(folder / "schedule.h5") as schedule:
        levels = [schedule.levels_at(t) for t in range(11)]
        stages = [step.stage for step in schedule][:10]
        layer = schedule.layers[1].weights_slice
    for s in (1, 2, 3):
        moved = [levels[t + 1][layer] != levels[t][layer] for t in range(10) if stages[t] == s]
        assert found.still[s - 1, 1] == pytest.approx(1 - np.mean(moved))
        assert found.frozen[s - 1, 1] == pytest.approx(1 - np.mean(np.any(moved, axis=0)))


def test_the_states_of_sampled_weights_are_the_schedules(folder: Path) -> None:
    found = frozen.load(folder / "schedule.h5")
    sample = frozen._sampled(576)
    with Schedule.open(folder / "schedule.h5") as schedule:
        for s, batches in found.batches.items():
            for column, batch in zip(found.states[s].T, batches, strict=True):
                assert np.array_equal(column, schedule.levels_at(int(batch))[sample])


def test_the_energies_of_the_table_are_the_runs(folder: Path, scaled: Runs) -> None:
    files = Files.open([folder / "training.h5", scaled.characterization])
    out = trained.section(files.of("training")[0], files)
    table = next(b for b in out.blocks if isinstance(b, Numbers) and b.title.startswith("Energies"))
    with open_run(folder / "training.h5") as run:
        data = run.result("epochs")
    number, unit = table.rows[-1][3].split()
    factor = {"nJ": 1e-9, "pJ": 1e-12, "µJ": 1e-6}[unit]
    assert float(number) * factor == pytest.approx(
        float(data["gated_j"][-1].sum() / data["samples"][-1]), rel=5e-3
    )
    assert "QUEST: 93" in out.finding


def test_a_report_of_a_training_is_drawn(folder: Path, scaled: Runs, tmp_path: Path) -> None:
    files = [folder / name for name in ("training.h5", "schedule.h5", "energy.h5")]
    page = make_report([scaled.characterization, *files], tmp_path / "report")
    names = {path.name[10:-4] for path in page.parent.glob("figure-*.png")}
    assert {"states", "epochs", "epoch-energies", "transitions", "update-energy"} <= names
