"""Integer inference beside the FP32 inference of SpikingJelly, snnTorch and Norse, without batch norm.

    python benchmarks/bench_inference.py [--rounds 9] [--batch 64] [--peers-python PYTHON] [--write]

The network of benchmarks/peers.py, T = 4, 2 bits here. The levels are random, a third each of -1, 0 and 1; the scale
of every layer is set so that a given share of its neurons fires at each step, since our speed depends on the spikes
and the peers' does not. They get the same weights. Tap counts and spike counts are included on our side.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from alternating import PEERS, Variant, alternate, arguments, fastest, head, peers_of, publish, ratio, serve

try:
    from quest_lab.convolution import max_pool, sum_levels, to_last
    from quest_lab.layers import Topology
    from quest_lab.network import Layer, Network
except ImportError:  # the peers run in an environment of their own
    pass

TEXT, STEPS, THETA = "64M-128-128M-256-256M-F", 4, 1.0
RATES = (0.05, 0.15, 0.5)


def ours(rate: float, batch: int) -> tuple[Callable[[], object], dict[str, object]]:
    """A network whose neurons fire at about `rate`, and the rates that it was found to have."""
    network, images = empty(), np.random.default_rng(1).random((batch, 3, 32, 32)).astype(np.float32)
    scales = network.encoder_weight * np.geomspace(0.02, 4, 12, dtype=np.float32).reshape(-1, 1, 1, 1, 1)
    tried = [replace(network, encoder_weight=scaled) for scaled in scales]
    network = min(tried, key=lambda one: abs(one.encode(images[:8]).mean() - rate))
    for info, block, levels in zip(
        network.topology.layers(), network.topology.blocks[1:], weights()[1:], strict=True
    ):
        spikes = max_pool(to_last(network.encode(images[:8])))
        for layer in network.layers:
            fired = network.fire(layer, spikes)
            spikes = max_pool(fired) if layer.pool else fired
        limit = max(float(np.quantile(sum_levels(spikes, levels, 1), 1 - rate)), 0.5)
        network = replace(network, layers=(*network.layers, Layer(info, levels, THETA / limit, block.pool)))
    found = network.infer(images)
    places = STEPS * batch * np.array([(info.inputs, info.neurons) for info in network.infos]).sum(0)
    facts = {
        "entering": float(found.spikes_in.sum() / places[0]),
        "leaving": float(found.spikes_out.sum() / places[1]),
    }
    return lambda: network.infer(images), facts


def empty() -> Network:
    """Encoder and head of the network, and no layer between them yet."""
    rng = np.random.default_rng(2)
    topology = Topology.parse(TEXT, (3, 32, 32), 10)
    return Network(
        topology=topology, bits=2, time_steps=STEPS, theta=THETA, layers=(),
        encoder_weight=weights()[0], encoder_bias=np.zeros(64, np.float32),
        head_weight=rng.normal(0, 0.1, (10, topology.features)).astype(np.float32),
        head_bias=np.zeros(10, np.float32), mean=np.full(3, 0.5, np.float32), std=np.full(3, 0.25, np.float32),
        dataset="random", class_names=tuple("0123456789"), seed=0,
    )  # fmt: skip


def weights() -> list[np.ndarray]:
    """Weights of the encoder, float32, and levels of the other convolutions, int8."""
    rng = np.random.default_rng(0)
    shapes = [info.shape for info in Topology.parse(TEXT, (3, 32, 32), 10).layers()]
    first = rng.normal(0, 0.3, (64, 3, 3, 3)).astype(np.float32)
    return [first, *(rng.integers(-1, 2, shape).astype(np.int8) for shape in shapes)]


def work(name: str, batch: int, rate: float, levels: str) -> None:
    if name == "ours":
        run, facts = ours(rate, batch)
        serve(run, **facts)
        return
    import peers
    import torch

    with np.load(levels) as stored:
        serve(peers.inference(name, [torch.tensor(0.1 * stored[k]).float() for k in stored], batch))


def claims(found: dict[str, Variant]) -> list[str]:
    """The rates that ours ran at, and how much faster than the fastest peer it was."""
    lines, others = [], peers_of(found)
    for name, v in found.items():
        if name in PEERS:
            continue
        rates = (
            f"{v.facts['entering']:.2f} spikes an input and step, {v.facts['leaving']:.2f} a neuron and step"
        )
        lines.append(f"- {name}: {rates}")
        if others:
            best = fastest(others)
            lines.append(f"  - against {best.name}, the fastest peer: {ratio(v, best)} times as fast; goal 3")
    return lines


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.batch, given.rate, given.weights)
        return
    before = head(__file__)
    tail = ["--batch", str(given.batch)]
    commands = {
        f"ours, {rate:g} fire": [sys.executable, __file__, "--worker", "ours", "--rate", str(rate), *tail]
        for rate in RATES
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        np.savez(path, *weights())
        for name in PEERS:
            commands[name] = [given.peers_python, __file__, "--worker", name, "--weights", str(path), *tail]
        found = alternate(commands, given.rounds)
    publish("Integer inference", before, found, claims(found), given)


if __name__ == "__main__":
    main()
