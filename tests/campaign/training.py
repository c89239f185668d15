"""Trainings of a campaign's page: one of a table, in a process of its own, and the long one on CIFAR-10."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from quest_lab.energy import Counts, count
from quest_lab.layers import FP32, LayerInfo
from quest_lab.network import Network
from quest_lab.schedule import Schedule
from quest_lab.train.checkpoint import Checkpoint
from quest_lab.train.config import Agreement, TrainConfig, TrainResult
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.history import Epoch, History
from quest_lab.train.loop import Checkpoints, train
from quest_lab.train.results import first_macs
from quest_lab.train.run import Run

_EVERY_STEPS = 100  # between two lines of progress


@dataclass(frozen=True)
class Trained:
    """A run of a table; `seconds` of training and testing."""

    test_accuracy: float
    exact: bool
    encoder_differences: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """What the claims need of a run: `seconds` of training; `counts` of every step."""

    config: TrainConfig
    images: int
    seconds: float
    test_accuracy: float
    agreement: Agreement
    history: list[Epoch]
    layers: tuple[LayerInfo, ...]
    encoder_macs: float
    counts: Counts


def subset(name: str, images: int | None, held_out: int | None) -> Dataset:
    """The first `images` training and `held_out` test images (None: all). Files lie in $QUEST_LAB_DATA/<name>."""
    folder = os.environ.get("QUEST_LAB_DATA")
    data = load_dataset(name, Path(folder) / name if folder and name != "digits" else None)
    return replace(
        data,
        train_images=data.train_images[:images],
        train_labels=data.train_labels[:images],
        test_images=data.test_images[:held_out],
        test_labels=data.test_labels[:held_out],
    )


def one(config: TrainConfig, images: int | None, held_out: int | None = None) -> Trained:
    """Train once, measure the held-out images once."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        done = train(
            config,
            weights=Path(folder) / "w.h5",
            schedule=Path(folder) / "s.h5",
            dataset=subset(config.dataset, images, held_out),
        )
    seconds, agreed = time.monotonic() - began, done.agreement
    if config.bits == FP32:  # nothing quantised to compare
        return Trained(done.test_accuracy, True, 0, seconds)
    return Trained(done.test_accuracy, agreed.exact, agreed.encoder_differences, seconds)


def measured(
    config: TrainConfig, folder: Path, images: int | None = None, held_out: int | None = None
) -> Measured:
    """Train into `folder`, or go on from the checkpoint there; a finished run is only read.

    Raises BadInput: the files there are of other settings or another number of training images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, tested = subset(config.dataset, images, held_out), folder / "tested.json"
    if not tested.exists():
        done = _train(config, folder, data)
        tested.write_text(json.dumps({"accuracy": done.test_accuracy, "agreement": asdict(done.agreement)}))
    return _read(config, folder, len(data.train_images))


def _train(config: TrainConfig, folder: Path, data: Dataset) -> TrainResult:
    checkpoint = folder / "checkpoint.h5"
    resume = checkpoint.exists()
    watch = Watch(folder / "seconds.txt", resume)
    return train(
        config, weights=folder / "weights.h5", schedule=folder / "schedule.h5", dataset=data,
        checkpoints=Checkpoints(checkpoint, resume=resume), progress=watch.step, on_epoch=watch.epoch, overwrite=True,
    )  # fmt: skip


def _read(config: TrainConfig, folder: Path, images: int) -> Measured:
    path = folder / "checkpoint.h5"
    checkpoint, network = Checkpoint.load(path), Network.load(folder / "weights.h5")
    checkpoint.check(path, config, images)
    tested = json.loads((folder / "tested.json").read_text(encoding="utf-8"))
    with Schedule.open(folder / "schedule.h5") as schedule:
        counts = count(schedule)
    return Measured(
        config=checkpoint.config,
        images=images,
        seconds=float((folder / "seconds.txt").read_text(encoding="utf-8")),
        test_accuracy=tested["accuracy"],
        agreement=Agreement(**tested["agreement"]),
        history=History(checkpoint.history).epochs(),
        layers=network.infos,
        encoder_macs=first_macs(network.topology),
        counts=counts,
    )


@dataclass
class Watch:
    """Prints how far a training is; keeps the seconds spent in `path`, over resumes too."""

    path: Path
    resumed: bool
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.resumed:
            self.before = float(self.path.read_text(encoding="utf-8"))

    def step(self, what: str, done: int, total: int) -> None:
        if done % _EVERY_STEPS == 0 or done == total:
            self._keep(f"{what}: step {done} of {total}")

    def epoch(self, run: Run) -> None:
        last = run.history[-1]
        self._keep(
            f"epoch {run.epoch} of {run.config.epochs}: loss {last.loss:.3f}, accuracy {100 * last.accuracy:.2f} %"
        )

    def _keep(self, said: str) -> None:
        seconds = self.before + time.monotonic() - self.began
        self.path.write_text(f"{seconds}\n", encoding="utf-8")
        print(f"{said}, {seconds:.0f} s", flush=True)
