"""Does the network without torch fire the same spikes as the training graph? Counted, not assumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quest_lab.network import Network
from quest_lab.train.config import Agreement
from quest_lab.train.model import SpikingVGG
from quest_lab.train.neurons import float_membranes

NEAR_THRESHOLD = 1e-5


@torch.no_grad()
def compare(model: SpikingVGG, network: Network, images: NDArray[Any], *, chunk: int = 128) -> Agreement:
    """Run both on `images` (N, channels, height, width) and count the spikes that differ."""
    training = model.training
    model.eval()
    parts = [_compare(model, network, images[i : i + chunk], i) for i in range(0, len(images), chunk)]
    model.train(training)
    return Agreement(
        images=len(images),
        layer_spikes=sum(p.layer_spikes for p in parts),
        layer_differences=tuple(np.sum([p.layer_differences for p in parts], 0).tolist()),
        encoder_neurons=sum(p.encoder_neurons for p in parts),
        encoder_differences=sum(p.encoder_differences for p in parts),
        encoder_unexplained=sum(p.encoder_unexplained for p in parts),
    )


def _compare(model: SpikingVGG, network: Network, images: NDArray[Any], first: int) -> Agreement:
    entering = model.present(images, numbers=np.arange(first, first + len(images)))
    graph = [spikes.cpu().numpy() for spikes in model(entering).leaving]
    encoded = model.encode(entering).cpu().numpy()
    integer = network.layer_spikes(encoded)
    differs = encoded != network.encode(images, first=first)
    odd = differs.any(0)
    far = np.abs(_membrane(model, entering) - model.config.theta) >= NEAR_THRESHOLD
    at_first = np.take_along_axis(far, differs.argmax(0)[None], 0)[0]
    return Agreement(
        images=len(images),
        layer_spikes=sum(int(spikes.sum()) for spikes in graph),
        layer_differences=tuple(int(np.sum(a != b)) for a, b in zip(graph, integer, strict=True)),
        encoder_neurons=int(odd.size),
        encoder_differences=int(odd.sum()),
        encoder_unexplained=int(np.sum(odd & at_first)),
    )


def _membrane(model: SpikingVGG, entering: torch.Tensor) -> NDArray[np.float32]:
    """The encoder's membranes before firing, (T, N, channels, height, width)."""
    current = model.encoder_current(entering)
    if model.neuron.history:
        return model.encoder_potential(current).cpu().numpy()
    return float_membranes(current, model.config.theta, model.config.time_steps, model.neuron).cpu().numpy()
