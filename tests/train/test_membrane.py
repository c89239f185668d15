"""Moves of membrane levels against a neuron stepped by hand."""

from __future__ import annotations

import numpy as np
import torch

from quest_lab.neurons import IF_HARD
from quest_lab.train.membrane import membrane_moves
from quest_lab.train.neurons import fire_quantised
from quest_lab.train.rule import Rule


def test_one_neuron_by_hand() -> None:
    """Currents 1, -3, 2, 5 at threshold 4, levels -1..1: 0 -> 1 -> -1 -> 1 -> fires to 0, and stays 0 at the end."""
    current = torch.tensor([[1.0], [-3.0], [2.0], [5.0]])
    spikes = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    want = np.zeros((3, 3), int)
    for was, now in ((0, 1), (1, -1), (-1, 1), (1, 0), (0, 0)):
        want[was + 1, now + 1] += 1
    assert np.array_equal(membrane_moves(current, spikes, Rule.of(IF_HARD, 0.125, 0.5, 2, whole=True)), want)


def test_many_neurons_against_plain_python() -> None:
    rng = np.random.default_rng(0)
    current = torch.from_numpy(rng.integers(-6, 7, (5, 40)).astype(np.float32))
    spikes = fire_quantised(current, torch.tensor(0.4), 0.5, 3)
    want = np.zeros((7, 7), int)
    for currents, fired in zip(current.numpy().T, spikes.numpy().T, strict=True):
        level = 0
        for i, s in zip([*currents, 0], [*fired, 1], strict=True):  # the last: back to 0 for the next image
            after = 0 if s else int(np.clip(level + i, -3, 3))
            want[level + 3, after + 3] += 1
            level = after
    assert np.array_equal(membrane_moves(current, spikes, Rule.of(IF_HARD, 0.4, 0.5, 3, whole=True)), want)
