"""`quest-lab train`: train a spiking network; write weights and schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quest_lab.cli.common import percent, print_table
from quest_lab.cli.frame import ctrl_c_stops
from quest_lab.cli.progress import progress
from quest_lab.layers import Activity, activity
from quest_lab.schedule import Schedule
from quest_lab.session import Stop
from quest_lab.train.config import TrainConfig, TrainResult


def run(*, out: Path, config: TrainConfig, data: Path | None, overwrite: bool) -> TrainResult:
    from quest_lab.train.loop import train

    stop = Stop()
    with progress() as report, ctrl_c_stops(stop):
        done = train(config, out, data=data, progress=report, stop=stop, overwrite=overwrite)
    print_training(done)
    return done


def last_epoch_activity(schedule: Schedule) -> Activity:
    """Rates, sparsity and AOR of the last epoch, with the levels it ended in."""
    steps = [step for step in schedule if step.epoch == schedule.last_epoch]
    return activity(
        schedule.layers,
        schedule.final_levels,
        taps=np.sum([s.taps for s in steps], axis=0),
        spikes_in=np.sum([s.spikes_in for s in steps], axis=0),
        spikes_out=np.sum([s.spikes_out for s in steps], axis=0),
        samples=sum(s.samples for s in steps),
        bits=schedule.header.bits,
    )


def print_training(done: TrainResult) -> None:
    with Schedule.open(done.schedule) as schedule:
        rates = last_epoch_activity(schedule)
        rows = [
            (layer.name, layer.size, *(f"{x:.3f}" for x in (rates.rate_in[i], rates.rate_out[i])),
             percent(rates.sparsity[i]), f"{rates.aor[i]:.3f}", f"{rates.aor[i] / schedule.header.time_steps:.4f}")
            for i, layer in enumerate(schedule.layers)
        ]  # fmt: skip
        steps = schedule.header.time_steps
    note = (
        f"Rates are spikes per place over T = {steps} steps of the last epoch: R_in enters the layer (after "
        f"pooling), R_out leaves its neurons. Training took {done.seconds:.0f} s."
    )
    print_table(
        f"Held-out accuracy {percent(done.test_accuracy)}, training accuracy {percent(done.train_accuracy)}",
        ("layer", "weights", "R_in", "R_out", "sparsity", "AOR", "AOR / T"), rows, note=note,
    )  # fmt: skip
    print(f"weights:  {done.weights}\nschedule: {done.schedule}")
