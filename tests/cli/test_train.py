"""`quest-lab train` from options to files: epochs told and logged, energies on a chip, resumed, replayed, validated."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest

from quest_lab.characterization_file import load_characterization
from quest_lab.cli import characterize, replay, train, validate
from quest_lab.cli.intheloop import OnChip
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.cli.trainoptions import Options, chip_in_loop, settings
from quest_lab.energy import count
from quest_lab.errors import BadInput, Interrupted
from quest_lab.protocols.characterize import CharacterizeSettings
from quest_lab.ranking import rank
from quest_lab.runfile import open_run
from quest_lab.runwriter import RunWriter
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig, recipe
from quest_lab.train.loop import Checkpoints
from quest_lab.train.loop import train as train_to

TINY = TrainConfig(network="4-8M-4-A", epochs=2, batch_size=256, shift_pixels=0)  # 576 weights
QUICK = CharacterizeSettings(confidence=0.1, repeats=2, max_cycles=20)


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chip") / "chip.h5"
    characterize.execute(
        device="scaled", out=path, cells=1200, sample=48, chip=None, seed=1, overwrite=False, settings=QUICK
    )
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, chip: Path) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train.run(out=out, config=TINY, data=None, overwrite=False, options=Options(energy=chip))
    return out


def _log(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_every_epoch_is_told(chip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.run(out=tmp_path, config=TINY, data=None, overwrite=False, options=Options(energy=chip))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2
    for word in (
        "loss",
        "accuracy",
        "R_in",
        "R_out",
        "sparsity",
        "AOR",
        "E_w",
        "gated",
        "row-activated",
        "E_n",
    ):
        assert word in lines[1]


def test_the_comparison_stands_beside_the_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.run(out=tmp_path, config=TINY, data=None, overwrite=False)
    out = capsys.readouterr().out
    assert all(words in out for words in ("93x", "2.47x", "7.1x", "first layer as MACs", "spike rate"))


def test_the_log_has_the_rates_and_energies_of_the_schedule(trained: Path, chip: Path) -> None:
    """Energies by the ranking of the whole schedule, against the sum of the epochs."""
    rows = _log(trained)
    assert [row["epoch"] for row in rows] == [1, 2]
    found = load_characterization(chip).restrict((0, 3, 6))
    with Schedule.open(trained / "schedule.h5") as schedule:
        counts = count(schedule)
        layers = [layer.name for layer in schedule.layers]
    ranking = rank(found, counts)
    with open_run(trained / "training.h5") as run:
        pattern = ast.literal_eval(str(run.result("epochs").attrs["pattern"]))
    best = ranking.patterns.index(pattern)
    for i, name in enumerate(layers):
        update = sum(row[f"{name}.update_j_per_batch"] * 5 for row in rows)  # 1347 images, 5 batches of 256
        gated = sum(row[f"{name}.gated_j_per_sample"] * 5 * 256 for row in rows)
        assert update == pytest.approx(ranking.update_j[best, i, 0])
        assert gated == pytest.approx(ranking.gated_j[best, i, 0])
        assert rows[-1][f"{name}.sparsity"] == pytest.approx(
            counts.levels[-1, i, 1] / counts.levels[-1, i].sum()
        )


def test_its_files_are_replayed_and_validated(trained: Path, chip: Path, tmp_path: Path) -> None:
    replayed = replay.execute(
        device="scaled", schedule=trained / "schedule.h5", characterization=chip, out=tmp_path / "r.h5",
        states=None, chip=None, steps=2, overwrite=False,
    )  # fmt: skip
    assert replayed is not None
    found = validate.execute(
        device="scaled", weights=trained / "weights.h5", characterization=chip, out=tmp_path / "v.h5",
        states=None, data=None, chip=None, overwrite=False,
    )  # fmt: skip
    assert found.weights == 576


class _StopAfter:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted("stopped")


def test_resumed_without_options_it_ends_as_undisturbed(trained: Path, chip: Path, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.h5")
    with pytest.raises(Interrupted):
        train_to(TINY, weights=tmp_path / "weights.h5", schedule=tmp_path / "schedule.h5",
                 checkpoints=checkpoints, stop=_StopAfter(7))  # fmt: skip
    config = settings(tmp_path, None, {}, resume=True)
    assert config == TINY
    train.run(out=tmp_path, config=config, data=None, overwrite=False, options=Options(chip, resume=True))
    assert (tmp_path / "weights.h5").read_bytes() == (trained / "weights.h5").read_bytes()
    assert _log(tmp_path) == _log(trained)


def test_bits_that_the_chip_cannot_hold_are_refused_before_training(chip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="15 weight levels do not fit into the 7 states"):
        train.run(
            out=out, config=TrainConfig(bits=4), data=None, overwrite=False, options=Options(energy=chip)
        )
    assert not out.exists()


def test_the_recipe_of_cifar10_is_quests_and_the_digits_stay_as_they_were() -> None:
    known = {
        "epochs": 100, "batch_size": 256, "learning_rate": 1e-3, "weight_decay": 1e-4, "decay": "steps",
        "shift_pixels": 4, "flip": True, "time_steps": 4, "bits": 2, "theta": 0.5,
    }  # fmt: skip
    assert known.items() <= asdict(recipe("cifar10")).items()
    assert recipe("digits") == TrainConfig()
    given = {"dataset": "cifar10", "epochs": 3}
    assert settings(Path(), None, given, resume=False).epochs == 3
    assert settings(Path(), None, given, resume=False).flip


def test_the_learning_rate_falls_to_a_tenth_at_half_and_three_quarters() -> None:
    from quest_lab.train.run import learning_rate

    config = TrainConfig(learning_rate=1e-3, decay="steps")
    rates = [learning_rate(config, step, 100) for step in (0, 49, 50, 74, 75, 99)]
    assert np.allclose(rates, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_a_network_trained_in_the_loop_validates_as_it_was_trained(
    chip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, out = tmp_path / "cells", tmp_path / "trained"
    options = Options(on=OnChip("scaled", chip, cells))
    done = train.execute(out=out, config=TINY, data=None, overwrite=False, options=options)
    assert "In the loop, levels on (R0,R3,R6)" in capsys.readouterr().out
    found = validate.execute(
        device="scaled", weights=done.weights, characterization=chip, out=tmp_path / "v.h5", states=None,
        data=None, chip=cells, overwrite=False,
    )  # fmt: skip
    assert found.accuracy["decoded read-back, closed loop"] == done.test_accuracy
    with open_run(out / "cells.h5") as run, Schedule.open(out / "schedule.h5") as schedule:
        final = run.result("final_weights")
        assert np.array_equal(final["asked"], schedule.final_levels)
        assert final["pulses"].sum() == run.table("loop_steps")[["pulses", "resets"]].to_numpy().sum()


def test_what_was_cut_off_in_the_loop_does_not_go_on_without_its_cells(tmp_path: Path) -> None:
    run = RunWriter.create(tmp_path / "cells.h5", kind="in-the-loop", title="", seed=0, settings={})
    run.close("aborted")
    with pytest.raises(BadInput, match="was trained in the loop: say --on"):
        train.execute(out=tmp_path, config=TINY, data=None, overwrite=True, options=Options(resume=True))


def test_a_chip_with_too_few_cells_is_not_touched(chip: Path, tmp_path: Path) -> None:
    config = TrainConfig(network="16-16M-32-A", epochs=1)
    with pytest.raises(
        BadInput, match=r"placement of 6912 weights, 1 cells each: needs 6912 cells, .* has 1200"
    ):
        train.execute(
            out=tmp_path,
            config=config,
            data=None,
            overwrite=False,
            options=Options(on=OnChip("scaled", chip)),
        )
    assert not (tmp_path / "cells.h5").exists()


def test_torchrun_is_refused_in_the_loop_before_the_chip_is_touched(
    chip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = Options(on=OnChip("scaled", chip, tmp_path / "cells"))
    with pytest.raises(BadInput, match="2 processes: in the loop one process trains"):
        train.execute(out=tmp_path, config=TINY, data=None, overwrite=False, options=options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("hardware", "said"),
    [(False, r"was measured on instruments \(--hardware\) of scaled: do the same here"),
     (True, "was measured on the simulated twin of scaled: do the same here")],
)  # fmt: skip
def test_hardware_is_reached_only_when_asked_for(
    hardware: bool, said: str, chip: Path, tmp_path: Path
) -> None:
    """The flag and the characterisation's own must be the same; the first says that it is of instruments."""
    found, out = shutil.copy(chip, tmp_path / "found.h5"), tmp_path / "out"
    with h5py.File(found, "r+") as file:
        settings = {**json.loads(file["entry/settings"][()]), "hardware": not hardware}
        del file["entry/settings"]
        file["entry/settings"] = json.dumps(settings)
    on = OnChip("scaled", found, bench=BenchOptions(hardware=hardware))
    with pytest.raises(BadInput, match=said):
        train.execute(out=out, config=TINY, data=None, overwrite=False, options=Options(on=on))
    assert not list(out.iterdir())


def test_options_of_a_chip_need_one() -> None:
    for given, bench in (({"open_loop": True}, AS_USUAL), ({}, BenchOptions(hardware=True))):
        with pytest.raises(BadInput, match=r"needs a chip to train on \(--on DEVICE\)"):
            chip_in_loop(None, None, **{"chip": None, "open_loop": False, **given}, bench=bench)
    with pytest.raises(BadInput, match="--on scaled: needs --characterization"):
        chip_in_loop("scaled", None, chip=None, open_loop=False, bench=AS_USUAL)
