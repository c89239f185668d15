"""`quest-lab bench`: check a bench file and its instruments, list what is connected, print the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check a bench file and its instruments, list what is connected, print ledger and schema.",
)


@bench_app.command("check", epilog="Example: quest-lab bench check examples/benches/slow-matrix.toml")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bench file (TOML), or an example's name.")],
    hardware: Annotated[
        bool, typer.Option("--hardware", help="Check the real instruments, not the twin.")
    ] = False,
    log_wire: Annotated[
        bool, typer.Option("--log-wire", help="Print every exchange with the instruments.")
    ] = False,
) -> None:
    """Compare identities, limits and load, and read each cell once. Exit code 1 if something is wrong."""
    from quest_lab.benchcheck import check_bench
    from quest_lab.benchfile import load_bench
    from quest_lab.cli.common import print_table
    from quest_lab.examples import example_benches

    bench_file = load_bench(example_benches().get(str(file), file))
    found = check_bench(bench_file, hardware=hardware, heard=_print_exchange if log_wire else None)
    where = "its instruments" if hardware else "its simulated twin"
    rows = [("ok" if f.right else "WRONG", f.what, f.wanted, f.found) for f in found]
    print_table(f"{bench_file.bench.name}: {where}", ("", "what", "wanted", "found"), rows)
    wrong = [f for f in found if not f.right]
    if wrong:
        for finding in wrong:
            typer.echo(f"wrong: {finding.what}: want {finding.wanted}, found {finding.found}", err=True)
        raise typer.Exit(1)
    print(f"{file}: {len(found)} findings, all as the file says (SHA-256 {bench_file.sha256[:16]}...)")


@bench_app.command("ledger", epilog="Example: quest-lab bench ledger my-bench.toml")
def ledger(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Bench file (TOML) with chip.ledger.")],
    top: Annotated[int, typer.Option(min=1, help="Cells to show, the most used first.")] = 10,
) -> None:
    """Print what the chip's cells have got so far, and what is left of their lives."""
    from quest_lab.benches import bench_budget, ledger_of
    from quest_lab.benchfile import load_bench
    from quest_lab.budget import read_ledger
    from quest_lab.cli.common import ledger_rows, print_table
    from quest_lab.errors import BadInput

    bench_file = load_bench(file)
    path = ledger_of(bench_file)
    if path is None:
        raise BadInput(f"{file}: has no chip.ledger")
    found = read_ledger(path)
    header = ("cell", "pulses", "energy", "pulses left", "energy left")
    note = f"{found.pulses.size} cells, {int(found.pulses.sum())} pulses in all (fields count once a cell)."
    print_table(f"Ledger of {found.chip_id}: {path.name}", header,
                ledger_rows(found, bench_budget(bench_file), top), note=note)  # fmt: skip


@bench_app.command("list", epilog="Example: quest-lab bench list")
def list_() -> None:
    """List VISA resources and serial ports of this machine; opens nothing."""
    from quest_lab.cli.common import print_table
    from quest_lab.instruments.listing import serial_ports, visa_resources

    found = [*visa_resources("@py"), *visa_resources("@ivi"), *serial_ports()]
    rows = [(f.by, f.address or "-", f.about) for f in found]
    print_table("Connected to this machine", ("asked", "address", "about"), rows)


@bench_app.command("schema", epilog="Example: quest-lab bench schema > bench.schema.json")
def schema_() -> None:
    """Print the bench file's JSON schema, for editors."""
    from quest_lab.benchfile import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))


def _print_exchange(instrument: str, direction: str, message: str) -> None:
    typer.echo(f"{instrument:8s} {'>' if direction == 'write' else '<'} {message}", err=True)
