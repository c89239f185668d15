"""`quest-lab sim`: the virtual laboratory for other programs. Bodies load what they need when called."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quest_lab.errors import BadInput, Interrupted

if TYPE_CHECKING:
    from quest_lab.benchfile import BenchFile
    from quest_lab.sim.laboratory import Laboratory
    from quest_lab.sim.server import Place, Server

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
SERVE_EXAMPLE = "quest-lab sim serve slow-matrix --port 5025"


class FrontName(StrEnum):
    """What a written bench file reaches the served instruments by."""

    TCP = "tcp"
    SERIAL = "serial"
    TERMINAL = "terminal"


class ClockName(StrEnum):
    """What passes in the laboratory while nothing is asked of it."""

    RUNNING = "running"
    VIRTUAL = "virtual"


@app.callback()
def group() -> None:
    """Serve virtual instruments to any program."""


@app.command("serve", epilog=f"Example: {SERVE_EXAMPLE}")
def serve_command(
    bench: Annotated[
        str,
        typer.Argument(metavar="[BENCH]", help="Bench file, or the name of an example.", show_default=False),
    ] = "slow-matrix",
    cells: Annotated[
        int | None, typer.Option(min=1, help="Serve the first of the cells wired; default all.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's twin.seed.")] = None,
    chip: Annotated[
        Path | None, typer.Option(help="File of the chip's cells; it survives the command.", metavar="FILE")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int, typer.Option(min=0, help="First of the ports, one an instrument and one more; 0: any free ones.")
    ] = 5025,
    clock: Annotated[
        ClockName,
        typer.Option(help="running: like the wall's; virtual: only measurements and pulses pass time."),
    ] = ClockName.RUNNING,
    write: Annotated[
        Path | None,
        typer.Option(
            help="Write the bench file with the served addresses: with --hardware it is driven as if it were real.",
            metavar="FILE",
        ),
    ] = None,
    front: Annotated[FrontName, typer.Option(help="The addresses that --write writes.")] = FrontName.TCP,
) -> None:
    """Serve the virtual instruments of a bench file's twin until Ctrl-C."""
    if write is not None and cells is not None:
        raise BadInput("--write writes the whole bench file: leave --cells out, or change wiring.cells in it")
    file = _bench(bench, cells, seed)
    laboratory = _laboratory(file, chip, clock)
    try:
        run(laboratory, host=host, port=port, ready=_writer(file, write, front))
    finally:
        laboratory.close()


def run(laboratory: Laboratory, *, host: str, port: int, ready: Callable[[Server], None]) -> None:
    """Serve until a signal; Ctrl-C raises Interrupted, other signals end it quietly. `ready` is called first."""
    from quest_lab.sim.server import Server

    server = Server(laboratory, host=host, port=port)
    try:
        with stopped_by_signals(server) as received:
            ready(server)
            print(table([*server.places.values(), server.clock]), flush=True)  # also where stdout is a pipe
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


def _bench(name: str, cells: int | None, seed: int | None) -> BenchFile:
    from quest_lab.benchfile import load_bench
    from quest_lab.examples import example_benches

    return load_bench(example_benches().get(name, Path(name))).with_twin(cells=cells, seed=seed)


def _laboratory(file: BenchFile, chip: Path | None, clock: ClockName) -> Laboratory:
    from quest_lab.clock import RunningClock, VirtualClock
    from quest_lab.sim.twin import twin_laboratory

    passing = RunningClock() if clock is ClockName.RUNNING else VirtualClock()
    return twin_laboratory(file, cells_file=chip, clock=passing)


def _writer(file: BenchFile, path: Path | None, front: FrontName) -> Callable[[Server], None]:
    """Writes the served bench file, before the table is printed."""

    def write(server: Server) -> None:
        if path is None:
            return
        from quest_lab.benches import Front, address_of

        way: Front = front.value
        at = {address: address_of(place, way) for address, place in server.places.items()}
        path.write_text(file.at_addresses(at), encoding="utf-8")

    return write


def _teller(laboratory: Laboratory) -> Any:
    """Tell bad practice as the world notices it."""
    told = 0

    def tell() -> None:
        nonlocal told
        for what in laboratory.world.violations[told:]:
            typer.echo(f"bad practice at {what}", err=True)
            told += 1

    return tell
