"""The GS200 as the supply of a magnet, over the wire; and the virtual one driven by pymeasure's own class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from quest_lab.clock import VirtualClock
from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.fixture import Wiring
from quest_lab.instruments.magnet import FieldCalibration
from quest_lab.instruments.visa import open_instrument
from quest_lab.instruments.yokogawa_gs200 import GS200, YokogawaMagnet
from quest_lab.sim import yokogawa_gs200 as sim
from quest_lab.sim.cells import CellArray
from quest_lab.sim.magnet import Coil
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.visa import virtual_library
from quest_lab.sim.wire import Fault, FaultKind, Wire
from quest_lab.sim.world import World

ADDRESS = "GPIB0::1::INSTR"
COIL = Coil(tesla_per_ampere=0.6, coil_ohm=40.0)
CALIBRATION = FieldCalibration(
    tesla_per_ampere=0.6, coil_ohm=40.0, limit_a=0.2, compliance_v=10.0, ramp_a_per_s=1.0, ramp_step_a=0.02
)


@dataclass
class Bench:
    """A magnet on a virtual GS200, with its world within reach."""

    world: World
    wire: Wire
    source: GS200
    magnet: YokogawaMagnet

    @property
    def ampere(self) -> float:
        return self.world.magnet.current_a(self.world.clock.now())


@pytest.fixture
def build() -> Iterator[Callable[..., Bench]]:
    opened: list[World] = []

    def make(coil: Coil = COIL, calibration: FieldCalibration = CALIBRATION) -> Bench:
        clock = VirtualClock()
        world = World(CellArray(SkMTJ.preset("lab"), 2, seed=1), clock, Wiring(2), coil=coil)
        opened.append(world)
        wire = Wire(sim.YokogawaGS200(world))
        source = open_instrument(GS200, ADDRESS, virtual_library({ADDRESS: wire}, clock), hardware=False)
        return Bench(world, wire, source, YokogawaMagnet(source, calibration, clock))

    yield make
    for world in opened:
        world.array.close()


@pytest.mark.parametrize("field_t", [0.1, -0.1])
def test_a_pulse_holds_its_field_and_leaves_none(
    build: Callable[..., Bench], field_t: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, held = build(), []
    monkeypatch.setattr(bench.world.array, "field", lambda _, tesla, seconds: held.append((tesla, seconds)))
    bench.magnet.set_up()
    energy_j = bench.magnet.pulse(field_t, 10e-3)
    longest_t, longest_s = max(held, key=lambda h: abs(h[0]))
    assert longest_t == pytest.approx(field_t, rel=1e-5)
    assert 10e-3 <= longest_s < 10.3e-3  # the settling time of the ramp's last step comes before
    assert energy_j == pytest.approx((0.1 / 0.6) ** 2 * 40.0 * 10e-3)
    assert (bench.ampere, bench.world.violations) == (0.0, [])


@pytest.mark.parametrize(("limit_a", "range_a"), [(0.2, 0.2), (0.12, 0.1), (0.011, 0.01), (0.9e-3, 1e-3)])
def test_the_range_is_the_smallest_that_holds_the_limit(
    build: Callable[..., Bench], limit_a: float, range_a: float
) -> None:
    bench = build(calibration=replace(CALIBRATION, limit_a=limit_a))
    bench.magnet.set_up()
    assert {s.name: s.found for s in bench.magnet.read_back()}["range"] == pytest.approx(range_a)
    bench.magnet.pulse(0.6 * limit_a, 1e-3)
    assert bench.source.ask(":SYST:ERR?").startswith("0,")


def test_what_flows_already_is_ramped_away_first(build: Callable[..., Bench]) -> None:
    bench = build()
    for words in (":SOUR:FUNC CURR", ":SOUR:LEV 0.15", ":OUTP 1"):
        bench.source.write(words)
    bench.world.clock.sleep(1.0)
    bench.wire.sent.clear()
    bench.magnet.set_up()
    levels = [float(m.split()[-1]) for m in bench.wire.sent if m.startswith(":SOUR:LEV ")]
    assert levels[:8] == pytest.approx(np.arange(7, -1, -1) * 0.15 / 8)
    assert bench.world.violations == []


def test_volts_on_the_coil_are_not_taken_for_a_current(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.source.write(":SOUR:LEV 4;:OUTP 1")
    with pytest.raises(DeviceError, match=r"GS200: set up: sources \+4\.0+E\+00 V: take its output to 0 V"):
        bench.magnet.set_up()


def test_a_limiter_at_work_is_an_error_and_the_magnet_is_off(build: Callable[..., Bench]) -> None:
    bench = build(coil=replace(COIL, coil_ohm=90.0))  # warm, or a bad contact: 200 mA would need 18 V
    bench.magnet.set_up()
    with pytest.raises(DeviceError, match="its voltage limiter is at work"):
        bench.magnet.pulse(-0.11, 10e-3)
    assert not bench.world.magnet_on
    assert (bench.ampere, bench.world.violations) == (0.0, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"limit_a": 0.21}, r"gives up to 0\.2 A"),
        ({"compliance_v": 31.0}, r"limiter is 1\.0 to 30\.0 V"),
        ({"coil_ohm": 60.0}, r"needs 12 V in 60\.0 ohm, above magnet\.compliance_v=10\.0"),
    ],
)
def test_a_magnet_beyond_the_source_is_refused(
    build: Callable[..., Bench], change: dict[str, float], words: str
) -> None:
    with pytest.raises(LimitExceeded, match=words):
        build(calibration=replace(CALIBRATION, **change))


def test_a_field_beyond_the_limit_is_refused_before_the_wire(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.magnet.set_up()
    before = bench.wire.messages
    with pytest.raises(LimitExceeded, match=r"above 0\.12 T"):
        bench.magnet.pulse(0.121, 1e-3)
    assert bench.wire.messages == before


def work(bench: Bench) -> None:
    bench.magnet.set_up()
    bench.magnet.pulse(0.1, 10e-3)


@pytest.mark.parametrize("kind", [FaultKind.REPLY_LOST, FaultKind.REPLY_LATE, FaultKind.GARBAGE])
def test_a_fault_at_any_message_ends_with_no_current(build: Callable[..., Bench], kind: FaultKind) -> None:
    work(whole := build())
    failures = 0
    for at in range(whole.wire.messages):
        bench = build()
        bench.wire.faults.extend([Fault(FaultKind.NONE, count=at), Fault(kind)] if at else [Fault(kind)])
        try:
            work(bench)
        except DeviceError:
            failures += 1
        bench.magnet.off()
        assert (bench.ampere, bench.world.magnet_on, bench.world.violations) == (0.0, False, []), at
        with suppress(DeviceError):
            work(bench)  # a late reply may spoil one more
        work(bench)
    assert failures >= 4


def test_off_asks_nothing(build: Callable[..., Bench]) -> None:
    bench = build()
    bench.magnet.off()
    assert not any("?" in message for message in bench.wire.sent)
    assert bench.wire.sent[-1] == ":OUTP 0"


def test_what_the_instrument_refuses_is_told_in_its_words_and_no_output_goes_on(
    build: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim, "LIMITER_V", (1.0, 5.0))
    bench = build()
    with pytest.raises(DeviceError, match=r'GS200: set up: error -222 "Data out of range"'):
        bench.magnet.set_up()
    assert ":OUTP 1" not in " ".join(bench.wire.sent)


# The virtual instrument under a client that is not from here


@pytest.fixture
def pymeasures(build: Callable[..., Bench]) -> Any:
    bench = build()
    bench.source.source_mode = "current"
    bench.source.source_range = 0.1
    bench.source.voltage_limit = 20
    bench.source.source_level = 0.05
    bench.source.source_enabled = True
    bench.world.clock.sleep(0.1)
    return bench


def test_pymeasures_class_sets_and_reads_a_current(pymeasures: Bench) -> None:
    source = pymeasures.source
    assert (source.source_mode, source.source_range, source.voltage_limit) == ("CURR", 0.1, 20)
    assert (source.source_level, source.source_enabled) == (0.05, True)
    assert pymeasures.ampere == 0.05


def test_pymeasures_ramp_takes_its_time(pymeasures: Bench) -> None:
    pymeasures.source.trigger_ramp_to_level(0.1, 2.0)
    pymeasures.world.clock.sleep(1.0)
    assert pymeasures.ampere == pytest.approx(0.075)
    pymeasures.world.clock.sleep(1.0)
    assert pymeasures.ampere == pytest.approx(0.1)
    assert pymeasures.source.ask(":SYST:ERR?").startswith("0,")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("NONSENSE 1", '-113,"Undefined header"'),
        (":SOUR:LEV 0.1201", '-222,"Data out of range"'),  # 1.2 times the range of 100 mA
        (":SOUR:PROT:VOLT 0.5", '-222,"Data out of range"'),
        (":SOUR:RANG 0.01", '-221,"Settings conflict"'),
        (":sour:func ohm", '-224,"Illegal parameter value"'),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(pymeasures: Bench, words: str, error: str) -> None:
    pymeasures.source.write(words)
    assert pymeasures.source.ask(":SYST:ERR?").strip() == error
    assert pymeasures.ampere == 0.05
