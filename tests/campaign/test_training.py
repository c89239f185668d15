"""Accuracy by precision and neuron on digits and MNIST; the paper's claims on CIFAR-10, as far as a CPU goes.

QUEST_LAB_DATA names a folder with `mnist/` and `cifar10/`; without it those two are skipped. CIFAR-10 trains for
QUEST_LAB_CIFAR_EPOCHS (5) on QUEST_LAB_CIFAR_THREADS (2); its files stay in QUEST_LAB_CIFAR_OUT if that is given, and
the next call goes on from them, or writes the page of a finished run anew. `pytest -s` shows how
far it is.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import claims
import numpy as np
import pytest
from training import Trained, measured, one

from quest_lab.train.config import TrainConfig

pytestmark = pytest.mark.campaign

SEEDS = (0, 1, 2)
PRECISIONS = (2, 3, 4, 32)
NEURONS = ("if-hard", "if-soft", "lif-hard", "lif-soft", "mfp")
MNIST = TrainConfig(dataset="mnist", network="16-32M-32M-F", epochs=3, batch_size=64)
MNIST_IMAGES, MNIST_HELD_OUT = 3000, 2000
CIFAR = TrainConfig(
    dataset="cifar10", network="32-32M-64-64M-128-128-A", epochs=int(os.environ.get("QUEST_LAB_CIFAR_EPOCHS", "5")),
    batch_size=64, learning_rate=1e-3, weight_decay=1e-4, decay="steps", shift_pixels=4, flip=True,
    threads=int(os.environ.get("QUEST_LAB_CIFAR_THREADS", "2")),
)  # fmt: skip
needs_data = pytest.mark.skipif("QUEST_LAB_DATA" not in os.environ, reason="QUEST_LAB_DATA is not set")
Publish = Callable[[str, str, str], None]


def trained(configs: Sequence[TrainConfig], images: int | None, held_out: int | None = None) -> list[Trained]:
    """Each in a process; as many at a time as there are cores."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        return list(pool.map(one, configs, [images] * len(configs), [held_out] * len(configs)))


def grid(base: TrainConfig) -> list[TrainConfig]:
    return [
        replace(base, bits=bits, neuron=neuron, seed=seed)
        for bits, neuron, seed in product(PRECISIONS, NEURONS, SEEDS)
    ]


def table(base: TrainConfig, runs: Sequence[Trained], images: str) -> str:
    """Mean and standard deviation over the seeds, held-out images measured once a run."""
    accuracy = 100 * np.array([r.test_accuracy for r in runs]).reshape(len(PRECISIONS), len(NEURONS), -1)
    lines = [
        f"Network `{base.network}`, T = {base.time_steps}, {base.epochs} epochs, batch {base.batch_size}, Adam "
        f"{base.learning_rate:g} ({base.decay}), {images}; seeds {', '.join(map(str, SEEDS))}: mean ± standard "
        f"deviation of the held-out accuracy (%), measured once a run. {sum(r.exact for r in runs)} of {len(runs)} "
        "runs: every quantised spike of the training graph equals the integer network's; encoder spikes that differ "
        f"near the threshold: {sum(r.encoder_differences for r in runs)}. `mfp` is MFP-style (docs/training.md). "
        f"{sum(r.seconds for r in runs) / 60:.0f} minutes of one core.",
        "",
        "| bits | " + " | ".join(NEURONS) + " |",
        "|---|" + "---|" * len(NEURONS),
    ]
    for bits, row in zip(PRECISIONS, accuracy, strict=True):
        cells = " | ".join(f"{a.mean():.2f} ± {a.std(ddof=1):.2f}" for a in row)
        lines.append(f"| {'FP32' if bits == 32 else bits} | {cells} |")
    return "\n".join(lines)


def test_digits(publish: Publish) -> None:
    base = TrainConfig()
    runs = trained(grid(base), None)
    publish("training-digits", "Digits: precisions and neurons", table(base, runs, "1347 training images"))
    assert all(run.exact for run in runs)


@needs_data
def test_mnist(publish: Publish) -> None:
    runs = trained(grid(MNIST), MNIST_IMAGES, MNIST_HELD_OUT)
    said = f"the first {MNIST_IMAGES} training images, the first {MNIST_HELD_OUT} test images held out"
    publish("training-mnist", "MNIST: precisions and neurons", table(MNIST, runs, said))
    assert all(run.exact for run in runs)


@needs_data
def test_cifar10(publish: Publish, tmp_path: Path) -> None:
    run = measured(CIFAR, Path(os.environ.get("QUEST_LAB_CIFAR_OUT", tmp_path)))
    publish("training-cifar10", "CIFAR-10 on a CPU, and the paper's claims", claims.page(run))
    assert run.agreement.exact
