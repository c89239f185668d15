"""The schedule of a training run: what the trainer wrote to its weights and how often it read them.

One HDF5 file, written while training and read while replaying, both in bounded memory. Any trainer can
write one; the layout (version 1):

    attributes   format = "quest-lab-schedule", version, bits, time_steps, batch_size, dataset, seed,
                 network (text), convention (text), status = "writing" | "complete" | "aborted";
                 optional: neuron (text as in quest_lab.neurons, "if-hard" if missing)
    layers       table, one row per quantised layer: name, c_out, c_in, kh, kw, offset, taps_offset,
                 macs, neurons, inputs (see quest_lab.layers.LayerInfo)
    initial_levels, final_levels   int8 (weights,): flat, layer after layer, C order (c_out, c_in, kh, kw)
    steps/       one row per optimizer step:
        write_end   int64  number of writes up to and including this step: the step index of `writes`
        epoch, batch, samples   int32    batch counts from 0 in its epoch
        stage       int8   0 none, 1 early, 2 middle, 3 final of the first epoch (see `stage_of`)
        loss        float32
        taps        int64 (steps, total_taps): spikes that met each tap (c_in, kh, kw), layer after layer;
                    with memory-free neurons (mfp) once for each time step that sees the spike
        spikes_in, spikes_out   int64 (steps, layers): spikes entering and leaving each layer
    writes/      one row per changed weight: weight uint32, old int8, new int8

Levels run from -(2**(bits-1) - 1) to 2**(bits-1) - 1. Bits, levels and stages: MINT (arXiv 2305.09850) and
QUEST (arXiv 2504.00679), Algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import Counts, LayerInfo, Levels, reads_by_level
from quest_lab.schedule_check import check_contents
from quest_lab.schedule_resume import levels_after
from quest_lab.schedule_writer import (
    CONVENTION,
    FLUSH_STEPS,
    FLUSH_WRITES,
    FORMAT,
    STEP_COLUMNS,
    VERSION,
    WRITE_COLUMNS,
    Header,
    ScheduleWriter,
    stage_of,
    synthesize,
)

__all__ = [
    "CONVENTION",
    "STAGES",
    "Header",
    "LayerInfo",
    "Schedule",
    "ScheduleWriter",
    "Step",
    "reads_by_level",
    "stage_of",
    "synthesize",
]

STAGES = ("none", "early", "middle", "final")


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: the reads of its forward pass, then its writes (`weight`, `old`, `new`).

    `taps` (total_taps,), `spikes_in` and `spikes_out` (layers,) count over `samples` and all time steps.
    """

    index: int
    epoch: int
    batch: int
    samples: int
    stage: int
    loss: float
    weight: NDArray[np.int64]
    old: Levels
    new: Levels
    taps: Counts
    spikes_in: Counts
    spikes_out: Counts


class Schedule:
    """A schedule file opened for reading, streamed step by step. A context manager; iterate for the steps."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        told = {f.name: _plain(file.attrs[f.name]) for f in fields(Header) if f.name in file.attrs}
        self.header = Header(**told)
        self.status = str(file.attrs["status"])
        self.convention = str(file.attrs["convention"])
        self.layers = tuple(_layer(row) for row in file["layers"][()])
        self.initial_levels: Levels = file["initial_levels"][()]
        self.final_levels: Levels = file["final_levels"][()]
        self.steps: int = file["steps/write_end"].shape[0]
        self.stages: NDArray[np.int8] = file["steps/stage"][()]
        self._ends: Counts = np.concatenate([[0], file["steps/write_end"][()]]).astype(np.int64)

    @classmethod
    def open(cls, path: Path | str) -> Schedule:
        """Open and check `path`. Raises BadInput: missing, truncated, foreign, other version, bad levels."""
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"{path}: no such file (want a schedule.h5 made by quest-lab train)")
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise BadInput(f"{path}: not a readable HDF5 file, or truncated ({error})") from error
        try:
            check_contents(path, file, FORMAT, VERSION)
            return cls(path, file)
        except BaseException:
            file.close()
            raise

    @property
    def weights(self) -> int:
        return int(self.initial_levels.size)

    @property
    def writes(self) -> int:
        """Number of level changes in all steps (the initial load not counted)."""
        return int(self._ends[-1])

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Step]:
        return self.from_step(0)

    def from_step(self, start: int) -> Iterator[Step]:
        """The steps from index `start` on."""
        while start < self.steps:
            stop = self._block_end(start)
            yield from self._block(start, stop)
            start = stop

    def _block_end(self, start: int) -> int:
        """End of the block of steps from `start` that stays within the memory of one flush."""
        fits = int(np.searchsorted(self._ends, self._ends[start] + FLUSH_WRITES, "right")) - 1
        return min(self.steps, start + FLUSH_STEPS, max(start + 1, fits))

    def _block(self, start: int, stop: int) -> Iterator[Step]:
        ends = self._ends
        writes = [self._file[f"writes/{n}"][ends[start] : ends[stop]] for n in WRITE_COLUMNS]
        names = (*STEP_COLUMNS, "taps", "spikes_in", "spikes_out")
        rows = {n: self._file[f"steps/{n}"][start:stop] for n in names}
        for i, step in enumerate(range(start, stop)):
            own = slice(ends[step] - ends[start], ends[step + 1] - ends[start])
            weight, old, new = (column[own] for column in writes)
            values = {n: _plain(column[i]) for n, column in rows.items()}
            yield Step(index=step, weight=weight.astype(np.int64), old=old, new=new, **values)

    def levels_at(self, step: int) -> Levels:
        """Levels (weights,) after `step` steps: 0 gives the initial ones, `steps` the final ones."""
        return levels_after(self._file, int(self._ends[step]))

    def reads_by_level(self, layer: LayerInfo, taps: Counts, levels: Levels) -> Counts:
        """Reads N_v of one layer's weights by level, shape (2**bits - 1,), from the flat arrays; exact."""
        return reads_by_level(layer, taps, levels, self.header.bits)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain(value: Any) -> Any:
    """A Python number or text from a numpy scalar; arrays stay arrays."""
    return value.item() if isinstance(value, np.generic) else value


def _layer(row: Any) -> LayerInfo:
    shape = (int(row["c_out"]), int(row["c_in"]), int(row["kh"]), int(row["kw"]))
    rest: dict[str, Any] = {n: int(row[n]) for n in ("offset", "taps_offset", "macs", "neurons", "inputs")}
    return LayerInfo(name=row["name"].decode(), shape=shape, **rest)
