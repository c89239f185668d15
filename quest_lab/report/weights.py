"""Section of trained weights: the layers and how their levels are shared out."""

from __future__ import annotations

import numpy as np

from quest_lab.layers import FP32
from quest_lab.network import Network
from quest_lab.report.numbers import levels, percent
from quest_lab.report.page import Numbers, Section, Text
from quest_lab.report.sources import Files, Source


def section(source: Source, _files: Files) -> Section:
    """The trained network."""
    network = Network.load(source.path)
    if network.bits == FP32:
        return _float_section(network, source)
    names = levels(2**network.bits - 1)
    half = len(names) // 2
    rows = []
    for layer in network.layers:
        own = network.levels[layer.info.weights_slice]
        shares = np.bincount(own.astype(np.int64) + half, minlength=len(names)) / own.size
        shape = " × ".join(map(str, layer.info.shape))
        rows.append((layer.info.name, shape, f"{own.size}", f"{layer.alpha:.4f}", *map(percent, shares)))
    shown = [f"level {name}" for name in names] if len(names) <= 7 else []
    header = ("layer", "shape", "weights", "α", *shown)
    note = "α: scale of the layer, weights and membrane alike; a weight is level · α / (2^(b−1) − 1) (MINT)."
    return Section(
        f"Trained weights ({source.path.name})",
        [
            Text(
                f"{_described(network)}: {network.levels.size} quantised weights of {network.bits} bits. The first "
                "convolution and the last layer are FP32."
                + ("" if network.integer else " Its batch norm does not fold into integers.")
            ),
            Numbers("Quantised layers", header, [row[: len(header)] for row in rows], note),
        ],
    )


def _described(network: Network) -> str:
    return (
        f"Network {network.topology.text} on {network.dataset}, neurons {network.neuron}, {network.encoding} coding, "
        f"T = {network.time_steps}, seed {network.seed}"
    )


def _float_section(network: Network, source: Source) -> Section:
    """An FP32 network has no levels to share out."""
    rows = [
        (x.info.name, " × ".join(map(str, x.info.shape)), f"{x.info.size}", f"{x.weights.std():.4f}")
        for x in network.layers
    ]
    table = Numbers("Layers", ("layer", "shape", "weights", "standard deviation"), rows, "")
    return Section(
        f"FP32 weights ({source.path.name})", [Text(f"{_described(network)}: not quantised."), table]
    )
