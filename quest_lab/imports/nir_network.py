"""A chain of NIR nodes as an FP32 network of ours: what can be folded exactly is folded, the rest refused.

Folded into the weights, exactly: the gain of a time step and the threshold of each channel (theta becomes 1), Scale
nodes, and poolings before a linear layer, whose weights are then repeated on every place of a tile. Refused, because a
membrane of added levels cannot do it: biases after the encoder, poolings before a convolution, leaks other than 1 and
1/2, synapses and loops. Neurons after the last linear layer are kept: a head of the unit matrix counts their spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing, Weights, assemble
from quest_lab.imports.dialects import DIALECTS, Dialect
from quest_lab.imports.nir_file import Array, Node, Shape, read_chain
from quest_lab.layers import Floats, Topology
from quest_lab.network import Network
from quest_lab.neurons import LEAK, Neuron

_CLOSE = 1e-6  # leaks and factors are quotients of float32 numbers in these files


@dataclass(slots=True)
class _Chain:
    """What has been read so far: layers, leaks of their neurons, the shape here, and what waits for a next layer."""

    shape: Shape
    dialect: Dialect
    layers: list[Weights] = field(default_factory=list)
    leaks: list[tuple[Node, float]] = field(default_factory=list)
    firing: bool = True  # whether spikes (or the image) are here; else currents of a layer without neurons
    scale: Array | None = None
    pools: list[tuple[Node, Shape]] = field(default_factory=list)

    def add(self, node: Node) -> None:
        """Take the next node."""
        if node.kind in ("Conv2d", "Linear", "Affine"):
            self._add_layer(node)
        elif node.kind in ("IF", "LIF"):
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
        weight, bias = node.array("weight"), None if node.kind == "Linear" else node.array("bias")
        if weight.ndim != (4 if node.kind == "Conv2d" else 2):
            raise node.refuse(f"weight has shape {weight.shape}")
        if node.kind == "Conv2d":
            node.check_convolution()
            self._check_inputs(node, weight.shape[1], 3)
            self._refuse_pools(node)
            if self.scale is not None:
                factors = _per_channel(node, "the scale before it", self.scale, len(self.scale))
                weight = weight * factors[:, None, None]
            self.shape = (len(weight), *self.shape[1:])
        else:
            self._check_inputs(node, weight.shape[1], 1)
            weight = weight if self.scale is None else weight * self.scale.ravel()
            weight = self._before_pools(weight)
            self.shape = (len(weight),)
        self.layers.append(Weights(node.name, weight, bias))
        self.firing, self.scale, self.pools = False, None, []

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
        self._refuse_rest(node)
        theta, r = node.array("v_threshold"), node.array("r")
        if not (theta.min() > 0 and np.all(np.isfinite(theta))):
            raise node.refuse(f"v_threshold={theta.min():g}, must be finite and above 0")
        leak, gain = 1.0, self.dialect.if_gain(r)
        if node.kind == "LIF":
            leak, gain = self._leak(node), self.dialect.lif_gain(node.array("tau"), r)
        if not gain.min() > 0:
            raise node.refuse(
                f"a step adds {gain.min():g} of a current, must be above 0: wrong dt, or tau below it"
            )
        self._scale_layer(_per_channel(node, "r / v_threshold", gain / theta, self.shape[0]))
        self.leaks.append((node, leak))
        self.firing = True

    def _refuse_rest(self, node: Node) -> None:
        for name in ("v_reset", "v_leak"):
            if np.any(getattr(node.values, name, 0)):
                raise node.refuse(f"{name}={node.array(name).ravel()[0]:g}: membranes rest at 0 here")

    def _leak(self, node: Node) -> float:
        leaks = self.dialect.leak(node.array("tau"))
        if np.ptp(leaks) > _CLOSE:
            raise node.refuse(
                f"leaks from {leaks.min():.4g} to {leaks.max():.4g}; want one leak for all neurons"
            )
        for leak in (1.0, LEAK):
            if abs(leaks.flat[0] - leak) < _CLOSE:
                return leak
        raise node.refuse(
            f"a step leaves {leaks.flat[0]:.4g} of the membrane; want 1 or {LEAK}, which keep it an integer "
            "(does the file's time step fit? see --written-by and --dt)"
        )

    def _scale_layer(self, factor: Floats) -> None:
        """Multiply the currents of the last layer, (c_out,)."""
        factor = np.where(np.abs(factor - 1.0) < _CLOSE, 1.0, factor)
        last = self.layers[-1]
        weight = last.weight * factor.reshape(-1, *[1] * (last.weight.ndim - 1))
        self.layers[-1] = Weights(last.name, weight, None if last.bias is None else last.bias * factor)

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
        if not self.firing or len(self.shape) != 3 or self.scale is not None:
            raise node.refuse("want it right after the neurons of a convolution")
        self.pools.append((node, self.shape))
        self.shape = (self.shape[0], self.shape[1] // kernel[0], self.shape[2] // kernel[1])
        if min(self.shape) < 1:
            raise node.refuse(f"leaves nothing of {self.pools[-1][1]}")

    def _before_pools(self, weight: Array) -> Array:
        """Weights of a linear layer on the spikes before the poolings that wait."""
        for node, shape in reversed(self.pools):
            weight = _unpooled(weight, shape, node.pair("kernel_size"), average=node.kind == "AvgPool2d")
        return weight

    def _refuse_pools(self, node: Node) -> None:
        if self.pools:
            raise self.pools[0][0].refuse(
                f"leads to {node.name!r}: sums of spikes are no spikes, and only a linear layer can take them in; "
                "train with 2x2 maximum pooling, which a state dict can bring"
            )

    def finish(self) -> tuple[list[Weights], Neuron]:
        """Encoder, layers and head, and the neuron they share. Raises BadInput."""
        if not self.layers or len(self.shape) != 1:
            raise BadInput(
                f"graph: ends in shape {self.shape}; want the currents or spikes of a linear layer"
            )
        if self.scale is not None:
            raise BadInput("graph: ends in a Scale of spikes")
        layers = list(self.layers)
        if self.firing:
            layers.append(Weights("head", np.eye(self.shape[0], dtype=np.float32)))
        return layers, self._neuron()

    def _neuron(self) -> Neuron:
        if not self.leaks:
            raise BadInput("graph: has no IF or LIF neurons")
        first = self.leaks[0][1]
        for node, leak in self.leaks:
            if leak != first:
                raise node.refuse(
                    f"leak {leak:g}, that of {self.leaks[0][0].name!r} is {first:g}; want one for all"
                )
        return Neuron(leak=first)


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


def _unpooled(weight: Array, shape: Shape, kernel: tuple[int, int], *, average: bool) -> Array:
    """Weights (n, c h w) on `shape` (c, h, w) that do what `weight` does after a pooling of tiles; 0 beyond them."""
    channels, height, width = shape
    rows, columns = height // kernel[0], width // kernel[1]
    spread = weight.reshape(-1, channels, rows, columns)
    spread = spread.repeat(kernel[0], 2).repeat(kernel[1], 3) / (kernel[0] * kernel[1] if average else 1)
    out = np.zeros((len(weight), channels, height, width), spread.dtype)
    out[:, :, : rows * kernel[0], : columns * kernel[1]] = spread
    return out.reshape(len(weight), -1)


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

    `written_by`: one of DIALECTS, whose time step and leak the file has; `dt`: another time step. `neuron`: default
    as the file says, reset to 0, which is NIR's definition; `if-soft` if it was trained with a soft reset, which NIR
    cannot say. Raises BadInput, naming the node and the reason, for what memory cells cannot do exactly.
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
        layers, found = chain.finish()
        chosen = _chosen(found, neuron, dialect)
        topology = Topology.parse(_text(layers), _image_shape(shape, images), len(layers[-1].weight))
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    return assemble(topology, layers, Timing(time_steps, chosen), images, source=str(source))


def _chosen(found: Neuron, asked: str | None, dialect: Dialect) -> Neuron:
    """The neuron with the reset that was asked for. Raises BadInput where the rest does not fit."""
    if asked is None:
        return found
    neuron = Neuron.parse(asked)
    if neuron.history or neuron.leak != found.leak:
        raise BadInput(f"neuron={asked!r}: the file's neurons are {found} or {replace(found, soft=True)}")
    if neuron.soft and neuron.leak != 1 and dialect.late_reset:
        raise BadInput(
            f"neuron={asked!r}: snnTorch takes the threshold off one step later, after the leak; only beta = 1, "
            "reset_mechanism='zero' or reset_delay=False (then say --written-by nir) is this neuron"
        )
    return neuron


def _text(layers: Sequence[Weights]) -> str:
    """The topology of encoder and layers, without the head: 8-8-F-L16."""
    inner = layers[:-1]
    parts = [f"L{len(x.weight)}" if x.weight.ndim == 2 else f"{len(x.weight)}" for x in inner]
    parts.insert(sum(x.weight.ndim == 4 for x in inner), "F")
    return "-".join(parts)


def _image_shape(shape: Shape, images: Images) -> tuple[int, int, int]:
    """That of the images, if they are what the graph takes."""
    if shape not in (images.shape, (int(np.prod(images.shape)),)):
        raise BadInput(
            f"graph: takes inputs of shape {shape}, but images of {images.dataset!r} are {images.shape}"
        )
    return images.shape
