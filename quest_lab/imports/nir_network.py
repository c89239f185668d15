"""A chain of NIR nodes as an FP32 network of ours: what can be folded exactly is folded, the rest refused.

Folded into the weights, exactly: the gain of a time step and the threshold of each channel (theta becomes 1), Scale
nodes, and poolings (quest_lab.imports.pooling), whose layer then has its weights on every place of a tile. A rest that
membranes also reset to is their zero. Refused, because a membrane of added levels cannot do it: several leaks in a
layer, synapses and loops. Neurons after the last linear layer are kept: a head of the unit matrix counts their spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from quest_lab.blocks import SAME, Window
from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing, Weights, assemble, spelled
from quest_lab.imports.dialects import DIALECTS, Dialect
from quest_lab.imports.nir_file import Array, Node, Shape, read_chain
from quest_lab.imports.pooling import Pool
from quest_lab.imports.resets import with_reset
from quest_lab.layers import Floats, Topology
from quest_lab.network import Network
from quest_lab.neurons import IF_HARD, Neuron

_CLOSE = 1e-6  # leaks and factors are quotients of float32 numbers in these files
_DECIMALS = 4  # of a leak that was given as a decimal number


@dataclass(slots=True)
class _Chain:
    """What has been read so far: layers with their neurons' leaks, the shape here, and what waits for a next layer."""

    shape: Shape
    dialect: Dialect
    layers: list[Weights] = field(default_factory=list)
    firing: bool = True  # whether spikes (or the image) are here; else currents of a layer without neurons
    scale: Array | None = None
    pools: list[tuple[Node, Pool]] = field(default_factory=list)

    def add(self, node: Node) -> None:
        """Take the next node."""
        if node.kind in ("Conv2d", "Linear", "Affine"):
            self._add_layer(node)
        elif node.kind in ("IF", "LIF", "CubaLIF"):
            self._add_neurons(node)
        elif node.kind == "Scale":
            self._add_scale(node)
        elif node.kind == "Flatten":
            self._flatten(node)
        else:
            self._add_pool(node)

    def _add_layer(self, node: Node) -> None:
        if not self.firing:
            raise node.refuse(f"follows {self.layers[-1].name!r} without neurons between them")
        bias = None if node.kind == "Linear" else node.array("bias")
        dimensions = node.array("weight").ndim
        if dimensions != (4 if node.kind == "Conv2d" else 2):
            raise node.refuse(f"weight has shape {node.array('weight').shape}")
        weight, window = self._convolution(node) if dimensions == 4 else (self._linear(node), SAME)
        self.layers.append(Weights(node.name, weight, bias, window))
        self.firing, self.scale, self.pools = False, None, []

    def _linear(self, node: Node) -> Array:
        weight = node.array("weight")
        self._check_inputs(node, weight.shape[1], 1)
        self.shape = (len(weight),)
        weight = weight if self.scale is None else weight * self.scale.ravel()
        for _, pool in reversed(self.pools):
            weight = pool.into_linear(weight)
        return weight

    def _convolution(self, node: Node) -> tuple[Array, Window]:
        weight, window = node.convolution()
        self._check_inputs(node, weight.shape[1], 3)
        height, width = (window.places(size, weight.shape[2]) for size in self.shape[1:])
        if min(height, width) < 1:
            raise node.refuse(f"kernel {weight.shape[2:]} leaves nothing of {self.shape}")
        self.shape = (len(weight), height, width)
        if self.scale is not None:
            factors = _per_channel(node, "the scale before it", self.scale, len(self.scale))
            weight = weight * factors[:, None, None]
        for at, pool in reversed(self.pools):
            weight, window = _named(at, pool.into_next, weight, window)
        return weight, window

    def _check_inputs(self, node: Node, inputs: int, dimensions: int) -> None:
        if len(self.shape) != dimensions:
            raise node.refuse(
                f"meets spikes of shape {self.shape}" + ("; want a Flatten" if dimensions == 1 else "")
            )
        if self.shape[0] != inputs:
            raise node.refuse(f"takes {inputs} inputs, but {self.shape[0]} arrive")

    def _add_neurons(self, node: Node) -> None:
        if self.firing:
            raise node.refuse("follows no layer of weights")
        theta, r = node.array("v_threshold") - self._rest(node), node.array("r")
        if not (theta.min() > 0 and np.all(np.isfinite(theta))):
            raise node.refuse(f"v_threshold={theta.min():g} above the rest, must be finite and above 0")
        neuron, gain = IF_HARD, self.dialect.if_gain(r)
        if node.kind == "LIF":
            neuron, gain = Neuron(leak=self._leak(node, "tau")), self.dialect.lif_gain(node.array("tau"), r)
        elif node.kind == "CubaLIF":
            neuron = Neuron(leak=self._leak(node, "tau_mem"), synapse=self._leak(node, "tau_syn"))
            gain = self.dialect.lif_gain(node.array("tau_mem"), r)
            gain = gain * self.dialect.synapse_gain(node.array("tau_syn"), node.array("w_in"))
        if not gain.min() > 0:
            raise node.refuse(
                f"a step adds {gain.min():g} of a current, must be above 0: wrong dt, or tau below it"
            )
        self._scale_layer(_per_channel(node, "r / v_threshold", gain / theta, self.shape[0]))
        self.layers[-1] = replace(self.layers[-1], neuron=neuron)
        self.firing = True

    def _rest(self, node: Node) -> Array:
        """Where membranes start, leak to and are reset to."""
        rest = node.array("v_reset")
        leak = rest if node.kind == "IF" else node.array("v_leak")
        if np.any(rest != leak):
            raise node.refuse(
                f"v_reset={rest.ravel()[0]:g}, v_leak={leak.ravel()[0]:g}: want both alike; membranes rest at one value"
            )
        return rest

    def _leak(self, node: Node, tau: str) -> float:
        leaks = self.dialect.leak(node.array(tau))
        if np.ptp(leaks) > _CLOSE:
            raise node.refuse(
                f"{tau}: leaks from {leaks.min():.4g} to {leaks.max():.4g}; want one leak for all neurons"
            )
        leak = float(leaks.flat[0])
        if not 0 < leak < 1 + _CLOSE:
            raise node.refuse(
                f"{tau}: a step leaves {leak:.4g} of the membrane, want a share above 0 and at most 1 (does the file's "
                "time step fit? see --written-by and --dt)"
            )
        plain = round(leak, _DECIMALS)
        return plain if abs(leak - plain) < _CLOSE and plain > 0 else leak

    def _scale_layer(self, factor: Floats) -> None:
        """Multiply the currents of the last layer, (c_out,)."""
        factor = np.where(np.abs(factor - 1.0) < _CLOSE, 1.0, factor)
        last = self.layers[-1]
        weight = last.weight * factor.reshape(-1, *[1] * (last.weight.ndim - 1))
        self.layers[-1] = replace(last, weight=weight, bias=None if last.bias is None else last.bias * factor)

    def _add_scale(self, node: Node) -> None:
        scale = node.array("scale")
        if not self.firing:
            self._scale_layer(_per_channel(node, "scale", scale, self.shape[0]))
        elif self.pools or scale.shape not in ((), (1,), self.shape):
            raise node.refuse(f"scale of shape {scale.shape} on spikes of shape {self.shape}")
        else:
            self.scale = np.ones(self.shape) * scale * (1.0 if self.scale is None else self.scale)

    def _flatten(self, node: Node) -> None:
        if not self.firing:
            raise node.refuse("want it after neurons")
        ends = int(node.values.start_dim), int(node.values.end_dim)
        if len(self.shape) == 3 and ends not in ((0, -1), (0, 2), (-3, -1)):
            raise node.refuse(f"flattens dimensions {ends[0]} to {ends[1]}; want all, 0 to -1")
        self.shape = (int(np.prod(self.shape)),)

    def _add_pool(self, node: Node) -> None:
        kernel = node.pair("kernel_size")
        if node.pair("stride") != kernel or node.pair("padding") != (0, 0):
            raise node.refuse(f"kernel {kernel}: want tiles, the stride as the kernel and no padding")
        if len(self.shape) != 3 or self.scale is not None:
            raise node.refuse(f"meets {self.shape}; want it right after a convolution or its neurons")
        channels, height, width = self.shape
        pool = Pool(kernel, node.kind == "AvgPool2d", (channels, height, width))
        if min(pool.after) < 1:
            raise node.refuse(f"leaves nothing of {self.shape}")
        self.shape = pool.after
        if self.firing:
            self.pools.append((node, pool))
        else:
            self._pool_currents(node, pool)

    def _pool_currents(self, node: Node, pool: Pool) -> None:
        """Take a pooling into the convolution before it."""
        last = self.layers[-1]
        weight, window = _named(node, pool.into_last, last.weight, last.window)
        bias = None if last.bias is None else last.bias * (pool.factor * pool.side**2)
        self.layers[-1] = replace(last, weight=weight, bias=bias, window=window)

    def finish(self) -> list[Weights]:
        """Encoder, layers and head. Raises BadInput."""
        if not self.layers or len(self.shape) != 1:
            raise BadInput(
                f"graph: ends in shape {self.shape}; want the currents or spikes of a linear layer"
            )
        if self.scale is not None:
            raise BadInput("graph: ends in a Scale of spikes")
        layers = list(self.layers)
        if self.firing:
            layers.append(Weights("head", np.eye(self.shape[0], dtype=np.float32)))
        if layers[0].neuron is None:
            raise BadInput("graph: has no IF or LIF neurons")
        return layers


def _per_channel(node: Node, what: str, values: Array, channels: int) -> Floats:
    """One number for each channel of (), (1,), (channels,) or (channels, height, width) values."""
    found = np.asarray(values, np.float64)
    if found.size == 1:
        return np.full(channels, found.flat[0])
    if found.size % channels or found.shape[0] != channels:
        raise node.refuse(f"{what} has shape {found.shape}, but its layer {channels} channels")
    rows = found.reshape(channels, -1)
    apart = np.ptp(rows, axis=1) > _CLOSE * np.abs(rows).max(axis=1)
    if np.any(apart):
        c = int(np.argmax(apart))
        raise node.refuse(
            f"{what} runs from {rows[c].min():g} to {rows[c].max():g} within channel {c}; all neurons of a channel "
            "share their weights, so want one"
        )
    return np.asarray(rows[:, 0])


def _named(
    node: Node, fold: Callable[[Array, Window], tuple[Array, Window]], weight: Array, window: Window
) -> tuple[Array, Window]:
    """`fold(weight, window)`, with the node's name in what it raises."""
    try:
        return fold(weight, window)
    except BadInput as error:
        raise node.refuse(str(error)) from None


def from_nir(
    path: Path | str,
    images: Images,
    *,
    time_steps: int = 4,
    written_by: str = "nir",
    neuron: str | None = None,
    dt: float | None = None,
) -> Network:
    """The FP32 network of a NIR file, all thresholds 1, for `images`.

    `written_by`: one of DIALECTS, whose time step and leak the file has; `dt`: another time step. `neuron`: how it
    was reset, which NIR cannot say, like `lif-soft`; its leak is the file's. Default: a reset to zero, NIR's
    definition, unless the library has another default. Raises BadInput, naming the node and the reason, for what
    memory cells cannot do exactly.
    """
    source = Path(path)
    if written_by not in DIALECTS:
        raise BadInput(f"written_by={written_by!r}: want one of {', '.join(DIALECTS)}")
    dialect = DIALECTS[written_by].with_dt(dt)
    try:
        shape, nodes = read_chain(source)
        chain = _Chain(shape, dialect)
        for node in nodes:
            chain.add(node)
        layers = chain.finish()
        layers = with_reset(layers, neuron, dialect, written_by)
        topology = Topology.parse(_text(layers), _image_shape(shape, images), len(layers[-1].weight))
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    timing = Timing(time_steps, layers[0].neuron or IF_HARD)
    return assemble(topology, layers, timing, images, source=str(source))


def _text(layers: Sequence[Weights]) -> str:
    """The topology of encoder and layers, without the head: 8-8-F-L16."""
    inner = layers[:-1]
    parts = [f"L{len(x.weight)}" if x.weight.ndim == 2 else spelled(x) for x in inner]
    parts.insert(sum(x.weight.ndim == 4 for x in inner), "F")
    return "-".join(parts)


def _image_shape(shape: Shape, images: Images) -> tuple[int, int, int]:
    """That of the images, if they are what the graph takes."""
    if shape not in (images.shape, (int(np.prod(images.shape)),)):
        raise BadInput(
            f"graph: takes inputs of shape {shape}, but images of {images.dataset!r} are {images.shape}"
        )
    return images.shape
