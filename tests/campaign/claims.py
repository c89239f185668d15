"""The page of the paper's claims (QUEST, arXiv 2504.00679), from one measured run."""

from __future__ import annotations

import numpy as np
import patterns
from training import Measured

from quest_lab.cmos import PAPER_GAIN
from quest_lab.device import Floats
from quest_lab.train.results import compare

NOT_RUN = (
    "Full recipe on a GPU, **not run**: `quest-lab train --network vgg6 --dataset cifar10 --data DIR --bits 2 --epochs "
    "200 --device cuda --out DIR`, goal 89.6 %; then bits 3, 4 and 32, neurons lif-hard, if-soft and lif-soft, and "
    "`--network vgg8`."
)


def page(run: Measured) -> str:
    """What QUEST says, and what this run gave; energies by layer and stage below."""
    chips = [patterns.priced(preset, run.counts) for preset in patterns.PRESETS]
    last = run.history[-1]
    rows = [
        *_claims(run),
        *(row for chip in chips for row in patterns.claims(chip)),
        *patterns.shapes(chips, last, run.layers),
    ]
    ways = ", ".join(f"{way.name}: {way.gain:.1f}×" for way in compare(last, run.layers, run.encoder_macs))
    parts = [
        _about(run),
        "| claim of the paper | here | reproduced |\n|---|---|---|\n"
        + "\n".join(f"| {' | '.join(row)} |" for row in rows),
        f"Gain over the ANN in 45 nm, three ways: {ways}. Last epoch, by layer: R_in "
        f"{_listed(last.rate_in(run.layers))}; R_out {_listed(last.rate_out(run.layers))}.",
        "## Activation energy and AOR by layer",
        "Of an image, last epoch, under the pattern that is cheapest on the chip (updates and gated reads).",
        patterns.activation_table(chips, last, run.layers),
        "## The lowest pattern in each layer and stage",
        *(patterns.table(chip, run.layers) for chip in chips),
        NOT_RUN,
    ]
    return "\n\n".join(parts)


def _about(run: Measured) -> str:
    config = run.config
    return (
        f"`{config.network}` (vgg6 has 64-64M-128-128M-256-256-A), {config.bits} bits, {config.neuron}, T = "
        f"{config.time_steps}, epochs: {config.epochs}, of {run.images} training images each, batch "
        f"{config.batch_size}, Adam {config.learning_rate:g}, a tenth at half and three quarters, crop and flip, "
        f"no batch norm, seed {config.seed}; {run.seconds / 60:.0f} minutes of training, threads on the CPU: "
        f"{config.threads}. Held-out accuracy, {run.agreement.images} images once: **{100 * run.test_accuracy:.2f} %** "
        "(the paper's 89.6 % is of a wider network and 100 epochs or more: not comparable). Training accuracy: "
        f"{', '.join(f'{100 * e.accuracy:.1f}' for e in run.history)} % by epoch. "
        f"The {run.agreement}."
    )


def _claims(run: Measured) -> list[tuple[str, str, str]]:
    """(claim, numbers, verdict) of those that need no chip."""
    history, layers = run.history, run.layers
    last, steps = history[-1], run.counts.transitions.sum(axis=(1, 2, 3))
    moves = np.sum([e.transitions for e in history], axis=(0, 1))
    moved = int(moves.sum() - np.trace(moves))
    jumps = moved - int(np.trace(moves, offset=1) + np.trace(moves, offset=-1))
    early = 1.0 - steps[run.counts.stage == 1].mean() / last.weights.sum()
    aor, rate_out = last.aor(layers), last.rate_out(layers)
    ratio = rate_out.mean() / aor.mean()
    by_aor = next(w for w in compare(last, layers, run.encoder_macs) if w.name == "AOR")
    rows = [
        ("no −1 ↔ +1 transitions", f"{jumps} of {moved} transitions", jumps == 0),
        ("most weights frozen between batches from the first epoch", f"{100 * early:.2f} % in an early batch, "
         f"{100 * (1 - history[0].changed):.2f} % in a mean one of the first epoch", bool(early > 0.5)),
        ("sparsity above 60 % in every layer", f"{_listed(100 * last.sparsity)} %", bool(np.all(last.sparsity > 0.6))),
        ("AOR several times below the spike rate (4.7×)", f"mean R_out {rate_out.mean():.3f}, mean AOR "
         f"{aor.mean():.3f}: {ratio:.2f}×", bool(ratio > 2)),
        ("first layer's AOR highest, last layer's lowest", _listed(aor),
         bool(aor.argmax() == 0 and aor.argmin() == aor.size - 1)),
        (f"{PAPER_GAIN:g}× fewer than the ANN (45 nm, by AOR)", f"{by_aor.gain:.1f}×", by_aor.gain >= PAPER_GAIN),
    ]  # fmt: skip
    return [(claim, number, "yes" if holds else "no") for claim, number, holds in rows]


def _listed(values: Floats) -> str:
    return ", ".join(f"{v:.3g}" for v in values)
