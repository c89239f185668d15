"""Reads the log of a run that was cut off from its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.device import Cells, Floats
from quest_lab.errors import BadInput
from quest_lab.protocols.call_log import Asked, CallLog, Columns, Doubt
from quest_lab.runfile import Run, open_run
from quest_lab.runwriter import absorb_journal
from quest_lab.schema import EVENTS, Kind, Op, Outcome


def load_call_log(path: Path, kind: str, begin: int = 0, found: Characterization | None = None) -> CallLog:
    """The log of the run at `path`, cut off or not, from call `begin` on; with `found`, earlier resumes are settled.

    Raises BadInput if it is not of this kind.
    """
    absorb_journal(path)
    with open_run(path) as run:
        if run.kind != kind:
            raise BadInput(f"{run.path}: is a run of kind {run.kind!r}, not {kind!r}")
        return _log(run, begin, found)


def _log(run: Run, begin: int, found: Characterization | None) -> CallLog:
    skipped = max(begin - 1, 0)  # the call before tells when the log begins
    calls, resumes = run.columns("calls", first=skipped), run.columns("resumes")
    calls = {name: column[: _whole(run, calls)] for name, column in calls.items()}
    rows = calls["kind"].size
    calls["row"] = np.arange(skipped, skipped + rows)
    ahead = _ahead_s(resumes, calls["row"])
    calls["clock_s"] = calls["clock_s"] + ahead
    cells, values, beyond = _events(run, calls)
    if found is not None:
        beyond = {}  # a writer ends with a read that no sound cell has: it is read again
    known, since, reopened = _answered(calls, values[Kind.READ], beyond), begin, -1
    for first, last in zip(resumes["first"].tolist(), resumes["last"].tolist(), strict=True):
        if first >= begin:
            doubt = _doubt(calls, known | (calls["row"] < since) | (calls["row"] >= first), cells, values)
            if first == last and doubt.cells.size:
                reopened, known[first - skipped :] = first, False
            else:
                _settled(calls, known, cells, values, doubt, slice(first - skipped, last - skipped), found)
                since = last
    doubt = _doubt(calls, known | (calls["row"] < since), cells, values)
    known &= (calls["count"] > 0) & (calls["row"] >= begin)
    end_s = float(calls["clock_s"][-1] + calls["width_s"][-1]) if rows else 0.0
    end_wall_s = float(calls["wall_time_s"][-1] + calls["width_s"][-1]) if rows else 0.0
    kept = {name: column[known] for name, column in calls.items()}
    return CallLog(run.path, kept, cells, values, beyond, doubt, skipped + rows if reopened < 0 else reopened,
                   reopened >= 0, float(ahead[-1]) if rows else 0.0, end_s, end_wall_s)  # fmt: skip


def _settled(
    calls: Columns,
    known: NDArray[np.bool_],
    cells: list[Cells],
    values: list[Floats],
    doubt: Doubt,
    reads: slice,
    found: Characterization | None,
) -> None:
    """What a resume read of the cells in doubt is not told, but as the answer of those that had their pulse."""
    read = reads.stop - 1  # what a resume that was cut off itself had read before does not count
    answered = reads.stop > reads.start and bool(known[read])
    known[reads] = False
    if found is None or doubt.asked is None or not answered:
        return
    events = slice(int(calls["first"][read]), int(calls["first"][read] + calls["count"][read]))
    if np.array_equal(cells[Kind.READ][events], doubt.cells):
        count = doubt.received(found, values[Kind.READ][events])
        first = int(calls["first"][doubt.row])
        values[Kind.APPLY][first : first + count] = 0.0
        for row in (doubt.row, read)[: 1 if doubt.asked.op is Op.FIELD else 2]:
            calls["count"][row], known[row] = count, count > 0


def _events(run: Run, calls: Columns) -> tuple[list[Cells], list[Floats], dict[int, float]]:
    """Cells and values of the events of `calls` by Kind, and the reads that no sound cell has; `first` of the calls is
    made to count from the first of them."""
    cells, values, start = [], [], 0
    for kind, (table, name) in enumerate(EVENTS):
        mine = calls["kind"] == kind
        start = int(calls["first"][mine].min(initial=run.rows(table)))
        calls["first"][mine] -= np.uint64(start)
        events = run.columns(table, ("cell", name), start)
        cells.append(events["cell"].astype(np.int64))
        values.append(events[name].astype(np.float64))
    unsound = run.columns("unsound_reads")
    reads = unsound["read"].astype(np.int64) - start
    beyond = dict(zip(reads.tolist(), unsound["resistance_ohm"].tolist(), strict=True))
    return cells, values, beyond


def _whole(run: Run, calls: Columns) -> int:
    """Calls before the first whose events did not all come to the disk."""
    there = np.array([run.rows(table) for table, _ in EVENTS])
    torn = np.flatnonzero(calls["first"] + calls["count"] > there[calls["kind"]])
    return int(torn[0]) if torn.size else calls["kind"].size


def _ahead_s(resumes: Columns, rows: NDArray[np.int64]) -> Floats:
    """What is added to the clock of each call: a simulated clock begins anew with its program."""
    ahead = np.append(0.0, resumes["clock_ahead_s"])
    return np.asarray(ahead[np.searchsorted(resumes["last"], rows, side="right")])


def _answered(calls: Columns, ohm: Floats, unsound: dict[int, float]) -> NDArray[np.bool_]:
    done, read = calls["outcome"] == Outcome.DONE, calls["kind"] == Kind.READ
    known = done | ((calls["outcome"] == Outcome.FAILED) & read & np.isin(calls["first"], [*unsound]))
    if known.size and known[-1] and done[-1] and read[-1]:  # the kill may have come between its two columns
        first = int(calls["first"][-1])
        known[-1] = not np.isnan(ohm[first : first + int(calls["count"][-1])]).any()
    return np.asarray(known)


def _doubt(calls: Columns, known: NDArray[np.bool_], cells: list[Cells], values: list[Floats]) -> Doubt:
    read = calls["kind"] == Kind.READ
    pulses = np.flatnonzero(~known & ~read & (calls["outcome"] != Outcome.FAILED))
    spans = [(int(calls["first"][row]), int(calls["count"][row])) for row in pulses]
    nobody = np.empty(0, np.int64)
    named = np.concatenate([nobody, *(cells[Kind.APPLY][first : first + count] for first, count in spans)])
    reads = int(calls["count"][~known & read].sum())
    if pulses.size != 1:
        return Doubt(named.size, reads, np.unique(named), -1, None, np.full(np.unique(named).size, np.nan))
    row, before = int(pulses[0]), read[: pulses[0]]
    seen = int((calls["first"] + calls["count"])[: pulses[0]][before].max(initial=0))
    ohm = _last(cells[Kind.READ][:seen], values[Kind.READ][:seen], named)
    return Doubt(named.size, reads, named, row, Asked.of(calls, row), ohm)


def _last(read: Cells, ohm: Floats, cells: Cells) -> Floats:
    """The last of the readings `ohm` of each of `cells`, NaN where there is none."""
    unique, last = np.unique(read[::-1], return_index=True)
    out, known = np.full(cells.size, np.nan), np.isin(cells, unique)
    out[known] = ohm[::-1][last[np.searchsorted(unique, cells[known])]]
    return out
