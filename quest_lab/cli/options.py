"""Options that commands share, and what people write made of them. Light: loaded at every start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from quest_lab.examples import PRESETS, example_benches

DEVICES = (*PRESETS, *example_benches())  # simulated chips, twins of the example benches


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How a command uses its bench; what the options mean: `open_bench`."""

    hardware: bool = False
    log_wire: bool | None = None
    recover: bool = False
    dry_run: bool = False


AS_USUAL = BenchOptions()


def example(words: str) -> str:
    """The last line of a command's --help."""
    return f"Example: quest-lab {words}"


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


def numbers(text: str) -> tuple[float, ...]:
    """`0.5` or `0.4,0.5,0.6` as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: want numbers separated by commas, like 0.4,0.5,0.6") from None


def positive(value: float) -> float:
    if not math.isfinite(value) or value <= 0:
        raise typer.BadParameter(f"{value}: want a finite number above 0")
    return value


def share(value: float | None) -> float | None:
    if value is not None and not 0 < value < 0.5:
        raise typer.BadParameter(f"{value}: want a probability above 0, below 0.5")
    return value


def _device(name: str) -> str:
    if name not in DEVICES and not name.endswith(".toml"):
        raise typer.BadParameter(f"{name!r}: want {', '.join(DEVICES)}, or a bench file (.toml)")
    return name


def device_or_none(name: str | None) -> str | None:
    return None if name is None else _device(name)


def parsed(value: Any) -> tuple[int, ...] | None:
    """What a callback made of an option that typer still calls a string."""
    return None if value is None else tuple(value)


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
    bool | None,
    typer.Option("--log-wire", help="Keep every exchange with the instruments in the run's visa table."),
]
Recover = Annotated[
    bool,
    typer.Option(
        "--recover", help="First read the cells that a run cut off at the same --out left in doubt."
    ),
]
Words = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting of the protocol, SI units, as often as needed; a wrong name lists them.",
        metavar="NAME=VALUE",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was cut off.")]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Only count what a bench file's run would do, on its twin; no run file is kept."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
ChipCells = Annotated[
    int | None,
    typer.Option("--cells", min=1, help="Cells of a simulated chip; of a bench's twin, at most those wired."),
]
Objective = Annotated[ObjectiveName, typer.Option("--objective", help="What its writes save.")]
TimeSteps = Annotated[int, typer.Option("--time-steps", min=1, help="Steps an image is shown.")]
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
