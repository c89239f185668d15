"""What a training run is told, and what it gives back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quest_lab.blocks import parse_blocks
from quest_lab.encodings import DIRECT, check_encoding
from quest_lab.errors import BadInput
from quest_lab.layers import FP32, MAX_BITS, Levels
from quest_lab.neurons import NEURONS, Neuron
from quest_lab.train.history import Epoch

_WORDS = {"decay": ("cosine", "steps"), "device": ("auto", "cpu", "cuda")}


class Progress(Protocol):
    """Told what is being done and how far it is."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


class Stop(Protocol):
    """Asked between steps whether the user wants to stop."""

    def check(self) -> None:
        """Raise Interrupted if so."""
        ...


class WeightCells(Protocol):
    """Memory cells that hold the weights of a training in the loop."""

    def write(self, levels: Levels, *, step: int, read_all: bool) -> Levels:
        """Bring the weights to `levels` (weights,), asked for after `step` optimizer steps; what the cells hold.

        The first call writes all weights, later ones those that changed. `read_all`: then every cell is read.
        """
        ...


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run. The defaults train the demo: handwritten digits, 2 bits.

    `network` by name or spelled, as in quest_lab.layers; `neuron` as in quest_lab.neurons, `encoding` as in
    quest_lab.encodings; `bits` of weights and membranes, 32 for an FP32 network; `batch_norm` after every
    convolution, an experiment: only with neuron mfp does an integer network come out.
    `learning_rate` of Adam, which falls by `decay`: a cosine, or "steps" to a tenth at half and again at three
    quarters of the run (QUEST); `shift_pixels` largest random translation of a training image, `flip` mirrors half
    of them; `threads` of torch, fixed because float sums, hence trained weights, depend on it; one is enough for
    digits, and two on a busy two-core machine wait for each other; larger networks want every free core; `device`
    auto (CUDA if there), cpu or cuda. `hysteresis`: levels beyond a rounding boundary at which a weight changes its
    level, below 1/2. `amp`: spikes and levels are convolved in bfloat16.
    """

    bits: int = 2
    time_steps: int = 4
    network: str = "32-32M-64M-64-F"
    neuron: str = "if-hard"
    encoding: str = DIRECT
    batch_norm: bool = False
    dataset: str = "digits"
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 5e-4
    seed: int = 0
    theta: float = 0.5
    shift_pixels: int = 1
    flip: bool = False
    threads: int = 1
    decay: str = "cosine"
    device: str = "auto"
    hysteresis: float = 0.0
    amp: bool = False

    def __post_init__(self) -> None:
        if not (2 <= self.bits <= MAX_BITS or self.bits == FP32):
            raise BadInput(f"bits={self.bits}: want 2 to {MAX_BITS}, or {FP32} for an FP32 network")
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise BadInput(f"{name}={getattr(self, name)!r}: want one of {', '.join(words)}")
        if any(not block.trainable for block in parse_blocks(self.network)[0]):
            raise BadInput(
                f"network={self.network!r}: the trainer has 3x3 convolutions of stride 1, padding 1 alone"
            )
        if not Neuron.parse(self.neuron).trainable:
            raise BadInput(f"neuron={self.neuron!r}: the trainer has {', '.join(NEURONS)} alone")
        check_encoding(self.encoding)
        for name in ("time_steps", "epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}={getattr(self, name)}: want at least 1")
        for name in ("learning_rate", "theta"):
            if not 0 < getattr(self, name) < float("inf"):
                raise BadInput(f"{name}={getattr(self, name)}: must be above 0")
        if self.amp and (self.bits == FP32 or self.batch_norm or self.neuron.startswith("mfp")):
            raise BadInput(
                "amp=True: bfloat16 keeps spikes exact only with quantised membranes, without batch norm"
            )
        if not 0 <= self.hysteresis < 0.5:
            raise BadInput(f"hysteresis={self.hysteresis}: want 0 or above, and below 0.5 levels")
        for name in ("weight_decay", "shift_pixels", "seed"):
            if not getattr(self, name) >= 0:
                raise BadInput(f"{name}={getattr(self, name)}: must not be below 0")


def recipe(dataset: str) -> TrainConfig:
    """The settings to start from: QUEST's and MINT's for CIFAR-10, as far as they are known, else the demo's."""
    if dataset != "cifar10":
        return TrainConfig(dataset=dataset)
    return TrainConfig(
        dataset=dataset, network="vgg6", epochs=100, batch_size=256, learning_rate=1e-3, weight_decay=1e-4,
        decay="steps", shift_pixels=4, flip=True, threads=os.cpu_count() or 1,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spikes of the training graph against those of the network without torch over `images`.

    `layer_differences`: differing spikes of each layer, given the same encoder spikes; all 0 for integer networks.
    `encoder_differences`: encoder neurons (of `encoder_neurons`) whose FP32 spikes differ at some step;
    `encoder_unexplained`: those whose membrane was not within 1e-5 of the threshold when they first did.
    """

    images: int
    layer_spikes: int
    layer_differences: tuple[int, ...]
    encoder_neurons: int
    encoder_differences: int
    encoder_unexplained: int

    @property
    def exact(self) -> bool:
        return not any(self.layer_differences) and not self.encoder_unexplained

    def __str__(self) -> str:
        return (
            f"inference without torch against the training graph on {self.images} images: "
            f"{sum(self.layer_differences)} of {self.layer_spikes} spikes differ given the same "
            f"encoder spikes; {self.encoder_differences} of {self.encoder_neurons} encoder neurons differ, "
            f"{self.encoder_unexplained} of them not within 1e-5 of the threshold"
        )


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Accuracies (0..1) of the network as saved, the two files, its epochs, seconds of training.

    `schedule` is None for an FP32 network, which writes no levels. `agreement` compares its spikes with the training
    graph's on the held-out images; `encoding_spikes` an image enter the encoder there (0 with direct coding).
    """

    train_accuracy: float
    test_accuracy: float
    weights: Path
    schedule: Path | None
    history: tuple[Epoch, ...]
    agreement: Agreement
    encoding_spikes: float
    seconds: float
