"""Domain walls through the commands: characterize, train on the chip, energy, validate, of a VGG8-shaped network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quest_lab.blocks import parse_blocks
from quest_lab.characterization_file import load_characterization
from quest_lab.cli import main
from quest_lab.device import Floats, VoltagePulse
from quest_lab.network import Network
from quest_lab.runfile import open_run

NETWORK = "2-2M-2-2M-4-4M-F-L8"  # 356 weights
STATES = 7


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the four commands have left their files; each write is one pulse, as it lands."""
    at = tmp_path_factory.mktemp("row")
    chip, out, cells = at / "chip.h5", at / "trained", at / "cells"
    on = ("--characterization", chip, "--chip", cells)
    _run("characterize", "domain-wall-7", "--cells", 400, "--sample", 96, "--out", chip)
    _run("train", "--on", "domain-wall-7", *on, "--open-loop", "--network", NETWORK, "--bits", 3, "--epochs", 1,
         "--batch", 128, "--lr", 0.05, "--out", out)  # fmt: skip
    _run("energy", chip, "--schedule", out / "schedule.h5", "--out", at / "energy.h5")
    _run("validate", "domain-wall-7", out / "weights.h5", *on, "--out", at / "validation.h5")
    return at


def _run(*words: object) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0


def test_the_network_has_vgg8s_blocks() -> None:
    ours, vgg8 = (parse_blocks(name) for name in (NETWORK, "vgg8"))
    assert ours[1] == vgg8[1]
    assert [(b.pool, b.linear) for b in ours[0]] == [(b.pool, b.linear) for b in vgg8[0]]


def test_the_matrix_is_that_of_single_pulses(row: Path) -> None:
    """From the left end V^2 t / R0, and less than twice that: few writes take a second try."""
    found = load_characterization(row / "chip.h5")
    assert found.states == STATES
    single_j = found.set_v**2 * found.set_width_s / found.resistance_ohm[0]
    upward_j = _matrix(row)[0, 1:]
    assert np.all(upward_j > 0.95 * single_j)
    assert np.all(upward_j < 2.0 * single_j)


def test_the_way_down_is_a_reset_pulse_and_a_set(row: Path) -> None:
    """A reset spends V^2 t / R, of some R between that of the top state and that of the left end."""
    matrix_j, reset = _matrix(row), load_characterization(row / "chip.h5").reset
    assert isinstance(reset, VoltagePulse)
    assert 1.0 < matrix_j[6, 0] * 1e6 / (reset.amplitude_v**2 * reset.width_s) < 1.3
    for state in range(1, STATES - 1):
        assert matrix_j[6, state] == pytest.approx(matrix_j[6, 0] + matrix_j[0, state])


def _matrix(row: Path) -> Floats:
    with open_run(row / "energy.h5") as run:
        return np.asarray(run.result("energy_matrix")["pulse_j"])


def test_some_writes_miss_and_the_network_has_what_the_walls_hold(row: Path) -> None:
    with open_run(row / "trained" / "cells.h5") as run:
        final, steps = run.result("final_weights"), run.table("loop_steps")
    assert steps["writes_wrong"].sum() > 0
    assert np.array_equal(Network.load(row / "trained" / "weights.h5").levels, final["held"])
    assert not np.array_equal(final["asked"], final["held"])


def test_verified_it_keeps_its_accuracy(row: Path) -> None:
    with open_run(row / "validation.h5") as run:
        found = run.result("accuracy")
    accuracy = dict(zip(found["row_name"].values, found["accuracy"].values, strict=True))
    assert accuracy["decoded read-back, closed loop"] == accuracy["ideal integer network"]
    assert found.attrs["wrong_weights"] == 0
