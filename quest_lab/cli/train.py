"""`quest-lab train`: train a spiking network; write weights and schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quest_lab.cli.common import energy, percent, print_table
from quest_lab.cli.progress import progress
from quest_lab.layers import ACCUMULATE_J, Activity, activity
from quest_lab.network import Network
from quest_lab.schedule import Schedule, Step
from quest_lab.session import Stop, stop_on_signals
from quest_lab.train.config import TrainConfig, TrainResult


def run(*, out: Path, config: TrainConfig, data: Path | None, overwrite: bool) -> None:
    print_training(execute(out=out, config=config, data=data, overwrite=overwrite))


def execute(*, out: Path, config: TrainConfig, data: Path | None, overwrite: bool) -> TrainResult:
    from quest_lab.train.loop import train

    stop = Stop()
    out.mkdir(parents=True, exist_ok=True)
    with progress() as report, stop_on_signals(stop):
        return train(
            config, weights=out / "weights.h5", schedule=out / "schedule.h5", data_dir=data, progress=report,
            stop=stop, overwrite=overwrite,
        )  # fmt: skip


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


def print_training(done: TrainResult) -> None:
    """Accuracies, rates and the files."""
    print(
        f"accuracy: {percent(done.test_accuracy)} held out, {percent(done.train_accuracy)} on the training images"
    )
    network = Network.load(done.weights)
    print(done.agreement)
    print(f"encoding: {encoded(network.encoding, done.encoding_spikes)}; memory: {remembered(network)}")
    if done.schedule is not None:
        print_rates(done.schedule)
    print(f"training took {done.seconds:.0f} s\nweights:  {done.weights}")
    print(f"schedule: {done.schedule or 'none, an FP32 network writes no levels'}")


def encoded(encoding: str, spikes: float) -> str:
    return (
        f"{encoding}, {spikes:.1f} spikes an image" if spikes else f"{encoding}, no spikes before the encoder"
    )


def remembered(network: Network) -> str:
    """What the neurons after the encoder store from step to step."""
    bits = sum(network.neuron.memory_bits(info, network.bits) for info in network.infos)
    neurons = sum(info.neurons for info in network.infos)
    what = "spike bits of their inputs" if network.neuron.history else "membranes"
    return f"{bits / neurons:.2f} bits a neuron ({what}, {neurons} neurons {network.neuron})"


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
