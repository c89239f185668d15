"""The run file, described once: what writer, reader and documentation agree on.

A run file is HDF5 in NeXus shape. Tables are groups of equally long one-dimensional columns, made up front
and grown; results are NXdata (with a signal) or NXcollection groups, added at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput

FORMAT = "quest-lab run"
FORMAT_VERSION = 2
RESERVED_ATTRS = frozenset({"NX_class", "default", "signal", "axes", "auxiliary_signals", "title"})

Scalar: TypeAlias = str | int | float | bool


class Status(StrEnum):
    """How a run ended. A file whose writer was killed says `running`."""

    RUNNING = "running"
    COMPLETE = "complete"
    ABORTED = "aborted"
    FAILED = "failed"


class Kind(IntEnum):
    """Which column pair holds a call's events."""

    APPLY = 0
    READ = 1


class Op(IntEnum):
    """What was applied."""

    NONE = 0
    VOLTAGE = 1
    FIELD = 2


class Outcome(IntEnum):
    """What is known about the cells of a call."""

    INTENT = 0
    DONE = 1
    FAILED = 2
    AMBIGUOUS = 3


class Origin(IntEnum):
    """Where the energies of a call come from."""

    NONE = 0
    COMPUTED = 1
    MEASURED = 2


def _codes(enum: type[IntEnum]) -> str:
    return ", ".join(f"{member.value} {member.name.lower()}" for member in enum)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: NumPy dtype, unit ("" for none) and meaning, which is also its `long_name`.

    A `spill` column holds text of any length: what does not fit goes on in rows with `part` 1, 2, ...
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    spill: bool = False

    @property
    def text(self) -> bool:
        return self.dtype.startswith("S")

    @property
    def fill(self) -> Any:
        """What an unwritten row holds, and no measurement ever does: marks a torn end after a kill."""
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            return -np.inf
        if kind.kind == "S":
            return b""
        return np.iinfo(kind).max if kind.kind == "u" else np.iinfo(kind).min


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `chunk` rows lie together on disk. `kinds` names the runs that have it; None means all."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    chunk: int
    kinds: tuple[str, ...] | None = None

    @property
    def dtype(self) -> np.dtype[np.void]:
        """A packed row."""
        return np.dtype([(column.name, column.dtype) for column in self.columns])

    @property
    def spill(self) -> Column | None:
        return next((column for column in self.columns if column.spill), None)

    def belongs_to(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


_WALL = Column("wall_time_s", "f8", "s", "wall clock, seconds since 1970-01-01 UTC")
_PART = Column("part", "u2", "", "0, or 1, 2, ... where the text of the row before goes on")
_CALLS = Table(
    "calls",
    "One row per apply or read, in order. Its events are rows first .. first + count of applies or reads. "
    "A call that broke off is split: one row each for the cells that got it, may have got it, did not.",
    (
        Column("kind", "u1", "", _codes(Kind)),
        Column(
            "op", "u1", "", f"{_codes(Op)}; none for a read, field for one in the field of the call before"
        ),
        Column("outcome", "u1", "", f"{_codes(Outcome)}; an intent left open is ambiguous"),
        Column("origin", "u1", "", f"origin of the energies: {_codes(Origin)}"),
        Column("amplitude", "f8", "V or T", "volts at the cell, or tesla for a field"),
        Column("width_s", "f8", "s", "pulse width; a field's flat top"),
        Column("count", "u4", "", "number of cells"),
        Column("first", "u8", "", "row of the first event in applies or reads"),
        _WALL,
        Column("clock_s", "f8", "s", "the bench's clock: virtual time of a simulated world, else monotonic"),
    ),
    chunk=4096,
)
_CELL = Column("cell", "u4", "", "cell index")
_APPLIES = Table(
    "applies",
    "One row per cell and pulse.",
    (_CELL, Column("energy_j", "f4", "J", "energy spent in the cell; NaN where not known")),
    chunk=65536,
)
_READS = Table(
    "reads",
    "One row per cell and read.",
    (_CELL, Column("resistance_ohm", "f4", "ohm", "resistance at the cell; NaN where the read failed")),
    chunk=65536,
)
_MARKS = Table(
    "marks",
    "Notes along the run: phases, decisions, warnings.",
    (
        _WALL,
        _PART,
        Column("name", "S64", "", "kind of note"),
        Column("text", "S256", "", "the note", spill=True),
    ),
    chunk=256,
)
_VISA = Table(
    "visa",
    "Words on the instruments' wires, if the run was asked to keep them.",
    (
        _WALL,
        _PART,
        Column("instrument", "S64", "", "name of the instrument in the bench file"),
        Column("direction", "S8", "", "write (to the instrument) or read"),
        Column("message", "S256", "", "the words", spill=True),
    ),
    chunk=256,
)
_REPLAY = Table(
    "replay_steps",
    "One row per step of a replayed schedule; the energy accounts are never mixed.",
    (
        Column("tile", "i4", "", "part of the weights that is on the cells; 0 where all are at once"),
        Column("step", "i8", "", "step of the schedule"),
        Column("epoch", "i4", "", "training epoch of the step"),
        Column("batch", "i4", "", "batch within the epoch"),
        Column("writes_intended", "i8", "", "weights the schedule changes in this step"),
        Column("writes_wrong", "i8", "", "writes whose state read back differs from the intended one"),
        Column("pulses", "i8", "", "voltage pulses given"),
        Column(
            "resets", "i8", "", "resets given: of single cells, or of whole domains where the scope is array"
        ),
        Column(
            "predicted_energy_j",
            "f8",
            "J",
            "write energy the policy predicts, without a domain's reset field",
        ),
        Column("spent_energy_j", "f8", "J", "write energy spent: pulses and resets of single cells"),
        Column("verify_energy_j", "f8", "J", "energy of verify reads"),
        Column("inference_gated_energy_j", "f8", "J", "inference reads, weight-0 cells not read"),
        Column("inference_row_energy_j", "f8", "J", "inference reads, the whole row biased"),
        Column("field_energy_j", "f8", "J", "energy of reset fields"),
        Column("resume_energy_j", "f8", "J", "spent in vain before: by a try at this step that was cut off"),
        Column("diverged", "i8", "", "weights whose last read state is not the schedule's, after the step"),
        Column("calls", "i8", "", "rows of `calls` after the step"),
    ),
    chunk=1024,
    kinds=("replay",),
)
_LOOP = Table(
    "loop_steps",
    "One row per write of a training in the loop; the energy accounts are never mixed. A step that was done again "
    "after a resume has two rows; what resumes writes all weights again.",
    (
        Column("step", "i8", "", "optimizer steps done before the write; 0: the initial load"),
        Column("writes_intended", "i8", "", "weights that were asked to change, or all"),
        Column("writes_wrong", "i8", "", "writes whose state read back differs from the intended one"),
        Column("pulses", "i8", "", "voltage pulses given"),
        Column(
            "resets", "i8", "", "resets given: of single cells, or of whole domains where the scope is array"
        ),
        Column("spent_energy_j", "f8", "J", "write energy spent: pulses and resets of single cells"),
        Column(
            "verify_energy_j", "f8", "J", "energy of verify reads, and once an epoch of a read of all cells"
        ),
        Column("field_energy_j", "f8", "J", "energy of reset fields"),
        Column("resume_energy_j", "f8", "J", "spent before by a write that was cut off"),
        Column("diverged", "i8", "", "weights whose cell, as last read, does not hold what was asked for"),
        Column("calls", "i8", "", "rows of `calls` after the write"),
    ),
    chunk=1024,
    kinds=("in-the-loop",),
)
TABLES: Mapping[str, Table] = {t.name: t for t in (_CALLS, _APPLIES, _READS, _MARKS, _VISA, _REPLAY, _LOOP)}


@dataclass(frozen=True, slots=True)
class Field:
    """An array of a result with its unit and dimension names; `errors` are standard errors, same shape."""

    values: NDArray[Any]
    unit: str
    long_name: str
    dims: tuple[str, ...]
    errors: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != len(self.dims):
            raise BadInput(f"{self.long_name!r}: {values.ndim} dimensions but dims={self.dims}")
        if bad := [dim for dim in self.dims if not dim.isidentifier()]:
            raise BadInput(f"{self.long_name!r}: dimension {bad[0]!r} is no plain name (letters, digits, _)")
        if self.errors is not None and np.shape(self.errors) != values.shape:
            raise BadInput(f"{self.long_name!r}: errors {np.shape(self.errors)} for values {values.shape}")


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found out. With a `signal` it plots itself (NXdata); without, it is a collection.

    `axes` names one field per dimension of the signal, "." for a dimension without one.
    """

    name: str
    fields: Mapping[str, Field]
    title: str = ""
    signal: str | None = None
    axes: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    attrs: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.name, *self.fields):
            if not name.isidentifier():
                raise BadInput(f"result {self.name!r}: {name!r} is no plain name (letters, digits, _)")
        if reserved := RESERVED_ATTRS & set(self.attrs):
            raise BadInput(f"result {self.name!r}: attribute {min(reserved)!r} is the file's own")
        self._check_names()
        self._check_sizes()

    def _check_names(self) -> None:
        named = [self.signal] if self.signal else []
        for name in [*named, *self.auxiliary, *(axis for axis in self.axes if axis != ".")]:
            if name not in self.fields:
                raise BadInput(f"result {self.name!r}: {name!r} is none of its fields {sorted(self.fields)}")
        if not self.signal and (self.axes or self.auxiliary):
            raise BadInput(f"result {self.name!r}: axes and auxiliary need a signal")

    def _check_sizes(self) -> None:
        sizes: dict[str, int] = {}
        for name, item in self.fields.items():
            for dim, size in zip(item.dims, np.shape(item.values), strict=True):
                if sizes.setdefault(dim, size) != size:
                    raise BadInput(
                        f"result {self.name!r}: {name!r} has {size} along {dim!r}, not {sizes[dim]}"
                    )
        if not self.signal:
            return
        shape = np.shape(self.fields[self.signal].values)
        if self.axes and len(self.axes) != len(shape):
            raise BadInput(f"result {self.name!r}: {len(self.axes)} axes for a signal of shape {shape}")
        for axis, size in zip(self.axes, shape, strict=bool(self.axes)):
            if axis != "." and np.shape(self.fields[axis].values) != (size,):
                raise BadInput(f"result {self.name!r}: axis {axis!r} must have shape ({size},)")


def markdown() -> str:
    """The text of docs/run-file.md."""
    return "\n".join([_HEAD.strip(), *_table_sections(), _TAIL.strip(), ""])


def _table_sections() -> Iterator[str]:
    for table in TABLES.values():
        only = f" Only in runs of kind {', '.join(table.kinds)}." if table.kinds else ""
        yield f"\n### `/entry/{table.name}`\n\n{table.meaning}{only}\n"
        yield "| column | type | unit | meaning |\n|---|---|---|---|"
        for column in table.columns:
            yield f"| `{column.name}` | {np.dtype(column.dtype).name} | {column.unit} | {column.meaning} |"


_HEAD = """
# The run file

Written by `python -m quest_lab.schema` from the tables in `quest_lab/schema.py` that drive writer and reader.

Every run ends as one HDF5 file in NeXus shape: `import quest_lab; run = quest_lab.open_run("run.h5")`.
While it runs it is called `run.h5.part`. A killed run leaves that file; it opens like any other, with status
`running`, and holds everything that was acknowledged: after each flush (every call on hardware, at most
0.25 s apart on a simulated chip) and at each mark. Rows that were being written when the kill came are
dropped by the reader.

| path | what |
|---|---|
| `/` | `NX_class` NXroot, `default` entry, `quest_lab_format`, `quest_lab_format_version` |
| `/entry` | NXentry, `default` results; `title`, `kind`, `status` (running, complete, aborted, failed), \
`seed`, `settings` (JSON), `start_time`, `end_time` |
| `/entry/provenance` | versions, git commit, Python, platform, command line; on a bench file's bench \
`bench_file` (verbatim), `bench_file_name`, `bench_file_sha256` |
| `/entry/<table>` | the tables below, one dataset per column |
| `/entry/results` | NXcollection, `default` the result that viewers plot |
| `/entry/results/<name>` | NXdata (`signal`, `axes`, `auxiliary_signals`, `<name>_errors`) or NXcollection |

Every dataset of a table or a result has `@units` and `@long_name`. Text is UTF-8 of fixed width.

## Tables
"""

_TAIL = """

## Reading it without quest-lab

```python
import h5py

with h5py.File("run.h5") as file:
    reads = file["entry/reads"]
    cell, resistance_ohm = reads["cell"][:], reads["resistance_ohm"][:]
```

silx, nexusformat, h5web and other NeXus viewers open the file with the default result plotted. A file that is
being written is locked: look at it when it is done, or at a copy.
"""

if __name__ == "__main__":
    print(markdown(), end="")
