"""The contract of a Device, run on every one: simulated chips, the virtual bench, and wrappers around them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from quest_lab.benches import Front, open_file_bench
from quest_lab.benchfile import parse_bench
from quest_lab.budget import Budget, Budgeted, Ledger
from quest_lab.clock import Clock, VirtualClock
from quest_lab.device import (
    Capabilities,
    Device,
    EnergyOrigin,
    FieldPulse,
    Range,
    ReadPulse,
    Scope,
    VoltagePulse,
)
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.examples import Preset, example_benches
from quest_lab.limits import Limited
from quest_lab.record import Recorded, RunWriter
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.presets import cells_of
from quest_lab.sim.skmtj import SkMTJ

CELLS = 6
SOME = np.array([4, 0, 3])
Opened = tuple[Device, Clock]


def _budgeted(device: Device) -> Device:
    """With a ledger of its own, and more of a life than the contract needs."""
    ledger = Ledger(Path("ledger"), device.capabilities.chip_id, np.zeros(CELLS, np.uint64), np.zeros(CELLS))
    return Budgeted(device, ledger, Budget(pulses=10**6))


def _chip(preset: str, sign: int) -> Callable[[], Opened]:
    def open_() -> Opened:
        clock = VirtualClock()
        return SimulatedChip(CellArray(SkMTJ.preset(preset, sign=sign), CELLS, seed=1), clock), clock  # type: ignore[arg-type]

    return open_


def _preset(name: Preset) -> Callable[[], Opened]:
    def open_() -> Opened:
        clock = VirtualClock()
        return SimulatedChip(cells_of(name, CELLS, seed=1, chip_id=name), clock), clock

    return open_


def _bench(name: str, front: Front, *changes: tuple[str, str]) -> Callable[[], Opened]:
    """The twin of an example; a board starts sooner than in the file, for a pseudo-terminal runs in real time."""

    def open_() -> Opened:
        text = (
            example_benches()[name].read_text(encoding="utf-8").replace('reset = "2 s"', 'reset = "100 ms"')
        )
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        file = parse_bench(text, example_benches()[name])
        return open_file_bench(file.with_twin(cells=CELLS), front=front)

    return open_


CHIPS: dict[str, Callable[[], Opened]] = {
    "scaled": _chip("scaled", 1),
    "scaled, falling": _chip("scaled", -1),
    "lab": _chip("lab", 1),
    "lab, falling": _chip("lab", -1),
    "domain-wall": _preset("domain-wall"),
    "memristor": _preset("memristor"),
    "lab-ageing": _preset("lab-ageing"),
}
FRONTS: dict[str, tuple[Front, ...]] = {  # of every example, those that its drivers can open
    "slow-matrix": ("in process", "tcp", "serial", "terminal"),
    "small-magnet": ("in process", "tcp", "serial", "terminal"),
    "slow-matrix-2700": ("in process", "tcp", "serial", "terminal"),
    "fast-pulse": ("in process", "tcp", "serial"),  # a 425's line has 7 data bits, a pseudo-terminal 8
    "source-meter": ("in process", "tcp", "serial", "terminal"),
    "arc-one-magnet": ("in process", "serial", "terminal"),  # of a board, tcp is the same line as serial
    "arc-one": ("in process", "serial", "terminal"),
}
VARIED: dict[str, Callable[[], Opened]] = {
    "slow-matrix, cells in another order": _bench(
        "slow-matrix", "in process", ('["1!1:1!10", "2!1:2!6"]', '["2!3", "1!1:1!5"]')
    ),
    "slow-matrix, buffered": _bench("slow-matrix", "in process", ("buffered = false", "buffered = true")),
    "slow-matrix, standing field": _bench("slow-matrix", "in process", ('"0 T"', '"10 mT"')),
    "arc-one, 3 sites": _bench("arc-one", "in process", ('"domain-wall"', '"domain-wall-3"')),
    "domain-wall-3": _preset("domain-wall-3"),
    "domain-wall-7": _preset("domain-wall-7"),
    "domain-wall-9": _preset("domain-wall-9"),
}
HERE = [
    (name, front)
    for name, fronts in FRONTS.items()
    for front in fronts
    if front != "terminal" or sys.platform != "win32"  # which has no pseudo-terminals
]
BARE = CHIPS | {f"{name}, {front}": _bench(name, front) for name, front in HERE} | VARIED
Wrapper = Callable[[Device, Clock, RunWriter], Device]
WRAPPED: dict[str, Wrapper] = {
    "bare": lambda device, _clock, _run: device,
    "limited": lambda device, _clock, _run: Limited(device),
    "recorded": lambda device, clock, run: Recorded(device, run, clock),
    "recorded at once": lambda device, clock, run: Recorded(device, run, clock, immediate=True),
    "recorded limited": lambda device, clock, run: Recorded(Limited(device), run, clock),
    "limited recorded": lambda device, clock, run: Limited(Recorded(device, run, clock)),
    "budgeted": lambda device, _clock, _run: _budgeted(device),
    "recorded budgeted limited": lambda device, clock, run: Recorded(_budgeted(Limited(device)), run, clock),
}
EVERY = [
    *((bare, "bare") for bare in BARE),
    *(
        (bare, wrap)
        for bare in BARE
        if bare in CHIPS or "in process" in bare
        for wrap in WRAPPED
        if wrap != "bare"
    ),
]  # what wraps a device cannot see by which front it is reached


@pytest.fixture(scope="module", params=EVERY, ids=lambda p: f"{p[1]} {p[0]}")
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """One device for all tests of the contract, as one chip on a bench would be."""
    bare, wrap = request.param
    path: Path = tmp_path_factory.mktemp("contract") / "run.h5"
    with ExitStack() as stack:
        run = stack.enter_context(RunWriter.create(path, kind="session", title="", seed=0, settings={}))
        inner, clock = BARE[bare]()
        stack.callback(inner.close)
        yield WRAPPED[wrap](inner, clock, run)


def all_of(device: Device) -> np.ndarray:
    return np.arange(device.capabilities.cells)


def reset(device: Device) -> np.ndarray:
    """Everything at R0; returns what is read there."""
    operation = device.capabilities.reset
    assert operation is not None
    device.apply(operation, all_of(device))
    return device.read(all_of(device)).resistance_ohm


def states_apart(ohm: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Whether each resistance is clearly another state than at R0 (a state is worth 4 %)."""
    return np.abs(ohm / base - 1.0) > 0.02


def strong(can: Capabilities) -> VoltagePulse:
    return VoltagePulse(can.set_amplitude_v.high, can.set_width_s)


def test_every_device_and_every_wrapper_is_here() -> None:
    """7 chips, 7 examples over 25 pairs of bench and front, 7 variants; 7 wrappings of chips and examples."""
    from quest_lab.session import BENCHES

    windows = sys.platform == "win32"
    assert set(FRONTS) == set(example_benches())
    assert len(HERE) == (19 if windows else 25)
    assert len(EVERY) == len(set(EVERY)) == 7 + len(HERE) + 7 + 7 * (7 + 7)
    assert all(name in BARE for name in BENCHES)


def test_capabilities_are_constant_and_say_what_the_device_is(device: Device) -> None:
    before = device.capabilities
    device.read(SOME)
    assert device.capabilities == before
    assert before.cells == CELLS
    assert before.amplitude_v.low < before.amplitude_v.high
    assert before.width_s.low <= before.set_width_s <= before.width_s.high
    assert before.read_amplitude_v.low <= before.read.amplitude_v <= before.read_amplitude_v.high
    assert within_capabilities(before)


def within_capabilities(can: Capabilities) -> bool:
    """Whether the device can give its own reset, of either kind, for long enough."""
    if isinstance(can.reset, FieldPulse):
        return can.field_t is not None and can.field_t.low <= can.reset.field_t <= can.field_t.high
    assert can.reset is not None
    reset, volts, width = can.reset, can.amplitude_v, can.width_s
    return volts.low <= reset.amplitude_v <= volts.high and width.low <= reset.width_s <= width.high


def test_a_read_keeps_order_and_spends_v_squared_over_r(device: Device) -> None:
    base = reset(device)
    reading = device.read(SOME)
    at = device.capabilities.read
    assert reading.cells.tolist() == SOME.tolist()
    assert reading.at == at
    np.testing.assert_allclose(reading.resistance_ohm, base[SOME], rtol=0.03)
    np.testing.assert_allclose(reading.energy_j, at.amplitude_v**2 * at.width_s / reading.resistance_ohm)


def test_a_read_pulse_may_be_chosen(device: Device) -> None:
    at = ReadPulse(0.05, device.capabilities.read.width_s)
    reading = device.read(SOME, at)
    assert reading.at == at
    np.testing.assert_allclose(reading.energy_j, 0.05**2 * at.width_s / reading.resistance_ohm)


def test_a_pulse_reaches_the_named_cells_alone_in_their_order(device: Device) -> None:
    base = reset(device)
    applied = device.apply(strong(device.capabilities), SOME, then_read=True)
    assert applied.cells.tolist() == SOME.tolist()
    assert applied.expect_reading().cells.tolist() == SOME.tolist()
    after = device.read(all_of(device)).resistance_ohm
    assert np.flatnonzero(states_apart(after, base)).tolist() == sorted(SOME)
    np.testing.assert_allclose(applied.expect_reading().resistance_ohm, after[SOME], rtol=0.03)


def test_a_pulse_that_is_not_to_be_read_gives_no_reading(device: Device) -> None:
    assert device.apply(VoltagePulse(0.2, device.capabilities.set_width_s), SOME).reading is None


def test_pulse_energies_are_positive_and_near_v_squared_over_r(device: Device) -> None:
    """At the volts of a read, where the resistance is the one that was read."""
    base, can = reset(device)[SOME], device.capabilities
    pulse = VoltagePulse(can.read.amplitude_v, can.set_width_s)
    applied = device.apply(pulse, SOME)
    assert applied.origin in EnergyOrigin
    assert np.all(np.isfinite(applied.energy_j) & (applied.energy_j > 0))
    np.testing.assert_allclose(applied.energy_j, pulse.amplitude_v**2 * pulse.width_s / base, rtol=0.05)


def test_pulses_only_raise(device: Device) -> None:
    base, can = reset(device), device.capabilities
    top_v = can.set_amplitude_v.high
    pulses = [VoltagePulse(share * top_v, can.set_width_s) for share in (1.0, 0.6, 0.7)]
    done = [device.apply(pulse, SOME, then_read=True) for pulse in pulses]
    ohm = [one.expect_reading().resistance_ohm for one in done]
    assert np.all(states_apart(ohm[0], base[SOME]))
    np.testing.assert_allclose(ohm[1], ohm[0], rtol=0.03)
    np.testing.assert_allclose(ohm[2], ohm[0], rtol=0.03)


def test_a_reset_lands_on_r0_from_any_state(device: Device) -> None:
    base, can = reset(device), device.capabilities
    for cell, volts in enumerate(can.set_amplitude_v.high * np.array([0.6, 0.75, 0.9, 1.0])):
        device.apply(VoltagePulse(volts, can.set_width_s), np.array([cell]))
    assert can.reset is not None
    applied = device.apply(can.reset, all_of(device)[::-1], then_read=True)
    assert applied.cells.tolist() == all_of(device)[::-1].tolist()
    assert np.all(np.isfinite(applied.energy_j) & (applied.energy_j > 0))
    np.testing.assert_allclose(applied.expect_reading().resistance_ohm, base[::-1], rtol=0.03)


def test_a_read_on_top_of_a_field_comes_with_the_pulse_and_leaves_none_behind(device: Device) -> None:
    """Where there is a magnet; cells without a field loop read the same in it as after it."""
    can = device.capabilities
    base = reset(device)
    assert can.reads_in_field == (can.field_t is not None)
    if can.reads_in_field:
        pulse = FieldPulse(0.02, 10e-3, read_on_top=True)
        done = device.apply(pulse, all_of(device), then_read=True)
        assert done.operation == pulse
        np.testing.assert_allclose(done.expect_reading().resistance_ohm, base, rtol=0.03)
        np.testing.assert_allclose(device.read(all_of(device)).resistance_ohm, base, rtol=0.03)


def test_a_domain_reset_names_its_whole_domain(device: Device) -> None:
    can = device.capabilities
    base, _ = reset(device), device.apply(strong(can), all_of(device))
    assert can.reset is not None
    if can.reset_scope is Scope.ARRAY:
        with pytest.raises(BadInput, match="name them all"):
            device.apply(can.reset, SOME)
    else:
        device.apply(can.reset, SOME)
    high = states_apart(device.read(all_of(device)).resistance_ohm, base)
    assert high.tolist() == [can.reset_scope is Scope.ARRAY or c not in SOME for c in all_of(device)]


def test_bad_cells_are_refused_before_anything_happens(device: Device) -> None:
    base = reset(device)
    for cells in ([2, 2], [0, CELLS], [-1, 0], [0.0, 1.0], [[0], [1]]):
        with pytest.raises(BadInput, match="cells"):
            device.apply(strong(device.capabilities), np.array(cells))
        with pytest.raises(BadInput, match="cells"):
            device.read(np.array(cells))
    after = device.read(all_of(device)).resistance_ohm
    assert not np.any(states_apart(after, base))


def test_no_number_is_no_pulse() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(BadInput):
            VoltagePulse(value, 1e-6)
        with pytest.raises(BadInput):
            ReadPulse(0.1, value)


def test_no_cells_are_no_error(device: Device) -> None:
    none = np.empty(0, np.int64)
    applied = device.apply(strong(device.capabilities), none, then_read=True)
    assert applied.energy_j.size == applied.expect_reading().resistance_ohm.size == 0
    assert device.read(none).resistance_ohm.size == 0


def test_what_is_beyond_the_capabilities_is_refused_before_anything_happens(device: Device) -> None:
    can, guarded = device.capabilities, Limited(device)
    base = reset(device)
    field_t = can.field_t or Range(0.0, 0.0)  # no magnet: any field is too much
    for operation in (
        VoltagePulse(can.amplitude_v.high * 1.001, can.set_width_s),
        VoltagePulse(can.amplitude_v.low - 0.1, can.set_width_s),
        VoltagePulse(0.85, can.width_s.high * 1.001),
        VoltagePulse(0.85, can.width_s.low * 0.999),
        FieldPulse(field_t.high * 1.001 + 1e-4, 0.01),
    ):
        with pytest.raises(LimitExceeded, match=can.chip_id):
            guarded.apply(operation, all_of(device))
    with pytest.raises(LimitExceeded, match="read amplitude_v"):
        guarded.read(SOME, ReadPulse(can.read_amplitude_v.high * 1.01, can.read.width_s))
    assert not np.any(states_apart(device.read(all_of(device)).resistance_ohm, base))


def test_safe_state_may_be_asked_at_any_time(device: Device) -> None:
    device.apply(strong(device.capabilities), SOME)
    before = device.read(SOME).resistance_ohm
    device.safe_state()
    device.safe_state()
    np.testing.assert_allclose(device.read(SOME).resistance_ohm, before, rtol=0.03)


@pytest.mark.parametrize(("name", "wrap"), [*((n, "bare") for n in BARE), *(("scaled", w) for w in WRAPPED)])
def test_closing_twice_is_closing(name: str, wrap: str, tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run.h5", kind="session", title="", seed=0, settings={}) as run:
        inner, clock = BARE[name]()
        device = WRAPPED[wrap](inner, clock, run)
        device.safe_state()
        device.close()
        device.close()
