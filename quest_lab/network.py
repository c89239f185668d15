"""Spiking inference without torch: what the memory cells and their neurons compute, in integers.

FP32 encoder convolution and its neurons -> quantised convolutions and linear layers, each with its neurons and
perhaps a 2x2 maximum pooling -> spatial average or flatten -> FP32 linear layer, T time steps. What a quantised layer
computes: quest_lab.spiking_layer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.convolution import fire_encoder, max_pool, places, sum_floats, to_first, to_last
from quest_lab.encodings import DIRECT, spike_train
from quest_lab.errors import BadInput
from quest_lab.layers import FP32, Counts, LayerInfo, Levels, Topology, tap_counts, top_level
from quest_lab.network_file import load_network, save_network
from quest_lab.neurons import IF_HARD, Neuron
from quest_lab.spike_kernels import Spikes, cores, keep_memory
from quest_lab.spiking_layer import Layer as Layer
from quest_lab.spiking_layer import enter_layer, fire_layer

Array = NDArray[Any]
Floats32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Inference:
    """What a run over N images gave. Counts are exact, summed over images and time steps.

    `logits` float32 (N, classes) summed over time; `predictions` int64 (N,); `spikes_in`, `spikes_out`
    int64 (layers,); `taps` int64 (total_taps,) in the schedule's flat order; `encoding_spikes` entered the
    encoder (0 with direct coding).
    """

    logits: Floats32
    predictions: NDArray[np.int64]
    spikes_in: Counts
    spikes_out: Counts
    taps: Counts
    encoding_spikes: int = 0


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network. `mean` and `std` (channels,) normalise images of 0..1 before the encoder.

    `encoding` as in quest_lab.encodings; `seed` is also that of the spikes of rate coding. `membrane_bits`: of the
    membranes, in levels of the weights' scale; None: as of the weights (MINT).
    """

    topology: Topology
    bits: int
    time_steps: int
    theta: float
    encoder_weight: Floats32
    encoder_bias: Floats32
    layers: tuple[Layer, ...]
    head_weight: Floats32
    head_bias: Floats32
    mean: Floats32
    std: Floats32
    dataset: str
    class_names: tuple[str, ...]
    seed: int
    neuron: Neuron = IF_HARD
    encoding: str = DIRECT
    membrane_bits: int | None = None

    @classmethod
    def load(cls, path: Path | str) -> Network:
        """Read `weights.h5`. Raises BadInput: missing, truncated, foreign, another version, wrong shapes."""
        stored, arrays = load_network(Path(path))
        topology = stored.topology
        pools = [block.pool for block in topology.blocks[1:]]
        layers = tuple(
            Layer(info, kept.weights, kept.alpha, pool, kept.norm, kept.bias, kept.neuron)
            for info, kept, pool in zip(topology.layers(), stored.layers, pools, strict=True)
        )
        return cls(topology=topology, layers=layers, **arrays, **stored.settings)

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write `weights.h5` (through a .part file). Raises BadInput if it exists or holds no levels."""
        save_network(self, Path(path), overwrite=overwrite)

    @property
    def infos(self) -> tuple[LayerInfo, ...]:
        return tuple(layer.info for layer in self.layers)

    @property
    def integer(self) -> bool:
        """Whether the layers after the encoder compute with integers alone."""
        normed = any(layer.norm is not None for layer in self.layers)
        return self.bits != FP32 and (bool(self.neuron.history) or not normed)

    def check_integer(self, what: str) -> None:
        """Raise BadInput, naming `what`, unless the network is an integer one that memory cells can hold."""
        if self.bits == FP32:
            raise BadInput(
                f"{what}: an FP32 network has no levels to write into cells; train with 2 to 8 bits"
            )
        if not self.integer:
            raise BadInput(
                f"{what}: batch norm gives each channel its own scale, and with a {self.neuron} membrane it does not "
                "fold into integers; train without it, or with neuron mfp, where it folds exactly"
            )

    @property
    def levels(self) -> Levels:
        """Levels of all quantised layers, flat int8 in the schedule's order."""
        if self.bits == FP32:
            raise BadInput("network: FP32 weights are no levels")
        if any(layer.weights.dtype != np.int8 for layer in self.layers):
            raise BadInput("network: weights are an analogue read-back, not levels")
        return np.concatenate([layer.weights.ravel() for layer in self.layers])

    def with_levels(self, flat: Levels) -> Network:
        """The same network with other levels, flat (weights,) in -top..top. Raises BadInput."""
        top = top_level(self.bits)
        values = self._checked(flat)
        if not np.issubdtype(values.dtype, np.integer) or np.any(np.abs(values.astype(np.int64)) > top):
            raise BadInput(f"levels: want integers in {-top}..{top} ({self.bits} bits)")
        return self._with(values.astype(np.int8))

    def with_weights(self, flat: Array) -> Network:
        """The same network with real weights, flat (weights,) in units of a level (analogue read-back)."""
        values = self._checked(flat).astype(np.float64)
        if not np.all(np.isfinite(values)):
            raise BadInput(f"weights: {int(np.sum(~np.isfinite(values)))} of {values.size} are not finite")
        return self._with(values)

    def _checked(self, flat: Array) -> Array:
        values = np.asarray(flat)
        want = sum(info.size for info in self.infos)
        if values.shape != (want,):
            raise BadInput(f"weights: shape {values.shape}, this network has ({want},)")
        return values

    def _with(self, flat: Array) -> Network:
        own = (flat[x.info.weights_slice].reshape(x.info.shape) for x in self.layers)
        layers = tuple(replace(x, weights=w) for x, w in zip(self.layers, own, strict=True))
        return replace(self, layers=layers)

    def infer(self, images: Array, *, chunk: int = 16, threads: int | None = None) -> Inference:
        """Run `images` (N, channels, height, width), uint8 or floats of 0..1, `chunk` at a time in each thread.

        `threads`: as many as there are cores. Neither changes a spike.
        """
        chunks = self._chunks(images, chunk)
        keep_memory()
        with ThreadPoolExecutor(threads or cores()) as pool:
            parts = list(pool.map(self._infer, chunks, range(0, len(images), chunk)))
        logits = np.concatenate([p.logits for p in parts])
        return Inference(
            logits=logits,
            predictions=logits.argmax(1).astype(np.int64),
            spikes_in=np.sum([p.spikes_in for p in parts], 0),
            spikes_out=np.sum([p.spikes_out for p in parts], 0),
            taps=np.sum([p.taps for p in parts], 0),
            encoding_spikes=sum(p.encoding_spikes for p in parts),
        )

    def _infer(self, images: Array, first: int) -> Inference:
        entering = self.present(images, first=first)
        spikes = 0 if self.encoding == DIRECT else int(entering.sum(dtype=np.float64))
        return replace(self.propagate(self._encoded(entering)), encoding_spikes=spikes)

    def _chunks(self, images: Array, chunk: int) -> list[Array]:
        if images.ndim != 4 or images.shape[1:] != self.topology.input_shape or not len(images):
            raise BadInput(f"images: shape {images.shape}, want (N, *{self.topology.input_shape}) with N > 0")
        return [images[i : i + chunk] for i in range(0, len(images), chunk)]

    def accuracy(self, images: Array, labels: Array) -> float:
        """Share of `images` whose prediction is its label, 0..1."""
        return float(np.mean(self.infer(images).predictions == labels))

    def present(self, images: Array, *, first: int = 0) -> Floats32:
        """What enters the encoder at each step, (T or 1, N, channels, height, width); 1: the same at all T.

        `first`: number of the first of `images` in the data set, which keys the draws of rate coding.
        """
        floats = as_floats(images)
        if self.encoding == DIRECT:
            return ((floats - _per_channel(self.mean)) / _per_channel(self.std))[None]
        numbers = np.arange(first, first + len(images))
        return spike_train(floats, self.encoding, self.time_steps, seed=self.seed, numbers=numbers)

    def encode(self, images: Array, *, first: int = 0) -> Spikes:
        """Spikes of the FP32 encoder, uint8 (T, N, channels, height, width), before its pooling if it has one."""
        return self._encoded(self.present(images, first=first))

    def _encoded(self, entering: Floats32) -> Spikes:
        if self.topology.blocks[0].linear:
            entering = entering.reshape(*entering.shape[:2], -1, 1, 1)
        x = to_last(entering)
        current = sum_floats(x, self.encoder_weight, self.encoder_bias, self.topology.blocks[0].window)
        if self.neuron.history:
            every = np.broadcast_to(current, (self.time_steps, *current.shape[1:]))
            limit = np.float32(self.neuron.unit * self.theta)
            return to_first((self.neuron.mixed(every) > limit).astype(np.uint8))
        if self.neuron.synapse:
            every = np.broadcast_to(current, (self.time_steps, *current.shape[1:]))
            current = self.neuron.through_synapse(every, None)
        return to_first(fire_encoder(current, self.neuron, self.theta, self.time_steps))

    def propagate(self, encoder_spikes: Array) -> Inference:
        """Run the quantised layers and the head on spikes (T, N, channels, height, width) of the encoder."""
        spikes = self._encoder_pooled(encoder_spikes)
        reads = self.neuron.reads(self.time_steps)
        taps, entering, leaving = [], [], []
        for layer in self.layers:
            spikes = enter_layer(layer, spikes)
            counts = places(spikes)
            read = np.tensordot(reads, counts, 1)
            taps.append(tap_counts(read, layer.info.shape[2:], layer.info.window).ravel())
            fired = self.fire(layer, spikes)
            entering.append(counts.sum())
            leaving.append(places(fired).sum())
            spikes = max_pool(fired) if layer.pool else fired
        logits = self._head(spikes)
        return Inference(
            logits, logits.argmax(1), np.array(entering), np.array(leaving), np.concatenate(taps)
        )

    def layer_spikes(self, encoder_spikes: Array) -> list[Array]:
        """Spikes of each quantised layer before pooling, (T, N, channels, height, width) each."""
        spikes, every = self._encoder_pooled(encoder_spikes), []
        for layer in self.layers:
            fired = self.fire(layer, enter_layer(layer, spikes))
            every.append(to_first(fired))
            spikes = max_pool(fired) if layer.pool else fired
        return every

    def _encoder_pooled(self, encoder_spikes: Array) -> Array:
        spikes = to_last(encoder_spikes).astype(np.uint8, copy=False)
        return max_pool(spikes) if self.topology.blocks[0].pool else spikes

    def fire(self, layer: Layer, spikes: Spikes) -> Spikes:
        """Spikes of one layer's neurons from those entering it, both uint8 (T, N, height, width, channels)."""
        neuron = self.neuron if layer.neuron is None else layer.neuron
        top = self._membrane_top()
        return fire_layer(layer, spikes, neuron, bits=self.bits, theta=self.theta, top=top)

    def _membrane_top(self) -> int | None:
        """Largest level of a membrane; None in an FP32 network."""
        return None if self.bits == FP32 else int(2 ** ((self.membrane_bits or self.bits) - 1)) - 1

    def _head(self, spikes: Array) -> Floats32:
        """Logits (N, classes) summed over time: linear, so the spikes are summed first (exact)."""
        total = to_first(spikes.sum(0, dtype=np.float32))
        features = total.reshape(len(total), -1) if self.topology.flatten else total.mean((2, 3))
        # not features @ weight.T: see quest_lab.convolution.sum_floats
        sums = np.einsum("nf,cf->nc", features, self.head_weight)
        logits = sums + np.float32(self.time_steps) * self.head_bias
        return np.asarray(logits, np.float32)


def as_floats(images: Array) -> Floats32:
    """Images as float32 of 0..1: uint8 is divided by 255, floats are taken as they are."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return images.astype(np.float32)


def _per_channel(values: Floats32) -> Floats32:
    return values.reshape(-1, 1, 1)
