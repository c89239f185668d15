"""The command line `quest-lab`; a command's body is `run` in quest_lab/cli/<command>.py, loaded when called.

Commands hand files to each other, never global state: characterize, energy, train, import, replay, validate, report.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from quest_lab import __version__
from quest_lab.cli import sim
from quest_lab.cli.bench import bench_app
from quest_lab.cli.frame import debug_first, exit_on_failure, printable_everywhere
from quest_lab.encodings import ENCODINGS
from quest_lab.examples import PRESETS, example_benches
from quest_lab.imports.dialects import DIALECTS
from quest_lab.layers import NETWORKS
from quest_lab.neurons import NEURONS
from quest_lab.train.config import TrainConfig

TRAINING = TrainConfig()  # its defaults are this command line's

app = typer.Typer(
    name="quest-lab",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text: prints on every console and loads faster
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failure, 2 bad input, 130 interrupted.",
)
app.add_typer(sim.app, name="sim")


DEVICES = (*PRESETS, *example_benches())  # simulated chips, twins of the example benches


class DatasetName(StrEnum):
    """The image sets that the trainer reads; digits come with scikit-learn."""

    DIGITS = "digits"
    CIFAR10 = "cifar10"
    MNIST = "mnist"


class ObjectiveName(StrEnum):
    """What a write policy is to save."""

    ENERGY = "energy"
    PULSE_ENERGY = "pulse_energy"
    TIME = "time"
    PULSES = "pulses"


class MeasurementName(StrEnum):
    """The measurements of `measure`."""

    YIELD = "yield"
    ENDURANCE = "endurance"
    RETENTION = "retention"
    FIELD_LOOP = "field-loop"
    DISTURB = "disturb"
    WIDTH = "width"
    HALF_SELECT = "half-select"


class StageName(StrEnum):
    """QUEST's stages of the first epoch."""

    EARLY = "early"
    MIDDLE = "middle"
    FINAL = "final"


def command(name: str, example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose --help ends with `example`."""
    return app.command(name, epilog=f"Example: quest-lab {name} {example}")


def _integers(text: str | None) -> tuple[int, ...] | None:
    """`0,3,6` as (0, 3, 6)."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: want integers separated by commas, like 0,3,6") from None


def _states(text: str | None) -> tuple[int, ...] | None:
    states = _integers(text)
    if states and (min(states) < 0 or len(set(states)) != len(states)):
        raise typer.BadParameter(f"{text!r}: want different states, 0 or above")
    return states


def _numbers(text: str) -> tuple[float, ...]:
    """`0.5` or `0.4,0.5,0.6` as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: want numbers separated by commas, like 0.4,0.5,0.6") from None


def _positive(value: float) -> float:
    if not math.isfinite(value) or value <= 0:
        raise typer.BadParameter(f"{value}: want a finite number above 0")
    return value


def _share(value: float | None) -> float | None:
    if value is not None and not 0 < value < 0.5:
        raise typer.BadParameter(f"{value}: want a probability above 0, below 0.5")
    return value


def _device(name: str) -> str:
    if name not in DEVICES and not name.endswith(".toml"):
        raise typer.BadParameter(f"{name!r}: want {', '.join(DEVICES)}, or a bench file (.toml)")
    return name


def _device_or_none(name: str | None) -> str | None:
    return None if name is None else _device(name)


Device = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE", help=f"The chip to drive: {', '.join(DEVICES)}, or a bench file.", callback=_device
    ),
]
Hardware = Annotated[
    bool, typer.Option("--hardware", help="Drive the bench file's real instruments, not its twin.")
]
LogWire = Annotated[
    bool, typer.Option("--log-wire", help="Keep every exchange with the instruments in the run's visa table.")
]
Recover = Annotated[
    bool,
    typer.Option(
        "--recover", help="First read the cells that a run cut off at the same --out left in doubt."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Only count what a bench file's run would do, on its twin; no run file is kept."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
ChipSeed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        help="Seed of everything random; default: a bench file's twin.seed, else 0.",
        show_default=False,
    ),
]
RunOut = Annotated[Path, typer.Option("--out", help="Run file to write.", metavar="RUN.h5")]
DirOut = Annotated[Path, typer.Option("--out", help="Folder to write.", metavar="DIR")]
Chip = Annotated[
    Path | None,
    typer.Option("--chip", help="File of a simulated chip's cells; it survives the command.", metavar="FILE"),
]
Characterization = Annotated[
    Path, typer.Option("--characterization", help="Run file of `characterize`.", metavar="RUN.h5")
]
States = Annotated[
    str | None,
    typer.Option(
        "--states",
        help="States in use, like 0,3,6; default: one for each weight level, evenly spread.",
        callback=_states,
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data set (not for digits).", metavar="DIR")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quest-lab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
) -> None:
    """Characterise, train, replay and validate multi-state memory cells, simulated or on a bench."""


@command("demo", "--out demo --overwrite")
def demo_command(
    out: DirOut = Path("demo"),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and epochs.")] = False,
) -> None:
    """Go the whole way on a simulated chip, and report."""
    from quest_lab.cli.demo import run

    run(out=out, seed=seed, overwrite=overwrite, quick=quick)


@command("characterize", "scaled --out chip.h5 --cells 4096 --sample 256")
def characterize_command(
    device: Device,
    out: RunOut,
    cells: Annotated[
        int | None,
        typer.Option(min=1, help="Cells of a simulated chip; of a bench's twin, at most those wired."),
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Cells to measure; default all.")] = None,
    chip: Chip = None,
    seed: ChipSeed = None,
    hardware: Hardware = False,
    log_wire: LogWire = False,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a chip: states, set operations, transitions."""
    from quest_lab.cli.characterize import run
    from quest_lab.cli.common import BenchOptions

    run(
        device=device,
        out=out,
        cells=cells,
        sample=sample,
        chip=chip,
        seed=seed,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire or None, recover, dry_run),
    )


@command("measure", "endurance lab-ageing --out endurance.h5 --cells 256 --set cycles=1e4")
def measure_command(
    kind: Annotated[MeasurementName, typer.Argument(help="What to measure.")],
    device: Device,
    out: RunOut,
    words: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of the measurement, SI units, as often as needed; a wrong name lists them.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    cells: Annotated[
        int | None,
        typer.Option(min=1, help="Cells of a simulated chip; of a bench's twin, at most those wired."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Cells to measure, evenly spread; default by kind.")
    ] = None,
    chip: Chip = None,
    seed: ChipSeed = None,
    hardware: Hardware = False,
    log_wire: LogWire = False,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure one property of a chip: yield, endurance, retention, R-H loop, disturb, widths, half-select."""
    from quest_lab.cli.common import BenchOptions
    from quest_lab.cli.measure import run

    run(
        kind=kind.value,
        device=device,
        out=out,
        words=words or (),
        cells=cells,
        sample=sample,
        chip=chip,
        seed=seed,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire or None, recover, dry_run),
    )


@command("energy", "chip.h5 --schedule trained/schedule.h5")
def energy_command(
    characterization: Annotated[Path, typer.Argument(metavar="RUN", help="Run file of `characterize`.")],
    schedule: Annotated[
        Path | None,
        typer.Option(
            "--schedule", help="Schedule of `train`; without: matrices only.", metavar="SCHEDULE.h5"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Run file to write.", metavar="RUN.h5")] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Matrices and patterns for other programs.", metavar="FILE.json|.csv"),
    ] = None,
    states: States = None,
    max_decoding_error: Annotated[
        float | None,
        typer.Option(help="Take the cheapest states that reads tell apart this well.", callback=_share),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Draws of the sampled cells, for the intervals; 0: none.")
    ] = 200,
    overwrite: Overwrite = False,
) -> None:
    """Compute energy matrices, and a schedule's energy under every mapping pattern."""
    from quest_lab.cli.energy import run

    run(
        characterization=characterization,
        schedule=schedule,
        out=out,
        export_to=export,
        overwrite=overwrite,
        states=_parsed(states),
        max_error=max_decoding_error,
        resamples=resamples,
    )


@command("train", "--network vgg6 --dataset cifar10 --data DIR --out trained")
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
    time_steps: Annotated[int, typer.Option(min=1, help="Steps an image is shown.")] = TRAINING.time_steps,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = TRAINING.epochs,
    batch_size: Annotated[int, typer.Option("--batch", min=1, help="Images a step.")] = TRAINING.batch_size,
    learning_rate: Annotated[
        float, typer.Option("--lr", help="Learning rate of Adam.", callback=_positive)
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
            callback=_device_or_none,
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
    log_wire: LogWire = False,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a spiking network; write weights and schedule. What is not said is the data set's recipe."""
    from quest_lab.cli.common import BenchOptions
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
    bench = BenchOptions(hardware, log_wire or None, recover, dry_run)
    in_loop = chip_in_loop(on, characterization, chip=chip, open_loop=open_loop, bench=bench)
    run(
        out=out,
        config=settings(out, config, given, resume=resume),
        data=data,
        overwrite=overwrite,
        options=Options(energy, _parsed(states), resume, checkpoint_steps, tensorboard, in_loop),
    )


def _given(context: typer.Context, name: str) -> bool:
    """Whether an option stood on the command line."""
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"


@command("replay", "scaled trained/schedule.h5 --characterization chip.h5 --out replay.h5 --steps 20")
def replay_command(
    device: Device,
    schedule: Annotated[Path, typer.Argument(metavar="SCHEDULE", help="Schedule of `train`.")],
    characterization: Characterization,
    out: RunOut,
    states: States = None,
    chip: Chip = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps to replay; default all.")] = None,
    stage: Annotated[StageName | None, typer.Option(help="Only these batches of the first epoch.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Replay so many weights only, drawn from all layers.")
    ] = None,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Part after part, where the chip has fewer cells than weights.")
    ] = False,
    objective: Annotated[ObjectiveName, typer.Option(help="What its writes save.")] = ObjectiveName.ENERGY,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a replay that was cut off.")] = False,
    hardware: Hardware = False,
    log_wire: LogWire = False,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a schedule to the cells, reading back every step."""
    from quest_lab.cli.common import BenchOptions
    from quest_lab.cli.replay import run

    run(
        device=device,
        schedule=schedule,
        characterization=characterization,
        out=out,
        states=_parsed(states),
        chip=chip,
        steps=steps,
        stage=None if stage is None else stage.value,
        sample=sample,
        tiles=tiles,
        objective=objective.value,
        resume=resume,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire or None, recover, dry_run),
    )


@command("validate", "scaled trained/weights.h5 --characterization chip.h5 --out validation.h5")
def validate_command(
    device: Device,
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Weights of `train`.")],
    characterization: Characterization,
    out: RunOut,
    states: States = None,
    dataset: Annotated[
        DatasetName | None, typer.Option(help="Images; default: those it was trained on.")
    ] = None,
    data: Data = None,
    chip: Chip = None,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Part after part, where the chip has fewer cells than needed.")
    ] = False,
    analogue: Annotated[
        str | None,
        typer.Option(
            help="Encodings beside decoded: reference,differential, or none; default: those that fit.",
            show_default=False,
        ),
    ] = None,
    open_loop: Annotated[
        bool,
        typer.Option("--open-loop/--no-open-loop", help="Write open loop too: each pulse once, unverified."),
    ] = True,
    wait: Annotated[
        str | None, typer.Option(help="Read every tile again after this time, like '1 h'.", metavar="TIME")
    ] = None,
    read_at: Annotated[
        str | None,
        typer.Option(
            help="Read at these voltages too, like '0.05 V,0.2 V'; their baselines are measured first.",
            metavar="VOLTS",
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Draw so many of the held-out images; default all.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a validation that was cut off.")
    ] = False,
    hardware: Hardware = False,
    log_wire: LogWire = False,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Program weights, read them back, compare accuracies."""
    from quest_lab.cli.common import BenchOptions
    from quest_lab.cli.validate import run
    from quest_lab.cli.validateoptions import settings_of

    run(
        device=device,
        weights=weights,
        characterization=characterization,
        out=out,
        states=_parsed(states),
        dataset=None if dataset is None else dataset.value,
        data=data,
        chip=chip,
        settings=settings_of(
            analogue=analogue, wait=wait, read_at=read_at, open_loop=open_loop, tiles=tiles, images=images
        ),
        resume=resume,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire or None, recover, dry_run),
    )


@command("import", "net.nir --written-by snntorch --out weights.h5 --bits 2 --time-steps 8")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A NIR graph (.nir) or a state dict (.pt, .safetensors, .npz)."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Weights file to write.", metavar="WEIGHTS.h5")],
    dataset: Annotated[DatasetName, typer.Option(help="Images it was trained on.")] = DatasetName.DIGITS,
    data: Data = None,
    bits: Annotated[
        int, typer.Option(help="Bits of weights and membranes, 2 to 8; 32: FP32.")
    ] = TRAINING.bits,
    alpha: Annotated[
        float | None,
        typer.Option(help="Weight of the top level in all layers; default: of the least squared error."),
    ] = None,
    time_steps: Annotated[int, typer.Option(min=1, help="Steps an image is shown.")] = TRAINING.time_steps,
    neuron: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(NEURONS)}; default: if-hard, or as a NIR graph says, reset to 0."),
    ] = None,
    written_by: Annotated[
        str | None, typer.Option(help=f"What wrote the NIR graph: {', '.join(DIALECTS)}; default nir.")
    ] = None,
    dt: Annotated[float | None, typer.Option(help="Time step of a NIR graph, if not its library's.")] = None,
    network: Annotated[str | None, typer.Option(help="Topology of a state dict, as of `train`.")] = None,
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
        typer.Option(help="What was taken from pixels of 0..1, like 0.5 or 0.4,0.5,0.6.", callback=_numbers),
    ] = "0",
    std: Annotated[str, typer.Option(help="What they were then divided by.", callback=_numbers)] = "1",
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


@command("report", "chip.h5 replay.h5 validation.h5 --out report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run files.")],
    out: DirOut,
    overwrite: Overwrite = False,
) -> None:
    """Make one self-contained HTML page from run files."""
    from quest_lab.cli.report import run

    run(runs=tuple(runs), out=out, overwrite=overwrite)


@command("show", "replay.h5")
def show_command(run_file: Annotated[Path, typer.Argument(metavar="RUN", help="A run file.")]) -> None:
    """Print what a run file holds."""
    from quest_lab.cli.show import run

    run(path=run_file)


@command("diff", "yesterday.h5 today.h5")
def diff_command(
    first: Annotated[Path, typer.Argument(metavar="RUN1", help="A run file.")],
    second: Annotated[Path, typer.Argument(metavar="RUN2", help="A run file of the same kind.")],
    characterization: Annotated[
        Path | None,
        typer.Option(
            "--characterization",
            help="Decodes the reads of both; default: each run's own, or the file it names.",
            metavar="RUN.h5",
        ),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Compare event tables to the last bit, wall times left out.")
    ] = False,
) -> None:
    """Compare two runs: exit code 0 if equal, 1 if different."""
    from quest_lab.cli.diff import run

    run(paths=(first, second), characterization=characterization, events=events)


app.add_typer(bench_app, name="bench")


def _parsed(value: Any) -> tuple[int, ...] | None:
    """What a callback made of an option that typer still calls a string."""
    return None if value is None else tuple(value)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    printable_everywhere()
    given = debug_first(sys.argv[1:] if arguments is None else arguments)
    with exit_on_failure(debug="--debug" in given):
        app(given, prog_name="quest-lab")
    raise SystemExit(0)
