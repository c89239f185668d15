"""Ctrl-C, SIGTERM and SIGHUP once, twice, three times while a program drives instruments as hardware."""

from __future__ import annotations

import signal
import sys

import pytest

from quest_lab import open_run
from quest_lab.schema import Outcome

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals to one process are POSIX's")

PULSES = """
import sys
import numpy as np
from quest_lab import open_bench
from quest_lab.cli.frame import exit_on_failure
from quest_lab.device import FieldPulse, VoltagePulse

with exit_on_failure(debug=False), open_bench(sys.argv[1], hardware=True, run="run.h5") as session:
    while True:
        session.stop.check()
        session.device.apply(VoltagePulse(0.6, 1e-6), np.arange(4), then_read=True)
        if sys.argv[2:] == ["field"]:
            session.device.apply(FieldPulse(0.1, 60.0), np.arange(16))
"""
STOPPING = "stopping after the write-read pair in hand"


def in_the_field(served, start):
    """A program that holds the magnet at 5 A for a minute."""
    program = start(PULSES, "field")
    served.until(lambda: served.ask("PULS?") == "4" and not served.outputs_off, "the field")
    served.until(lambda: float(served.ask("AMP?")) == 5.0, "5 A")
    return program


def outcomes(tmp_path):
    with open_run(tmp_path / "run.h5") as run:
        return run.status, run.calls["outcome"].tolist()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_finishes_the_pair(served, start, tmp_path, number) -> None:
    program = start(PULSES)
    served.until(lambda: int(served.ask("PULS?")) > 4, "pulses")
    program.send_signal(number)
    _, said = program.communicate(timeout=30)
    assert program.returncode == 130
    assert STOPPING in said
    assert "interrupted: stopped on request" in said
    served.wait_until_off()
    status, found = outcomes(tmp_path)
    assert (status, set(found)) == ("aborted", {Outcome.DONE})
    assert int(served.ask("PULS?")) == 4 * (len(found) // 2)


def test_the_second_switches_off_now(served, start, tmp_path) -> None:
    program = in_the_field(served, start)
    program.send_signal(signal.SIGINT)
    assert program.stderr.readline() == "\n"
    assert STOPPING in program.stderr.readline()
    assert not served.outputs_off  # the field is part of the pair
    program.send_signal(signal.SIGTERM)
    assert program.wait(30) == 130
    served.wait_until_off()
    assert outcomes(tmp_path) == ("aborted", [Outcome.DONE, Outcome.DONE, Outcome.AMBIGUOUS])
    assert not (tmp_path / "run.h5.watchdog.log").exists()


def test_the_third_ends_the_program_and_the_watchdog_switches_off(served, start, tmp_path) -> None:
    """The magnet here is ramped so slowly that switching off takes seconds."""
    slow = served.bench.read_text().replace('ramp = "1000 A/s"', 'ramp = "2 A/s"')
    served.bench.write_text(slow)
    program = in_the_field(served, start)
    program.send_signal(signal.SIGTERM)
    assert program.stderr.readline() == "\n"
    program.send_signal(signal.SIGTERM)
    served.until(lambda: float(served.ask("AMP?")) < 5.0, "the ramp")
    program.send_signal(signal.SIGTERM)
    assert program.wait(30) == -signal.SIGTERM
    served.wait_until_off()
    served.until((tmp_path / "run.h5.watchdog.log").exists, "the log")
    assert outcomes(tmp_path) == ("running", [Outcome.DONE, Outcome.DONE, Outcome.INTENT])
