"""Train a quantised spiking network and stream what was written and read to schedule.h5 (QUEST, MINT).

In the loop (`cells`) the weights live in memory cells: before each forward pass those that changed are written,
and it uses what the cells were read to hold. The latent FP32 weights stay here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from quest_lab.errors import BadInput, DeviceError, Interrupted, LimitExceeded
from quest_lab.layers import FP32
from quest_lab.schedule import Header, ScheduleWriter, stage_of
from quest_lab.train.checkpoint import Checkpoint
from quest_lab.train.config import Progress, Stop, TrainConfig, TrainResult, WeightCells
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.run import Run
from quest_lab.train.verify import compare
from quest_lab.train.workers import Workers, workers

OnEpoch: TypeAlias = Callable[[Run], None]  # told after every epoch, in the first process


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where the checkpoint goes, after every epoch and every `every_steps`; `resume` goes on from it."""

    path: Path
    every_steps: int = 500
    resume: bool = False


def train(
    config: TrainConfig,
    *,
    weights: Path,
    schedule: Path,
    dataset: Dataset | None = None,
    data_dir: Path | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    on_epoch: OnEpoch | None = None,
    overwrite: bool = False,
    cells: WeightCells | None = None,
) -> TrainResult:
    """Train `config`, write `weights` and `schedule`, and measure the saved network's accuracies.

    An FP32 network has no levels, so its schedule is not written. With `cells` it trains in the loop: the weights
    saved and measured are those that the cells were last read to hold, the schedule has those that were asked for.
    The same config, torch build and machine give the same files, also when killed and resumed from a
    checkpoint (CPU); in the loop all weights are then written and read again, and the cells' noise goes its own way.
    Stopped (Interrupted; DeviceError and LimitExceeded of the cells), the files are closed as they stand, a
    checkpoint is left and the exception goes on. Under `torchrun` every process calls this and the first one
    writes. Raises BadInput: existing outputs, missing data, a checkpoint of another run, cells for an FP32 network
    or for several processes; Diverged.
    """
    data = load_dataset(config.dataset, data_dir) if dataset is None else dataset
    saved = begin(config, data, (weights, schedule), checkpoints, overwrite=overwrite)
    started = time.perf_counter()
    with _repeatable(config.threads), workers(config.device, config.batch_size) as group:
        _check_loop(config, group, cells)
        run = Run.start(config, data, group)
        if saved is not None:
            run.restore(saved)
        overwrite = overwrite or saved is not None
        with _writer(run, schedule, overwrite, None if saved is None else saved.steps) as writer:
            job = _Job(run, writer, checkpoints, progress, stop, on_epoch, cells)
            try:
                job.run_all()
            except (Interrupted, DeviceError, LimitExceeded):
                job.save_checkpoint()
                _save(run, weights, overwrite=True)
                raise
            seconds = time.perf_counter() - started
            _save(run, weights, overwrite=overwrite)
        network = run.model.export(data.class_names)
        agreement = compare(run.model, network, data.test_images)
    tested = network.infer(data.test_images)
    return TrainResult(
        train_accuracy=network.accuracy(data.train_images, data.train_labels),
        test_accuracy=float(np.mean(tested.predictions == data.test_labels)),
        weights=Path(weights),
        schedule=None if config.bits == FP32 else Path(schedule),
        history=tuple(run.history),
        agreement=agreement,
        encoding_spikes=tested.encoding_spikes / len(data.test_images),
        seconds=seconds,
    )


def begin(
    config: TrainConfig,
    data: Dataset,
    outputs: Sequence[Path],
    checkpoints: Checkpoints | None,
    *,
    overwrite: bool,
) -> Checkpoint | None:
    """The checkpoint to go on from, if any. Raises BadInput: existing outputs, a checkpoint of another run."""
    if checkpoints is not None and checkpoints.resume:
        saved = Checkpoint.load(checkpoints.path)
        saved.check(checkpoints.path, config, len(data.train_images))
        return saved
    for path in (*outputs, *([] if checkpoints is None else [checkpoints.path])):
        if path.exists() and not overwrite:
            raise BadInput(f"{path}: exists already (overwrite it with --overwrite)")
    return None


def _check_loop(config: TrainConfig, group: Workers, cells: WeightCells | None) -> None:
    if cells is not None and config.bits == FP32:
        raise BadInput(f"bits={config.bits}: an FP32 network has no levels that cells could hold")
    if cells is not None and group.count > 1:
        raise BadInput(f"{group.count} processes: in the loop one process trains, for there is one chip")


@contextmanager
def _repeatable(threads: int) -> Iterator[None]:
    """Deterministic torch with a fixed number of threads; the caller's settings come back.

    By the debug mode: use_deterministic_algorithms would also load torch's compiler, for seconds.
    """
    before, strict = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")
    memory: Any = torch.utils.deterministic  # its attribute is not in torch's stubs
    filled = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False  # nothing here reads what it did not write
    try:
        yield
    finally:
        memory.fill_uninitialized_memory = filled
        torch.set_deterministic_debug_mode(strict)
        torch.set_num_threads(before)


@contextmanager
def _writer(
    run: Run, schedule: Path, overwrite: bool, resume_steps: int | None
) -> Iterator[ScheduleWriter | None]:
    """The schedule's writer in the first process; None in the others, and for an FP32 network."""
    c, model = run.config, run.model
    if c.bits == FP32 and run.workers.first:
        Path(schedule).unlink(missing_ok=True)  # an earlier run's, to be overwritten
    network, neuron = model.topology.text, str(model.neuron)
    header = Header(c.bits, c.time_steps, c.batch_size, run.data.name, c.seed, network, neuron)
    opened = nullcontext() if c.bits == FP32 or not run.workers.first else ScheduleWriter(
        schedule, header, run.layers, model.levels(), overwrite=overwrite, resume_steps=resume_steps
    )  # fmt: skip
    with opened as writer:
        yield writer


def _save(run: Run, weights: Path, *, overwrite: bool) -> None:
    if run.workers.first:
        run.model.export(run.data.class_names).save(weights, overwrite=overwrite)


@dataclass(slots=True)
class _Job:
    """The epochs of a run, with everyone who wants to know."""

    run: Run
    writer: ScheduleWriter | None
    checkpoints: Checkpoints | None
    progress: Progress | None
    stop: Stop | None
    on_epoch: OnEpoch | None
    cells: WeightCells | None

    def run_all(self) -> None:
        run = self.run
        while run.epoch < run.config.epochs:
            _check(self.stop, run.workers)
            self._write_cells()
            self._step()
            if self.progress is not None and run.workers.first:
                self.progress("training", run.steps, run.total)
            if run.batch == run.batches:
                self._end_epoch()
            elif self.checkpoints is not None and run.steps % self.checkpoints.every_steps == 0:
                self.save_checkpoint()
        self._write_cells()

    def _write_cells(self) -> None:
        """Between two steps, so that a stop in here leaves a checkpoint to go on from; once an epoch all are read."""
        run = self.run
        if self.cells is not None:
            held = self.cells.write(run.model.levels(), step=run.steps, read_all=run.batch == 0)
            run.model.hold(held)

    def _step(self) -> None:
        run, epoch, batch = self.run, self.run.epoch, self.run.batch
        done, levels = run.step(), run.model.levels()
        if self.writer is not None:
            stage = stage_of(epoch, batch, run.batches)
            self.writer.append(
                levels, epoch=epoch, batch=batch, samples=done.samples, stage=stage, loss=done.loss,
                **done.counts,
            )  # fmt: skip
        run.counter.step(
            levels, samples=done.samples, loss=done.loss, right=done.right, neuron_moves=done.neuron_moves,
            **done.counts,
        )  # fmt: skip

    def _end_epoch(self) -> None:
        self.run.finish_epoch()
        self.save_checkpoint()
        if self.run.workers.first and self.on_epoch is not None:
            self.on_epoch(self.run)

    def save_checkpoint(self) -> None:
        """The schedule first: it must hold every step that the checkpoint has seen."""
        if self.checkpoints is None or not self.run.workers.first:
            return
        if self.writer is not None:
            self.writer.flush()
        self.run.checkpoint().save(self.checkpoints.path)


def _check(stop: Stop | None, workers: Workers) -> None:
    """Raise Interrupted in every process as soon as one of them was asked to stop."""
    asked: Interrupted | None = None
    try:
        if stop is not None:
            stop.check()
    except Interrupted as error:
        asked = error
    if workers.total(np.array([float(asked is not None)]))[0]:
        raise asked or Interrupted("another process was stopped")
