"""The schedule of a training run: what the trainer wrote to its weights and how often it read them.

One HDF5 file, written while training and read while replaying, both in bounded memory. Any trainer can
write one; the layout (version 1):

    attributes   format = "quest-lab-schedule", version, bits, time_steps, batch_size, dataset, seed,
                 network (text), convention (text), status = "writing" | "complete" | "aborted"
    layers       table, one row per quantised layer: name, c_out, c_in, kh, kw, offset, taps_offset,
                 macs, neurons, inputs (see quest_lab.layers.LayerInfo)
    initial_levels, final_levels   int8 (weights,): flat, layer after layer, C order (c_out, c_in, kh, kw)
    steps/       one row per optimizer step:
        write_end   int64  number of writes up to and including this step: the step index of `writes`
        epoch, batch, samples   int32    batch counts from 0 in its epoch
        stage       int8   0 none, 1 early, 2 middle, 3 final of the first epoch (see `stage_of`)
        loss        float32
        taps        int64 (steps, total_taps): spikes that met each tap (c_in, kh, kw), layer after layer
        spikes_in, spikes_out   int64 (steps, layers): spikes entering and leaving each layer
    writes/      one row per changed weight: weight uint32, old int8, new int8

Levels run from -(2**(bits-1) - 1) to 2**(bits-1) - 1. Bits, levels and stages: MINT (arXiv 2305.09850) and
QUEST (arXiv 2504.00679), Algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import Counts, LayerInfo, Levels, layer_table, reads_by_level, top_level
from quest_lab.schedule_check import check_contents

__all__ = [
    "CONVENTION",
    "Header",
    "LayerInfo",
    "Schedule",
    "ScheduleWriter",
    "Step",
    "reads_by_level",
    "stage_of",
    "synthesize",
]

FORMAT = "quest-lab-schedule"
VERSION = 1
CONVENTION = (
    "step t: reads with the levels of t-1, then writes to the levels of t; the initial load is a stage; "
    "backward reads are excluded, as in QUEST"
)
STAGES = ("none", "early", "middle", "final")
_PAPER_STAGES, _PAPER_BATCHES = ((1, 10), (96, 105), (180, 190)), 195
_STEP_COLUMNS = {"epoch": "i4", "batch": "i4", "samples": "i4", "stage": "i1", "loss": "f4"}
_WRITE_COLUMNS = {"weight": "u4", "old": "i1", "new": "i1"}
_FLUSH_STEPS, _FLUSH_WRITES = 64, 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """What the schedule was trained with. `network` is its text, `batch_size` samples a step."""

    bits: int
    time_steps: int
    batch_size: int
    dataset: str
    seed: int
    network: str


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


def stage_of(epoch: int, batch: int, batches: int) -> int:
    """Stage of a batch (from 0): QUEST's batches 1-10, 96-105, 180-190 of 195, scaled, at least one each."""
    if epoch != 0:
        return 0
    for stage, (first, last) in enumerate(_PAPER_STAGES, 1):
        start = (first - 1) * batches // _PAPER_BATCHES
        if start <= batch < max(start + 1, round(last * batches / _PAPER_BATCHES)):
            return stage
    return 0


class ScheduleWriter:
    """Writes `path` while training: into `path`.part, renamed at close. A context manager.

    An exception in the body closes the file as "aborted": still readable up to its last step.
    Raises BadInput if `path` exists and not `overwrite`, or levels lie outside the bits.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        layers: Sequence[LayerInfo],
        initial_levels: Levels,
        *,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._part = self.path.with_name(self.path.name + ".part")
        if self.path.exists() and not overwrite:
            raise BadInput(f"{self.path}: exists already (overwrite it with --overwrite)")
        self._top = top_level(header.bits)
        self._levels = self._checked(initial_levels, sum(layer.size for layer in layers))
        self._taps = sum(layer.taps for layer in layers)
        self._layers = len(layers)
        self._written = 0
        self._rows: dict[str, list[Any]] = {}
        self._file = h5py.File(self._part, "w")
        self._lay_out(header, layers)
        self._clear()

    def _checked(self, levels: Levels, weights: int) -> Levels:
        if levels.shape != (weights,) or levels.dtype != np.int8:
            raise BadInput(f"{self.path}: levels {levels.dtype}{levels.shape}, want int8({weights},)")
        if levels.size and (levels.min() < -self._top or levels.max() > self._top):
            raise BadInput(f"{self.path}: a level outside {-self._top}..{self._top}")
        return levels.copy()

    def _lay_out(self, header: Header, layers: Sequence[LayerInfo]) -> None:
        """Make every table up front: files killed while writing then stay readable."""
        attrs = asdict(header) | {"format": FORMAT, "version": VERSION, "convention": CONVENTION}
        self._file.attrs.update(attrs | {"status": "writing"})
        self._file["layers"] = _layer_rows(layers)
        self._file["initial_levels"] = self._levels
        self._file["final_levels"] = self._levels
        shapes = {"taps": self._taps, "spikes_in": self._layers, "spikes_out": self._layers}
        for name, dtype in ({"write_end": "i8"} | _STEP_COLUMNS).items():
            self._file.create_dataset(f"steps/{name}", (0,), dtype, maxshape=(None,), chunks=(4096,))
        for name, width in shapes.items():
            chunk = (max(1, min(_FLUSH_STEPS, (1 << 17) // width)), width)
            self._file.create_dataset(f"steps/{name}", (0, width), "i8", maxshape=(None, width), chunks=chunk)
        for name, dtype in _WRITE_COLUMNS.items():
            self._file.create_dataset(f"writes/{name}", (0,), dtype, maxshape=(None,), chunks=(1 << 16,))

    def append(
        self,
        levels: Levels,
        *,
        epoch: int,
        batch: int,
        samples: int,
        stage: int,
        loss: float,
        taps: Counts,
        spikes_in: Counts,
        spikes_out: Counts,
    ) -> int:
        """Record a step that ended in `levels` (weights,); returns the number of weights it changed."""
        new = self._checked(levels, self._levels.size)
        changed = np.flatnonzero(new != self._levels)
        self._written += changed.size
        row: dict[str, Any] = {
            "epoch": epoch,
            "batch": batch,
            "samples": samples,
            "stage": stage,
            "loss": loss,
        }
        row |= {"taps": taps, "spikes_in": spikes_in, "spikes_out": spikes_out, "write_end": self._written}
        row |= {"weight": changed, "old": self._levels[changed], "new": new[changed]}
        for name, value in row.items():
            self._rows[name].append(value)
        self._levels = new
        self._waiting += changed.size
        if len(self._rows["epoch"]) >= _FLUSH_STEPS or self._waiting >= _FLUSH_WRITES:
            self.flush()
        return int(changed.size)

    def flush(self) -> None:
        """Bring everything appended to the disk; `write_end` last, so it never points past the data."""
        if self._rows["epoch"]:
            for name in _WRITE_COLUMNS:
                _extend(self._file[f"writes/{name}"], np.concatenate(self._rows[name]))
            for name in (*_STEP_COLUMNS, "taps", "spikes_in", "spikes_out", "write_end"):
                _extend(self._file[f"steps/{name}"], np.array(self._rows[name]))
            self._file["final_levels"][...] = self._levels
        self._clear()
        self._file.flush()

    def _clear(self) -> None:
        names = (*_WRITE_COLUMNS, *_STEP_COLUMNS, "taps", "spikes_in", "spikes_out", "write_end")
        self._rows = {name: [] for name in names}
        self._waiting = 0

    def close(self, status: str = "complete") -> None:
        """Flush, close and rename to the final name. Idempotent."""
        if not self._file:
            return
        try:
            self.flush()
            self._file.attrs["status"] = status
        finally:
            self._file.close()
        self._part.replace(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("complete" if kind is None else "aborted")


def _extend(column: Any, rows: NDArray[Any]) -> None:
    start = column.shape[0]
    column.resize(start + rows.shape[0], axis=0)
    column[start:] = rows


def _layer_rows(layers: Sequence[LayerInfo]) -> NDArray[Any]:
    kinds = [("name", "S32")]
    kinds += [(n, "i8") for n in ("c_out", "c_in", "kh", "kw", "offset", "taps_offset")]
    kinds += [(n, "i8") for n in ("macs", "neurons", "inputs")]
    rows = [(x.name.encode(), *x.shape, x.offset, x.taps_offset, x.macs, x.neurons, x.inputs) for x in layers]
    return np.array(rows, dtype=kinds)


class Schedule:
    """A schedule file opened for reading, streamed step by step. A context manager; iterate for the steps."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self.header = Header(**{f.name: _plain(file.attrs[f.name]) for f in fields(Header)})
        self.status = str(file.attrs["status"])
        self.convention = str(file.attrs["convention"])
        self.layers = tuple(_layer(row) for row in file["layers"][()])
        self.initial_levels: Levels = file["initial_levels"][()]
        self.final_levels: Levels = file["final_levels"][()]
        self.steps: int = file["steps/write_end"].shape[0]
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
        start = 0
        while start < self.steps:
            stop = self._block_end(start)
            yield from self._block(start, stop)
            start = stop

    def _block_end(self, start: int) -> int:
        """End of the block of steps from `start` that stays within the memory of one flush."""
        fits = int(np.searchsorted(self._ends, self._ends[start] + _FLUSH_WRITES, "right")) - 1
        return min(self.steps, start + _FLUSH_STEPS, max(start + 1, fits))

    def _block(self, start: int, stop: int) -> Iterator[Step]:
        ends = self._ends
        writes = [self._file[f"writes/{n}"][ends[start] : ends[stop]] for n in _WRITE_COLUMNS]
        names = (*_STEP_COLUMNS, "taps", "spikes_in", "spikes_out")
        rows = {n: self._file[f"steps/{n}"][start:stop] for n in names}
        for i, step in enumerate(range(start, stop)):
            own = slice(ends[step] - ends[start], ends[step + 1] - ends[start])
            weight, old, new = (column[own] for column in writes)
            values = {n: _plain(column[i]) for n, column in rows.items()}
            yield Step(index=step, weight=weight.astype(np.int64), old=old, new=new, **values)

    def levels_at(self, step: int) -> Levels:
        """Levels (weights,) after `step` steps: 0 gives the initial ones, `steps` the final ones."""
        end = int(self._ends[step])
        levels = self.initial_levels.copy()
        for start in range(0, end, _FLUSH_WRITES):
            own = slice(start, min(end, start + _FLUSH_WRITES))
            weight, last = np.unique(self._file["writes/weight"][own][::-1], return_index=True)
            levels[weight] = self._file["writes/new"][own][::-1][last]
        return levels

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
    rest = {n: int(row[n]) for n in ("offset", "taps_offset", "macs", "neurons", "inputs")}
    return LayerInfo(name=row["name"].decode(), shape=shape, **rest)


def synthesize(
    path: Path,
    shapes: Sequence[tuple[int, int, int, int]],
    *,
    steps: int,
    change_rate: float,
    seed: int,
    bits: int = 2,
    image: tuple[int, int] = (8, 8),
    batch_size: int = 64,
    time_steps: int = 4,
    spike_rate: float = 0.13,
    overwrite: bool = False,
) -> Path:
    """A made-up schedule for tests: each step moves `change_rate` of the weights by one level up or down."""
    rng = np.random.default_rng(seed)
    top = top_level(bits)
    layers = layer_table([(f"conv{i + 1}", shape, image) for i, shape in enumerate(shapes)])
    weights, total_taps = sum(x.size for x in layers), sum(x.taps for x in layers)
    levels = rng.integers(-top, top + 1, weights).astype(np.int8)
    header = Header(bits, time_steps, batch_size, "synthetic", seed, "synthetic")
    mean = np.array([spike_rate * x.inputs * batch_size for x in layers])
    with ScheduleWriter(path, header, layers, levels, overwrite=overwrite) as writer:
        for step in range(steps):
            moved = rng.choice(weights, rng.binomial(weights, change_rate), replace=False)
            up = np.where(rng.random(moved.size) < 0.5, 1, -1)
            up = np.where(np.abs(levels[moved] + up) > top, -up, up)
            levels[moved] += up.astype(np.int8)
            writer.append(
                levels,
                epoch=0,
                batch=step,
                samples=batch_size,
                stage=stage_of(0, step, steps),
                loss=0.0,
                taps=rng.poisson(spike_rate * batch_size * image[0] * image[1], total_taps),
                spikes_in=rng.poisson(mean),
                spikes_out=rng.poisson(mean),
            )
    return Path(path)
