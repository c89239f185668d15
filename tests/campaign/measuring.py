"""A short measurement on a bench file, and a process that makes many of them: `python measuring.py`.

The process reads lines of BENCH, RUN and SAID (tab-separated), forks a child for each, tells its pid and then how it
ended. The child drives BENCH as hardware, records to RUN, and leaves in SAID what a user would have been told.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

import quest_lab.instruments.guard  # noqa: F401  # loaded once, before the forks
from quest_lab import open_bench
from quest_lab.device import VoltagePulse
from quest_lab.errors import DeviceError
from quest_lab.session import Session

AFTERWARDS = "; afterwards: "
CELLS = np.array([1, 5])
SETS = (
    VoltagePulse(0.40, 1.0e-6),
    VoltagePulse(0.50, 1.1e-6),
    VoltagePulse(0.60, 1.2e-6),
)  # told apart by width


def measure(session: Session) -> None:
    """A field reset of all cells, set pulses with their reads on two, a read of all."""
    can = session.device.capabilities
    everyone = np.arange(can.cells)
    assert can.reset is not None
    session.device.apply(can.reset, everyone)
    for pulse in SETS:
        session.stop.check()
        session.device.apply(pulse, CELLS, then_read=True)
    session.stop.check()
    session.device.read(everyone)


def run(bench: Path, out: Path, *, hardware: bool) -> str:
    """Measure; what a user is told. After a failure the cells are read: what comes late must not shift that."""
    told = "done"
    try:
        with open_bench(bench, run=out, hardware=hardware) as session:
            try:
                measure(session)
            except DeviceError as error:
                told = f"DeviceError: {error}"
                session.device.read(np.arange(session.device.capabilities.cells))
    except (Exception, KeyboardInterrupt) as error:  # what a user would see a traceback of is told as well
        told = f"{type(error).__name__}: {error}" if told == "done" else f"{told}{AFTERWARDS}{error!r}"
    return told


def _child(bench: str, out: str, said: str) -> None:
    Path(said).write_text(run(Path(bench), Path(out), hardware=True), encoding="utf-8")


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                _child(*line.rstrip("\n").split("\t"))
            finally:
                sys.stderr.flush()
                os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
