"""Does the integer network fire the same spikes as the training graph? Counted, not assumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quest_lab.network import Network, as_floats
from quest_lab.train.config import Agreement
from quest_lab.train.model import SpikingVGG

NEAR_THRESHOLD = 1e-5


@torch.no_grad()
def compare(model: SpikingVGG, network: Network, images: NDArray[Any], *, chunk: int = 128) -> Agreement:
    """Run both on `images` (N, channels, height, width) and count the spikes that differ."""
    parts = [_compare(model, network, images[i : i + chunk]) for i in range(0, len(images), chunk)]
    return Agreement(
        images=len(images),
        layer_spikes=sum(p.layer_spikes for p in parts),
        layer_differences=tuple(np.sum([p.layer_differences for p in parts], 0).tolist()),
        encoder_neurons=sum(p.encoder_neurons for p in parts),
        encoder_differences=sum(p.encoder_differences for p in parts),
        encoder_unexplained=sum(p.encoder_unexplained for p in parts),
    )


def _compare(model: SpikingVGG, network: Network, images: NDArray[Any]) -> Agreement:
    floats = torch.from_numpy(np.ascontiguousarray(as_floats(images)))
    graph = [spikes.numpy() for spikes in model(floats).leaving]
    encoded = model.encode(floats).numpy()
    integer = network.layer_spikes(encoded)
    differs = encoded != network.encode(images)
    odd = differs.any(0)
    far = np.abs(_membrane(model, floats) - model.config.theta) >= NEAR_THRESHOLD
    at_first = np.take_along_axis(far, differs.argmax(0)[None], 0)[0]
    return Agreement(
        images=len(images),
        layer_spikes=sum(int(spikes.sum()) for spikes in graph),
        layer_differences=tuple(int(np.sum(a != b)) for a, b in zip(graph, integer, strict=True)),
        encoder_neurons=int(odd.size),
        encoder_differences=int(odd.sum()),
        encoder_unexplained=int(np.sum(odd & at_first)),
    )


def _membrane(model: SpikingVGG, images: torch.Tensor) -> NDArray[np.float32]:
    """The encoder's membranes before firing, (T, N, channels, height, width)."""
    current = model.encoder_current(images)
    h, u = [], torch.zeros_like(current)
    for _ in range(model.config.time_steps):
        h.append(u + current)
        u = h[-1] * (h[-1] <= model.config.theta)
    return torch.stack(h).numpy()
