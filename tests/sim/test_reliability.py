"""Field loop, wear, retention and faults of Sk-MTJ cells: against the distributions that the laws name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest, weibull_min

from quest_lab.benches import open_file_bench
from quest_lab.benchfile import parse_bench
from quest_lab.clock import Clock, VirtualClock
from quest_lab.device import Device, FieldPulse, Floats, Operation, ReadPulse, VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.examples import example_benches
from quest_lab.record import Recorded, RunWriter, open_run
from quest_lab.schema import Kind, Op
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.reliability import OPEN, SHORT, SOUND, STUCK, Faults, FieldLoop, Retention, Wear
from quest_lab.sim.skmtj import SkMTJ

CELLS = np.arange(4000)
FEW = np.arange(200)
TOP = VoltagePulse(0.85, 1e-6)
AT = ReadPulse(0.1, 1e-6)
Make = Callable[..., CellArray]


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[CellArray] = []

    def open_(cells: int = CELLS.size, path: Path | None = None, **effects: Any) -> CellArray:
        opened.append(CellArray(SkMTJ.preset("lab", **effects), cells, seed=7, path=path))
        return opened[-1]

    yield open_
    for array in opened:
        array.close()


def test_the_loop_switches_at_each_cells_own_fields(make: Make) -> None:
    """Swept up and down, a cell's state falls at N(80 mT, 5 %) and rises at N(-60 mT, 10 %)."""
    array = make(loop=FieldLoop())
    array.pulse(CELLS, 0.85, 1e-6)
    up, down = np.arange(0.0, 0.12, 5e-4), np.arange(0.0, -0.12, -5e-4)
    emptied, filled = np.zeros(CELLS.size), np.zeros(CELLS.size)
    for field_t in up:
        array.field(CELLS, field_t, 1e-2)
        emptied[(emptied == 0) & (array.states(CELLS) == 0)] = field_t
    for field_t in down:
        array.field(CELLS, field_t, 1e-2)
        filled[(filled == 0) & (array.states(CELLS) == 6)] = field_t
    assert (emptied.mean(), emptied.std()) == (pytest.approx(0.08, rel=0.01), pytest.approx(0.004, rel=0.05))
    assert (filled.mean(), filled.std()) == (pytest.approx(-0.06, rel=0.01), pytest.approx(0.006, rel=0.05))


def test_a_read_in_a_standing_field_shows_the_loop(make: Make) -> None:
    """The signal shrinks to 15 % at 80 mT, is gone above, grows in a negative field, and is 1 / 0.45 when uniform."""
    quiet = {"r0_spread": 0.0, "tmr_spread": 0.0, "read_noise": 0.0, "residual_states": 0.0}
    array = make(cells=1, loop=FieldLoop(annihilation_spread=0.0, nucleation_spread=0.0), **quiet)
    cell, full = np.array([0]), 0.30 / (1 + 0.2**2)
    array.pulse(cell, 0.85, 1e-6)
    signals = []
    for field_t in (0.0, 0.04, 0.0799, 0.09, 0.0, -0.059, -0.06, 0.0):
        array.field(cell, field_t, 1e-2)
        signals.append(float(array.read(cell, AT, field_t)[0] / 2000.0 - 1.0) / full)
    assert signals == pytest.approx([1.0, 0.575, 0.151, 0.0, 0.0, 0.0, 1 / 0.45, 1.0], abs=1e-3)


def test_without_a_loop_a_field_does_not_show_in_a_read(make: Make) -> None:
    one, other = make(cells=200), make(cells=200)
    assert np.array_equal(one.read(FEW, AT, 0.05), other.read(FEW, AT))


def test_the_usual_reset_still_empties_every_cell(make: Make) -> None:
    array = make(loop=FieldLoop())
    array.pulse(CELLS, 0.85, 1e-6)
    array.field(CELLS, 0.1, 1e-2)
    assert not array.states(CELLS).any()


def test_lives_are_weibull_distributed(make: Make) -> None:
    wear = Wear(life_pulses=200.0, shape=1.5, reference_v=0.85)
    array, ends = make(wear=wear), np.full(CELLS.size, np.inf)
    for count in range(1, 1200):
        array.pulse(CELLS, 0.85, 1e-6)
        ends[(array.faults(CELLS) != SOUND) & np.isinf(ends)] = count
    assert kstest(ends[::4] - 0.5, weibull_min(1.5, scale=200.0).cdf).pvalue > 0.01
    kinds = np.bincount(array.faults(CELLS), minlength=4) / CELLS.size
    assert kinds[[SHORT, OPEN, STUCK]] == pytest.approx([0.8, 0.05, 0.15], abs=0.02)


def test_a_higher_voltage_and_a_longer_pulse_wear_more() -> None:
    wear = Wear()
    assert wear.dose(0.75, 1e-6, 1e-6) == pytest.approx(1.0)
    assert wear.dose(-0.85, 1e-6, 1e-6) == pytest.approx(np.exp(2.0))
    assert wear.dose(0.75, 3e-6, 1e-6) == pytest.approx(3.0)


def test_a_worn_cell_has_less_tmr_and_higher_thresholds(make: Make) -> None:
    """Half of a life that all cells share takes 5 % of the TMR and raises thresholds by 2.5 %."""
    fresh, worn = make(), make(wear=Wear(life_pulses=100.0, shape=1e6, reference_v=0.85))
    for _ in range(50):
        worn.pulse(CELLS, 0.85, 1e-6)
    fresh.pulse(CELLS, 0.85, 1e-6)
    swing = [np.mean(a.resistance(CELLS, 0.1) / 2000.0 - 1.0) for a in (fresh, worn)]
    assert swing[1] / swing[0] == pytest.approx(0.95, abs=0.005)
    for array in (fresh, worn):
        array.field(CELLS, 0.1, 1e-2)
        array.pulse(CELLS, 0.525 * 1.025, 1e-6)  # on the threshold of state 2, risen by half its drift
    assert fresh.states(CELLS).mean() > 1.8
    assert worn.states(CELLS).mean() == pytest.approx(1.5, abs=0.05)


def test_skyrmions_decay_by_arrhenius_with_the_clock(make: Make) -> None:
    """At 450 K a barrier of 60 at 300 K is 40: 2.35e8 s a skyrmion, so k of six are left binomially."""
    array, clock = make(retention=Retention(barrier_spread=0.0, temperature_k=450.0)), VirtualClock()
    chip = SimulatedChip(array, clock)
    chip.apply(TOP, CELLS)
    before = chip.array.states(CELLS)  # type: ignore[misc]  # these cells have states
    clock.sleep(1e8)
    chip.read(CELLS)
    left = np.exp(-1e8 / (1e-9 * np.exp(40.0)))
    share = array.states(CELLS).sum() / before.sum()
    assert share == pytest.approx(left, abs=4 * np.sqrt(left * (1 - left) / before.sum()))


def test_at_room_temperature_ten_years_do_nothing(make: Make) -> None:
    array = make(retention=Retention())
    array.pulse(CELLS, 0.85, 1e-6)
    before = array.states(CELLS)
    array.elapse(3.2e8)
    assert np.mean(array.states(CELLS) != before) < 0.01


def test_looking_often_or_rarely_changes_nothing(make: Make) -> None:
    hot = Retention(temperature_k=450.0)
    often, rarely = make(cells=200, retention=hot), make(cells=200, retention=hot)
    for array in (often, rarely):
        array.pulse(FEW, 0.85, 1e-6)
    for step in range(50):
        often.elapse(4e6)
        often.states(FEW[step % 7 :: 7])
    rarely.elapse(2e8)
    assert np.array_equal(often.states(FEW), rarely.states(FEW))
    assert np.array_equal(often.resistance(FEW, 0.1), rarely.resistance(FEW, 0.1))


def test_a_reopened_chip_goes_on_ageing(make: Make, tmp_path: Path) -> None:
    effects = {
        "wear": Wear(life_pulses=10.0), "retention": Retention(temperature_k=450.0), "loop": FieldLoop(),
        "faults": Faults(open=0.1, short=0.1, stuck=0.1),
    }  # fmt: skip
    whole = make(cells=200, **effects)
    for _ in range(6):
        kept = make(cells=200, path=tmp_path / "old.cells", **effects)
        for array in (whole, kept):
            array.pulse(FEW, 0.85, 1e-6)
            array.elapse(5e7)
        assert np.array_equal(kept.read(FEW, AT), whole.read(FEW, AT))
        assert np.array_equal(kept.faults(FEW), whole.faults(FEW))
        kept.close()


def test_faults_are_the_declared_shares_and_neither_pulse_nor_field_mends_them(make: Make) -> None:
    array = make(faults=Faults(open=0.05, short=0.03, stuck=0.1))
    kinds = array.faults(CELLS)
    share = np.bincount(kinds, minlength=4) / CELLS.size
    assert share[[OPEN, SHORT, STUCK]] == pytest.approx([0.05, 0.03, 0.1], abs=4 * np.sqrt(0.1 * 0.9 / 4000))
    before = array.resistance(CELLS, 0.1)
    array.pulse(CELLS, 0.85, 1e-6)
    array.field(CELLS, 0.1, 1e-2)
    array.pulse(CELLS, 0.85, 1e-6)
    assert np.array_equal(array.resistance(CELLS, 0.1) == before, kinds != SOUND)
    assert np.all(before[kinds == OPEN] == 1e9)
    assert np.all(before[kinds == SHORT] == 20.0)
    assert set(array.states(CELLS)[kinds == STUCK]) == set(range(7))


def test_an_effect_that_is_on_changes_no_draw_of_the_law(make: Make) -> None:
    """With life, barrier and fields out of reach, every reading is that of the plain law, to the last bit."""
    far = {"wear": Wear(life_pulses=1e30), "retention": Retention(barrier=500.0), "loop": FieldLoop()}
    plain, aged = make(cells=200), make(cells=200, **far)
    for volts in (0.5, 0.62, 0.75):
        assert np.array_equal(plain.pulse(FEW, volts, 1e-6), aged.pulse(FEW, volts, 1e-6))
        aged.elapse(1e9)
        assert np.array_equal(plain.read(FEW, AT), aged.read(FEW, AT))


def test_a_file_older_than_a_parameter_is_still_this_chips(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "old.cells"
    make(cells=8, path=path).close()
    page = path.read_bytes()
    older = page[:4088].replace(b', "loop": null, "wear": null, "retention": null', b"")
    path.write_bytes(older.ljust(4096) + page[4096:])  # as it was written before cells had an age
    make(cells=8, path=path).close()
    with pytest.raises(BadInput, match="model is"):
        make(cells=8, path=path, loop=FieldLoop())


def test_the_remanent_loop_is_seen_through_the_device(make: Make) -> None:
    """Field pulses of growing strength, each read at remanence: the minor loop of a pulsed bench."""
    chip = SimulatedChip(make(loop=FieldLoop()), VirtualClock())
    empty = chip.apply(FieldPulse(0.12, 1e-2), CELLS, then_read=True).expect_reading().resistance_ohm
    full = chip.apply(FieldPulse(-0.12, 1e-2), CELLS, then_read=True).expect_reading().resistance_ohm
    shares = []
    for field_t in (0.04, 0.07, 0.08, 0.09, 0.12):
        ohm = chip.apply(FieldPulse(field_t, 1e-2), CELLS, then_read=True).expect_reading().resistance_ohm
        shares.append(float(np.mean(ohm < (empty + full) / 2)))
    assert shares == pytest.approx([0.0, 0.006, 0.5, 0.994, 1.0], abs=0.03)


@pytest.mark.parametrize(("make_law", "match"), [
    (lambda: FieldLoop(nucleation_t=0.01), "nucleation_t=0.01"),
    (lambda: Wear(life_pulses=0.0), "life_pulses=0.0"),
    (lambda: Wear(short_share=0.9, open_share=0.2), "open_share=0.2"),
    (lambda: Retention(temperature_k=0.0), "temperature_k=0.0"),
    (lambda: Faults(open=0.6, stuck=0.6), "at most 1"),
])  # fmt: skip
def test_impossible_effects_are_refused(make_law: Callable[[], object], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        make_law()


def test_the_ageing_preset_is_lab_with_all_of_it() -> None:
    model = SkMTJ.preset("lab-ageing")
    assert None not in (model.loop, model.wear, model.retention)
    assert replace(model, loop=None, wear=None, retention=None, faults=Faults()) == SkMTJ.preset("lab")


def test_the_loop_in_the_field_is_seen_through_the_device_and_booked(make: Make, tmp_path: Path) -> None:
    """Read on top of pulses down and up: R of the uniform cell, of the shrunk skyrmions, of the empty cell."""
    quiet = {"r0_spread": 0.0, "tmr_spread": 0.0, "residual_states": 0.0}
    clock, full = VirtualClock(), 0.30 / (1 + 0.4**2)
    chip = SimulatedChip(make(cells=200, loop=FieldLoop(), **quiet), clock)
    with RunWriter.create(tmp_path / "loop.h5", kind="loop", title="", seed=0, settings={}) as run:
        device, signals = Recorded(chip, run, clock), []
        for field_t in (-0.12, 0.02, 0.12, 0.02):
            pulse = FieldPulse(field_t, 1e-2, read_on_top=True)
            ohm = device.apply(pulse, FEW, then_read=True).expect_reading().resistance_ohm
            signals.append(float(np.mean(ohm / 2000.0 - 1.0)) / full)
    assert signals == pytest.approx([1 / 0.45, 1 - 0.85 / 4, 0.0, 0.0], abs=0.01)
    with open_run(tmp_path / "loop.h5") as done:
        calls = done.table("calls")
    reads = calls[calls["kind"] == Kind.READ]
    assert set(reads["op"]) == {Op.FIELD}


def test_a_bench_reads_its_cells_in_the_field(twin: Callable[..., tuple[Device, Clock]]) -> None:
    device, _ = twin()

    def ohm(operation: Operation) -> Floats:
        """Of 4 cells, the mean of 16 times."""
        times = [device.apply(operation, np.arange(4), then_read=True).expect_reading() for _ in range(16)]
        return np.asarray(np.mean([one.resistance_ohm for one in times], axis=0))

    empty, full, shrunk = (
        ohm(each) for each in (FieldPulse(0.1, 1e-2), TOP, FieldPulse(0.04, 1e-2, read_on_top=True))
    )
    after = np.mean([device.read(np.arange(4)).resistance_ohm for _ in range(16)], axis=0)
    signals = [np.mean(one / empty - 1.0) for one in (full, shrunk, after)]
    assert signals[1] / signals[0] == pytest.approx(0.575, rel=0.02)
    assert signals[2] / signals[0] == pytest.approx(1.0, rel=0.02)


@pytest.fixture
def twin() -> Iterator[Callable[..., tuple[Device, Clock]]]:
    """The slow-matrix bench around ageing cells, with text of its file changed."""
    opened: list[Device] = []

    def open_(*changes: tuple[str, str]) -> tuple[Device, Clock]:
        path = example_benches()["slow-matrix"]
        text = path.read_text(encoding="utf-8")
        for before, after in (('preset = "lab"', 'preset = "lab-ageing"'), *changes):
            assert before in text
            text = text.replace(before, after)
        device, clock = open_file_bench(parse_bench(text, path).with_twin(cells=4))
        opened.append(device)
        return device, clock

    yield open_
    for device in opened:
        device.close()


def test_cells_on_a_bench_decay_in_the_laboratorys_time_at_its_temperature(
    twin: Callable[..., tuple[Device, Clock]],
) -> None:
    device, clock = twin(('"295 K"', '"500 K"'))
    cells = np.arange(4)
    empty = device.apply(FieldPulse(0.1, 1e-2), cells, then_read=True).expect_reading().resistance_ohm
    full = device.apply(TOP, cells, then_read=True).expect_reading().resistance_ohm
    clock.sleep(1e9)
    left = (device.read(cells).resistance_ohm - empty) / (full - empty)
    assert np.all(full / empty > 1.2)
    assert np.all(left < 0.1)


def test_a_standing_field_shows_in_what_the_bench_reads(twin: Callable[..., tuple[Device, Clock]]) -> None:
    """In 40 mT the signal of a full cell is 57.5 % of what it is in none."""
    signal = {}
    for standing in ("0 T", "40 mT"):
        device, _ = twin(('bias_field = "0 T"', f'bias_field = "{standing}"'))
        empty = device.apply(FieldPulse(0.1, 1e-2), np.arange(4), then_read=True).expect_reading()
        full = device.apply(TOP, np.arange(4), then_read=True).expect_reading()
        signal[standing] = np.mean(full.resistance_ohm / empty.resistance_ohm - 1.0)
    assert signal["40 mT"] / signal["0 T"] == pytest.approx(0.575, rel=0.02)
