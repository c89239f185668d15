"""Measurements of single properties: what simulated cells hide lies within the intervals; ledgers are asked first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from quest_lab.budget import read_ledger
from quest_lab.cli.options import MeasurementName
from quest_lab.clock import VirtualClock
from quest_lab.crossbar import Crossbar, WriteScheme
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.examples import example_benches
from quest_lab.findings import Finding
from quest_lab.protocols.measurement import Kind, Measured
from quest_lab.protocols.measurements import MEASUREMENTS, settings_of
from quest_lab.session import Session, open_bench
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.passive import PassiveCells
from quest_lab.sim.presets import cells_of
from quest_lab.sim.reliability import OPEN, SHORT, SOUND, STUCK, Faults, FieldLoop, Retention, Wear
from quest_lab.sim.skmtj import SkMTJ

SessionOn = Callable[..., Session]


def measured(session: Session, kind: str, *words: str, cells: int | None = None) -> Measured:
    count = session.device.capabilities.cells if cells is None else cells
    return MEASUREMENTS[kind].measure(session, np.arange(count), settings_of(kind, words))


def finding(found: Measured, what: str) -> Finding:
    return next(f for f in found.findings if f.what == what)


def holds(found: Measured, what: str, truth: float) -> bool:
    f = finding(found, what)
    return f.low <= truth <= f.high


def test_the_command_line_offers_all_of_them() -> None:
    assert [name.value for name in MeasurementName] == list(MEASUREMENTS)


@pytest.mark.parametrize("preset", ["lab", "scaled"])
def test_every_broken_cell_is_found_and_no_other(session_on: SessionOn, preset: str) -> None:
    session = session_on(SkMTJ.preset(preset, faults=Faults(open=0.02, short=0.02, stuck=0.04)), 800)
    found = measured(session, "yield").result.fields["kind"].values
    truth = session.device.array.faults(np.arange(800))  # type: ignore[attr-defined]
    named = {SOUND: Kind.GOOD, OPEN: Kind.OPEN, SHORT: Kind.SHORT, STUCK: Kind.STUCK}
    assert set(truth) == set(named)
    np.testing.assert_array_equal(found, [named[int(kind)] for kind in truth])


def test_broken_cells_on_a_bench_end_no_measurement(
    virtual: Callable[..., tuple[object, object]], drive: Callable[..., object]
) -> None:
    """A short drives the 2400 into compliance, an open cell gives it no current."""
    file, lab = virtual(cells=5)
    sound = lab.world.array.read  # type: ignore[attr-defined]
    ohm = np.array([np.nan, 20.0, np.nan, 1e9, np.nan])

    def read(cells: np.ndarray, *given: object) -> np.ndarray:
        return np.where(np.isnan(ohm[cells]), sound(cells, *given), ohm[cells])

    lab.world.array.read = read  # type: ignore[attr-defined]
    session = Session(drive(file, lab), lab.world.clock)  # type: ignore[attr-defined, arg-type]
    kinds = measured(session, "yield").result.fields["kind"].values
    assert kinds.tolist() == [Kind.GOOD, Kind.SHORT, Kind.GOOD, Kind.OPEN, Kind.GOOD]


def test_the_lives_of_cells_are_recovered(session_on: SessionOn) -> None:
    """Weibull life 300 pulses of 0.75 V, shape 1.5; a look gives one such pulse."""
    session = session_on(SkMTJ.preset("lab", wear=Wear(life_pulses=300.0)), 200)
    found = measured(session, "endurance", "cycles=600", "amplitude_v=0.75", "staircase_steps=2")
    assert holds(found, "Weibull life, 63 % worn", 300.0)
    assert holds(found, "Weibull shape", 1.5)
    assert holds(found, "of the worn cells, short", 0.8)
    assert holds(found, "worn within 600 cycles", 1.0 - np.exp(-(2.0**1.5)))


def test_a_worn_cell_gets_no_more_pulses(session_on: SessionOn) -> None:
    session = session_on(SkMTJ.preset("scaled", wear=Wear(life_pulses=20.0, shape=20.0)), 8)
    damage = session.device.array._worn._damage  # type: ignore[attr-defined]
    measured(session, "endurance", "cycles=100000", "amplitude_v=0.75", "staircase_steps=2")
    assert np.all(damage < 30)


def test_endurance_stopped_on_the_way_tells_what_it_saw(session_on: SessionOn) -> None:
    session = session_on(SkMTJ.preset("lab"), 4)
    session.progress = lambda _what, done, _total: session.stop.request() if done == 2 else None
    found = measured(session, "endurance", "cycles=1000")
    assert finding(found, "worn within 2 cycles").value == 0.0
    assert np.all(np.isinf(found.result.fields["life_high"].values))


def bench(folder: Path, *changes: tuple[str, str]) -> Path:
    text = example_benches()["slow-matrix"].read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "bench.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["endurance", "field-loop", "width"])
def test_a_budget_that_does_not_suffice_is_told_before_the_first_pulse(tmp_path: Path, kind: str) -> None:
    counted = "# ledger =", "ledger ="
    path = bench(tmp_path, ("# pulses_per_cell = 1000000", "pulses_per_cell = 50"), counted)
    said = r"cell 0 would get up to \d+ pulses, 50 are left in its ledger: \d+ too few; no pulse was given"
    with (
        open_bench(path, cells=4, ledger=tmp_path / "ledger") as session,
        pytest.raises(LimitExceeded, match=said),
    ):
        measured(session, kind)
    assert not read_ledger(tmp_path / "ledger").pulses.any()


@pytest.mark.parametrize(("volts", "k"), [("0.5", 1), ("0.9", 6)])
def test_the_barrier_is_recovered(session_on: SessionOn, volts: str, k: int) -> None:
    """Each of k skyrmions decays by itself, so the state's barrier is ln k below theirs; spread 5 % of 60 kT."""
    session = session_on(SkMTJ.preset("lab", retention=Retention()), 400)
    found = measured(session, "retention", "last_s=1e20", f"amplitudes_v={volts}")
    assert holds(found, f"set by {volts} V: barrier of the state", 60.0 - log(k))
    assert holds(found, f"set by {volts} V: its spread over cells", 3.0)


def test_cells_that_do_not_decay_are_censored(session_on: SessionOn) -> None:
    found = measured(session_on(SkMTJ.preset("lab"), 20), "retention", "last_s=1e9")
    kept = finding(found, "set by 0.85 V: kept for 1e+09 s")
    assert (kept.value, kept.high, len(found.findings)) == (1.0, 1.0, 1)
    assert kept.low == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson, by hand


@pytest.mark.parametrize("in_field", ["true", "false"])
def test_switching_fields_are_recovered(session_on: SessionOn, in_field: str) -> None:
    session = session_on(SkMTJ.preset("lab", loop=FieldLoop()), 200)
    found = measured(session, "field-loop", f"in_field={in_field}", "points=81")
    assert holds(found, "rising field: switching field", 0.08)
    assert holds(found, "rising field: its spread over cells", 0.004)
    assert holds(found, "falling field: switching field", -0.06)
    assert holds(found, "falling field: its spread over cells", 0.006)
    assert ("in_field_ohm" in found.result.fields) == (in_field == "true")


def test_the_probability_of_a_disturb_is_that_of_the_threshold_law(session_on: SessionOn) -> None:
    """0.2 V is 2 % below V_th,1 at this width, two standard deviations of a pulse."""
    width_s = 1e-6 * np.exp(20.0 * (1.0 - 0.2 / 0.98 / 0.475))
    session = session_on(SkMTJ.preset("lab", d_cell=0.0), 200)
    found = measured(session, "disturb", f"width_s={width_s}", "reads=60")
    assert holds(found, "disturbed by a read", float(norm.cdf(-2.0)))
    assert holds(found, "read noise of R", 0.003)


def test_width_staircases_give_the_threshold_law(session_on: SessionOn) -> None:
    found = measured(session_on(SkMTJ.preset("lab"), 100), "width")
    assert holds(found, "Delta of the first threshold", 20.0)
    assert holds(found, "threshold V_0 at the set width", 0.475)


@pytest.fixture
def passive() -> Iterator[Callable[[WriteScheme], Session]]:
    """passive(scheme): 4 x 4 domain walls on lines."""
    opened = []

    def open_(scheme: WriteScheme) -> Session:
        walls = cells_of("domain-wall", 16, seed=1, chip_id="walls")
        opened.append(walls)
        array = PassiveCells(walls, Crossbar(4, 4), read_scheme="grounded", write_scheme=scheme)
        clock = VirtualClock()
        return Session(SimulatedChip(array, clock), clock)

    yield open_
    for walls in opened:
        walls.close()


@pytest.mark.parametrize(("scheme", "share"), [("V/2", 1.0), ("V/3", 0.0)])
def test_half_selected_cells_are_disturbed_by_the_scheme_that_does(
    passive: Callable[[WriteScheme], Session], scheme: WriteScheme, share: float
) -> None:
    """A reset of -1 V leaves half-selected walls -0.5 V, which moves them, or -0.33 V, which does not."""
    found = measured(passive(scheme), "half-select", "selected=2", "cycles=1")
    for line in ("word", "bit"):
        assert finding(found, f"same {line} line, at top: disturbed by a cycle").value == share
        assert finding(found, f"same {line} line, at R0: disturbed by a cycle").value == 0.0
    assert finding(found, "neither line, at top: disturbed by a cycle").value == 0.0


@pytest.mark.parametrize(
    ("preset", "kind", "words"),
    [
        ("memristor", "field-loop", "has no field"),
        ("lab", "half-select", "topology isolated: its cells share no lines"),
    ],
)
def test_what_a_chip_cannot_show_is_refused(preset: str, kind: str, words: str) -> None:
    with open_bench(preset, cells=4) as session, pytest.raises(BadInput, match=words):
        measured(session, kind)


@pytest.mark.parametrize("preset", ["memristor", "domain-wall"])
@pytest.mark.parametrize("kind", ["yield", "endurance", "retention", "disturb"])
def test_cells_that_are_no_staircase_are_measured_too(preset: str, kind: str) -> None:
    few = {"endurance": ["cycles=3", "staircase_steps=4"], "disturb": ["reads=5"]}
    with open_bench(preset, cells=32) as session:
        found = measured(session, kind, *few.get(kind, []))
    assert found.findings[0].value == (0.0 if kind == "endurance" else pytest.approx(1.0, abs=1.0))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cycle=3", "knows cycles=10000"),
        ("cycles=2.5", "is not an integer"),
        ("cycles=0", "want at least 1"),
        ("worn_share=2", "between 0 and 1"),
    ],
)
def test_wrong_settings_are_named(word: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        settings_of("endurance", [word])
