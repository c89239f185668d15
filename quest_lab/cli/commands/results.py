"""Commands that read run files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quest_lab.cli.options import DirOut, Overwrite, example

app = typer.Typer()


@app.command("report", epilog=example("report chip.h5 replay.h5 validation.h5 --out report"))
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run files.")],
    out: DirOut,
    overwrite: Overwrite = False,
) -> None:
    """Make one self-contained HTML page from run files."""
    from quest_lab.cli.report import run

    run(runs=tuple(runs), out=out, overwrite=overwrite)


@app.command("show", epilog=example("show replay.h5"))
def show_command(run_file: Annotated[Path, typer.Argument(metavar="RUN", help="A run file.")]) -> None:
    """Print what a run file holds."""
    from quest_lab.cli.show import run

    run(path=run_file)


@app.command("diff", epilog=example("diff yesterday.h5 today.h5"))
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
