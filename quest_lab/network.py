"""Integer spiking inference without torch: what the memory cells and their neurons compute.

FP32 encoder convolution and its neurons (direct coding) -> quantised convolutions, each with integer
neurons and perhaps a 2x2 maximum pooling -> spatial average or flatten -> FP32 linear layer, T time steps.

A quantised layer (MINT, arXiv 2305.09850, integrate and fire, hard reset): h = u + sum of the levels whose
spike is 1; fires iff h >= floor(theta / scale) + 1 with scale = alpha / (2**(bits-1) - 1); then u = 0 where
it fired, else h clamped to the levels. Weights and membrane share alpha, so nothing is ever multiplied.

The sums run through floating-point matrix products and are exact all the same: spikes are 0 or 1, levels
are integers, and every partial sum stays below 2**24, the end of float32's gapless integers (float64 is
taken where fan-in x top level could pass that), so no order of summation rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import Counts, LayerInfo, Levels, Topology, tap_counts, top_level
from quest_lab.network_file import load_network, save_network

Array = NDArray[Any]
Floats32 = NDArray[np.float32]

_COLUMN_BYTES = 1 << 26  # memory of one block of convolution columns


@dataclass(frozen=True, slots=True)
class QuantisedLayer:
    """Levels int8 (c_out, c_in, kh, kw), or float64 in units of a level after an analogue read-back."""

    info: LayerInfo
    weights: Array
    alpha: float
    pool: bool


@dataclass(frozen=True, slots=True)
class Inference:
    """What a run over N images gave. Counts are exact, summed over images and time steps.

    `logits` float32 (N, classes) summed over time; `predictions` int64 (N,); `spikes_in`, `spikes_out`
    int64 (layers,); `taps` int64 (total_taps,) in the schedule's flat order.
    """

    logits: Floats32
    predictions: NDArray[np.int64]
    spikes_in: Counts
    spikes_out: Counts
    taps: Counts


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network. `mean` and `std` (channels,) normalise images of 0..1 before the encoder."""

    topology: Topology
    bits: int
    time_steps: int
    theta: float
    encoder_weight: Floats32
    encoder_bias: Floats32
    layers: tuple[QuantisedLayer, ...]
    head_weight: Floats32
    head_bias: Floats32
    mean: Floats32
    std: Floats32
    dataset: str
    class_names: tuple[str, ...]
    seed: int

    @classmethod
    def load(cls, path: Path | str) -> Network:
        """Read `weights.h5`. Raises BadInput: missing, truncated, foreign, another version, wrong shapes."""
        stored, arrays = load_network(Path(path))
        topology = stored.topology
        layers = tuple(
            QuantisedLayer(info, levels, alpha, block.pool)
            for info, levels, alpha, block in zip(
                topology.layers(), stored.levels, stored.alphas, topology.blocks[1:], strict=True
            )
        )
        return cls(topology=topology, layers=layers, **arrays, **stored.settings)

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write `weights.h5` (through a .part file). Raises BadInput if it exists or holds no levels."""
        save_network(self, Path(path), overwrite=overwrite)

    @property
    def infos(self) -> tuple[LayerInfo, ...]:
        return tuple(layer.info for layer in self.layers)

    @property
    def levels(self) -> Levels:
        """Levels of all quantised layers, flat int8 in the schedule's order."""
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

    def infer(self, images: Array, *, chunk: int = 64) -> Inference:
        """Run `images` (N, channels, height, width), uint8 or floats of 0..1, `chunk` at a time."""
        parts = [self.propagate(self.encode(part)) for part in self._chunks(images, chunk)]
        logits = np.concatenate([p.logits for p in parts])
        return Inference(
            logits=logits,
            predictions=logits.argmax(1).astype(np.int64),
            spikes_in=np.sum([p.spikes_in for p in parts], 0),
            spikes_out=np.sum([p.spikes_out for p in parts], 0),
            taps=np.sum([p.taps for p in parts], 0),
        )

    def _chunks(self, images: Array, chunk: int) -> list[Array]:
        if images.ndim != 4 or images.shape[1:] != self.topology.input_shape or not len(images):
            raise BadInput(f"images: shape {images.shape}, want (N, *{self.topology.input_shape}) with N > 0")
        return [images[i : i + chunk] for i in range(0, len(images), chunk)]

    def accuracy(self, images: Array, labels: Array) -> float:
        """Share of `images` whose prediction is its label, 0..1."""
        return float(np.mean(self.infer(images).predictions == labels))

    def encode(self, images: Array) -> Floats32:
        """Spikes of the FP32 encoder, (T, N, channels, height, width), before its pooling if it has one."""
        x = (as_floats(images) - _per_channel(self.mean)) / _per_channel(self.std)
        current = _convolve(_to_last(x), self.encoder_weight, np.dtype(np.float32)) + self.encoder_bias
        membrane = np.zeros_like(current)
        spikes = np.empty((self.time_steps, *current.shape), np.float32)
        theta = np.float32(self.theta)
        for step in spikes:
            membrane += current
            step[...] = membrane > theta
            membrane *= 1 - step
        return _to_first(spikes)

    def propagate(self, encoder_spikes: Array) -> Inference:
        """Run the quantised layers and the head on spikes (T, N, channels, height, width) of the encoder."""
        spikes = self._encoder_pooled(encoder_spikes)
        taps, entering, leaving = [], [], []
        for layer in self.layers:
            counts = _places(spikes)
            taps.append(tap_counts(counts, layer.info.shape[2:]).ravel())
            fired = self.fire(layer, spikes)
            entering.append(counts.sum())
            leaving.append(_places(fired).sum())
            spikes = max_pool(fired) if layer.pool else fired
        logits = self._head(spikes)
        return Inference(
            logits, logits.argmax(1), np.array(entering), np.array(leaving), np.concatenate(taps)
        )

    def layer_spikes(self, encoder_spikes: Array) -> list[Array]:
        """Spikes of each quantised layer before pooling, (T, N, channels, height, width) each."""
        spikes, every = self._encoder_pooled(encoder_spikes), []
        for layer in self.layers:
            fired = self.fire(layer, spikes)
            every.append(_to_first(fired))
            spikes = max_pool(fired) if layer.pool else fired
        return every

    def _encoder_pooled(self, encoder_spikes: Array) -> Array:
        spikes = _to_last(encoder_spikes)
        return max_pool(spikes) if self.topology.blocks[0].pool else spikes

    def fire(self, layer: QuantisedLayer, spikes: Array) -> Array:
        """Spikes of one layer's neurons from those entering it, both (T, N, height, width, channels)."""
        top = top_level(self.bits)
        integer = layer.weights.dtype == np.int8
        dtype = _exact_type(layer.info.taps, top) if integer else np.dtype(np.float64)
        # h > theta / scale and h >= floor(theta / scale) + 1 are the same for integers.
        level = integer_threshold(self.theta, layer.alpha, self.bits) if integer else None
        current = _convolve(spikes.reshape(-1, *spikes.shape[2:]), layer.weights, dtype)
        current = current.reshape(*spikes.shape[:2], *current.shape[1:])
        membrane = np.zeros_like(current[0])
        fired = np.empty(current.shape, np.float32)
        for out, arriving in zip(fired, current, strict=True):
            membrane += arriving
            out[...] = membrane >= level if integer else membrane > self.theta * top / layer.alpha
            membrane = np.clip(np.rint(membrane) if not integer else membrane, -top, top) * (1 - out)
        return fired

    def _head(self, spikes: Array) -> Floats32:
        """Logits (N, classes) summed over time: linear, so the spikes are summed first (exact)."""
        total = _to_first(spikes.sum(0))
        features = total.reshape(len(total), -1) if self.topology.flatten else total.mean((2, 3))
        logits = features @ self.head_weight.T + np.float32(self.time_steps) * self.head_bias
        return np.asarray(logits, np.float32)


def integer_threshold(theta: float, alpha: float, bits: int) -> int:
    """Smallest integer h that fires: floor(theta / scale) + 1, scale = alpha / (2**(bits-1) - 1)."""
    return math.floor(theta * top_level(bits) / alpha) + 1


def as_floats(images: Array) -> Floats32:
    """Images as float32 of 0..1: uint8 is divided by 255, floats are taken as they are."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return images.astype(np.float32)


def max_pool(spikes: Array) -> Array:
    """2x2 maximum of (..., height, width, channels); an odd last row or column is dropped."""
    height, width = spikes.shape[-3] // 2 * 2, spikes.shape[-2] // 2 * 2
    rows = np.maximum(spikes[..., 0:height:2, :, :], spikes[..., 1:height:2, :, :])
    return np.maximum(rows[..., 0:width:2, :], rows[..., 1:width:2, :])


def _per_channel(values: Floats32) -> Floats32:
    return values.reshape(-1, 1, 1)


def _to_last(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, -3, -1))


def _to_first(x: Array) -> Array:
    return np.moveaxis(x, -1, -3)


def _places(spikes: Array) -> Counts:
    """Spike counts per (channel, row, column), exact: each is at most T x N, far below 2**24."""
    return _to_first(spikes.sum((0, 1))).astype(np.int64)


def _exact_type(fan_in: int, top: int) -> np.dtype[Any]:
    return np.dtype(np.float32 if (fan_in + 1) * top < 2**24 else np.float64)


def _convolve(x: Array, weights: Array, dtype: np.dtype[Any]) -> Array:
    """Stride-1, same-padded convolution of (N, height, width, c_in) with (c_out, c_in, kh, kw), in blocks."""
    c_out, c_in, kh, kw = weights.shape
    n, height, width, _ = x.shape
    matrix = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, c_out), dtype)
    out = np.empty((n, height, width, c_out), dtype)
    pads = ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0))
    block = max(1, _COLUMN_BYTES // (height * width * len(matrix) * dtype.itemsize))
    for start in range(0, n, block):
        padded = np.pad(x[start : start + block].astype(dtype, copy=False), pads)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), (1, 2))
        columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * c_in)
        out[start : start + block] = (columns @ matrix).reshape(-1, height, width, c_out)
    return out
