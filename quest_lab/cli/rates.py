"""Rates of a trained network, and what they mean in 45 nm CMOS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quest_lab import cmos
from quest_lab.cli.common import energy, percent, print_table
from quest_lab.layers import ACCUMULATE_J, Activity, activity
from quest_lab.schedule import Schedule, Step


def last_epoch_activity(schedule: Schedule) -> Activity:
    """Rates, sparsity and AOR of the last epoch, with the levels it ended in."""
    steps: list[Step] = []
    for step in schedule:
        steps = [*steps, step] if steps and steps[-1].epoch == step.epoch else [step]
    return activity(
        schedule.layers,
        schedule.final_levels,
        taps=np.sum([s.taps for s in steps], axis=0),
        spikes_in=np.sum([s.spikes_in for s in steps], axis=0),
        spikes_out=np.sum([s.spikes_out for s in steps], axis=0),
        samples=sum(s.samples for s in steps),
        bits=schedule.header.bits,
    )


def print_rates(path: Path) -> None:
    """Spikes, R_in, R_out, sparsity and AOR of every layer in a schedule's last epoch."""
    with Schedule.open(path) as schedule:
        rates, steps = last_epoch_activity(schedule), schedule.header.time_steps
        rows = [
            (layer.name, layer.size, f"{rates.rate_out[i] * layer.neurons:.0f}", f"{rates.rate_in[i]:.3f}",
             f"{rates.rate_out[i]:.3f}", percent(rates.sparsity[i]), f"{rates.aor[i]:.3f}",
             f"{rates.aor[i] / steps:.4f}", energy(rates.aor[i] * layer.macs * ACCUMULATE_J))
            for i, layer in enumerate(schedule.layers)
        ]  # fmt: skip
    header = ("layer", "weights", "spikes", "R_in", "R_out", "sparsity", "AOR", "AOR / T", "operations")
    note = (
        f"Spikes a place over T = {steps} steps, last epoch; R_in enters the layer (after pooling), R_out leaves it, "
        f"as do `spikes`, an image. Operations: AOR x MACs x {energy(ACCUMULATE_J)}, 45 nm CMOS, an image."
    )
    print_table("Rates of the trained network", header, rows, note=note)


def print_comparison(ways: Sequence[cmos.Way]) -> None:
    """The 45 nm comparison beside the paper's numbers."""
    rows = [(w.name, f"{w.gain:.3g}x", f"{w.vgg6:.3g}x", f"{w.vgg16:.3g}x", energy(w.energy_j)) for w in ways]
    rows.append(
        (
            "QUEST, as published",
            f"{cmos.PAPER_GAIN:g}x",
            f"{cmos.PAPER_VGG6:g}x",
            f"{cmos.PAPER_VGG16:g}x",
            "",
        )
    )
    diet = ", ".join(
        f"{x.name} {x.macs / 1e6:g} M MACs at rate {x.rate:.3f}, {energy(x.energy_j)} an image"
        for x in (cmos.DIET_VGG6, cmos.DIET_VGG16)
    )
    note = (
        f"Operations in 45 nm: {cmos.E_MAC_J * 1e12:g} pJ a multiply-accumulate of the ANN, "
        f"{cmos.E_AC_J * 1e12:g} pJ an accumulate here; no energy of a memory cell. "
        f"{diet} (rates derived from QUEST's ratios)."
    )
    header = ("operations by", "vs ANN", "vs VGG6-DIET-SNN", "vs VGG16-DIET-SNN", "an image")
    print_table("Against CMOS, by operation rate", header, rows, note=note)
