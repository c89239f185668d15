"""Accuracy by precision and neuron on digits and MNIST; the paper's claims on CIFAR-10, as far as a CPU goes.

QUEST_LAB_DATA names a folder with `mnist/` and `cifar10/`; without it those two are skipped.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from training import Trained, one

from quest_lab import cmos
from quest_lab.train.config import TrainConfig

pytestmark = pytest.mark.campaign

SEEDS = (0, 1, 2)
PRECISIONS = (2, 3, 4, 32)
NEURONS = ("if-hard", "if-soft", "lif-hard", "lif-soft", "mfp")
MNIST = TrainConfig(dataset="mnist", network="16-32M-32M-F", epochs=3, batch_size=64)
MNIST_IMAGES, MNIST_HELD_OUT = 3000, 2000
CIFAR = TrainConfig(
    dataset="cifar10", network="32-32M-64-64M-128-128-A", epochs=int(os.environ.get("QUEST_LAB_CIFAR_EPOCHS", "8")),
    batch_size=64, learning_rate=1e-3, weight_decay=1e-4, decay="steps", shift_pixels=4, flip=True, threads=2,
)  # fmt: skip
CIFAR_IMAGES = 10_000
needs_data = pytest.mark.skipif("QUEST_LAB_DATA" not in os.environ, reason="QUEST_LAB_DATA is not set")
NOT_RUN = (
    "Full recipe on a GPU, **not run**: `quest-lab train --network vgg6 --dataset cifar10 --data DIR --bits 2 --epochs "
    "200 --device cuda --out DIR`, goal 89.6 %; then bits 3, 4 and 32, neurons lif-hard, if-soft and lif-soft, and "
    "`--network vgg8`."
)
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
def test_cifar10(publish: Publish) -> None:
    run = one(CIFAR, CIFAR_IMAGES)
    publish("training-cifar10", "CIFAR-10 on a CPU, and the paper's claims", claims(run))
    assert run.exact


def claims(run: Trained) -> str:
    """What QUEST says (arXiv 2504.00679), and what this run gave."""
    by_aor = {way.name: way for way in cmos.compare(run.macs, run.aor, run.rate_out, run.encoder_macs)}
    ratio = run.rate_out.mean() / run.aor.mean()
    rows = [
        ("no −1 ↔ +1 transitions", f"{run.jumps} of {run.moves} transitions", run.jumps == 0),
        ("most weights frozen between batches from the first epoch", f"{100 * run.frozen:.2f} % a batch",
         run.frozen > 0.5),
        ("sparsity above 60 % in every layer", _layers(100 * run.sparsity, "%"), bool(np.all(run.sparsity > 0.6))),
        ("AOR several times below the spike rate (4.7×)", f"mean R_out {run.rate_out.mean():.3f}, mean AOR "
         f"{run.aor.mean():.3f}: {ratio:.2f}×", ratio > 2),
        ("first layer's AOR highest, last layer's lowest", _layers(run.aor, ""),
         bool(run.aor.argmax() == 0 and run.aor.argmin() == run.aor.size - 1)),
        ("93× fewer than the ANN (45 nm, by AOR)", f"{by_aor['AOR'].gain:.1f}×", by_aor["AOR"].gain >= 93),
    ]  # fmt: skip
    lines = [
        f"`{CIFAR.network}` (half of vgg6's width), 2 bits, IF, hard reset, T = {CIFAR.time_steps}, {CIFAR.epochs} "
        f"epochs of the first {CIFAR_IMAGES} training images, batch {CIFAR.batch_size}, Adam {CIFAR.learning_rate:g}, "
        f"a tenth at half and three quarters, crop and flip, no batch norm, seed {CIFAR.seed}; {run.seconds / 60:.0f} "
        f"minutes on a CPU. Held-out accuracy, all 10 000 images once: **{100 * run.test_accuracy:.2f} %** (the "
        "paper's 89.6 % is of the whole training set, 100 epochs or more: not reached and not comparable). "
        f"Training accuracy by epoch: {', '.join(f'{100 * a:.1f}' for a in run.train_accuracy)} %.",
        "",
        "| claim of the paper | here | reproduced |",
        "|---|---|---|",
    ]
    lines += [f"| {claim} | {number} | {'yes' if holds else 'no'} |" for claim, number, holds in rows]
    ways = ", ".join(f"{name}: {way.gain:.1f}×" for name, way in by_aor.items())
    lines += [
        "",
        f"Gain over the ANN in 45 nm, three ways: {ways}. R_out by layer: {_layers(run.rate_out, '')}.",
        "",
    ]
    return "\n".join([*lines, NOT_RUN])


def _layers(values: np.ndarray, unit: str) -> str:
    return ", ".join(f"{v:.3g}" for v in values) + (f" {unit}" if unit else "")
