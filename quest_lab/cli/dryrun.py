"""`--dry-run`: a command on the simulated twin of its bench file, and what it would cost the chip."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quest_lab.benches import bench_budget, ledger_of
from quest_lab.benchfile import BenchFile, load_bench
from quest_lab.budget import Budget, Ledger, read_ledger
from quest_lab.cli.common import energy, print_table
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.examples import example_benches
from quest_lab.runfile import Run, open_run
from quest_lab.schema import Kind, Op
from quest_lab.session import is_bench_file


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run did; per cell of the chip: pulses (a field counts for each of its cells) and their energy."""

    pulses: int
    field_pulses: int
    reads: int
    highest_v: float
    highest_t: float
    read_j: float
    bench_s: float
    cell_pulses: NDArray[np.int64]
    cell_j: NDArray[np.float64]


def rehearse(device: str, execute: Callable[..., object]) -> None:
    """Run a command's `execute` anew with temporary files, print what it did, and whether the ledger allows it.

    Raises LimitExceeded with the shortfall if it does not.
    """
    path = example_benches().get(device, Path(device))
    if not is_bench_file(path.name):
        raise BadInput(f"bench {device!r}: is simulated; --dry-run needs a bench file")
    file = load_bench(path)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "dry-run.h5"
        execute(out=out, chip=Path(folder) / "cells.h5", overwrite=False, resume=False)
        with open_run(out) as run:
            tally = tally_of(run, file.bench.cells)
    ledger, budget = ledger_of(file), bench_budget(file)
    used = None if ledger is None else _used(ledger, file, tally.cell_pulses.size)
    print_table(f"Dry run on the simulated twin of {file.bench.name}", ("", "value"),
                rows(tally, budget, used), note="The twin's cells are not the chip's: retries may differ.")  # fmt: skip
    if used is not None and (missing := shortfall(tally, budget, used)):
        raise LimitExceeded(f"{used.path}: the budget does not suffice: {missing}")


def tally_of(run: Run, cells: int) -> Tally:
    """Count a run's calls."""
    calls, applied, read = run.calls, run.applies, run.reads
    voltage, field = calls["op"] == Op.VOLTAGE, calls["op"] == Op.FIELD
    given = calls[calls["kind"] == Kind.APPLY]
    by_voltage = np.repeat(given["op"].to_numpy() == Op.VOLTAGE, given["count"])
    cell, spent_j = applied["cell"].to_numpy(), applied["energy_j"].to_numpy(np.float64)
    pulse_j = np.where(by_voltage, np.nan_to_num(spent_j), 0.0)
    asked = calls[calls["kind"] == Kind.READ]
    bias = np.repeat((asked["amplitude"] ** 2 * asked["width_s"]).to_numpy(), asked["count"])
    return Tally(
        pulses=int(calls[voltage]["count"].sum()),
        field_pulses=int(field.sum()),
        reads=len(read),
        highest_v=float(calls[voltage]["amplitude"].abs().max()) if voltage.any() else 0.0,
        highest_t=float(calls[field]["amplitude"].abs().max()) if field.any() else 0.0,
        read_j=float(np.nansum(bias / read["resistance_ohm"].to_numpy(np.float64))),
        bench_s=float(calls["clock_s"].max() - calls["clock_s"].min()) if len(calls) else 0.0,
        cell_pulses=np.bincount(cell, minlength=cells),
        cell_j=np.bincount(cell, pulse_j, minlength=cells).astype(np.float64),
    )


def rows(tally: Tally, budget: Budget, used: Ledger | None) -> list[tuple[str, str]]:
    """The table."""
    most = int(tally.cell_pulses.argmax())
    touched = int(np.count_nonzero(tally.cell_pulses))
    found = [
        ("voltage pulses", f"{tally.pulses}"),
        ("field pulses", f"{tally.field_pulses}"),
        ("reads", f"{tally.reads}"),
        ("highest volts at a cell", f"{tally.highest_v:.4g} V"),
        ("highest field", f"{tally.highest_t:.4g} T"),
        ("energy in the cells: pulses", energy(float(tally.cell_j.sum()))),
        ("energy in the cells: reads", energy(tally.read_j)),
        ("time on the bench", duration(tally.bench_s)),
        ("cells touched", f"{touched} of {tally.cell_pulses.size}"),
        ("most pulses on one cell, fields included", f"{tally.cell_pulses[most]} (cell {most})"),
    ]
    if used is None or budget.pulses is None:
        return found
    left = budget.pulses - used.pulses.astype(np.int64) - tally.cell_pulses
    least = int(left.argmin())
    return [*found, ("pulses left afterwards, least of all cells", f"{left[least]} (cell {least})")]


def shortfall(tally: Tally, budget: Budget, used: Ledger) -> str:
    """What is missing, "" if nothing is."""
    missing = []
    if budget.pulses is not None:
        over = used.pulses.astype(np.int64) + tally.cell_pulses - budget.pulses
        if over.max() > 0:
            key = budget.where.format(f"limits.pulses_per_cell = {budget.pulses}")
            missing.append(f"cell {over.argmax()} would get {over.max()} pulses more than {key}")
    if budget.energy_j is not None:
        over_j = used.energy_j + tally.cell_j - budget.energy_j
        if over_j.max() > 0:
            key = budget.where.format(f"limits.energy_per_cell = {energy(budget.energy_j)}")
            missing.append(f"cell {over_j.argmax()} would get {energy(float(over_j.max()))} more than {key}")
    return "; ".join(missing)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as people say them."""
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _used(path: Path, file: BenchFile, cells: int) -> Ledger:
    """The chip's ledger; nothing used where none has been made yet."""
    if path.exists():
        return read_ledger(path)
    return Ledger(path, file.bench.chip.id, np.zeros(cells, np.uint64), np.zeros(cells))
