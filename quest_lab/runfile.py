"""Reads run files: tables as pandas, results as xarray. Says what is missing in a file that is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab import nexus, schema
from quest_lab.errors import BadInput
from quest_lab.run_tables import TABLES
from quest_lab.runstart import on_disk
from quest_lab.schema import Column, Status, Table
from quest_lab.tables import whole_rows

if TYPE_CHECKING:
    import pandas
    import xarray


def open_run(path: Path | str, kind: str | None = None) -> Run:
    """Open a run file, finished or not; if only `path`.part is there, that. Raises BadInput, also of another `kind`."""
    path = on_disk(Path(path))
    if not path.is_file():
        raise BadInput(f"{path}: {'is a folder, no file' if path.is_dir() else 'no such file'}")
    try:
        file = h5py.File(path, "r")
    except BlockingIOError as error:
        raise BadInput(f"{path}: a run is still writing it") from error
    except OSError as error:
        raise BadInput(f"{path}: {_what_is_wrong(path, str(error))}") from error
    try:
        run = Run(path, file)
        if kind not in (None, run.kind):
            raise BadInput(f"{path}: is a run of kind {run.kind!r}, not {kind!r}")
        return run
    except BaseException:
        file.close()
        raise


class Run:
    """An open run file; close it, or use it as a context manager. Tables are read afresh at each access."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        _check_format(path, file)
        entry = file["entry"]
        texts = nexus.read_texts(entry)
        self.kind = texts["kind"]
        self.title = texts["title"]
        self.status = texts["status"]
        self.start_time, self.end_time = texts["start_time"], texts["end_time"]
        self.seed = int(entry["seed"][()])
        self.settings: dict[str, Any] = json.loads(texts["settings"])
        self.provenance = nexus.read_texts(entry["provenance"])
        mine = [t for t in TABLES.values() if t.belongs_to(self.kind)]
        self._tables = [t for t in mine if t.name in entry or not t.added]
        for table in self._tables:
            _check_table(path, entry, table)

    @property
    def tables(self) -> list[str]:
        """Names of the tables this kind of run has."""
        return [table.name for table in self._tables]

    @property
    def calls(self) -> pandas.DataFrame:
        return self.table("calls")

    @property
    def applies(self) -> pandas.DataFrame:
        return self.table("applies")

    @property
    def reads(self) -> pandas.DataFrame:
        return self.table("reads")

    @property
    def marks(self) -> pandas.DataFrame:
        return self.table("marks")

    def columns(
        self, table: str, names: Sequence[str] | None = None, first: int = 0, last: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Columns of a table by name (all if none is named), rows first..last: for files larger than memory."""
        wanted = self._table(table)
        if last is None:
            last = self._whole_rows(wanted)
        group = self._file["entry"][table]
        return {c.name: group[c.name][first:last] for c in wanted.columns if names is None or c.name in names}

    def table(self, name: str) -> pandas.DataFrame:
        """One table, a column each; texts that went on in further rows are put together again."""
        import pandas

        table = self._table(name)
        rows = self._whole_rows(table)
        group = self._file["entry"][name]
        columns = {c.name: _read(group[c.name], c, rows) for c in table.columns}
        if table.spill is not None:
            columns = _joined(columns, table.spill.name)
        return pandas.DataFrame(columns)

    def rows(self, name: str) -> int:
        """Whole rows of a table without texts."""
        return self._whole_rows(TABLES[name])

    def slice(self, name: str, first: int, stop: int) -> dict[str, NDArray[Any]]:
        """Rows first .. stop - 1 of a table without texts, a column each: for files larger than memory."""
        group = self._file["entry"][name]
        return {column.name: group[column.name][first:stop] for column in TABLES[name].columns}

    @property
    def results(self) -> list[str]:
        """Names of the results."""
        return list(self._file["entry/results"])

    def result(self, name: str) -> xarray.Dataset:
        """One result with its units. Raises BadInput listing those there are."""
        if name not in self.results:
            raise BadInput(f"{self.path}: no result {name!r}; it has {self.results}")
        return nexus.read_result(self._file["entry/results"][name])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _table(self, name: str) -> Table:
        table = next((t for t in self._tables if t.name == name), None)
        if table is None:
            raise BadInput(f"{self.path}: no table {name!r}; a {self.kind} run has {self.tables}")
        return table

    def _whole_rows(self, table: Table) -> int:
        return whole_rows(self._file["entry"][table.name], table, cut_off=self.status == Status.RUNNING)


def _read(dataset: h5py.Dataset, column: Column, rows: int) -> NDArray[Any]:
    values: NDArray[Any] = dataset.asstr()[:rows] if column.text else dataset[:rows]
    return values


def _joined(columns: dict[str, NDArray[Any]], spill: str) -> dict[str, NDArray[Any]]:
    starts = np.flatnonzero(columns["part"] == 0)
    texts = np.split(columns[spill], starts[1:])
    joined = {name: values[starts] for name, values in columns.items() if name != "part"}
    whole = ["".join(text) for text in texts] if starts.size else []
    return joined | {spill: np.array(whole, object)}


def _check_format(path: Path, file: h5py.File) -> None:
    found = file.attrs.get("quest_lab_format")
    if found != schema.FORMAT:
        raise BadInput(
            f"{path}: no run file: root attribute quest_lab_format is {found!r}, not {schema.FORMAT!r}"
        )
    version = file.attrs.get("quest_lab_format_version")
    if version != schema.FORMAT_VERSION:
        raise BadInput(
            f"{path}: quest_lab_format_version={version}, this version reads {schema.FORMAT_VERSION}"
        )
    wanted = (
        "title",
        "kind",
        "status",
        "seed",
        "settings",
        "start_time",
        "end_time",
        "provenance",
        "results",
    )
    missing = [name for name in wanted if f"entry/{name}" not in file]
    if missing:
        raise BadInput(f"{path}: damaged run file, /entry/{missing[0]} is missing")


def _check_table(path: Path, entry: h5py.Group, table: Table) -> None:
    for column in table.columns:
        if f"{table.name}/{column.name}" not in entry:
            raise BadInput(f"{path}: damaged run file, /entry/{table.name}/{column.name} is missing")


def _what_is_wrong(path: Path, message: str) -> str:
    if path.stat().st_size == 0:
        return "empty, no HDF5 file"
    if "truncated" in message:
        return f"truncated HDF5 file ({path.stat().st_size} bytes)"
    if "signature" in message:
        return "no HDF5 file (signature not found)"
    if "already open" in message:
        return "a run is still writing it"
    return f"cannot be opened as HDF5: {message}"
