"""Calls that a run file has not acknowledged yet, in a small file beside it: what a killed program leaves of them.

A flush of HDF5 takes milliseconds, so calls on simulated chips are flushed every 0.25 s. Where each must survive a
kill, it is written here too, in microseconds: an intent before a pulse, the whole call after it. Each flush empties the
journal; its head says which rows were acknowledged by then. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import Cells
from quest_lab.diskspace import disk_full
from quest_lab.schema import Kind, Op, Origin, Outcome

COUNTED = "calls", "applies", "reads"
_HEAD = struct.Struct("<3Q")
_CALL = struct.Struct("<4B4dI")


@dataclass(frozen=True, slots=True)
class Kept:
    """A call as the tables `calls`, `applies` and `reads` hold it."""

    kind: Kind
    op: Op
    outcome: Outcome
    origin: Origin
    amplitude: float
    width_s: float
    clock_s: float
    wall_time_s: float
    cells: Cells
    values: NDArray[np.floating[Any]]


def journal_of(path: Path) -> Path:
    """The journal of the run at `path`."""
    return path.with_name(path.name + ".journal")


class Journal:
    """The open journal of the run at `path`; its writes raise DiskFull."""

    def __init__(self, path: Path) -> None:
        self._run, self._path = path, journal_of(path)
        self._file = self._path.open("wb", buffering=0)

    def start(self, acknowledged: Mapping[str, int]) -> None:
        """Empty it: so many rows of each of COUNTED are on disk."""
        self._file.seek(0)
        self._file.truncate()
        self._write(_HEAD.pack(*(acknowledged[name] for name in COUNTED)))

    def keep(self, call: Kept) -> None:
        head = _CALL.pack(call.kind, call.op, call.outcome, call.origin, call.amplitude, call.width_s, call.clock_s,
                          call.wall_time_s, len(call.cells))  # fmt: skip
        cells, values = np.asarray(call.cells, "<u4").tobytes(), np.asarray(call.values, "<f4").tobytes()
        self._write(head + cells + values)

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise disk_full(self._run, error) from error


def read_journal(path: Path) -> tuple[dict[str, int], list[Kept]]:
    """Rows acknowledged, and the calls after them; an intent only where nothing is known of its outcome."""
    data = path.read_bytes()
    if len(data) < _HEAD.size:
        return {}, []
    calls: list[Kept] = []
    for call in _calls(data):
        if calls and calls[-1].outcome is Outcome.INTENT:
            calls.pop()
        calls.append(call)
    return dict(zip(COUNTED, _HEAD.unpack_from(data), strict=True)), calls


def _calls(data: bytes) -> Iterator[Kept]:
    """Whole records; the kill may have torn the last one."""
    at = _HEAD.size
    while at + _CALL.size <= len(data):
        kind, op, outcome, origin, amplitude, width_s, clock_s, wall_time_s, count = _CALL.unpack_from(
            data, at
        )
        at += _CALL.size
        if at + 8 * count > len(data):
            return
        cells = np.frombuffer(data, "<u4", count, at).astype(np.int64)
        values = np.frombuffer(data, "<f4", count, at + 4 * count)
        at += 8 * count
        what = Kind(kind), Op(op), Outcome(outcome), Origin(origin)
        yield Kept(*what, amplitude, width_s, clock_s, wall_time_s, cells, values)
