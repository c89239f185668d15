"""A training run in progress: its model, optimizer, random numbers and counts; one optimizer step after another."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from quest_lab import seeds
from quest_lab.convolution import places
from quest_lab.errors import BadInput, Diverged
from quest_lab.layers import FP32, Counts, LayerInfo, Topology, tap_counts
from quest_lab.train.augment import augment
from quest_lab.train.checkpoint import Arrays, Checkpoint
from quest_lab.train.config import TrainConfig
from quest_lab.train.data import Dataset
from quest_lab.train.history import Epoch, EpochCounter, History
from quest_lab.train.model import Passed, SpikingVGG
from quest_lab.train.workers import Workers

_LARGEST_SCALE = 1e30  # of a layer's weights; far beyond any that trains


@dataclass(frozen=True, slots=True)
class Stepped:
    """An optimizer step over all processes: mean loss, right predictions, and the counts of its forward pass.

    `counts`: taps, spikes_in, spikes_out as in the schedule; `neuron_moves[layer, from, to]` of membranes.
    """

    samples: int
    loss: float
    right: int
    counts: dict[str, Counts]
    neuron_moves: Counts


@dataclass(slots=True)
class Run:
    """State between two steps: `batch` of `epoch` is next, `order` shuffles its training images."""

    config: TrainConfig
    data: Dataset
    workers: Workers
    model: SpikingVGG
    graph: nn.Module
    optimizer: torch.optim.Adam
    rng: np.random.Generator
    counter: EpochCounter
    epoch: int = 0
    batch: int = 0
    order: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    history: list[Epoch] = field(default_factory=list)

    @classmethod
    def start(cls, config: TrainConfig, data: Dataset, workers: Workers) -> Run:
        topology = Topology.parse(config.network, data.image_shape, len(data.class_names))
        if len(data.train_images) < config.batch_size:
            raise BadInput(f"batch_size={config.batch_size}: only {len(data.train_images)} training images")
        model = SpikingVGG(topology, config, data.mean, data.std, seeds.generator(config.seed, "weights"))
        model.to(workers.device)
        graph = nn.parallel.DistributedDataParallel(model) if workers.count > 1 else model
        optimizer = torch.optim.Adam(_groups(model, config.weight_decay), lr=config.learning_rate)
        counter = EpochCounter(topology.layers(), model.levels(), counted_bits(config.bits))
        rng = seeds.generator(config.seed, "batches")
        return cls(config, data, workers, model, graph, optimizer, rng, counter)

    @property
    def batches(self) -> int:
        return len(self.data.train_images) // self.config.batch_size

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return self.epoch * self.batches + self.batch

    @property
    def total(self) -> int:
        return self.config.epochs * self.batches

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        return self.model.topology.layers()

    def step(self) -> Stepped:
        """One forward pass, one backward pass, one update of the weights. Raises Diverged."""
        if self.batch == 0:
            self.order = self.rng.permutation(len(self.data.train_images))
        own = self.order[self.batch * self.config.batch_size : (self.batch + 1) * self.config.batch_size]
        images, labels = self._batch(own)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.steps, self.total)
        passed = self.graph(images)
        loss = _loss(passed.logits, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        self.optimizer.step()
        self.model.settle()
        check_finite(self.model, loss.item(), f"epoch {self.epoch + 1}, batch {self.batch + 1}")
        right = int((passed.logits.detach().sum(0).argmax(1) == labels).sum())
        counts = _count(passed, self.layers) | {"neuron_moves": np.stack(passed.moves)}
        done = self._added_up(len(own), loss.item(), right, counts)
        self.batch += 1
        return done

    def _batch(self, own: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """What the model takes of this process's part of a batch, and its labels."""
        images = augment(
            self.data.train_images[own],
            shift_pixels=self.config.shift_pixels,
            flip=self.config.flip,
            rng=self.rng,
        )
        mine = self.workers.own(np.arange(len(own)))
        labels = torch.from_numpy(self.data.train_labels[own[mine]])
        presented = self.model.present(images[mine], numbers=own[mine], epoch=self.epoch + 1)
        return presented, labels.to(self.workers.device)

    def _added_up(self, samples: int, loss: float, right: int, counts: dict[str, Counts]) -> Stepped:
        """The step over all processes."""
        if self.workers.count > 1:
            flat = np.concatenate([[loss, right], *(x.ravel() for x in counts.values())]).astype(np.float64)
            total = self.workers.total(flat)
            loss, right = total[0] / self.workers.count, int(total[1])
            parts = np.split(total[2:].astype(np.int64), np.cumsum([x.size for x in counts.values()])[:-1])
            counts = {n: part.reshape(counts[n].shape) for n, part in zip(counts, parts, strict=True)}
        return Stepped(samples, loss, right, counts, counts.pop("neuron_moves"))

    def finish_epoch(self) -> None:
        self.history.append(self.counter.finish())
        self.epoch, self.batch = self.epoch + 1, 0

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            config=self.config,
            images=len(self.data.train_images),
            epoch=self.epoch,
            batch=self.batch,
            steps=self.steps,
            random=self.rng.bit_generator.state,
            order=self.order,
            model={name: _array(value) for name, value in self.model.state_dict().items()},
            optimizer=_optimizer_arrays(self.optimizer),
            sums=self.counter.state(),
            history=History.of(self.history).columns if self.history else {},
        )

    def restore(self, saved: Checkpoint) -> None:
        """Go on from `saved`, which `Checkpoint.check` has found to be of this run. Raises BadInput."""
        state = {name: torch.from_numpy(np.asarray(value)) for name, value in saved.model.items()}
        try:
            self.model.load_state_dict(state)
        except RuntimeError as error:
            raise BadInput(f"checkpoint of another network: {error}") from error
        _restore_optimizer(self.optimizer, saved.optimizer)
        self.rng.bit_generator.state = saved.random
        self.order, self.epoch, self.batch = saved.order, saved.epoch, saved.batch
        self.history = History(saved.history).epochs() if saved.history else []
        self.counter = EpochCounter(self.layers, self.model.levels(), counted_bits(self.config.bits))
        self.counter.restore(saved.sums)


def counted_bits(bits: int) -> int:
    """Bits that levels are counted with: an FP32 network's weights all count as level 1 of 2 bits."""
    return 2 if bits == FP32 else bits


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """Of Adam at `step` of `total`: a falling cosine, or a tenth at half and again at three quarters (QUEST)."""
    done = step / total
    if config.decay == "steps":
        return config.learning_rate * 0.1 ** ((done >= 0.5) + (done >= 0.75))
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def check_finite(model: SpikingVGG, loss: float, where: str) -> None:
    """Raise Diverged, naming the layer, if the loss, a gradient or a scale is no finite number (scale: or 0).

    Gradients flow from the last layer to the first, so the last one that is not finite is where it began.
    """
    bad = [name for name, p in model.named_parameters() if not _sound(name, p)]
    if not bad and math.isfinite(loss):
        return
    layer = _layer_of(bad[-1], model.topology.layers()) if bad else "the logits"
    parameter = f" ({bad[-1]})" if bad else ""
    raise Diverged(
        f"training diverged in {where}: loss {loss:.4g}, not finite: {layer}{parameter}. "
        "A lower --lr helps; the last checkpoint is as it was"
    )


def _sound(name: str, parameter: Tensor) -> bool:
    finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
    if finite and name.endswith("log_alpha"):
        return 0 < math.exp(min(parameter.item(), 100.0)) < _LARGEST_SCALE
    return finite


def _layer_of(parameter: str, infos: tuple[LayerInfo, ...]) -> str:
    """encoder, conv2, ..., head: the layer that a parameter of SpikingVGG belongs to."""
    number = next((int(part) for part in parameter.split(".") if part.isdigit()), None)
    return parameter.split("_")[0] if number is None else infos[number].name


def _optimizer_arrays(optimizer: torch.optim.Adam) -> Arrays:
    """Adam's moments as `<parameter number>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": _array(value) for i, own in state.items() for name, value in own.items()}


def _restore_optimizer(optimizer: torch.optim.Adam, arrays: Arrays) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, values in arrays.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = torch.from_numpy(np.asarray(values))
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().numpy().copy()


def _groups(model: SpikingVGG, weight_decay: float) -> list[dict[str, object]]:
    """Parameters for Adam: scales and biases are not pulled towards 0."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    kept = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the time steps of the cross-entropy of that step's logits (MINT)."""
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)))


def _count(passed: Passed, infos: tuple[LayerInfo, ...]) -> dict[str, Counts]:
    """Exact tap and spike counts of a forward pass: a place has at most B < 2**24 a step."""
    entering = [_places(spikes) for spikes in passed.entering]
    reads = [np.tensordot(passed.reads, counts, 1) for counts in entering]
    taps = [tap_counts(c, info.shape[2:]).ravel() for c, info in zip(reads, infos, strict=True)]
    return {
        "taps": np.concatenate(taps),
        "spikes_in": np.array([c.sum() for c in entering]),
        "spikes_out": np.array([_places(spikes).sum() for spikes in passed.leaving]),
    }


def _places(spikes: Tensor) -> Counts:
    """Spikes per (step, channel, row, column) of spikes uint8 (T, B, channel, row, column)."""
    if spikes.device.type == "cpu":
        return places(spikes.movedim(2, -1).numpy())
    counts: Counts = spikes.sum(1).cpu().numpy()
    return counts
