"""Train a quantised spiking network and stream what was written and read to schedule.h5 (QUEST, MINT)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from quest_lab import seeds
from quest_lab.convolution import places
from quest_lab.errors import BadInput, Interrupted
from quest_lab.layers import FP32, Counts, LayerInfo, Topology, tap_counts
from quest_lab.schedule import Header, ScheduleWriter, stage_of
from quest_lab.train.augment import augment
from quest_lab.train.config import Epoch, Progress, Stop, TrainConfig, TrainResult
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.model import Passed, SpikingVGG
from quest_lab.train.verify import compare


def train(
    config: TrainConfig,
    *,
    weights: Path,
    schedule: Path,
    dataset: Dataset | None = None,
    data_dir: Path | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    overwrite: bool = False,
) -> TrainResult:
    """Train `config`, write `weights` and `schedule`, and measure the saved network's accuracies.

    An FP32 network has no levels, so its schedule is not written.
    The same config, torch build and machine give the same files. Stopped (Interrupted), both files are
    closed as they stand and the exception goes on. Raises BadInput: existing outputs, missing data.
    """
    _refuse_existing((weights, schedule), overwrite)
    data = load_dataset(config.dataset, data_dir) if dataset is None else dataset
    started = time.perf_counter()
    with _repeatable(config.threads):
        run = _Run.start(config, data)
        try:
            history = run.train(schedule, progress, stop, overwrite)
        except Interrupted:
            run.model.export(data.class_names).save(weights, overwrite=True)
            raise
        network = run.model.export(data.class_names)
        seconds = time.perf_counter() - started
        agreement = compare(run.model, network, data.test_images)
    network.save(weights, overwrite=overwrite)
    tested = network.infer(data.test_images)
    return TrainResult(
        train_accuracy=network.accuracy(data.train_images, data.train_labels),
        test_accuracy=float(np.mean(tested.predictions == data.test_labels)),
        weights=Path(weights),
        schedule=None if config.bits == FP32 else Path(schedule),
        history=history,
        agreement=agreement,
        encoding_spikes=tested.encoding_spikes / len(data.test_images),
        seconds=seconds,
    )


def _refuse_existing(paths: tuple[Path, ...], overwrite: bool) -> None:
    for path in paths:
        if Path(path).exists() and not overwrite:
            raise BadInput(f"{path}: exists already (overwrite it with --overwrite)")


@contextmanager
def _repeatable(threads: int) -> Iterator[None]:
    """Deterministic torch with a fixed number of threads; the caller's settings come back."""
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    memory: Any = torch.utils.deterministic  # its attribute is not in torch's stubs
    filled = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # nothing here reads what it did not write
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(before)


@dataclass(slots=True)
class _Run:
    """A run in progress: the model, its optimizer and the generator of its batches."""

    config: TrainConfig
    data: Dataset
    model: SpikingVGG
    optimizer: torch.optim.Adam
    rng: np.random.Generator

    @classmethod
    def start(cls, config: TrainConfig, data: Dataset) -> _Run:
        topology = Topology.parse(config.network, data.image_shape, len(data.class_names))
        if len(data.train_images) < config.batch_size:
            raise BadInput(f"batch_size={config.batch_size}: only {len(data.train_images)} training images")
        model = SpikingVGG(topology, config, data.mean, data.std, seeds.generator(config.seed, "weights"))
        optimizer = torch.optim.Adam(_groups(model, config.weight_decay), lr=config.learning_rate)
        return cls(config, data, model, optimizer, seeds.generator(config.seed, "batches"))

    @property
    def batches(self) -> int:
        return len(self.data.train_images) // self.config.batch_size

    def train(
        self, schedule: Path, progress: Progress | None, stop: Stop | None, overwrite: bool
    ) -> tuple[Epoch, ...]:
        history = []
        with self._writer(schedule, overwrite) as writer:
            for epoch in range(self.config.epochs):
                history.append(self._epoch(epoch, writer, progress, stop))
        return tuple(history)

    def _writer(self, schedule: Path, overwrite: bool) -> AbstractContextManager[ScheduleWriter | None]:
        """The schedule's writer; none for an FP32 network, which has no levels to write."""
        c, topology = self.config, self.model.topology
        if c.bits == FP32:
            Path(schedule).unlink(missing_ok=True)  # an earlier run's, to be overwritten
            return nullcontext()
        neuron = str(self.model.neuron)
        header = Header(c.bits, c.time_steps, c.batch_size, self.data.name, c.seed, topology.text, neuron)
        return ScheduleWriter(schedule, header, topology.layers(), self.model.levels(), overwrite=overwrite)

    def _epoch(
        self, epoch: int, writer: ScheduleWriter | None, progress: Progress | None, stop: Stop | None
    ) -> Epoch:
        order = self.rng.permutation(len(self.data.train_images))
        loss = right = changed = 0.0
        for batch in range(self.batches):
            if stop is not None:
                stop.check()
            own = order[batch * self.config.batch_size : (batch + 1) * self.config.batch_size]
            step = self._step(epoch, batch, own)
            if writer is not None:
                changed += writer.append(
                    self.model.levels(),
                    epoch=epoch,
                    batch=batch,
                    samples=len(own),
                    stage=stage_of(epoch, batch, self.batches),
                    loss=step.loss,
                    **_count(step.passed, self.model.topology.layers()),
                )
            loss, right = loss + step.loss, right + step.right
            if progress is not None:
                progress("training", epoch * self.batches + batch + 1, self.config.epochs * self.batches)
        samples = self.batches * self.config.batch_size
        weights = sum(info.size for info in self.model.topology.layers())
        return Epoch(loss / self.batches, right / samples, changed / (self.batches * weights))

    def _step(self, epoch: int, batch: int, own: NDArray[np.int64]) -> _Stepped:
        """One forward pass, one backward pass, one update of the weights."""
        images = augment(
            self.data.train_images[own],
            shift_pixels=self.config.shift_pixels,
            flip=self.config.flip,
            rng=self.rng,
        )
        labels = torch.from_numpy(self.data.train_labels[own])
        for group in self.optimizer.param_groups:
            group["lr"] = _cosine(
                self.config.learning_rate, epoch * self.batches + batch, self.config.epochs * self.batches
            )
        passed = self.model(self.model.present(images, numbers=own, epoch=epoch + 1))
        loss = _loss(passed.logits, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        self.optimizer.step()
        right = int((passed.logits.detach().sum(0).argmax(1) == labels).sum())
        return _Stepped(loss.item(), right, passed)


@dataclass(frozen=True, slots=True)
class _Stepped:
    loss: float
    right: int
    passed: Passed


def _groups(model: SpikingVGG, weight_decay: float) -> list[dict[str, object]]:
    """Parameters for Adam: scales and biases are not pulled towards 0."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    kept = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _cosine(start: float, index: int, steps: int) -> float:
    return start * 0.5 * (1 + math.cos(math.pi * index / steps))


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
