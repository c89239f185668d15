"""An FP32 network out of weights that were trained elsewhere, checked against what memory cells can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.blocks import KERNEL, SAME, Window
from quest_lab.errors import BadInput
from quest_lab.layers import FP32, LayerInfo, Topology
from quest_lab.network import Floats32, Layer, Network
from quest_lab.neurons import IF_HARD, Neuron

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Weights:
    """A layer, by its `name` in the file: `weight` (c_out, c_in, kh, kw) or (c_out, inputs), `bias` (c_out,).

    `window` of a convolution; `neuron`: None, that of the network.
    """

    name: str
    weight: Array
    bias: Array | None = None
    window: Window = SAME
    neuron: Neuron | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """What a network looks at: images (channels, height, width) of a data set, of 0..1, less `mean`, over `std`."""

    dataset: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def per_channel(self, name: str) -> Floats32:
        """`mean` or `std`, one number for each channel. Raises BadInput."""
        given, channels = getattr(self, name), self.shape[0]
        if len(given) not in (1, channels):
            raise BadInput(f"{name}: {len(given)} numbers, want 1 or {channels}, one for each channel")
        if not np.all(np.isfinite(given)) or (name == "std" and min(given) <= 0):
            raise BadInput(f"{name}={given}: want finite numbers{', above 0' if name == 'std' else ''}")
        return np.full(channels, given, np.float32)


@dataclass(frozen=True, slots=True)
class Timing:
    """How the network runs: `neuron` of all layers, threshold `theta`, `time_steps` an image is shown."""

    time_steps: int = 4
    neuron: Neuron = IF_HARD
    theta: float = 1.0

    def __post_init__(self) -> None:
        if self.time_steps < 1:
            raise BadInput(f"time_steps={self.time_steps}: want at least 1")
        if not 0 < self.theta < float("inf"):
            raise BadInput(f"theta={self.theta}: want a finite threshold above 0")


def assemble(
    topology: Topology, found: Sequence[Weights], timing: Timing, images: Images, *, source: str
) -> Network:
    """The FP32 network of `found`: encoder, layers and head in this order. Raises BadInput: shapes.

    `source`: how messages call the file.
    """
    classes = len(images.class_names)
    if topology.classes != classes:
        raise BadInput(f"{source}: {topology.classes} outputs, but {images.dataset!r} has {classes} classes")
    encoder, *inner, head = checked(topology, found, source)
    infos, pools = topology.layers(), [block.pool for block in topology.blocks[1:]]
    return Network(
        topology=topology,
        bits=FP32,
        time_steps=timing.time_steps,
        theta=timing.theta,
        encoder_weight=encoder.weight.reshape(topology.encoder_shape),
        encoder_bias=_bias(encoder),
        layers=tuple(_layer(*row, timing.neuron) for row in zip(infos, inner, pools, strict=True)),
        head_weight=head.weight,
        head_bias=_bias(head),
        mean=images.per_channel("mean"),
        std=images.per_channel("std"),
        dataset=images.dataset,
        class_names=images.class_names,
        seed=0,
        neuron=timing.neuron,
    )


def shapes(topology: Topology) -> dict[str, tuple[int, ...]]:
    """Weight shapes by layer name, encoder first and head last, as PyTorch has them: linear ones (c_out, inputs)."""
    first = "fc1" if topology.blocks[0].linear else "conv1"
    quantised = {info.name: info.shape for info in topology.layers()}
    every = {first: topology.encoder_shape, **quantised}
    want: dict[str, tuple[int, ...]] = {n: s[:2] if n.startswith("fc") else s for n, s in every.items()}
    return want | {"head": (topology.classes, topology.features)}


def spelled(layer: Weights) -> str:
    """A convolution as a part of a topology: 8, 8k5s2p0."""
    kernel, window = layer.weight.shape[2], layer.window
    same = window.padding is None or (kernel % 2 and window.padding == kernel // 2)
    words = [
        str(len(layer.weight)),
        f"k{kernel}" * (kernel != KERNEL),
        f"s{window.stride}" * (window.stride != 1),
    ]
    return "".join(words) + ("" if same else f"p{window.padding}")


def checked(topology: Topology, found: Sequence[Weights], source: str) -> list[Weights]:
    """Encoder, layers and head in float32. Raises BadInput: shapes, no finite numbers."""
    return [
        _check_layer(layer, f"{name} of {topology.text}", shape, source)
        for layer, (name, shape) in zip(found, shapes(topology).items(), strict=True)
    ]


def _check_layer(layer: Weights, what: str, shape: tuple[int, ...], source: str) -> Weights:
    """The layer in float32."""
    for part, values, want in (("weight", layer.weight, shape), ("bias", layer.bias, shape[:1])):
        if values is None:
            continue
        if values.shape != want:
            raise BadInput(f"{source}: {layer.name}: {part} has shape {values.shape}, want {want} ({what})")
        if values.dtype.kind not in "fiu" or not np.all(np.isfinite(values)):
            raise BadInput(f"{source}: {layer.name}: {part}: want finite numbers, found {values.dtype}")
    bias = None if layer.bias is None else layer.bias.astype(np.float32)
    return replace(layer, weight=layer.weight.astype(np.float32), bias=bias)


def _layer(info: LayerInfo, found: Weights, pool: bool, neuron: Neuron) -> Layer:
    """In FP32; a bias of zeros is none."""
    bias = found.bias if found.bias is not None and np.any(found.bias) else None
    own = None if found.neuron == neuron else found.neuron
    return Layer(info, found.weight.reshape(info.shape), 1.0, pool, bias=bias, neuron=own)


def _bias(layer: Weights) -> Floats32:
    return np.zeros(len(layer.weight), np.float32) if layer.bias is None else layer.bias
