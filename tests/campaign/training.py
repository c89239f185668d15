"""One training of a table, in a process of its own: what `test_training.py` spreads over the cores."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from quest_lab.network import Network
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.loop import train
from quest_lab.train.results import first_macs


@dataclass(frozen=True)
class Trained:
    """What a table or a claim needs of a run."""

    test_accuracy: float
    exact: bool
    encoder_differences: int
    seconds: float
    jumps: int  # transitions by more than one level
    moves: int
    frozen: float  # share of the weights that a batch of the first epoch left alone, mean
    sparsity: np.ndarray
    rate_out: np.ndarray
    aor: np.ndarray
    train_accuracy: tuple[float, ...]
    macs: np.ndarray
    encoder_macs: float


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
        out = Path(folder)
        done = train(
            config,
            weights=out / "w.h5",
            schedule=out / "s.h5",
            dataset=subset(config.dataset, images, held_out),
        )
        network = Network.load(out / "w.h5")
    return _measured(done, network, time.monotonic() - began)


def _measured(done: TrainResult, network: Network, seconds: float) -> Trained:
    if network.bits == 32:
        empty = np.empty(0)
        return Trained(done.test_accuracy, True, 0, seconds, 0, 0, 0.0, empty, empty, empty, (), empty, 0.0)
    infos, first, last = network.infos, done.history[0], done.history[-1]
    moves = np.sum([e.transitions for e in done.history], axis=0).sum(axis=0)
    near = sum(np.trace(moves, offset=o) for o in (-1, 0, 1))
    return Trained(
        test_accuracy=done.test_accuracy,
        exact=done.agreement.exact,
        encoder_differences=done.agreement.encoder_differences,
        seconds=seconds,
        jumps=int(moves.sum() - near),
        moves=int(moves.sum() - np.trace(moves)),
        frozen=1.0 - first.changed,
        sparsity=last.sparsity,
        rate_out=last.rate_out(infos),
        aor=last.aor(infos),
        train_accuracy=tuple(e.accuracy for e in done.history),
        macs=np.array([info.macs for info in infos], float),
        encoder_macs=first_macs(network.topology),
    )
