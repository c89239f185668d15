"""Commands that program networks into chips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quest_lab.cli.options import (
    BenchOptions,
    Characterization,
    Chip,
    Data,
    DatasetName,
    Device,
    DryRun,
    Hardware,
    LogWire,
    Objective,
    ObjectiveName,
    Overwrite,
    Recover,
    Resume,
    RunOut,
    StageName,
    States,
    example,
    parsed,
)

app = typer.Typer()


@app.command(
    "replay",
    epilog=example("replay scaled trained/schedule.h5 --characterization chip.h5 --out replay.h5 --steps 20"),
)
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
    objective: Objective = ObjectiveName.ENERGY,
    resume: Resume = False,
    hardware: Hardware = False,
    log_wire: LogWire = None,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a schedule to the cells, reading back every step."""
    from quest_lab.cli.replay import run

    run(
        device=device,
        schedule=schedule,
        characterization=characterization,
        out=out,
        states=parsed(states),
        chip=chip,
        steps=steps,
        stage=None if stage is None else stage.value,
        sample=sample,
        tiles=tiles,
        objective=objective.value,
        resume=resume,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire, recover, dry_run),
    )


@app.command(
    "validate",
    epilog=example("validate scaled trained/weights.h5 --characterization chip.h5 --out validation.h5"),
)
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
    objective: Objective = ObjectiveName.ENERGY,
    resume: Resume = False,
    hardware: Hardware = False,
    log_wire: LogWire = None,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Program weights, read them back, compare accuracies."""
    from quest_lab.cli.validate import run
    from quest_lab.cli.validateoptions import settings_of

    run(
        device=device,
        weights=weights,
        characterization=characterization,
        out=out,
        states=parsed(states),
        dataset=None if dataset is None else dataset.value,
        data=data,
        chip=chip,
        settings=settings_of(
            analogue=analogue,
            wait=wait,
            read_at=read_at,
            open_loop=open_loop,
            tiles=tiles,
            images=images,
            objective=objective.value,
        ),
        resume=resume,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire, recover, dry_run),
    )
