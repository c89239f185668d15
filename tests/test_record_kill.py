"""A writer killed with SIGKILL at random times: its file opens, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import pytest

from quest_lab import open_run

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")

WRITER = """
import sys, itertools
import numpy as np
from quest_lab.record import RunWriter
from quest_lab.schema import Field, Kind, Op, Origin, Outcome, Result

run = RunWriter.create(sys.argv[1], kind="replay", title="", seed=0, settings={})
sizes = itertools.cycle([1, 7, 64, 1000, 50_000] if sys.argv[2] == "batches" else [1])
for number in itertools.count():
    cells = np.arange(next(sizes))
    common = (Outcome.DONE, Origin.COMPUTED, 0.5, 1e-8, 0.0)
    run.call(Kind.APPLY, Op.VOLTAGE, *common, cells, np.full(len(cells), float(number)))
    run.call(Kind.READ, Op.NONE, *common, cells, np.full(len(cells), float(number)))
    if number % 5 == 0:
        run.mark("number", str(number))
    if number % 40 == 0:
        axis = Field(np.arange(3.0), "V", "axis", ("x",))
        run.add_result(Result(f"r{number}", {"x": axis}, signal="x"))
    run.flush()
    print(*(run.acknowledged[table] for table in sys.argv[3:]), flush=True)
"""
TABLES = ("calls", "applies", "reads", "marks", "visa", "replay_steps")


@dataclass
class Survivor:
    """What a killed writer had acknowledged, and what its file holds."""

    acknowledged: list[int]
    found: list[int]
    consistent: bool


def kill_one(folder: Path, after_s: float, style: str) -> Survivor:
    """Start a writer, kill it `after_s` seconds after its first acknowledgement, open what it left."""
    path = folder / "run.h5"
    command = [sys.executable, "-c", WRITER, str(path), style, *TABLES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(after_s)
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
    whole = [line for line in lines if len(line.split()) == len(TABLES)]
    with open_run(path) as run:
        assert run.status == "running"
        found = [len(run.table(table)) for table in TABLES]
        consistent = _consistent(run.calls, run.applies)
    path.with_name("run.h5.part").unlink()
    return Survivor([int(word) for word in whole[-1].split()], found, consistent)


def _consistent(calls: pandas.DataFrame, applies: pandas.DataFrame) -> bool:
    """Every event of the calls kept carries its call's number."""
    calls = calls[calls["kind"] == 0].reset_index(drop=True)
    numbers = np.repeat(calls.index.to_numpy(), calls["count"])[: len(applies)]
    return bool(np.array_equal(applies["energy_j"].to_numpy()[: len(numbers)], numbers.astype(np.float32)))


def kill_many(folder: Path, count: int) -> list[Survivor]:
    """`count` kills at random times, small and mixed batches in turn."""
    times = random.Random(0)
    return [
        kill_one(folder, times.uniform(0.0, 0.4), "single" if number % 2 else "batches")
        for number in range(count)
    ]


def check(survivors: list[Survivor]) -> None:
    for survivor in survivors:
        assert all(f >= a for f, a in zip(survivor.found, survivor.acknowledged, strict=True)), survivor
        assert survivor.consistent, survivor


def test_nothing_acknowledged_is_lost_in_five_kills(tmp_path: Path) -> None:
    check(kill_many(tmp_path, 5))
