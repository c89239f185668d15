"""A program on hardware's path killed or stopped at random points: outputs off, books right, every time."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable

import pytest

from quest_lab import open_run
from quest_lab.recovery import open_calls
from quest_lab.schema import Op, Outcome

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP and kill -9 are POSIX's"),
]

PROGRAM = """
import sys
import numpy as np
from quest_lab import open_bench
from quest_lab.device import FieldPulse, VoltagePulse

with open_bench(sys.argv[1], hardware=True, run=sys.argv[2]) as session:
    print("armed", flush=True)
    while True:
        session.device.apply(FieldPulse(0.1, 0.05), np.arange(16))
        for volts in (0.5, 0.6, 0.7):
            session.device.apply(VoltagePulse(volts, 1e-6), np.arange(4), then_read=True)
"""
SPREAD_S = 2.0


@pytest.mark.parametrize("front", ["tcp", "serial"])
def test_killed_and_stopped_at_random_points(
    served, start, tmp_path, publish: Callable[..., None], front
) -> None:
    """QUEST_LAB_BENCH_KILLS (40) of each kind, with a watchdog of 2 s, one served world for all."""
    count, rng = int(os.environ.get("QUEST_LAB_BENCH_KILLS", "40")), random.Random(front)
    rows = []
    for name, number in (("kill -9", signal.SIGKILL), ("hang (SIGSTOP)", signal.SIGSTOP)):
        energised = doubtful = 0
        longest_s = 0.0
        for n in range(count):
            before, run = int(served.ask("PULS?")), f"{number}-{n}.h5"
            program = start(PROGRAM, run)
            assert program.stdout.readline() == "armed\n"
            time.sleep(rng.uniform(0.0, SPREAD_S))
            program.send_signal(number)
            struck = time.monotonic()
            energised += not served.outputs_off
            served.wait_until_off()
            longest_s = max(longest_s, time.monotonic() - struck)
            assert program.wait(30) == -signal.SIGKILL
            doubtful += books_are_right(tmp_path / run, int(served.ask("PULS?")) - before)
        rows.append(f"| {name} | {count} | {energised} | {doubtful} | {longest_s:.1f} s | {count} |")
    head = "| | points | something energised when struck | cells left in doubt | longest until all was off | survived |"
    publish(
        f"bench-kills-{front}",
        f"Programs killed and stopped on a served bench, over {front}",
        "\n".join([head, "|---|---|---|---|---|---|", *rows, "", ABOUT]),
    )


ABOUT = (
    "Each time: outputs off in the world by the watchdog (2 s), no bad practice noticed, the run file opens, and "
    "pulses that reached cells are those it books as done, and none but those it leaves in doubt besides."
)


def books_are_right(path, delivered: int) -> int:
    """Compare the run's books with the pulses that reached cells; returns how many cells are in doubt."""
    with open_run(path) as run:
        calls = run.calls
        done = int(calls[(calls["op"] == Op.VOLTAGE) & (calls["outcome"] == Outcome.DONE)]["count"].sum())
        doubt = open_calls(run)
    pulses = sum(call.cells.size for call in doubt if call.pulse.split(",")[0].endswith("V"))
    assert done <= delivered <= done + pulses
    return sum(call.cells.size for call in doubt)
