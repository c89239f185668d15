"""`quest-lab sim`: the virtual laboratory for other programs. Bodies load what they need when called."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quest_lab.errors import Interrupted

if TYPE_CHECKING:
    from quest_lab.sim.server import Place, Server
    from quest_lab.sim.virtual import Laboratory

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
SERVE_EXAMPLE = "quest-lab sim serve --cells 16 --port 5025"


class PresetName(StrEnum):
    """The laws of the simulated cells."""

    SCALED = "scaled"
    LAB = "lab"


class ClockName(StrEnum):
    """What passes in the laboratory while nothing is asked of it."""

    RUNNING = "running"
    VIRTUAL = "virtual"


@app.callback()
def group() -> None:
    """Serve virtual instruments to any program."""


@app.command("serve", epilog=f"Example: {SERVE_EXAMPLE}")
def serve_command(
    preset: Annotated[PresetName, typer.Option(help="Law of the cells.")] = PresetName.LAB,
    cells: Annotated[int, typer.Option(min=1, help="Cells on the matrix.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    chip: Annotated[
        Path | None, typer.Option(help="File of the chip's cells; it survives the command.", metavar="FILE")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, help="First of five ports; 0: any free ones.")] = 5025,
    clock: Annotated[
        ClockName,
        typer.Option(help="running: like the wall's; virtual: only measurements and pulses pass time."),
    ] = ClockName.RUNNING,
) -> None:
    """Serve a virtual 33500, 2400, 7001 and Kepco until Ctrl-C."""
    laboratory = _laboratory(preset.value, cells, seed, chip, clock)
    try:
        run(laboratory, host=host, port=port)
    finally:
        laboratory.close()


def run(laboratory: Laboratory, *, host: str, port: int) -> None:
    """Serve until a signal; Ctrl-C raises Interrupted, other signals end it quietly."""
    from quest_lab.sim.server import Server

    server = Server(laboratory, host=host, port=port)
    try:
        with stopped_by_signals(server) as received:
            typer.echo(table([*server.places.values(), server.clock]))
            server.serve(after=_teller(laboratory))
    finally:
        server.close()
    typer.echo(f"served {laboratory.messages} messages")
    if signal.SIGINT in received:
        raise Interrupted("the virtual instruments are closed")


def table(places: list[Place]) -> str:
    """Where each instrument answers, one line each."""
    rows = [("instrument", "VISA, raw socket", "VISA, serial over it", "VISA, serial line")]
    rows += [(p.instrument, p.tcp, p.serial, p.terminal or "-") for p in places]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


@contextmanager
def stopped_by_signals(server: Server) -> Iterator[list[int]]:
    """Signals end `serve` after the message in hand; yields those that came."""
    received: list[int] = []

    def handle(number: int, _frame: Any) -> None:
        received.append(number)
        server.stop()

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    before = {n: signal.signal(n, handle) for n in (getattr(signal, name, None) for name in names) if n}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _laboratory(preset: Any, cells: int, seed: int, chip: Path | None, clock: ClockName) -> Laboratory:
    from quest_lab.clock import RunningClock, VirtualClock
    from quest_lab.sim.virtual import virtual_laboratory

    passing = RunningClock() if clock is ClockName.RUNNING else VirtualClock()
    return virtual_laboratory(preset=preset, cells=cells, seed=seed, cells_file=chip, clock=passing)


def _teller(laboratory: Laboratory) -> Any:
    """Tell bad practice as the world notices it."""
    told = 0

    def tell() -> None:
        nonlocal told
        for what in laboratory.world.violations[told:]:
            typer.echo(f"bad practice at {what}", err=True)
            told += 1

    return tell
