"""Writing a schedule file while training; the layout is documented in quest_lab.schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.layers import Counts, LayerInfo, Levels, layer_table, top_level
from quest_lab.schedule_resume import check_left, levels_after, reopen

FORMAT = "quest-lab-schedule"
VERSION = 1
CONVENTION = (
    "step t: reads with the levels of t-1, then writes to the levels of t; the initial load is a stage; "
    "backward reads are excluded, as in QUEST"
)
_PAPER_STAGES, _PAPER_BATCHES = ((1, 10), (96, 105), (180, 190)), 195
STEP_COLUMNS = {"epoch": "i4", "batch": "i4", "samples": "i4", "stage": "i1", "loss": "f4"}
WRITE_COLUMNS = {"weight": "u4", "old": "i1", "new": "i1"}
FLUSH_STEPS, FLUSH_WRITES = 64, 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """What the schedule was trained with. `network` is its text, `batch_size` samples a step.

    `neuron` as in quest_lab.neurons: it says what a neuron stores; optional in the file.
    """

    bits: int
    time_steps: int
    batch_size: int
    dataset: str
    seed: int
    network: str
    neuron: str = "if-hard"


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
    `resume_steps`: go on after that many steps of what an earlier writer left, killed or stopped; later
    steps are dropped, and `initial_levels` must be the levels after those steps. Raises BadInput if `path`
    exists and not `overwrite`, if levels lie outside the bits, or if what was left is of another training.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        layers: Sequence[LayerInfo],
        initial_levels: Levels,
        *,
        overwrite: bool = False,
        resume_steps: int | None = None,
    ) -> None:
        self.path = Path(path)
        self._part = self.path.with_name(self.path.name + ".part")
        self._top = top_level(header.bits)
        self._levels = self._checked(initial_levels, sum(layer.size for layer in layers))
        self._taps = sum(layer.taps for layer in layers)
        self._layers = len(layers)
        self._written = 0
        self._rows: dict[str, list[Any]] = {}
        self._clear()
        if resume_steps is not None:
            self._file = reopen(self.path, self._part)
            self._cut(header, layers, resume_steps)
            return
        if self.path.exists() and not overwrite:
            raise BadInput(f"{self.path}: exists already (overwrite it with --overwrite)")
        self._file = h5py.File(self._part, "w")
        self._lay_out(header, layers)

    def _cut(self, header: Header, layers: Sequence[LayerInfo], steps: int) -> None:
        """Drop all rows after `steps` steps, once they are known to be of this training."""
        try:
            self._written = check_left(self.path, self._file, asdict(header), _layer_rows(layers), steps)
            if not np.array_equal(levels_after(self._file, self._written), self._levels):
                raise BadInput(f"{self.path}: its levels after {steps} steps are not the checkpoint's")
            for name in WRITE_COLUMNS:
                self._file[f"writes/{name}"].resize(self._written, axis=0)
            for name in (*STEP_COLUMNS, "taps", "spikes_in", "spikes_out", "write_end"):
                self._file[f"steps/{name}"].resize(steps, axis=0)
            self._file["final_levels"][...] = self._levels
            self._file.attrs["status"] = "writing"
            self._file.flush()
        except BaseException:
            self._file.close()
            raise

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
        for name, dtype in ({"write_end": "i8"} | STEP_COLUMNS).items():
            self._file.create_dataset(f"steps/{name}", (0,), dtype, maxshape=(None,), chunks=(4096,))
        for name, width in shapes.items():
            chunk = (max(1, min(FLUSH_STEPS, (1 << 17) // width)), width)
            self._file.create_dataset(f"steps/{name}", (0, width), "i8", maxshape=(None, width), chunks=chunk)
        for name, dtype in WRITE_COLUMNS.items():
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
        if len(self._rows["epoch"]) >= FLUSH_STEPS or self._waiting >= FLUSH_WRITES:
            self.flush()
        return int(changed.size)

    def flush(self) -> None:
        """Bring everything appended to the disk; `write_end` last, so it never points past the data."""
        if self._rows["epoch"]:
            for name in WRITE_COLUMNS:
                _extend(self._file[f"writes/{name}"], np.concatenate(self._rows[name]))
            for name in (*STEP_COLUMNS, "taps", "spikes_in", "spikes_out", "write_end"):
                _extend(self._file[f"steps/{name}"], np.array(self._rows[name]))
            self._file["final_levels"][...] = self._levels
        self._clear()
        self._file.flush()

    def _clear(self) -> None:
        names = (*WRITE_COLUMNS, *STEP_COLUMNS, "taps", "spikes_in", "spikes_out", "write_end")
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
