"""What the commands share: characterised chips opened again, states in use, tables on the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from quest_lab.budget import Budget, Ledger
from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.cli.progress import progress
from quest_lab.errors import BadInput
from quest_lab.protocols.call_log_file import load_call_log
from quest_lab.protocols.resume import resumable
from quest_lab.quantity import prefix_for
from quest_lab.runfile import open_run
from quest_lab.session import Session, bench_name, open_bench

_FRAME = 3  # of a column: a line and two blanks


def default_states(found: Characterization, levels: int) -> tuple[int, ...]:
    """As many states as there are weight levels, evenly spread from R0 to the top."""
    if levels > found.states:
        known = found.separation
        more = (
            "" if known is None else f" that a read tells apart ({known.mean.value.size} levels were found)"
        )
        raise BadInput(
            f"{levels} weight levels do not fit into the {found.states} states of {found.chip_id}{more}"
        )
    return tuple(round(i * (found.states - 1) / (levels - 1)) for i in range(levels))


def load_restricted(
    path: Path, states: tuple[int, ...] | None, levels: int
) -> tuple[Characterization, tuple[int, ...]]:
    """The characterisation of a run file, restricted to the states that hold the levels."""
    found = load_characterization(path)
    chosen = chosen_states(found, states, levels)
    return found.restrict(chosen), chosen


def chosen_states(found: Characterization, states: tuple[int, ...] | None, levels: int) -> tuple[int, ...]:
    """The given states in ascending order, or the default ones; BadInput if they cannot hold the levels."""
    chosen = default_states(found, levels) if states is None else tuple(sorted(states))
    if len(chosen) < levels:
        raise BadInput(f"{levels} weight levels need {levels} states, {len(chosen)} given: {chosen}")
    return chosen


@contextmanager
def chip_of(
    characterization: Path,
    device: str,
    *,
    chip: Path | None,
    out: Path,
    kind: str,
    overwrite: bool,
    settings: Mapping[str, Any],
    resume: bool = False,
    each_call: bool = False,
    options: BenchOptions = AS_USUAL,
) -> Iterator[Session]:
    """The characterised chip, opened again for a run: the same bench, cells and seed."""
    with open_run(characterization) as run:
        was = dict(run.settings)
    name = bench_name(device)
    if was.get("bench") != name:
        raise BadInput(f"{characterization}: is of the bench {was.get('bench')!r}, not {name!r}")
    if bool(was.get("hardware")) != options.hardware:
        kind = "instruments (--hardware)" if was.get("hardware") else "the simulated twin"
        raise BadInput(f"{characterization}: was measured on {kind} of {name}: do the same here")
    with (
        progress() as report,
        open_bench(
            device, cells=int(was["cells"]), seed=int(was["seed"]), cells_file=chip, run=out, kind=kind,
            settings={"characterization": characterization.name, **settings}, overwrite=overwrite,
            progress=report, resume=resume, each_call=each_call, **asdict(options),
        ) as session,
    ):  # fmt: skip
        yield session


@contextmanager
def told_again(
    device: str,
    *,
    out: Path,
    kind: str,
    title: str,
    settings: Mapping[str, Any],
    cells: int | None,
    chip: Path | None,
    seed: int | None,
    overwrite: bool,
    resume: bool,
    options: BenchOptions,
) -> Iterator[Session]:
    """A chip opened for a run that is gone on with by telling its protocol what it asks again (`resumable`)."""
    if resume:
        check_cells_kept(device, chip, options)
    log = load_call_log(out, kind) if resume else None
    with (
        progress() as report,
        open_bench(
            device, cells=cells, seed=seed, cells_file=chip, run=out, kind=kind,
            title=f"{title} on the bench {bench_name(device)}", settings=settings, overwrite=overwrite,
            resume=resume, each_call=True, progress=report, **asdict(options),
        ) as session,
    ):  # fmt: skip
        yield resumable(session, log, hardware=options.hardware)


def check_cells_kept(device: str, chip: Path | None, options: BenchOptions) -> None:
    """BadInput where a run that was cut off cannot be gone on with, for its cells are lost."""
    if chip is None and not options.hardware:
        raise BadInput(
            f"--resume: the simulated cells of {bench_name(device)} ended with the command that was cut off, unless "
            "--chip FILE kept them: name it, or begin anew"
        )


def print_resumes(out: Path) -> None:
    """What was in doubt each time that a run was gone on with."""
    with open_run(out) as run:
        table = run.columns("resumes")
    for row in range(table["first"].size):
        each = {name: column[row].item() for name, column in table.items()}
        print(
            f"resumed after {each['first']} calls: {each['pulses_in_doubt']} pulses and {each['reads_in_doubt']} reads "
            f"were in doubt, reading the cells in doubt took {energy(each['read_energy_j'])}; {each['away_s']:.3g} s "
            "passed on the bench meanwhile"
        )


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *, note: str = ""
) -> None:
    """A table on stdout with its note below, in parts where it is too wide; plain text where stdout is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    cells = [[str(cell) for cell in row] for row in rows]
    for part in _parts([header, *cells], console.width):
        table = Table(title=title, title_justify="left", title_style="bold")
        for i, width in part.items():
            table.add_column(header[i], justify="right" if i else "left", overflow="fold", width=width)
        for row in cells:
            table.add_row(*(row[i] for i in part))
        console.print(table)
    if note:
        console.print(note, width=min(console.width, 120), highlight=False)
    console.print()


def _parts(rows: Sequence[Sequence[str]], room: int) -> Iterator[dict[int, int]]:
    """Columns and their widths that fit beside the first one with their words whole, part after part."""
    columns = list(zip(*rows, strict=True))
    word = [max(len(word) for cell in column for word in ("", *cell.split())) for column in columns]
    whole = [max(map(len, column)) for column in columns]
    parts = [[0]]
    for i in range(1, len(columns)):
        if len(parts[-1]) > 1 and 1 + sum(word[k] + _FRAME for k in (*parts[-1], i)) > room:
            parts.append([0])
        parts[-1].append(i)
    for part in parts:
        free, widths = room - 1 - sum(word[k] + _FRAME for k in part), dict[int, int]()
        for k in part:
            widths[k] = max(1, word[k] + min(free, whole[k] - word[k]))
            free -= widths[k] - word[k]
        yield widths


def ledger_rows(ledger: Ledger, budget: Budget, top: int) -> list[tuple[str, ...]]:
    """The `top` most used cells: pulses, energy, and what is left of both."""
    order = np.lexsort((-ledger.energy_j, -ledger.pulses.astype(np.int64)))[:top]
    rows: list[tuple[str, ...]] = []
    for cell in order:
        pulses, spent_j = int(ledger.pulses[cell]), float(ledger.energy_j[cell])
        left = "no limit" if budget.pulses is None else f"{max(budget.pulses - pulses, 0)}"
        left_j = "no limit" if budget.energy_j is None else energy(max(budget.energy_j - spent_j, 0.0))
        rows.append((f"{cell}", f"{pulses}", energy(spent_j), left, left_j))
    return rows


def accounts(total: Callable[[str], float]) -> list[tuple[str, str]]:
    """The energy accounts of writing, each for itself; `total` of a column."""
    names = {"write energy spent": "spent", "verify reads": "verify", "reset fields (array)": "field"}
    return [(name, energy(total(f"{column}_energy_j"))) for name, column in names.items()]


def energy(joule: float) -> str:
    """An energy with the prefix that fits, three digits: 3.6 pJ, 1.2 µJ."""
    factor, unit = prefix_for(joule)
    return f"{joule / factor:.3g} {unit}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit, energies with a prefix."""
    return energy(value) if unit == "J" else f"{value:.5g} {unit}".rstrip()


def percent(share: float) -> str:
    """A share as per cent with two digits."""
    return f"{100 * share:.2f} %"
