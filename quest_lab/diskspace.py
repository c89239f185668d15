"""Room on the disk, made sure of before HDF5 writes.

HDF5 does not come back whole from a write that failed: its library may crash when the file is closed. So the
file is first made longer by what is about to be written (a full disk, a quota or a size limit then answers),
and HDF5 writes into room that is there.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from quest_lab.errors import QuestLabError

RESERVE_BYTES = 1 << 20  # beyond the data: HDF5's own indices, and what closing the file writes
_UNSUPPORTED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class DiskFull(QuestLabError):
    """The run file could not be written; what was acknowledged before stays readable."""


def disk_full(path: Path, error: Exception | None = None) -> DiskFull:
    """The one message for a run file that cannot be written."""
    free = shutil.disk_usage(path.parent).free
    why = f" ({error})" if error is not None else ""
    return DiskFull(
        f"{path}: cannot write the run file, {free} bytes free on its disk{why}; "
        "what was written before stays readable"
    )


def check_free(path: Path, count: int) -> None:
    """Raise DiskFull unless `count` bytes and the reserve are free beside `path`."""
    if shutil.disk_usage(path.parent).free < count + RESERVE_BYTES:
        raise disk_full(path)


class Room:
    """Keeps an open HDF5 file's room ahead of its writes. `broken`: a write failed all the same."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.broken = False
        self._path = path
        self._id = file.id
        self._promised = 0  # since the last flush: HDF5 may allocate as late as that

    @contextmanager
    def writing(self, count: int) -> Iterator[None]:
        """Make sure of `count` bytes, then write within. Raises DiskFull, before the write if it can be."""
        if self.broken:
            raise DiskFull(f"{self._path}: an earlier write failed; nothing more is written to it")
        self._make(count)
        try:
            yield
        except (OSError, RuntimeError) as error:
            self.broken = True
            raise disk_full(self._path, error) from error

    def flushed(self) -> None:
        """HDF5 has allocated all it was promised, and cut the file to its length."""
        self._promised = 0

    def _make(self, count: int) -> None:
        check_free(self._path, count)
        if hasattr(os, "posix_fallocate"):
            length = self._id.get_filesize() + self._promised + count + RESERVE_BYTES
            try:
                os.posix_fallocate(self._id.get_vfd_handle(), 0, length)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise disk_full(self._path, error) from error
        self._promised += count
