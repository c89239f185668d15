"""Measurements cut off anywhere, any number of times, go on and end as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest

from quest_lab.budget import read_ledger
from quest_lab.characterization_file import to_result
from quest_lab.cli.measure import execute
from quest_lab.clock import VirtualClock
from quest_lab.crossbar import Crossbar
from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    Device,
    FieldPulse,
    Operation,
    Reading,
    ReadPulse,
    VoltagePulse,
)
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.examples import example_benches
from quest_lab.protocols.call_log import Asked, CallLog
from quest_lab.protocols.call_log_file import load_call_log
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.measurements import MEASUREMENTS, settings_of
from quest_lab.protocols.resume import resumable
from quest_lab.record import Recorded, RunWriter, open_run
from quest_lab.run_tables import TABLES
from quest_lab.schema import Kind, Op, Result
from quest_lab.session import Session, open_bench
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.passive import PassiveCells
from quest_lab.sim.presets import cells_of
from quest_lab.sim.reliability import Faults, FieldLoop, Retention, Wear
from quest_lab.sim.skmtj import SkMTJ

ALIVE = {
    "faults": Faults(open=0.1, short=0.1, stuck=0.1),
    "wear": Wear(life_pulses=100.0),
    "retention": Retention(),
    "loop": FieldLoop(),
}
WORDS = {
    "yield": ("reads=2",),
    "endurance": ("cycles=100", "staircase_steps=3", "reads=2", "looks_per_decade=2"),
    "retention": ("last_s=1e20", "amplitudes_v=0.5,0.85"),
    "field-loop": ("points=7", "in_field=false"),
    "disturb": ("reads=12", "noise_reads=8", "width_s=0.1"),
    "width": ("amplitudes=3", "repeats=1", "widths_per_decade=2"),
    "half-select": ("selected=2", "cycles=2", "reads=2"),
}
QUIET = dict.fromkeys(("d_cell", "xi_pulse", "r0_spread", "tmr_spread", "residual_states", "read_noise"), 0.0)
QUIET_WALL = dict.fromkeys(("residual_std_m", "r0_spread", "swing_spread", "read_noise"), 0.0)
CELLS, NEVER = 16, 10**9


class Cut(BaseException):
    """The program ends here."""


@dataclass
class CutOff:
    """A device whose program ends when `left` calls were made, after the last of them."""

    device: Device
    left: int

    @property
    def capabilities(self) -> Capabilities:
        return self.device.capabilities

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        return self._counted(self.device.apply(operation, cells, then_read=then_read))

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self._counted(self.device.read(cells, at))

    def safe_state(self) -> None: ...
    def close(self) -> None: ...

    def _counted(self, answer: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise Cut
        return answer


def chip(model: SkMTJ | DomainWall, folder: Path, clock: VirtualClock) -> SimulatedChip:
    """The same cells each time; domain walls on the lines of a crossbar."""
    if isinstance(model, SkMTJ):
        return SimulatedChip(CellArray(model, CELLS, seed=5, path=folder / "cells"), clock)
    walls = DomainWallArray(model, CELLS, seed=5, path=folder / "cells")
    return SimulatedChip(
        PassiveCells(walls, Crossbar(4, 4), read_scheme="grounded", write_scheme="V/2"), clock
    )


def go(
    kind: str,
    model: SkMTJ | DomainWall,
    folder: Path,
    cut: int = NEVER,
    *,
    heard: bool = True,
    away_s: float | None = None,
    stop_at: int = NEVER,
    status: str = "complete",
) -> tuple[Result, int]:
    """Measure into `folder`, going on with what is there, cut off after so many calls to the device: between two
    of them, or (not `heard`) before the answer of the last was booked. `away_s`: on hardware, for so long.
    `stop_at`: someone asks to stop at this step. The result, and how many calls there were."""
    folder.mkdir(exist_ok=True)
    clock, out, log = VirtualClock(), folder / "run.h5", None
    device = chip(model, folder, clock)
    if out.exists():
        log = load_call_log(out, kind)
        run = RunWriter.resume(out, kind=kind, seed=0, settings={})
    else:
        run = RunWriter.create(out, kind=kind, title="", seed=0, settings={})
    try:
        with run:
            run.keep_each_call()
            inner: Device = device if heard else CutOff(device, cut)
            counted = CutOff(Recorded(inner, run, clock), cut if heard else NEVER)
            later = 0.0 if away_s is None or log is None else log.end_wall_s + away_s
            session = resumable(
                Session(counted, clock, run=run), log, hardware=away_s is not None, wall=lambda: later
            )
            session.progress = lambda _what, done, _total: session.stop.request() if done >= stop_at else None
            result = measured(session, kind)
            run.add_result(result)
            run.close(status)
            return result, NEVER - counted.left
    finally:
        device.close()


def measured(session: Session, kind: str) -> Result:
    everyone = np.arange(CELLS)
    if kind == "characterization":
        settings = CharacterizeSettings(max_cycles=2, repeats=2, step_v=0.02, attempts=3)
        return to_result(characterize(session, everyone, everyone, settings)[0])
    return MEASUREMENTS[kind].measure(session, everyone, settings_of(kind, WORDS[kind])).result


def same(a: Result, b: Result, rtol: float = 1e-12, late_s: float = 0.0) -> None:
    """`late_s`: by how much the times of `b` may differ besides."""
    assert set(a.fields) == set(b.fields)
    for name, field in a.fields.items():
        atol = late_s if name == "time_s" else 0.0
        np.testing.assert_allclose(b.fields[name].values, field.values, rtol=rtol, atol=atol, err_msg=name)


def resumes(folder: Path) -> pandas.DataFrame:
    with open_run(folder / "run.h5") as run:
        return run.table("resumes")


def asked(folder: Path) -> list[tuple[Any, ...]]:
    """What the cells got, in order."""
    with open_run(folder / "run.h5") as run:
        calls = run.calls[run.calls["count"] > 0]
        return list(calls[["kind", "op", "outcome", "amplitude", "count"]].itertuples(index=False))


def lively(kind: str) -> SkMTJ | DomainWall:
    """Cells that wear, decay and are broken; for a whole characterisation sound ones."""
    if kind == "half-select":
        return DomainWall()
    return SkMTJ.preset("lab") if kind == "characterization" else SkMTJ.preset("lab", **ALIVE)


def quiet(kind: str) -> SkMTJ | DomainWall:
    """Cells without any chance, to which a second pulse does nothing."""
    return (
        DomainWall(**QUIET_WALL, landing_std_m=1e-12)
        if kind == "half-select"
        else SkMTJ.preset("lab", **QUIET)
    )


@pytest.mark.parametrize("kind", [*WORDS, "characterization"])
def test_cut_off_between_calls_it_ends_as_undisturbed(kind: str, tmp_path: Path) -> None:
    """Three cuts: not a pulse or read more or less, each at its time."""
    whole, calls = go(kind, lively(kind), tmp_path / "whole")
    for cut in np.random.default_rng(0).integers(1, max(calls // 3, 2), 3):
        with pytest.raises(Cut):
            go(kind, lively(kind), tmp_path / "cut", int(cut))
    again, _ = go(kind, lively(kind), tmp_path / "cut")
    same(whole, again)
    assert asked(tmp_path / "cut") == asked(tmp_path / "whole")
    assert not resumes(tmp_path / "cut")[["pulses_in_doubt", "reads_in_doubt", "read_energy_j"]].any(
        axis=None
    )


@pytest.mark.parametrize("kind", WORDS)
def test_what_was_not_heard_of_is_read_and_given_again_and_accounted(kind: str, tmp_path: Path) -> None:
    whole, calls = go(kind, quiet(kind), tmp_path / "whole")
    for cut in np.random.default_rng(1).integers(1, max(calls // 3, 2), 3):
        with pytest.raises(Cut):
            go(kind, quiet(kind), tmp_path / "cut", int(cut), heard=False)
    again, _ = go(kind, quiet(kind), tmp_path / "cut")
    same(whole, again, rtol=1e-6, late_s=3e-6)  # at each cut a read more, which takes a microsecond
    account = resumes(tmp_path / "cut")
    with open_run(tmp_path / "cut" / "run.h5") as run:
        calls_, applies = run.calls, len(run.applies)
    with open_run(tmp_path / "whole" / "run.h5") as run:
        assert applies - len(run.applies) == account["pulses_in_doubt"].sum()
    assert (account["pulses_in_doubt"] + account["reads_in_doubt"] > 0).all()
    for row in account[account["pulses_in_doubt"] > 0].itertuples():
        assert (calls_["kind"][row.first : row.last] == Kind.READ).all()
        assert row.last > row.first


def test_what_a_field_showed_while_it_stood_is_lost_not_made_up(tmp_path: Path) -> None:
    """The pulse was booked, its reading was not: no second pulse, no reading after the field for one in it."""
    clock, at, everyone = VirtualClock(), FieldPulse(0.02, 1e-2, read_on_top=True), np.arange(CELLS)
    device, out = chip(quiet("field-loop"), tmp_path, clock), tmp_path / "run.h5"
    with RunWriter.create(out, kind="field-loop", title="", seed=0, settings={}) as run:
        resumable(Session(Recorded(device, run, clock), clock, run=run)).device.apply(at, everyone)
        run.close("aborted")
    log = load_call_log(out, "field-loop")
    with RunWriter.resume(out, kind="field-loop", seed=0, settings={}) as run:
        again = resumable(Session(Recorded(device, run, clock), clock, run=run), log)
        reading = again.device.apply(at, everyone, then_read=True).expect_reading()
        assert np.isnan(reading.resistance_ohm).all()
        assert run.rows("applies") == CELLS
    device.close()


@pytest.mark.parametrize("heard", [True, False])
def test_a_budget_counts_once_what_was_given_before_the_cut(tmp_path: Path, heard: bool) -> None:
    """A yield map gives two pulses, and a cell may get two: what is in doubt is one too many."""
    bench, out = tmp_path / "bench.toml", tmp_path / "run.h5"
    text = example_benches()["slow-matrix"].read_text(encoding="utf-8").replace("# ledger =", "ledger =")
    bench.write_text(text.replace("# pulses_per_cell = 1000000", "pulses_per_cell = 2"), encoding="utf-8")

    def measure(cut: int, log: CallLog | None) -> None:
        with open_bench(
            bench, cells=2, cells_file=tmp_path / "cells", run=out, kind="yield", resume=log is not None,
            each_call=True, ledger=tmp_path / "ledger",
        ) as session:  # fmt: skip
            if heard:
                session.device = CutOff(session.device, cut)
            else:
                booked = session.device._device._device  # type: ignore[attr-defined]  # what the ledger counts
                booked._device = CutOff(booked._device, cut)
            MEASUREMENTS["yield"].measure(resumable(session, log), np.arange(2), settings_of("yield", ()))

    with pytest.raises(Cut):
        measure(1, None)
    if heard:
        measure(NEVER, load_call_log(out, "yield"))
        assert read_ledger(tmp_path / "ledger").pulses.tolist() == [2, 2]
    else:
        with pytest.raises(LimitExceeded, match="up to 2 pulses, 1 are left in its ledger: 1 too few"):
            measure(NEVER, load_call_log(out, "yield"))


KILLED = """
import os, signal, sys
from pathlib import Path

from quest_lab.cli.measure import execute
from quest_lab.protocols.measurements import settings_of
from quest_lab.sim.chip import SimulatedChip

left, apply = 31, SimulatedChip.apply


def counted(chip, *given, **named):
    global left
    done, left = apply(chip, *given, **named), left - 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


SimulatedChip.apply = counted
settings = settings_of("endurance", ["cycles=20", "staircase_steps=3"])
execute(kind="endurance", device="lab-ageing", out=Path("run.h5"), settings=settings, cells=8, chip=Path("cells"))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_in_the_middle_of_a_pulse_its_cells_got_what_the_books_say(tmp_path: Path) -> None:
    """kill -9 after the pulse reached the cells and before that was written down."""
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    out, cells = tmp_path / "run.h5", tmp_path / "cells"
    settings = settings_of("endurance", ["cycles=20", "staircase_steps=3"])
    common: dict[str, Any] = {"kind": "endurance", "device": "lab-ageing", "settings": settings, "cells": 8}
    again = execute(**common, out=out, chip=cells, resume=True)
    whole = execute(**common, out=tmp_path / "whole.h5")
    for name in ("life_low", "life_high", "kind"):
        np.testing.assert_array_equal(again.result.fields[name].values, whole.result.fields[name].values)
    with open_run(out) as run, open_run(tmp_path / "whole.h5") as other:
        assert run.table("resumes")["pulses_in_doubt"].tolist() == [len(run.applies) - len(other.applies)]
        calls = run.calls[run.calls["kind"] == Kind.APPLY]
        by_voltage = np.repeat(calls["op"].to_numpy() == Op.VOLTAGE, calls["count"])
        booked = np.bincount(run.applies["cell"][by_voltage])
    array = cells_of("lab-ageing", 8, seed=0, path=cells, chip_id="lab-ageing-8-seed0")
    np.testing.assert_array_equal(array._columns.pulses, booked)  # type: ignore[attr-defined]
    array.close()


def test_time_went_on_while_real_instruments_waited(tmp_path: Path) -> None:
    whole, calls = go("retention", quiet("retention"), tmp_path / "whole", away_s=0.0)
    with pytest.raises(Cut):
        go("retention", quiet("retention"), tmp_path / "cut", calls - 3, away_s=0.0)
    again, _ = go("retention", quiet("retention"), tmp_path / "cut", away_s=1e21)
    late = again.fields["time_s"].values - whole.fields["time_s"].values
    np.testing.assert_allclose(late[:-3], 0.0, atol=1e-3)
    np.testing.assert_allclose(again.fields["time_s"].values[-3:], 1e21, rtol=1e-2)
    assert resumes(tmp_path / "cut")["away_s"].tolist() == [pytest.approx(1e21)]


def test_stopped_on_request_it_goes_on_too(tmp_path: Path) -> None:
    """Ctrl-C ends after the step in hand, with a result; the next one is of all steps."""
    whole, _ = go("endurance", lively("endurance"), tmp_path / "whole")
    few, _ = go("endurance", lively("endurance"), tmp_path / "cut", stop_at=2, status="aborted")
    assert few.fields["cycles"].values.size == 3
    same(whole, go("endurance", lively("endurance"), tmp_path / "cut")[0])
    assert asked(tmp_path / "cut") == asked(tmp_path / "whole")


def test_another_measurement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Cut):
        go("yield", quiet("yield"), tmp_path / "run", 3)
    log = load_call_log(tmp_path / "run" / "run.h5", "yield")
    said = r"call 0 was a pulse of 0.1 T, 0.01 s of 16 cells, now a pulse of 0.85 V, 1e-06 s of 3 is asked"
    with pytest.raises(BadInput, match=said):
        log.tell(Asked.pulse(VoltagePulse(0.85, 1e-6)), np.arange(3))
    with pytest.raises(BadInput, match="is a run of kind 'yield', not 'width'"):
        load_call_log(tmp_path / "run" / "run.h5", "width")


def test_every_run_that_is_told_again_has_the_tables_for_it() -> None:
    for table in ("resumes", "unsound_reads"):
        assert set(TABLES[table].kinds or ()) == {*MEASUREMENTS, "characterization", "replay"}


def test_a_characterisation_from_before_there_were_resumes_still_opens(tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "run.h5", kind="characterization", title="", seed=0, settings={}).close()
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        del file["entry/resumes"], file["entry/unsound_reads"]
    with open_run(tmp_path / "run.h5") as run:
        assert run.status == "complete"
