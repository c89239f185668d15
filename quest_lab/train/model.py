"""The training graph: the same network as quest_lab.network, with gradients, all time steps in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from quest_lab.encodings import DIRECT, spike_train
from quest_lab.layers import FP32, Counts, Levels, Topology
from quest_lab.network import Layer, Network, as_floats
from quest_lab.neurons import Neuron
from quest_lab.train.config import TrainConfig
from quest_lab.train.fused import pool_spikes
from quest_lab.train.layer import SpikingLayer, convolve, kaiming
from quest_lab.train.neurons import fire_float, fire_memory_free, mix
from quest_lab.train.norm import Norm
from quest_lab.train.places import on_kernels


@dataclass(frozen=True, slots=True)
class Passed:
    """One forward pass: logits (T, B, classes), and spikes uint8 (T, B, ...) entering and leaving each layer.

    `reads` (T,): how often a weight is read for a spike of each step; `moves` those of each
    layer's membranes between their levels, [from, to], counted in training.
    """

    logits: Tensor
    entering: list[Tensor]
    leaving: list[Tensor]
    reads: NDArray[np.int64]
    moves: list[Counts]


class SpikingVGG(nn.Module):
    """FP32 encoder, quantised layers, FP32 linear layer. `mean`, `std` (channels,) of the images."""

    def __init__(
        self,
        topology: Topology,
        config: TrainConfig,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.topology, self.config = topology, config
        self.neuron = Neuron.parse(config.neuron)
        first = topology.encoder_shape[0]
        self.register_buffer("mean", torch.from_numpy(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.from_numpy(std).reshape(-1, 1, 1))
        self.encoder_weight = nn.Parameter(kaiming(topology.encoder_shape, rng))
        self.encoder_bias = nn.Parameter(torch.zeros(first))
        self.encoder_norm = Norm(first) if config.batch_norm else None
        self.convs = nn.ModuleList(SpikingLayer(info, config, rng) for info in topology.layers())
        self.head_weight = nn.Parameter(kaiming((topology.classes, topology.features), rng))
        self.head_bias = nn.Parameter(torch.zeros(topology.classes))

    def present(
        self, images: NDArray[Any], *, numbers: NDArray[np.int64] | None = None, epoch: int = 0
    ) -> Tensor:
        """What `forward` takes of `images` (B, channels, h, w): floats of 0..1, or their spikes (T, B, ...).

        `numbers` (B,) of the images in the data set (default 0, 1, ...) and `epoch` key the draws of rate coding;
        epoch 0 is for evaluation.
        """
        c, floats = self.config, as_floats(images)
        if c.encoding != DIRECT:
            numbers = np.arange(len(images)) if numbers is None else numbers
            floats = spike_train(
                floats, c.encoding, c.time_steps, seed=c.seed, numbers=numbers, epoch=epoch
            )  # fmt: skip
        return torch.from_numpy(np.ascontiguousarray(floats)).to(self.encoder_weight.device)

    def encode(self, entering: Tensor) -> Tensor:
        """Encoder spikes (T, B, c, h, w), before pooling, of what `present` gives."""
        return self._fire_encoder(self.encoder_current(entering))

    def encoder_current(self, entering: Tensor) -> Tensor:
        """Currents (T, B, c, h, w) of the encoder's neurons; (1, B, ...) of images, the same at every step."""
        if entering.ndim == 4:
            entering = ((entering - self.get_buffer("mean")) / self.get_buffer("std"))[None]
        if self.topology.blocks[0].linear:
            entering = entering.flatten(2)[..., None, None]
        current = convolve(entering, self.encoder_weight, self.encoder_bias)
        return current if self.encoder_norm is None else self.encoder_norm(current)

    def _fire_encoder(self, current: Tensor) -> Tensor:
        if self.neuron.history:
            potential = self.encoder_potential(current)
            fired = (potential > self.config.theta).to(potential.dtype)
            return fire_memory_free(potential, fired, self.config.theta)
        return fire_float(current, self.config.theta, self.config.time_steps, self.neuron)

    def encoder_potential(self, current: Tensor) -> Tensor:
        """H (T, B, c, h, w) of memory-free encoder neurons."""
        return mix(current, self.neuron, self.config.time_steps) / self.neuron.unit

    def forward(self, entering: Tensor) -> Passed:
        """Logits and spikes of what `present` gives."""
        spikes = self._pool(self.encode(entering), 0)
        before, after, moves = [], [], []
        for i, layer in enumerate(self._layers()):
            if self.topology.blocks[i + 1].linear:
                spikes = spikes.flatten(2)[..., None, None]
            before.append(_kept(spikes))
            fired, moved = layer(spikes)
            after.append(_kept(fired))
            moves.append(moved)
            spikes = self._pool(fired, i + 1)
        features = spikes.flatten(2) if self.topology.flatten else spikes.mean((3, 4))
        logits = F.linear(features, self.head_weight, self.head_bias)
        return Passed(logits, before, after, self.neuron.reads(self.config.time_steps), moves)

    def _pool(self, spikes: Tensor, block: int) -> Tensor:
        if not self.topology.blocks[block].pool:
            return spikes
        flat = spikes.flatten(0, 1)
        pooled = pool_spikes(flat) if on_kernels(flat) else F.max_pool2d(flat, 2)
        return pooled.view(*spikes.shape[:2], *pooled.shape[1:])

    def settle(self) -> None:
        """After an optimizer step: see SpikingLayer.settle."""
        for layer in self._layers():
            layer.settle()

    @torch.no_grad()
    def levels(self) -> Levels:
        """Levels of all quantised layers, flat int8 in the schedule's order; 1 everywhere in an FP32 network,
        whose weights are all read.
        """
        if self.config.bits == FP32:
            return np.ones(sum(layer.weight.numel() for layer in self._layers()), np.int8)
        flat = [layer.levels().flatten() for layer in self._layers()]
        return torch.cat(flat).to(torch.int8).cpu().numpy()

    @torch.no_grad()
    def hold(self, levels: Levels) -> None:
        """From now on forward passes and `export` use these levels, flat as `levels` gives them: the cells'."""
        for info, layer in zip(self.topology.layers(), self._layers(), strict=True):
            own = torch.from_numpy(levels[info.offset : info.offset + info.size])
            layer.cells = own.reshape(info.shape).to(layer.weight)

    def _layers(self) -> list[SpikingLayer]:
        return [layer for layer in self.convs if isinstance(layer, SpikingLayer)]

    @torch.no_grad()
    def export(self, class_names: tuple[str, ...]) -> Network:
        """The same network for inference without torch: integers, unless it is FP32 or cannot be folded."""
        encoder_weight, encoder_bias = self._folded_encoder()
        return Network(
            topology=self.topology,
            bits=self.config.bits,
            time_steps=self.config.time_steps,
            theta=self.config.theta,
            encoder_weight=_array(encoder_weight),
            encoder_bias=_array(encoder_bias),
            layers=self._exported(),
            head_weight=_array(self.head_weight),
            head_bias=_array(self.head_bias),
            mean=_array(self.get_buffer("mean")).ravel(),
            std=_array(self.get_buffer("std")).ravel(),
            dataset=self.config.dataset,
            class_names=class_names,
            seed=self.config.seed,
            neuron=self.neuron,
            encoding=self.config.encoding,
        )

    def _exported(self) -> tuple[Layer, ...]:
        rows = zip(self.topology.layers(), self._layers(), self.topology.blocks[1:], strict=True)
        return tuple(
            Layer(
                info,
                _array(layer.weight) if layer.bits == FP32 else _array(layer.used()).astype(np.int8),
                layer.alpha.item(),
                block.pool,
                None if layer.norm is None else layer.norm.folded(),
            )
            for info, layer, block in rows
        )

    def _folded_encoder(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the encoder, its batch norm in them: both are FP32, so it folds up to rounding."""
        if self.encoder_norm is None:
            return self.encoder_weight, self.encoder_bias
        gain, offset = torch.from_numpy(self.encoder_norm.folded()).to(self.encoder_bias)
        return self.encoder_weight * gain.reshape(-1, 1, 1, 1), self.encoder_bias * gain + offset


def _kept(spikes: Tensor) -> Tensor:
    """For counting: a byte a spike, without gradient."""
    return spikes.detach().to(torch.uint8)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()
