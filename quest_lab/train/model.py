"""The training graph: the same network as quest_lab.network, with gradients, all time steps in one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from quest_lab.layers import KERNEL, Levels, Topology
from quest_lab.network import Network, QuantisedLayer
from quest_lab.train.config import TrainConfig
from quest_lab.train.neurons import fire_encoder, fire_quantised
from quest_lab.train.quantise import initial_alpha, quantise_weights


@dataclass(frozen=True, slots=True)
class Passed:
    """One forward pass: logits (T, B, classes), and spikes (T, B, ...) entering and leaving each layer."""

    logits: Tensor
    entering: list[Tensor]
    leaving: list[Tensor]


class QuantisedConv(nn.Module):
    """A 3x3 convolution of levels without bias, one learnable scale alpha = exp(log_alpha), kept above 0."""

    def __init__(self, shape: tuple[int, int, int, int], bits: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.bits = bits
        self.weight = nn.Parameter(_kaiming(shape, rng))
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial_alpha(self.weight, bits))))

    @property
    def alpha(self) -> Tensor:
        return self.log_alpha.exp()

    def levels(self) -> Tensor:
        """Integer levels as floats, (c_out, c_in, kh, kw)."""
        return quantise_weights(self.weight, self.alpha, self.bits)

    def forward(self, spikes: Tensor, theta: float) -> Tensor:
        """Spikes (T, B, c_out, h, w) of this layer's neurons from those entering it."""
        current = F.conv2d(spikes.flatten(0, 1), self.levels(), padding=KERNEL // 2)
        return fire_quantised(
            current.view(*spikes.shape[:2], *current.shape[1:]), self.alpha, theta, self.bits
        )


class SpikingVGG(nn.Module):
    """FP32 encoder, quantised convolutions, FP32 linear layer. `mean`, `std` (channels,) of the images."""

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
        first = topology.blocks[0].channels
        self.register_buffer("mean", torch.from_numpy(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.from_numpy(std).reshape(-1, 1, 1))
        self.encoder_weight = nn.Parameter(_kaiming((first, topology.input_shape[0], KERNEL, KERNEL), rng))
        self.encoder_bias = nn.Parameter(torch.zeros(first))
        infos = topology.layers()
        self.convs = nn.ModuleList(QuantisedConv(info.shape, config.bits, rng) for info in infos)
        self.head_weight = nn.Parameter(_kaiming((topology.classes, topology.features), rng))
        self.head_bias = nn.Parameter(torch.zeros(topology.classes))

    def encode(self, images: Tensor) -> Tensor:
        """Encoder spikes (T, B, c, h, w), before pooling, of float images (B, channels, h, w) of 0..1."""
        return fire_encoder(self.encoder_current(images), self.config.theta, self.config.time_steps)

    def encoder_current(self, images: Tensor) -> Tensor:
        """Currents (B, c, h, w) that the encoder's neurons get at every step."""
        normalised = (images - self.get_buffer("mean")) / self.get_buffer("std")
        return F.conv2d(normalised, self.encoder_weight, self.encoder_bias, padding=KERNEL // 2)

    def forward(self, images: Tensor) -> Passed:
        """Logits and spikes of float images (B, channels, h, w) of 0..1."""
        spikes = self._pool(self.encode(images), 0)
        entering, leaving = [], []
        for i, conv in enumerate(self.convs):
            entering.append(spikes)
            leaving.append(conv(spikes, self.config.theta))
            spikes = self._pool(leaving[-1], i + 1)
        features = spikes.flatten(2) if self.topology.flatten else spikes.mean((3, 4))
        return Passed(F.linear(features, self.head_weight, self.head_bias), entering, leaving)

    def _pool(self, spikes: Tensor, block: int) -> Tensor:
        if not self.topology.blocks[block].pool:
            return spikes
        pooled = F.max_pool2d(spikes.flatten(0, 1), 2)
        return pooled.view(*spikes.shape[:2], *pooled.shape[1:])

    @torch.no_grad()
    def levels(self) -> Levels:
        """Levels of all quantised layers, flat int8 in the schedule's order."""
        flat = [conv.levels().flatten() for conv in self._quantised()]
        return torch.cat(flat).to(torch.int8).cpu().numpy()

    def _quantised(self) -> list[QuantisedConv]:
        return [conv for conv in self.convs if isinstance(conv, QuantisedConv)]

    @torch.no_grad()
    def export(self, class_names: tuple[str, ...]) -> Network:
        """The same network for integer inference without torch."""
        levels, infos = self.levels(), self.topology.layers()
        layers = tuple(
            QuantisedLayer(
                info, levels[info.weights_slice].reshape(info.shape), conv.alpha.item(), block.pool
            )
            for info, conv, block in zip(infos, self._quantised(), self.topology.blocks[1:], strict=True)
        )
        return Network(
            topology=self.topology,
            bits=self.config.bits,
            time_steps=self.config.time_steps,
            theta=self.config.theta,
            encoder_weight=_array(self.encoder_weight),
            encoder_bias=_array(self.encoder_bias),
            layers=layers,
            head_weight=_array(self.head_weight),
            head_bias=_array(self.head_bias),
            mean=_array(self.get_buffer("mean")).ravel(),
            std=_array(self.get_buffer("std")).ravel(),
            dataset=self.config.dataset,
            class_names=class_names,
            seed=self.config.seed,
        )


def _kaiming(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Normal weights of variance 2 / fan-in: without batch norm, this keeps deep layers firing."""
    fan_in = int(np.prod(shape[1:]))
    return torch.from_numpy(rng.normal(0.0, math.sqrt(2.0 / fan_in), shape).astype(np.float32))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().copy()
