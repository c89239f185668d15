"""The command line `quest-lab`: commands in quest_lab/cli/commands, put together here.

Commands hand files to each other, never global state: characterize, energy, train, import, replay, validate, report.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from quest_lab import __version__
from quest_lab.cli import sim
from quest_lab.cli.bench import bench_app
from quest_lab.cli.commands import chips, networks, programming, results
from quest_lab.cli.frame import debug_first, exit_on_failure, printable_everywhere

app = typer.Typer(
    name="quest-lab",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain text: prints on every console and loads faster
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failure, 2 bad input, 130 interrupted.",
)
for commands in (chips, networks, programming, results):
    app.add_typer(commands.app)
app.add_typer(sim.app, name="sim")
app.add_typer(bench_app, name="bench")


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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    printable_everywhere()
    given = debug_first(sys.argv[1:] if arguments is None else arguments)
    with exit_on_failure(debug="--debug" in given):
        app(given, prog_name="quest-lab")
    raise SystemExit(0)
