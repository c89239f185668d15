"""Average poolings of a state dict: written V (`8V-12V-F`) where `train` has M, and taken into the next layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from quest_lab.blocks import NETWORKS
from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Weights, checked, spelled
from quest_lab.imports.pooling import Pool
from quest_lab.layers import Topology

_AVERAGED = re.compile(r"V(?=-|$)")


def with_maxima(text: str) -> str:
    """The network with maxima in place of averages: what it takes has the same shapes."""
    return text if text in NETWORKS else _AVERAGED.sub("M", text)


def fold_averages(
    text: str, topology: Topology, found: Sequence[Weights], source: str
) -> tuple[Topology, list[Weights]]:
    """`topology` of `with_maxima(text)` and its layers without the averages. Raises BadInput where they do not fold."""
    words = NETWORKS.get(text, text).split("-")
    averaged = [i for i, word in enumerate(words) if word.endswith("V")]
    layers = [
        replace(x, window=block.window)
        for x, block in zip(
            checked(topology, found, source), (*topology.blocks, topology.blocks[-1]), strict=True
        )
    ]
    for i in averaged:
        words[i] = words[i].removesuffix("V")
        if words[i + 1 : i + 2] != ["F"] and i + 1 == len(topology.blocks):
            raise BadInput(f"{source}: network {text!r}: an average before the spatial average of A; want F")
        layers[i + 1] = _folded(
            Pool((2, 2), True, (topology.blocks[i].channels, *topology.sizes()[i])), layers[i + 1]
        )
    for i in averaged:
        if layers[i + 1].weight.ndim == 4:
            words[i + 1] = spelled(layers[i + 1]) + ("M" if words[i + 1].endswith("M") else "")
    return Topology.parse("-".join(words), topology.input_shape, topology.classes), layers


def _folded(pool: Pool, layer: Weights) -> Weights:
    if layer.weight.ndim == 2:
        return replace(layer, weight=pool.into_linear(layer.weight))
    try:
        weight, window = pool.into_next(layer.weight, layer.window)
    except BadInput as error:
        raise BadInput(f"{layer.name}: the average before it {error}") from None
    return replace(layer, weight=weight, window=window)
