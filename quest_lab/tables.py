"""A growing table in an open HDF5 file: packed rows in memory, columns on disk.

Rows collect in one block and go to disk when it is full or when asked to. Datasets are chunked, extensible
and unfiltered: the layout that survives a SIGKILL of its writer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py import h5s
from numpy.typing import ArrayLike, NDArray

from quest_lab.errors import BadInput
from quest_lab.schema import Column, Table

_FORMATS = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i1": "b", "i4": "i", "i8": "q", "f4": "f", "f8": "d"}
_BLOCK_ROWS = 16384
_DIRECT_ROWS = 32768  # from here on a copy into the block costs more than an own write
Writing: TypeAlias = Callable[[int], AbstractContextManager[None]]


class TableWriter:
    """Appends to one table. `rows` counts what was given, `drained` what was handed to HDF5.

    Every write of n bytes happens inside `writing(n)`, which checks the disk and explains failures. A table
    that is there already goes on after its `rows` first rows; what was torn behind them is cut off.
    """

    def __init__(self, parent: h5py.Group, table: Table, writing: Writing, rows: int = 0) -> None:
        self.table = table
        self.rows = self.drained = rows
        self._writing = writing
        self._block = max(table.chunk, _BLOCK_ROWS if table.spill is None else table.chunk)
        self._bytes = bytearray(self._block * table.dtype.itemsize)
        self._view = np.frombuffer(self._bytes, table.dtype)
        row = struct.Struct("=" + "".join(_FORMATS.get(c.dtype, c.dtype[1:] + "s") for c in table.columns))
        self._pack, self._row_size = row.pack_into, row.size
        self._offset = 0  # of the next row in the block
        group = parent.require_group(table.name)
        group.attrs.update({"NX_class": "NXcollection", "long_name": table.meaning})
        self._columns = [_Stored(group, column, table.chunk) for column in table.columns]
        for stored in self._columns:
            stored.grow(rows)

    def row(self, *values: Any) -> None:
        """Append one row, values in the order of the columns."""
        if self._offset == len(self._bytes):
            self.drain()
        self._pack(self._bytes, self._offset, *values)
        self.rows, self._offset = self.rows + 1, self._offset + self._row_size

    def extend(self, columns: Mapping[str, ArrayLike], count: int) -> None:
        """Append `count` rows; each column an array of that length, or one value for all."""
        at = self.rows - self.drained
        direct = count >= min(self._block, _DIRECT_ROWS)
        if direct or at + count > self._block:
            self.drain()
            at = 0
        if direct:
            self._write([_of_length(columns[c.name], c.dtype, count) for c in self.table.columns], count)
            self.rows, self.drained = self.rows + count, self.drained + count
            return
        for column in self.table.columns:
            self._view[column.name][at : at + count] = columns[column.name]
        self.rows, self._offset = self.rows + count, self._offset + count * self._row_size

    def update(self, column: str, first: int, values: NDArray[Any]) -> None:
        """Overwrite `column` from row `first` on, wherever those rows are by now."""
        split = min(max(self.drained - first, 0), len(values))
        if split:
            with self._writing(0):
                self._stored(column).put(first, values[:split])
        start = first + split - self.drained
        self._view[column][start : start + len(values) - split] = values[split:]

    def drain(self) -> None:
        """Hand the block to HDF5. Interrupted anywhere, it can be done again."""
        pending = self.rows - self.drained
        if pending:
            block = self._view[:pending]
            self._write([block[column.name] for column in self.table.columns], pending)
            self.drained, self._offset = self.rows, 0

    def _write(self, values: list[NDArray[Any]], count: int) -> None:
        chunk = self.table.chunk
        chunks = -(-(self.drained + count) // chunk) - -(-self.drained // chunk)
        with self._writing(chunks * chunk * self._row_size):
            for stored, column in zip(self._columns, values, strict=True):
                stored.grow(self.drained + count)
                stored.put(self.drained, column)

    def _stored(self, column: str) -> _Stored:
        return self._columns[[c.name for c in self.table.columns].index(column)]


class _Stored:
    """A column's dataset through h5py's low-level interface (five times less overhead a write)."""

    def __init__(self, group: h5py.Group, column: Column, chunk: int) -> None:
        dtype = h5py.string_dtype("utf-8", int(column.dtype[1:])) if column.text else np.dtype(column.dtype)
        fill = None if column.text else column.fill
        if column.name not in group:
            new = group.create_dataset(
                column.name, (0,), dtype, maxshape=(None,), chunks=(chunk,), fillvalue=fill
            )
            new.attrs["units"] = column.unit
            new.attrs["long_name"] = column.meaning
        dataset = group[column.name]
        self._id = dataset.id
        self._type = dataset.id.get_type()
        self._dtype = np.dtype(column.dtype)

    def grow(self, rows: int) -> None:
        self._id.set_extent((rows,))

    def put(self, first: int, values: NDArray[Any]) -> None:
        count = len(values)
        space = self._id.get_space()
        space.select_hyperslab((first,), (count,))
        self._id.write(
            h5s.create_simple((count,)), space, np.ascontiguousarray(values, self._dtype), self._type
        )


def whole_rows(group: h5py.Group, table: Table, *, cut_off: bool) -> int:
    """Rows that every column has; of a run cut off, up to the first that was never filled."""
    rows = min(len(group[column.name]) for column in table.columns)
    if not cut_off:
        return rows
    return min(_filled(group[c.name][:rows], c) for c in table.columns if not c.text)


def _filled(values: NDArray[Any], column: Column) -> int:
    unwritten = np.flatnonzero(values == column.fill)
    return int(unwritten[0]) if unwritten.size else len(values)


def _of_length(values: ArrayLike, dtype: str, count: int) -> NDArray[Any]:
    return np.broadcast_to(np.asarray(values, dtype), (count,))


def encoded(column: Column, text: str) -> bytes:
    """`text` as the UTF-8 of a fixed-width column. Raises BadInput if it is too long."""
    data = text.encode()
    width = int(column.dtype[1:])
    if len(data) > width:
        raise BadInput(
            f"{column.name}: text of {len(data)} bytes, the column holds {width}: {text[:40]!r}..."
        )
    return data


def pieces(column: Column, text: str) -> Iterator[bytes]:
    """`text` in pieces of the column's width, never inside a character; at least one."""
    data = text.encode()
    width = int(column.dtype[1:])
    while len(data) > width:
        cut = width
        while data[cut] & 0xC0 == 0x80:  # a continuation byte: step back to the start of its character
            cut -= 1
        yield data[:cut]
        data = data[cut:]
    yield data
