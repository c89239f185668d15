"""After a crash: pulses that a cut-off run was about to give may have been given. Their cells are read first.

On hardware the intent of a pulse is on disk before it is fired. A run left as `.part` with such an intent open
is never overwritten: `leftovers` refuses, or sets it aside as `<name>.cut-off-1.h5.part`; `recover` reads the
cells in doubt into the new run and then gives the old one its final name, without `.part`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quest_lab.device import Cells, Device
from quest_lab.errors import BadInput
from quest_lab.runfile import Run, open_run
from quest_lab.runstart import part_of
from quest_lab.runwriter import RunWriter
from quest_lab.schema import Kind, Op, Outcome

_IN_DOUBT = (Outcome.INTENT, Outcome.AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of a cut-off run (its row in `calls`) that may or may not have reached `cells`."""

    row: int
    pulse: str
    cells: Cells


@dataclass(frozen=True, slots=True)
class Leftover:
    """A cut-off run and what it leaves in doubt."""

    part: Path
    chip_id: str | None
    calls: tuple[OpenCall, ...]


def open_calls(run: Run) -> tuple[OpenCall, ...]:
    """Pulses of unknown outcome, each with its cells that were not read afterwards."""
    calls, cells = run.calls, run.applies["cell"].to_numpy(np.int64)
    read_last = _last_reads(run)
    found = []
    for row in calls.index[(calls["kind"] == Kind.APPLY) & calls["outcome"].isin(_IN_DOUBT)]:
        call = calls.loc[row]
        first = int(call["first"])
        doubtful = [c for c in cells[first : first + int(call["count"])] if read_last.get(int(c), -1) < row]
        if doubtful:
            unit = "T" if call["op"] == Op.FIELD else "V"
            pulse = f"{call['amplitude']:g} {unit}, {call['width_s']:g} s"
            found.append(OpenCall(int(row), pulse, np.unique(doubtful)))
    return tuple(found)


def leftovers(path: Path, chip_id: str | None, *, recover: bool) -> list[Leftover]:
    """Cut-off runs in the way of a new run at `path` that leave cells in doubt, set aside.

    Raises BadInput without `recover`, and if they are of another chip than `chip_id`.
    """
    found = [left for part in _parts(path) if (left := _leftover(part)) is not None]
    for left in found:
        if not recover:
            raise BadInput(f"{left.part}: {_told(left.calls)}: --recover reads them first, nothing else does")
        if left.chip_id != chip_id:
            raise BadInput(
                f"{left.part}: is of chip {left.chip_id}, not of {chip_id}: recover it on its bench"
            )
    return [_set_aside(path, left) for left in found]


def recover(device: Device, run: RunWriter, left: Sequence[Leftover]) -> None:
    """Read every cell in doubt and note it in the new run. `device` books its reads in `run`."""
    for one in left:
        name = one.part.name.removesuffix(".part")
        for call in one.calls:
            ohm = device.read(call.cells).resistance_ohm
            read = ", ".join(f"{c}: {r:.4g} ohm" for c, r in zip(call.cells, ohm, strict=True))
            run.mark("recovered", f"{name}, call {call.row}: {call.pulse} may or may not have reached {read}")
        one.part.replace(one.part.with_name(name))


def _last_reads(run: Run) -> dict[int, int]:
    """Row of the last successful read of each cell."""
    calls, cells = run.calls, run.reads["cell"].to_numpy(np.int64)
    rows: dict[int, int] = {}
    for row in calls.index[(calls["kind"] == Kind.READ) & (calls["outcome"] == Outcome.DONE)]:
        first = int(calls.loc[row, "first"])
        rows |= dict.fromkeys(cells[first : first + int(calls.loc[row, "count"])].tolist(), int(row))
    return rows


def _parts(path: Path) -> Iterator[Path]:
    """The run at `path` as it was cut off, and those set aside before it whose cells were never read."""
    yield from sorted(path.parent.glob(f"{path.stem}.cut-off-*{path.suffix}.part"))
    yield part_of(path)


def _leftover(part: Path) -> Leftover | None:
    """None where nothing is in doubt, or no run can be read."""
    try:
        with open_run(part) as run:
            calls = open_calls(run)
            chip_id = run.settings.get("chip_id")
    except BadInput:
        return None
    return Leftover(part, chip_id, calls) if calls else None


def _set_aside(path: Path, left: Leftover) -> Leftover:
    if left.part != part_of(path):
        return left
    taken = {p.name.removesuffix(".part") for p in path.parent.glob(f"{path.stem}.cut-off-*")}
    names = (f"{path.stem}.cut-off-{n}{path.suffix}" for n in range(1, len(taken) + 2))
    aside = part_of(path.with_name(next(name for name in names if name not in taken)))
    left.part.replace(aside)
    return Leftover(aside, left.chip_id, left.calls)


def _told(calls: Sequence[OpenCall]) -> str:
    cells = np.unique(np.concatenate([call.cells for call in calls]))
    several = ", ".join(map(str, cells[:8])) + (", ..." if cells.size > 8 else "")
    return f"was cut off while pulses ({calls[0].pulse}) may or may not have reached cells {several}"
