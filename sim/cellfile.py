"""The file that simulated cells live in: a page of JSON, then one memory-mapped column per quantity.

Like a real chip it survives the program that drives it, killed or not. The page says which chip it is; it is
written last, so a file whose maker was killed before has none, and is refused.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray

from quest_lab.errors import BadInput

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_HEADER_BYTES, _AGE_BYTES = 4096, 8  # the page ends with the age of the cells, seconds, a float64


class CellFile:
    """Columns of `cells` entries each, of the given `dtypes`; without a `path` in a temporary file.

    `kind` names the layout, `model` the parameters of the law. `fresh`: it was made just now, its columns are
    zeros, and whoever made it fills them and calls `finish`. Raises BadInput for the file of another chip.
    """

    def __init__(
        self,
        kind: str,
        model: DataclassInstance,
        cells: int,
        dtypes: Sequence[str],
        *,
        seed: int,
        path: Path | None,
        chip_id: str | None,
    ) -> None:
        if cells < 1:
            raise BadInput(f"cells={cells}: a chip has at least 1 cell")
        if not 0 <= seed < 2**63:
            raise BadInput(f"seed={seed}: want 0..2^63-1")
        self.chip_id = chip_id or f"simulated-{cells}-seed{seed}"
        self._cells, self._dtypes = cells, tuple(dtypes)
        said = _plain(model)
        self._usual = _plain(type(model)())
        self._header = {
            "format": kind, "chip_id": self.chip_id, "cells": cells, "seed": seed, "model": said
        }  # fmt: skip
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True) if path is None else None
        self.path = Path(self._temporary.name) / "chip.cells" if self._temporary else Path(path or "")
        self._lock = None if self._temporary else _held(self.path)
        self.fresh = not self.path.exists()
        try:
            if self.fresh:
                self._lay_out()
            else:
                self._check_header()
        except BaseException:
            self._release()
            raise
        self._map: np.memmap[Any, Any] | None = np.memmap(self.path, np.uint8, "r+")  # one map, one handle

    @property
    def columns(self) -> list[NDArray[Any]]:
        """The columns as plain arrays on the file's memory, in the order of `dtypes`."""
        if self._map is None:
            raise BadInput(f"{self.path}: closed")
        whole, columns, offset = np.asarray(self._map), [], _HEADER_BYTES
        for dtype in self._dtypes:
            size = self._cells * np.dtype(dtype).itemsize
            columns.append(whole[offset : offset + size].view(dtype))
            offset += _padded(size)
        return columns

    @property
    def age_s(self) -> NDArray[np.float64]:
        """Seconds that the cells have lived, shape (1,), on the file's memory."""
        if self._map is None:
            raise BadInput(f"{self.path}: closed")
        return np.asarray(self._map)[_HEADER_BYTES - _AGE_BYTES : _HEADER_BYTES].view(np.float64)

    def finish(self) -> None:
        """Write the page that makes a fresh file valid."""
        text, room = json.dumps(self._header).encode(), _HEADER_BYTES - _AGE_BYTES
        if len(text) > room:
            raise BadInput(f"{self.path}: header of {len(text)} bytes, limit {room} bytes")
        with self.path.open("r+b") as file:
            file.write(text.ljust(room))

    def close(self) -> None:
        """Write the cells back; removes a temporary file. Idempotent."""
        if self._map is not None:
            self._map.flush()
        self._map = None
        if self._temporary:
            self._temporary.cleanup()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def _bytes(self) -> int:
        return _HEADER_BYTES + sum(_padded(self._cells * np.dtype(d).itemsize) for d in self._dtypes)

    def _lay_out(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("xb") as file:
            file.truncate(self._bytes)

    def _check_header(self) -> None:
        if not self.path.is_file():
            raise BadInput(f"{self.path}: not a file")
        with self.path.open("rb") as file:
            raw = file.read(_HEADER_BYTES)[: _HEADER_BYTES - _AGE_BYTES]
        try:
            there = json.loads(raw)
        except ValueError:
            there = None
        kind = str(self._header["format"])
        if not isinstance(there, dict) or not str(there.get("format")).startswith("quest-lab-"):
            raise BadInput(f"{self.path}: not a file of simulated cells, or one that was never finished")
        if there["format"] != kind:
            raise BadInput(f"{self.path}: holds {there['format']}, this chip wants {kind}")
        if isinstance(there.get("model"), dict):
            there["model"] = self._usual | there["model"]  # a parameter younger than the file has its default
        for key, want in self._header.items():
            if there.get(key) != want:
                raise BadInput(f"{self.path}: {key} is {there.get(key)!r}, this chip wants {want!r}")
        if (size := self.path.stat().st_size) != self._bytes:
            raise BadInput(f"{self.path}: {size} bytes, want {self._bytes} bytes: truncated")


def _held(path: Path) -> BaseFileLock:
    """The lock of this file of cells. BadInput if another program drives them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadInput(f"{path}: another program drives these cells (it holds {lock.lock_file})") from None
    return lock


def _plain(model: DataclassInstance) -> dict[str, Any]:
    """Its parameters as JSON gives them back."""
    return dict(json.loads(json.dumps(asdict(model))))


def _padded(nbytes: int) -> int:
    return -(-nbytes // 8) * 8
