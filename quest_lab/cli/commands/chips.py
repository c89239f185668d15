"""Commands that measure chips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quest_lab.cli.options import (
    BenchOptions,
    Chip,
    ChipCells,
    ChipSeed,
    Device,
    DirOut,
    DryRun,
    Hardware,
    LogWire,
    MeasurementName,
    Overwrite,
    Recover,
    Resume,
    RunOut,
    Seed,
    States,
    Words,
    example,
    parsed,
    share,
)

app = typer.Typer()


@app.command("demo", epilog=example("demo --out demo --overwrite"))
def demo_command(
    out: DirOut = Path("demo"),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer cells and epochs.")] = False,
) -> None:
    """Go the whole way on a simulated chip, and report."""
    from quest_lab.cli.demo import run

    run(out=out, seed=seed, overwrite=overwrite, quick=quick)


@app.command(
    "characterize",
    epilog=example("characterize scaled --out chip.h5 --cells 4096 --set confidence=0.05"),
)
def characterize_command(
    device: Device,
    out: RunOut,
    words: Words = None,
    cells: ChipCells = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Cells to measure; default all.")] = None,
    chip: Chip = None,
    seed: ChipSeed = None,
    resume: Resume = False,
    hardware: Hardware = False,
    log_wire: LogWire = None,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a chip: states, set operations, transitions."""
    from quest_lab.cli.characterize import run

    run(
        device=device,
        out=out,
        words=words or (),
        cells=cells,
        sample=sample,
        chip=chip,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire, recover, dry_run),
    )


@app.command(
    "measure", epilog=example("measure endurance lab-ageing --out endurance.h5 --cells 256 --set cycles=1e4")
)
def measure_command(
    kind: Annotated[MeasurementName, typer.Argument(help="What to measure.")],
    device: Device,
    out: RunOut,
    words: Words = None,
    cells: ChipCells = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Cells to measure, evenly spread; default by kind.")
    ] = None,
    chip: Chip = None,
    seed: ChipSeed = None,
    resume: Resume = False,
    hardware: Hardware = False,
    log_wire: LogWire = None,
    recover: Recover = False,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure one property of a chip: yield, endurance, retention, R-H loop, disturb, widths, half-select."""
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
        resume=resume,
        overwrite=overwrite,
        options=BenchOptions(hardware, log_wire, recover, dry_run),
    )


@app.command("energy", epilog=example("energy chip.h5 --schedule trained/schedule.h5"))
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
        typer.Option(help="Take the cheapest states that reads tell apart this well.", callback=share),
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
        states=parsed(states),
        max_error=max_decoding_error,
        resamples=resamples,
    )
