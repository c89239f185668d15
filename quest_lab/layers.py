"""Quantised layers as a table: shapes, places in the flat arrays, tap counts, MACs, rates.

A *tap* is one input channel and kernel position (c_in, kh, kw). Every weight of a tap (one per output
channel) is read once for each spike that meets the tap. Border taps are counted as the convolution does:
a (tap, output position) pair counts only if the tap lies inside the image. The tap counts S and the MAC
count OP_tot use this same rule, so AOR = 1 when every spike is present at one step and no weight is zero.

Formulas: QUEST (arXiv 2504.00679), spike rate, weight sparsity and activation operation rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.blocks import NETWORKS, SAME, Block, Window, parse_blocks
from quest_lab.errors import BadInput

Levels: TypeAlias = NDArray[np.int8]
Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Spec: TypeAlias = tuple[str, tuple[int, int, int, int], tuple[int, int]]

MAX_BITS = 8
ACCUMULATE_J = 0.9e-12  # an FP32 addition in 45 nm CMOS (DIET-SNN, arXiv 2008.03658)
FP32 = 32  # "bits" of a network that is not quantised


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One quantised layer: `shape` is (c_out, c_in, kh, kw), `offset` its place in the flat weights.

    A linear layer is a 1x1 convolution of one place: its taps are (c_in, 1, 1).

    `macs`: multiply-accumulates of one pass of one sample, padding not counted. `neurons` fire (before
    pooling), `inputs` are the places a spike can enter (after the pooling of the layer before). A schedule does not
    keep `window`: its tap counts are summed already.
    """

    name: str
    shape: tuple[int, int, int, int]
    offset: int
    taps_offset: int
    macs: int
    neurons: int
    inputs: int
    window: Window = SAME

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def taps(self) -> int:
        return int(np.prod(self.shape[1:]))

    @property
    def weights_slice(self) -> slice:
        return slice(self.offset, self.offset + self.size)

    @property
    def taps_slice(self) -> slice:
        return slice(self.taps_offset, self.taps_offset + self.taps)


@dataclass(frozen=True, slots=True)
class Topology:
    """A spiking VGG: the first block is the FP32 encoder, the rest is quantised, an FP32 linear layer ends.

    Written `32-32M-64-64M-A`: channels of each 3x3 convolution (stride 1, padding 1), `M` = 2x2 maximum
    pooling after its neurons, then `A` = spatial average (the default) or `F` = flatten; after `F` quantised
    linear layers may follow, `L1024`. `F-L128-L64` has no convolution: its encoder is a linear layer of 128
    outputs. `32k5s2p0M` has 5x5 kernels, stride 2 and no padding (networks from elsewhere alone; without `p` the
    padding is (k - 1) // 2). `text` is spelled out also for a network given by name.
    """

    text: str
    input_shape: tuple[int, int, int]
    classes: int
    blocks: tuple[Block, ...]
    flatten: bool

    @classmethod
    def parse(cls, text: str, input_shape: tuple[int, int, int], classes: int) -> Topology:
        """The network `text` names or spells, on images (channels, height, width). Raises BadInput."""
        blocks, flatten = parse_blocks(text)
        topology = cls(NETWORKS.get(text, text), input_shape, classes, blocks, flatten)
        entering: tuple[int, int] = input_shape[1:]
        for number, (block, size) in enumerate(zip(blocks, topology.sizes(), strict=False), 1):
            for what, left in (("kernel", size), ("pooling", block.pooled(size))):
                if min(entering) > 0 and min(left) < 1:
                    raise BadInput(
                        f"network {text!r}: the {what} of part {number} of {len(blocks)} leaves nothing of images of "
                        f"{input_shape[1]}x{input_shape[2]} pixels"
                    )
        return topology

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each block's neurons, then of the last block's output after pooling."""
        entering: tuple[int, int] = self.input_shape[1:]
        sizes = []
        for block in self.blocks:
            sizes.append(block.size(entering))
            entering = block.pooled(sizes[-1])
        return (*sizes, entering)

    @property
    def encoder_shape(self) -> tuple[int, int, int, int]:
        """Of the encoder's weights, (c_out, c_in, kh, kw)."""
        first, (channels, height, width) = self.blocks[0], self.input_shape
        if first.linear:
            return first.channels, channels * height * width, 1, 1
        return first.channels, channels, first.kernel, first.kernel

    @property
    def features(self) -> int:
        """Inputs of the last linear layer."""
        return self._flat(len(self.blocks)) if self.flatten else self.blocks[-1].channels

    def _flat(self, block: int) -> int:
        """Places that the blocks before `block` lead to: channels x height x width."""
        return self.blocks[block - 1].channels * math.prod(self._leaving(block - 1))

    def _leaving(self, block: int) -> tuple[int, int]:
        """(height, width) of what leaves a block, after pooling."""
        return self.blocks[block].pooled(self.sizes()[block])

    def layers(self) -> tuple[LayerInfo, ...]:
        """The quantised layers in the order of the flat weights."""
        specs: list[Spec] = []
        for i, block in enumerate(self.blocks[1:], 1):
            if block.linear:
                specs.append((f"fc{i + 1}", (block.channels, self._flat(i), 1, 1), (1, 1)))
            else:
                shape = block.channels, self.blocks[i - 1].channels, block.kernel, block.kernel
                specs.append((f"conv{i + 1}", shape, self._leaving(i - 1)))
        return layer_table(specs, [block.window for block in self.blocks[1:]])


def layer_table(specs: Sequence[Spec], windows: Sequence[Window] | None = None) -> tuple[LayerInfo, ...]:
    """Layers from (name, weight shape, (height, width) of what enters); `windows`: default stride 1, same-padded."""
    table: list[LayerInfo] = []
    offset = taps_offset = 0
    for (name, shape, size), window in zip(specs, windows or [SAME] * len(specs), strict=True):
        c_out, c_in, *kernel = shape
        macs = c_out * c_in * math.prod(_pairs(n, k, window) for n, k in zip(size, kernel, strict=True))
        neurons = c_out * math.prod(window.places(n, k) for n, k in zip(size, kernel, strict=True))
        inputs = c_in * math.prod(size)
        table.append(LayerInfo(name, shape, offset, taps_offset, macs, neurons, inputs, window))
        offset, taps_offset = offset + table[-1].size, taps_offset + table[-1].taps
    return tuple(table)


def _pairs(size: int, kernel: int, window: Window) -> int:
    """(tap, output place) pairs inside the image, along one axis."""
    spans = (window.met(size, tap, kernel) for tap in range(kernel))
    return sum(len(range(size)[span]) for span in spans)


def tap_counts(counts: Counts, kernel: tuple[int, int], window: Window = SAME) -> Counts:
    """Tap counts S, shape (c, kh, kw), from spike counts per input place, shape (c, height, width); exact."""
    channels, height, width = counts.shape
    taps = np.empty((channels, *kernel), np.int64)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            inside = counts[:, window.met(height, i, kernel[0]), window.met(width, j, kernel[1])]
            taps[:, i, j] = inside.sum((1, 2), dtype=np.int64)
    return taps


def top_level(bits: int) -> int:
    """Largest level of `bits`: 1, 3, 7 for 2, 3, 4 bits (2**bits - 1 levels, MINT). Raises BadInput."""
    if bits == FP32:
        raise BadInput(f"bits={bits}: an FP32 network has no levels; want 2 to {MAX_BITS} bits")
    if not 2 <= bits <= MAX_BITS:
        raise BadInput(f"bits={bits}: want 2 to {MAX_BITS}")
    return int(2 ** (bits - 1)) - 1


def reads_by_level(layer: LayerInfo, taps: Counts, levels: Levels, bits: int) -> Counts:
    """Reads N_v of the weights at each level v = -top..top of one layer, shape (2**bits - 1,); exact.

    `taps` and `levels` are the flat arrays of the whole network. Row v = 0 is what a row-activated array
    reads in vain and a gated one skips.
    """
    top = top_level(bits)
    own = levels[layer.weights_slice].reshape(layer.shape[0], layer.taps)
    reads = taps[layer.taps_slice]
    return np.array([int((own == v).sum(0) @ reads) for v in range(-top, top + 1)], np.int64)


@dataclass(frozen=True, slots=True)
class Activity:
    """Rates, shape (layers,): R_in of the spikes entering, R_out leaving, sparsity, AOR (not / T)."""

    rate_in: Floats
    rate_out: Floats
    sparsity: Floats
    aor: Floats


def activity(
    layers: Sequence[LayerInfo],
    levels: Levels,
    *,
    taps: Counts,
    spikes_in: Counts,
    spikes_out: Counts,
    samples: int,
    bits: int,
) -> Activity:
    """Spike rates, sparsity and AOR = OP_eff / OP_tot of `samples` images (QUEST)."""
    top = top_level(bits)
    reads = [reads_by_level(layer, taps, levels, bits) for layer in layers]
    effective = [int(n.sum() - n[top]) for n in reads]
    return Activity(
        rate_in=spikes_in / np.array([samples * layer.inputs for layer in layers]),
        rate_out=spikes_out / np.array([samples * layer.neurons for layer in layers]),
        sparsity=np.array([float(np.mean(levels[layer.weights_slice] == 0)) for layer in layers]),
        aor=np.array([n / (samples * layer.macs) for n, layer in zip(effective, layers, strict=True)]),
    )
