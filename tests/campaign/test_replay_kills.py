"""A replay killed with SIGKILL, many times: every file opens and holds all it acknowledged, unchanged."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quest_lab.cli.characterize import execute
from quest_lab.runfile import open_run
from quest_lab.schedule import synthesize

pytestmark = pytest.mark.campaign

TABLES = ("calls", "applies", "reads", "replay_steps")
CLOCKS = ["wall_time_s"]
SCRIPT = Path(__file__).with_name("replaying.py")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A schedule whose replay takes some seconds, and the characterisation of its chip."""
    folder = tmp_path_factory.mktemp("kills")
    schedule, found = folder / "schedule.h5", folder / "found.h5"
    synthesize(schedule, [(64, 64, 3, 3), (64, 64, 3, 3)], steps=400, change_rate=0.02, seed=0)
    execute(device="scaled", out=found, cells=2 * 64 * 64 * 9, sample=64, chip=None, seed=0, overwrite=False)
    return schedule, found


def start(folder: Path, inputs: tuple[Path, Path]) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, *inputs, folder / "chip.cells", folder / "run.h5"]
    return subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)


def tables(path: Path) -> dict[str, pd.DataFrame]:
    with open_run(path) as run:
        return {t: run.table(t).drop(columns=CLOCKS, errors="ignore") for t in TABLES}


def test_a_killed_replay_loses_nothing_acknowledged(
    tmp_path: Path, inputs: tuple[Path, Path], publish: Callable[[str, str, str], None]
) -> None:
    """QUEST_LAB_KILLS kills (200), at times spread over a whole replay."""
    whole = tmp_path / "whole"
    whole.mkdir()
    began = time.monotonic()
    with start(whole, inputs) as undisturbed:
        assert undisturbed.stdout is not None
        assert undisturbed.stdout.read().endswith("done\n")
    lasted = time.monotonic() - began
    reference = tables(whole / "run.h5")
    count, times = int(os.environ.get("QUEST_LAB_KILLS", "200")), random.Random(0)
    acknowledged = np.zeros(len(TABLES), np.int64)
    kept = np.zeros(len(TABLES), np.int64)
    for _ in range(count):
        folder = tmp_path / "killed"
        folder.mkdir()
        rows = kill_one(folder, inputs, times.uniform(0.0, lasted))
        found = tables(folder / "run.h5")
        for i, (name, table) in enumerate(found.items()):
            assert len(table) >= rows[i], f"{name}: {len(table)} rows kept, {rows[i]} acknowledged"
            pd.testing.assert_frame_equal(table[: rows[i]], reference[name][: rows[i]])
        acknowledged += rows
        kept += [len(t) for t in found.values()]
        shutil.rmtree(folder)
    publish("replay-kills", "A replay killed with SIGKILL", _page(count, acknowledged, kept))


def kill_one(folder: Path, inputs: tuple[Path, Path], after_s: float) -> list[int]:
    """Start, wait for the first acknowledgement, kill after a while; the last acknowledged row counts."""
    with start(folder, inputs) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
    whole = [line.split() for line in lines if len(line.split()) == len(TABLES)]
    return [int(word) for word in whole[-1]]


def _page(
    count: int,
    acknowledged: np.ndarray[tuple[int], np.dtype[np.int64]],
    kept: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> str:
    rows = [
        f"{count} replays of a synthesised schedule (73 728 weights, 400 steps) on a simulated chip, each killed "
        "at a random time; every file opened, and its acknowledged rows equalled those of an undisturbed replay.",
        "",
        "| table | rows acknowledged, all kills | rows found | acknowledged rows lost |",
        "|---|---|---|---|",
    ]
    rows += [f"| {t} | {a} | {k} | 0 |" for t, a, k in zip(TABLES, acknowledged, kept, strict=True)]
    return "\n".join(rows)
