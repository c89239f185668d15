"""Half-select disturb and sneak paths of a passive crossbar: write one cell, watch all the others.

A few cells are written to and fro, all others once at R0 and once at the top; each cycle ends where it began, so that
a reading that has changed belongs to a cell that has changed. After each cycle every undisturbed cell is read: on the
same word line, on the same bit line, on neither. Sneak paths: how far a reading of a cell at the top is moved by
bringing all other cells from R0 to the top, in units of the cell's own span.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells, Floats, Operation, Scope, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.findings import Finding, mean, share
from quest_lab.protocols.measurement import (
    Measured,
    check_amplitudes,
    check_budget,
    heat_of,
    moved,
    read_cells,
    read_noise,
    reads,
    steps,
    top_pulse,
)
from quest_lab.schema import Field, Result
from quest_lab.session import Session

RELATIONS = "same word line", "same bit line", "neither line"
BACKGROUNDS = "R0", "top"


@dataclass(frozen=True, slots=True)
class HalfSelectSettings:
    """Cells to write (along a diagonal), cycles of each, set amplitude (None: the top), reads that are averaged."""

    selected: int = 4
    cycles: int = 10
    amplitude_v: float | None = None
    reads: int = 4

    def __post_init__(self) -> None:
        if self.selected < 1 or self.cycles < 1 or self.reads < 2:
            raise BadInput(
                f"selected={self.selected}, cycles={self.cycles}, reads={self.reads}: want at least 1, 1, 2"
            )


@dataclass(frozen=True, slots=True)
class _Watch:
    """Cycles that each cell has seen undisturbed, and whether the next one changed it: [background, written, cell]."""

    survived: NDArray[np.int64]
    hit: NDArray[np.bool_]


def half_select(session: Session, cells: Cells, settings: HalfSelectSettings) -> Measured:
    """Write some cells and watch all; `cells` must be the whole crossbar.

    BadInput where no lines are shared, or where a reset reaches all cells at once; LimitExceeded before the first
    pulse if a ledger lacks the pulses.
    """
    (rows, columns), write, erase = _checked(session, cells, settings)
    along = np.linspace(0.0, 1.0, min(settings.selected, rows, columns))  # a diagonal: each line once
    chosen = (np.round(along * (rows - 1)) * columns + np.round(along * (columns - 1))).astype(np.int64)
    cycles = (settings.cycles + 3) * chosen.size
    heat = cycles * sum(heat_of(pulse) for pulse in (write, erase) if isinstance(pulse, VoltagePulse))
    check_budget(session, cells, 2 * cycles, 0, "half-select disturb", heat)
    shape = len(BACKGROUNDS), chosen.size, cells.size
    watch = _Watch(np.zeros(shape, np.int64), np.zeros(shape, np.bool_))
    ohm = np.full((3, chosen.size), np.nan)  # R0 among R0; top among R0; top among tops
    for i in steps(session, "half-select disturb", chosen.size):
        cell = chosen[i : i + 1]
        reference, noise = _prepared(session, cells, erase, settings.reads)
        ohm[0, i] = reference[cell[0]]
        watch.survived[0, i], watch.hit[0, i] = _watched(
            session, cells, cell, (write, erase), reference, noise, settings
        )
        _prepared(session, cells, erase, settings.reads)
        session.device.apply(write, cell)
        ohm[1, i] = reads(session, cell, settings.reads).mean()
        reference, _ = _prepared(session, cells, write, settings.reads)
        ohm[2, i] = reference[cell[0]]
        watch.survived[1, i], watch.hit[1, i] = _watched(
            session, cells, cell, (erase, write), reference, noise, settings
        )
    relation = _relation(chosen, cells, columns)
    sneak = (ohm[2] - ohm[1]) / (ohm[1] - ohm[0])
    result = _result(chosen, cells, relation, watch, sneak, columns)
    return Measured(result, tuple(_findings(relation, watch, sneak)))


def _checked(
    session: Session, cells: Cells, settings: HalfSelectSettings
) -> tuple[tuple[int, int], Operation, Operation]:
    """Lines of the crossbar, the pulse that writes and the one that erases."""
    can = session.device.capabilities
    if can.lines is None:
        raise BadInput(
            f"chip {can.chip_id}: topology {can.topology}: its cells share no lines to be disturbed by"
        )
    if can.reset_scope is Scope.ARRAY or can.reset is None:
        raise BadInput(f"chip {can.chip_id}: a reset empties all cells at once, those to be watched too")
    if cells.size != can.cells:
        raise BadInput(f"half-select: {cells.size} of {can.cells} cells: want the whole crossbar")
    check_amplitudes(session, settings.amplitude_v)
    return can.lines, top_pulse(session, settings.amplitude_v), can.reset


def _prepared(session: Session, cells: Cells, operation: Operation, count: int) -> tuple[Floats, float]:
    """All cells brought to one end, mean read of each, and the noise of a read."""
    session.device.apply(operation, cells)
    session.device.apply(operation, cells)  # what the first round disturbed
    seen = reads(session, cells, count)
    return seen.mean(axis=0), read_noise(seen)


def _watched(
    session: Session,
    cells: Cells,
    cell: Cells,
    cycle: tuple[Operation, Operation],
    reference: Floats,
    noise: float,
    settings: HalfSelectSettings,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Write one cell to and fro: cycles that each of the others survived, and which of them the next one changed."""
    survived, hit = np.zeros(cells.size, np.int64), np.zeros(cells.size, np.bool_)
    alive = np.setdiff1d(cells, cell)
    for _ in range(settings.cycles):
        for operation in cycle:
            session.device.apply(operation, cell)
        gone = moved(read_cells(session, alive), reference[alive], noise, settings.reads)
        hit[alive[gone]] = True
        alive = alive[~gone]
        survived[alive] += 1
    return survived, hit


def _relation(chosen: Cells, cells: Cells, columns: int) -> NDArray[np.int8]:
    """Index into RELATIONS of each cell to each written one; -1 for itself."""
    row, column = np.divmod(cells, columns)
    mine_row, mine_column = np.divmod(chosen[:, None], columns)
    out = np.where(row == mine_row, 0, np.where(column == mine_column, 1, 2)).astype(np.int8)
    out[np.arange(chosen.size), chosen] = -1
    return out


def _findings(relation: NDArray[np.int8], watch: _Watch, sneak: Floats) -> Iterator[Finding]:
    for b, background in enumerate(BACKGROUNDS):
        for r, name in enumerate(RELATIONS):
            mine = relation == r
            hits = int(watch.hit[b][mine].sum())
            trials = int(watch.survived[b][mine].sum()) + hits
            yield share(
                f"{name}, at {background}: disturbed by a cycle", hits, trials, "cycles seen by a cell"
            )
    yield mean("sneak paths: shift of a reading, in spans of the cell", "", sneak)


def _result(
    chosen: Cells, cells: Cells, relation: NDArray[np.int8], watch: _Watch, sneak: Floats, columns: int
) -> Result:
    each = ("background", "written", "cell")
    share_hit = watch.hit.mean(axis=1)
    fields = {
        "disturbed": Field(
            share_hit, "", "share of the written cells that disturbed it", ("background", "cell")
        ),
        "hit": Field(watch.hit.astype(np.uint8), "", "1 where a cycle of the written cell changed it", each),
        "survived": Field(watch.survived, "", "cycles it has seen before", each),
        "relation": Field(relation, "", f"-1 itself, {_codes(RELATIONS)}", ("written", "cell")),
        "written": Field(chosen, "", "cells that were written", ("written",)),
        "sneak": Field(sneak, "", "shift of its reading by all other cells, in its own spans", ("written",)),
        "cell": Field(cells, "", "cell index", ("cell",)),
    }
    return Result(
        "half_select", fields, title="Half-select disturb", signal="disturbed", axes=(".", "cell"),
        attrs={"columns": columns, "backgrounds": _codes(BACKGROUNDS)},
    )  # fmt: skip


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(names))
