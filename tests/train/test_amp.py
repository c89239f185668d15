"""bfloat16 convolutions: not a spike differs, whatever the sums."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from quest_lab import seeds
from quest_lab.errors import BadInput
from quest_lab.layers import Topology
from quest_lab.train.config import TrainConfig
from quest_lab.train.data import load_dataset
from quest_lab.train.model import Passed, SpikingVGG

WIDE = TrainConfig(network="64-96M-64-F", bits=4, time_steps=3)  # sums up to 864 * 7


def _passed(config: TrainConfig) -> Passed:
    data = load_dataset("digits")
    topology = Topology.parse(config.network, data.image_shape, 10)
    model = SpikingVGG(topology, config, data.mean, data.std, seeds.generator(0, "weights"))
    return model(model.present(data.train_images[:24]))


@pytest.mark.parametrize("neuron", ["if-hard", "if-soft", "lif-soft"])
def test_no_spike_differs(neuron: str) -> None:
    config = replace(WIDE, neuron=neuron)
    plain, amp = _passed(config), _passed(replace(config, amp=True))
    assert sum(int(spikes.sum()) for spikes in plain.leaving) > 1000
    assert all(torch.equal(a, b) for a, b in zip(plain.leaving, amp.leaving, strict=True))
    assert all((a == b).all() for a, b in zip(plain.moves, amp.moves, strict=True))


def test_where_spikes_could_change_it_is_refused() -> None:
    for other in ({"bits": 32}, {"batch_norm": True}, {"neuron": "mfp"}):
        with pytest.raises(BadInput, match="amp=True"):
            TrainConfig(amp=True, **other)  # type: ignore[arg-type]
