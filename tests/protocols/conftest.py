"""Small quantised networks of random levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quest_lab.layers import Topology
from quest_lab.network import Layer, Network


def random_network(bits: int = 2, topology: str = "3-4-A", seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    parsed, top = Topology.parse(topology, (1, 4, 4), 2), 2 ** (bits - 1) - 1
    layers = tuple(
        Layer(info, rng.integers(-top, top + 1, info.shape).astype(np.int8), 0.4, False)
        for info in parsed.layers()
    )
    first, features = parsed.blocks[0].channels, parsed.features
    floats = lambda *shape: rng.normal(0, 1, shape).astype(np.float32)  # noqa: E731 - shorthand
    return Network(
        topology=parsed, bits=bits, time_steps=2, theta=0.5, encoder_weight=floats(first, 1, 3, 3),
        encoder_bias=floats(first), layers=layers, head_weight=floats(2, features), head_bias=floats(2),
        mean=np.zeros(1, np.float32), std=np.ones(1, np.float32), dataset="made up", class_names=("a", "b"),
        seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="session")
def network() -> Callable[..., Network]:
    """network(bits, topology, seed): by default one quantised layer of 108 weights, two cells each fit on 240."""
    return random_network
