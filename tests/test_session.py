"""Sessions: a bench is switched off however it is left, and Ctrl-C is heard once, twice, three times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_bench, open_run
from quest_lab.clock import VirtualClock
from quest_lab.device import VoltagePulse
from quest_lab.errors import BadInput, DeviceError, Interrupted, LimitExceeded
from quest_lab.examples import example_benches
from quest_lab.schema import Outcome
from quest_lab.session import BENCHES, Stop, stop_on_signals, switch_off
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

CELLS = np.arange(3)
PULSE = VoltagePulse(0.6, 2e-8)


class Watched(SimulatedChip):
    """A simulated chip that notes when it is switched off, and can fail at that."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(CellArray(SkMTJ.preset("scaled"), 4, seed=0), VirtualClock())
        self.heard: list[str] = []
        self.fails = fails

    def safe_state(self) -> None:
        self.heard.append("safe")
        if self.fails:
            raise OSError("the output does not answer")

    def close(self) -> None:
        self.heard.append("closed")
        super().close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """A chip that open_bench("scaled") hands out."""
    chip = Watched()
    monkeypatch.setattr("quest_lab.session.BENCHES", {"scaled": (lambda *_: (chip, VirtualClock()), 4)})
    return chip


@pytest.mark.parametrize("name", sorted([*BENCHES, *example_benches()]))
def test_every_bench_opens_applies_and_reads(name: str) -> None:
    with open_bench(name, cells=4, seed=1) as session:
        width_s = session.device.capabilities.set_width_s
        applied = session.device.apply(VoltagePulse(0.5, width_s), CELLS, then_read=True)
        assert applied.reading is not None
        assert (applied.reading.resistance_ohm > 0).all()
        assert (session.device.capabilities.cells, session.seed, session.run) == (4, 1, None)


def test_an_unknown_bench_is_answered_with_the_known_ones() -> None:
    with (
        pytest.raises(
            BadInput,
            match="'scald': not known; there are arc-one, arc-one-magnet, domain-wall, domain-wall-3,",
        ),
        open_bench("scald"),
    ):
        pass


def test_a_bench_without_cells_is_refused() -> None:
    with pytest.raises(BadInput, match="cells=0"), open_bench("scaled", cells=0):
        pass


def test_cells_survive_the_session(tmp_path: Path) -> None:
    def reading() -> np.ndarray:
        return session.device.read(CELLS).resistance_ohm

    with open_bench("scaled", cells=4, cells_file=tmp_path / "cells") as session:
        before = reading()
        session.device.apply(VoltagePulse(0.8, 2e-8), CELLS)
        after = reading()
    with open_bench("scaled", cells=4, cells_file=tmp_path / "cells") as session:
        again = reading()
    assert (abs(again / after - 1) < 0.03).all()
    assert (after / before > 1.1).all()


def test_with_a_path_every_call_is_booked_and_limited(tmp_path: Path) -> None:
    with open_bench(
        "scaled", cells=4, seed=5, run=tmp_path / "run.h5", kind="trial", settings={"x": 1}
    ) as session:
        session.device.apply(PULSE, CELLS, then_read=True)
        with pytest.raises(LimitExceeded):
            session.device.apply(VoltagePulse(5.0, 1e-8), CELLS)
    with open_run(tmp_path / "run.h5") as run:
        assert (run.kind, run.status, run.seed) == ("trial", "complete", 5)
        assert run.settings == {"bench": "scaled", "cells": 4, "seed": 5, "x": 1}
        assert run.calls["outcome"].tolist() == [Outcome.DONE, Outcome.DONE, Outcome.FAILED]


def test_equal_seeds_give_equal_event_tables(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        with open_bench("scaled", cells=4, seed=5, run=tmp_path / name) as session:
            for _ in range(5):
                session.device.apply(PULSE, CELLS, then_read=True)
    with open_run(tmp_path / "a.h5") as a, open_run(tmp_path / "b.h5") as b:
        assert a.applies.equals(b.applies)
        assert a.reads.equals(b.reads)
        assert a.calls.drop(columns="wall_time_s").equals(b.calls.drop(columns="wall_time_s"))


@pytest.mark.parametrize("error", [None, ValueError("x"), Interrupted("x"), KeyboardInterrupt()])
def test_outputs_are_off_and_the_device_closed_on_every_way_out(
    watched: Watched, error: BaseException | None
) -> None:
    def visit() -> None:
        with open_bench("scaled") as session:
            session.device.read(CELLS)
            if error is not None:
                raise error

    if error is None:
        visit()
    else:
        with pytest.raises(type(error)):
            visit()
    assert watched.heard == ["safe", "closed"]


def test_a_device_that_fails_to_switch_off_is_still_closed_and_its_run_kept(
    watched: Watched, tmp_path: Path
) -> None:
    watched.fails = True
    with (
        pytest.raises(OSError, match="does not answer"),
        open_bench("scaled", run=tmp_path / "r.h5") as session,
    ):
        session.device.read(CELLS)
    assert watched.heard == ["safe", "closed"]
    with open_run(tmp_path / "r.h5") as run:
        assert (run.status, len(run.reads)) == ("failed", 3)


def test_switching_off_twice_is_fine() -> None:
    chip = Watched()
    switch_off(chip)
    switch_off(chip)


def test_a_bench_that_does_not_open_leaves_a_failed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise DeviceError("no answer")

    monkeypatch.setattr("quest_lab.session.BENCHES", {"scaled": (broken, 4)})
    with pytest.raises(DeviceError, match="answer"), open_bench("scaled", run=tmp_path / "r.h5"):
        pass
    with open_run(tmp_path / "r.h5") as run:
        assert run.status == "failed"


def test_a_run_that_is_refused_before_any_cell_is_reached_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded), open_bench("scaled", run=tmp_path / "r.h5"):
        raise LimitExceeded("the budget does not suffice")
    assert not list(tmp_path.iterdir())


def test_stop_is_heard_across_threads() -> None:
    stop = Stop()
    stop.check()
    thread = threading.Thread(target=stop.request)
    thread.start()
    thread.join()
    with pytest.raises(Interrupted):
        stop.check()


def test_first_signal_asks_second_switches_off_third_is_as_before() -> None:
    stop, chip = Stop(), Watched()
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signals(stop, chip):
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        assert chip.heard == []
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert chip.heard == ["safe"]
        assert signal.getsignal(signal.SIGINT) is before
    chip.close()


def test_handlers_are_put_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with open_bench("scaled", cells=4):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


def test_outside_the_main_thread_a_session_works_without_signals() -> None:
    seen: list[float] = []

    def work() -> None:
        with open_bench("scaled", cells=4) as session:
            seen.append(float(session.device.read(CELLS).resistance_ohm[0]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(seen) == 1


LOOP = """
import sys
import numpy as np
from quest_lab import open_bench
from quest_lab.device import VoltagePulse

with open_bench("scaled", cells=4, run=sys.argv[1]) as session:
    while True:
        session.device.apply(VoltagePulse(0.5, 2e-8), np.arange(4), then_read=True)
        print("pair", flush=True)
        if "deaf" not in sys.argv:
            session.stop.check()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize("words", [[], ["deaf"]], ids=["first", "second"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_program_leaves_an_aborted_readable_run(
    tmp_path: Path, words: list[str], number: signal.Signals
) -> None:
    command = [sys.executable, "-c", LOOP, str(tmp_path / "run.h5"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        for _ in range(1 + len(words)):
            program.send_signal(number)
            time.sleep(0.1)
        pairs = 1 + program.stdout.read().count("pair")
    with open_run(tmp_path / "run.h5") as run:
        assert run.status == "aborted"
        booked = len(run.calls[run.calls["kind"] == 1])
        assert booked >= pairs if not words else booked >= pairs - 1
