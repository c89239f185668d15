"""A disk that fills up: one message, and what was acknowledged stays readable. Real limits, no mocks."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.record import DiskFull, RunWriter

FILL = """
import resource, sys
import numpy as np
from quest_lab.record import DiskFull, RunWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
run = RunWriter.create(sys.argv[1], kind="x", title="", seed=0, settings={})
try:
    with run:
        for number in range(10_000):
            run.append("reads", cell=np.arange(1000), resistance_ohm=float(number))
            run.flush()
except DiskFull as error:
    print(run.acknowledged["reads"])
    print(error)
"""


def fill(path: Path) -> RunWriter:
    """Write until the disk is full; the writer as it was left."""
    run = RunWriter.create(path, kind="x", title="", seed=0, settings={})
    with pytest.raises(DiskFull, match=r"run.h5: cannot write the run file, \d+ bytes free"):
        _append_without_end(run)
    return run


def _append_without_end(run: RunWriter) -> None:
    with run:
        for number in itertools.count():
            run.append("reads", cell=np.arange(1000), resistance_ohm=float(number))
            run.flush()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB, as only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not shutil.which("mount") or getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("needs root to mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs root to mount a small file system")
    if (
        shutil.disk_usage(folder).total > 7_000_000
    ):  # some sandboxes mount one of any size, which would fill memory
        subprocess.run(["umount", folder], check=True)
        pytest.skip("a file system of 6 MB is larger here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_run_as_failed_with_all_acknowledged_rows(small_disk: Path) -> None:
    run = fill(small_disk / "run.h5")
    assert run.acknowledged["reads"] > 100_000
    with open_run(small_disk / "run.h5") as read:
        assert read.status == "failed"
        assert len(read.reads) >= run.acknowledged["reads"]


def test_a_disk_too_full_to_start_is_told_at_once(small_disk: Path) -> None:
    free = shutil.disk_usage(small_disk).free
    (small_disk / "other").write_bytes(b"x" * (free - 8192))
    with pytest.raises(DiskFull, match="bytes free"):
        RunWriter.create(small_disk / "run.h5", kind="x", title="", seed=0, settings={})


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE as Linux has it")
def test_a_write_that_the_system_refuses_loses_nothing_acknowledged(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path / "run.h5")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    acknowledged, message = done.stdout.splitlines()
    assert "cannot write the run file" in message
    with open_run(tmp_path / "run.h5") as read:
        table = read.reads
    assert len(table) >= int(acknowledged) > 100_000
    numbers = np.repeat(np.arange(len(table) // 1000), 1000)
    np.testing.assert_array_equal(table["resistance_ohm"][: len(numbers)], numbers)
