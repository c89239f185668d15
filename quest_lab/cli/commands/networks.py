"""Commands that make networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quest_lab.blocks import NETWORKS
from quest_lab.cli.options import (
    BenchOptions,
    Chip,
    Data,
    DatasetName,
    DirOut,
    DryRun,
    Hardware,
    LogWire,
    Overwrite,
    Recover,
    Seed,
    States,
    TimeSteps,
    device_or_none,
    example,
    numbers,
    parsed,
    positive,
)
from quest_lab.encodings import ENCODINGS
from quest_lab.imports.dialects import DIALECTS
from quest_lab.neurons import MEMBRANE_BITS, NEURONS
from quest_lab.train.config import TrainConfig

app = typer.Typer()
TRAINING = TrainConfig()  # its defaults are this command line's


@app.command("train", epilog=example("train --network vgg6 --dataset cifar10 --data DIR --out trained"))
def train_command(
    context: typer.Context,
    out: DirOut,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="TOML file of these options, as TrainConfig names them.", metavar="FILE"
        ),
    ] = None,
    dataset: Annotated[DatasetName, typer.Option(help="Images.")] = DatasetName.DIGITS,
    data: Data = None,
    network: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(NETWORKS)}, or channels of the convs, encoder first; M: max pool, "
            "A: average pool, F: flatten, then L: linear layers."
        ),
    ] = TRAINING.network,
    neuron: Annotated[
        str, typer.Option(help=f"{', '.join(NEURONS)} (mfp-K: last K spikes).")
    ] = TRAINING.neuron,
    encoding: Annotated[str, typer.Option(help=f"{', '.join(ENCODINGS)}.")] = TRAINING.encoding,
    bits: Annotated[
        int, typer.Option(help="Bits of weights and membranes, 2 to 8; 32: FP32.")
    ] = TRAINING.bits,
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Experiment: folds into integers only with neuron mfp.")
    ] = TRAINING.batch_norm,
    time_steps: TimeSteps = TRAINING.time_steps,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = TRAINING.epochs,
    batch_size: Annotated[int, typer.Option("--batch", min=1, help="Images a step.")] = TRAINING.batch_size,
    learning_rate: Annotated[
        float, typer.Option("--lr", help="Learning rate of Adam.", callback=positive)
    ] = TRAINING.learning_rate,
    shift_pixels: Annotated[
        int, typer.Option("--shift", min=0, help="Largest random shift of an image, in pixels.")
    ] = TRAINING.shift_pixels,
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror half of the images.")
    ] = TRAINING.flip,
    decay: Annotated[
        str, typer.Option(help="How the learning rate falls: cosine, or steps (a tenth at 50 % and at 75 %).")
    ] = TRAINING.decay,
    hysteresis: Annotated[
        float,
        typer.Option(help="Levels beyond a boundary at which a weight changes its level: fewer writes."),
    ] = TRAINING.hysteresis,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = TRAINING.threads,
    amp: Annotated[
        bool, typer.Option("--amp", help="Convolve spikes and levels in bfloat16; spikes stay exact.")
    ] = TRAINING.amp,
    device: Annotated[str, typer.Option(help="auto (CUDA if there), cpu or cuda.")] = TRAINING.device,
    seed: Seed = TRAINING.seed,
    energy: Annotated[
        Path | None,
        typer.Option(help="Run file of `characterize`: energies on that chip.", metavar="RUN.h5"),
    ] = None,
    states: States = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from DIR/checkpoint.h5, killed or stopped.")
    ] = False,
    checkpoint_steps: Annotated[
        int, typer.Option(min=1, help="Steps between checkpoints; there is one after every epoch too.")
    ] = 500,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Log for TensorBoard too (pip install tensorboard).")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            help="Train in the loop on this chip (as DEVICE elsewhere): its cells hold the weights; needs "
            "--characterization.",
            metavar="DEVICE",
            callback=device_or_none,
        ),
    ] = None,
    characterization: Annotated[
        Path | None,
        typer.Option("--characterization", help="With --on: run file of `characterize`.", metavar="RUN.h5"),
    ] = None,
    open_loop: Annotated[
        bool, typer.Option("--open-loop", help="With --on: a reset and one pulse a write, as it lands.")
    ] = False,
    chip: Chip = None,
    hardware: Hardware = False,
    log_wire: LogWire = None,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a spiking network; write weights and schedule. What is not said is the data set's recipe."""
    from quest_lab.cli.train import run
    from quest_lab.cli.trainoptions import Options, chip_in_loop, settings

    options = {
        "dataset": dataset.value,
        "network": network,
        "neuron": neuron,
        "encoding": encoding,
        "bits": bits,
        "batch_norm": batch_norm,
        "time_steps": time_steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "shift_pixels": shift_pixels,
        "flip": flip,
        "decay": decay,
        "hysteresis": hysteresis,
        "threads": threads,
        "amp": amp,
        "device": device,
        "seed": seed,
    }
    given = {name: value for name, value in options.items() if _given(context, name)}
    bench = BenchOptions(hardware, log_wire, recover, dry_run)
    in_loop = chip_in_loop(on, characterization, chip=chip, open_loop=open_loop, bench=bench)
    run(
        out=out,
        config=settings(out, config, given, resume=resume),
        data=data,
        overwrite=overwrite,
        options=Options(energy, parsed(states), resume, checkpoint_steps, tensorboard, in_loop),
    )


@app.command(
    "import",
    epilog=example("import net.nir --written-by spikingjelly --out weights.h5 --bits 2 --time-steps 8"),
)
def import_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A NIR graph (.nir) or a state dict (.pt, .safetensors, .npz)."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Weights file to write.", metavar="WEIGHTS.h5")],
    dataset: Annotated[DatasetName, typer.Option(help="Images it was trained on.")] = DatasetName.DIGITS,
    data: Data = None,
    bits: Annotated[int, typer.Option(help="Bits of weights, 2 to 8; 32: FP32.")] = TRAINING.bits,
    membrane_bits: Annotated[
        int,
        typer.Option(min=2, max=MEMBRANE_BITS, help="Bits of membranes, in levels of the weights' scale."),
    ] = MEMBRANE_BITS,
    alpha: Annotated[
        float | None,
        typer.Option(help="Weight of the top level in all layers; default: of the least squared error."),
    ] = None,
    time_steps: TimeSteps = TRAINING.time_steps,
    neuron: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(NEURONS)}, lif-delayed (snnTorch's), another leak lif-soft@0.9, with a synapse "
            "cuba-hard@0.9,0.8. Default: if-hard. A NIR graph says the leaks, so lif-soft will do; default: reset to 0."
        ),
    ] = None,
    written_by: Annotated[
        str | None, typer.Option(help=f"What wrote the NIR graph: {', '.join(DIALECTS)}; default nir.")
    ] = None,
    dt: Annotated[float | None, typer.Option(help="Time step of a NIR graph, if not its library's.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Topology of a state dict, as of `train`; also 32k5s2p0, 32V.")
    ] = None,
    theta: Annotated[
        float | None, typer.Option(help="Threshold of a state dict's neurons; default 1.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="A layer's tensors in a state dict, like conv1=features.0; repeat for all."
        ),
    ] = None,
    mean: Annotated[
        str,
        typer.Option(help="What was taken from pixels of 0..1, like 0.5 or 0.4,0.5,0.6.", callback=numbers),
    ] = "0",
    std: Annotated[str, typer.Option(help="What they were then divided by.", callback=numbers)] = "1",
    characterization: Annotated[
        Path | None,
        typer.Option(help="Run file of `characterize`: must have a state for each level.", metavar="RUN.h5"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Read a network trained elsewhere, rounded to levels of cells."""
    from quest_lab.cli.import_ import run

    run(
        file=file,
        out=out,
        dataset=dataset.value,
        data=data,
        bits=bits,
        alpha=alpha,
        membrane_bits=membrane_bits,
        characterization=characterization,
        reading={
            "time_steps": time_steps,
            "neuron": neuron,
            "written_by": written_by,
            "dt": dt,
            "network": network,
            "theta": theta,
            "names": tuple(names or ()),
            "mean": tuple(map(float, mean)),
            "std": tuple(map(float, std)),
        },
        overwrite=overwrite,
    )


def _given(context: typer.Context, name: str) -> bool:
    """Whether an option stood on the command line."""
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
