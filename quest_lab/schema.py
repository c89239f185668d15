"""What a run file is made of: tables of columns, results of fields, and the codes that stand in them.

A run file is HDF5 in NeXus shape. Tables (run_tables.py) are groups of equally long one-dimensional columns, made
up front and grown; results are NXdata (with a signal) or NXcollection groups, added at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
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


EVENTS = ("applies", "energy_j"), ("reads", "resistance_ohm")  # table and values of the events, by Kind


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
    """One table; `chunk` rows lie together on disk. `kinds` names the runs that have it; None means all. Files from
    before an `added` one lack it."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    chunk: int
    kinds: tuple[str, ...] | None = None
    added: bool = False

    @property
    def dtype(self) -> np.dtype[np.void]:
        """A packed row."""
        return np.dtype([(column.name, column.dtype) for column in self.columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def spill(self) -> Column | None:
        return next((column for column in self.columns if column.spill), None)

    def belongs_to(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


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
