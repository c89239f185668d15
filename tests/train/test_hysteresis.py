"""Hysteresis of the rounding: by hand on single weights, and its effect on a training run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quest_lab.errors import BadInput
from quest_lab.network import Network
from quest_lab.schedule import Schedule
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.loop import Checkpoints, train
from quest_lab.train.quantise import hold_weights, quantise_weights, settle

CONFIG = TrainConfig(network="8-8M-12-F", epochs=3, batch_size=128, learning_rate=4e-3)


def test_a_weight_leaves_its_level_only_beyond_the_margin() -> None:
    """Boundary at 0.5 levels, margin 0.1: level 0 is left above 0.6, level 1 below 0.4."""
    held = torch.zeros(1)
    seen = []
    for position in (0.45, 0.55, 0.59, 0.61, 0.55, 0.41, 0.39, 0.45):
        settle(torch.atanh(torch.tensor([position])), torch.tensor(1.0), 2, held, 0.1)
        seen.append(int(held))
    assert seen == [0, 0, 0, 1, 1, 1, 0, 0]


def test_held_levels_have_the_gradients_of_plain_rounding() -> None:
    def gradients(held: bool) -> list[torch.Tensor]:
        weights, alpha = torch.linspace(-1, 1, 9, requires_grad=True), torch.tensor(0.6, requires_grad=True)
        plain = quantise_weights(weights, alpha, 2)
        out = hold_weights(weights, alpha, 2, torch.ones(9)) if held else plain
        (out * torch.arange(9.0)).sum().backward()
        return [weights.grad, alpha.grad]  # type: ignore[list-item]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(a, b)


def _run(folder: Path, hysteresis: float) -> TrainResult:
    folder.mkdir()
    config = replace(CONFIG, hysteresis=hysteresis)
    return train(
        config, weights=folder / "w.h5", schedule=folder / "s.h5", checkpoints=Checkpoints(folder / "c.h5")
    )


def test_it_writes_less_and_the_files_agree(tmp_path: Path) -> None:
    plain, held = _run(tmp_path / "plain", 0.0), _run(tmp_path / "held", 0.2)
    with Schedule.open(plain.schedule) as a, Schedule.open(held.schedule) as b:
        assert b.writes < 0.8 * a.writes
        assert np.array_equal(b.final_levels, Network.load(held.weights).levels)
    assert held.agreement.exact


def test_a_margin_that_no_weight_could_pass_is_refused() -> None:
    with pytest.raises(BadInput, match=r"hysteresis=0\.5: want 0 or above, and below 0\.5 levels"):
        TrainConfig(hysteresis=0.5)
