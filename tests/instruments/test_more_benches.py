"""The fast bench, the source-meter bench and the bench around a 2700: what reaches the cells, faults, limits."""

import numpy as np
import pytest

from quest_lab.benches import open_file_bench
from quest_lab.device import EnergyOrigin, FieldPulse, ReadPulse, VoltagePulse
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.examples import example_benches
from quest_lab.fixture import Wiring
from quest_lab.instruments.keithley2450 import SourceMeter2450
from quest_lab.instruments.keithley2700 import MatrixSwitch2700
from quest_lab.instruments.keysight81160a import PulseGenerator81160A
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.session import Session
from quest_lab.sim.wire import Fault, FaultKind

CELLS = np.arange(4)
EVERY = ["fast-pulse", "source-meter", "slow-matrix-2700"]
FAST_GENERATOR, SOURCE_METER, GAUSSMETER = "GPIB0::11::INSTR", "GPIB0::18::INSTR", "ASRL3::INSTR"
GENERATOR, METER, MAGNET = "GPIB0::10::INSTR", "GPIB0::24::INSTR", "GPIB0::6::INSTR"
PULSER = {"fast-pulse": FAST_GENERATOR, "source-meter": SOURCE_METER, "slow-matrix-2700": GENERATOR}
FIRE = {"fast-pulse": "*TRG", "source-meter": ":INIT", "slow-matrix-2700": "*TRG"}
MESSAGES = {  # for each cell: read; the same pulse then read, again and again
    "fast-pulse": (1, 3),  # read; arm, fire, read
    "source-meter": (1, 4),  # read; arm, fire, arm, read
    "slow-matrix-2700": (2, 5),
}


@pytest.fixture(params=EVERY)
def name(request):
    return request.param


@pytest.fixture
def file(name, example):
    return example(name, cells=4)


@pytest.fixture
def lab(name, virtual):
    return virtual(name, cells=4)[1]


@pytest.fixture
def bench(file, lab, drive):
    device = drive(file, lab)
    yield device
    for wire in lab.wires.values():
        wire.faults.clear()
    device.close()


def pulse_of(bench, volts=0.6):
    return VoltagePulse(volts, bench.capabilities.set_width_s)


def inject(lab, address, kind, contains="", count=1, after=0):
    faults = lab.wires[address].faults
    faults.append(Fault(kind, contains, count))
    if after:
        faults.insert(0, Fault(FaultKind.NONE, contains, after))


def test_reads_agree_with_the_cells_and_nothing_bad_happens(bench, lab):
    reading = bench.read(CELLS[::-1])
    true = lab.world.array.resistance(CELLS[::-1], 0.1)
    assert reading.resistance_ohm == pytest.approx(true, rel=0.015)
    assert lab.world.violations == []


def test_volts_and_width_at_the_cell_are_those_asked_for(bench, lab):
    bench.read(CELLS)
    bench.apply(pulse_of(bench), CELLS)
    assert [d.cell for d in lab.world.delivered] == CELLS.tolist()
    assert [d.volts for d in lab.world.delivered] == pytest.approx([0.6] * 4, rel=2e-3)
    assert {d.width_s for d in lab.world.delivered} == {bench.capabilities.set_width_s}
    assert lab.world.violations == []


def test_a_set_and_a_reset_leave_every_output_off_after_safe_state(bench, lab):
    base = bench.read(CELLS).resistance_ohm
    high = bench.apply(pulse_of(bench, 0.85), CELLS, then_read=True).reading.resistance_ohm
    back = bench.apply(bench.capabilities.reset, CELLS, then_read=True).reading.resistance_ohm
    assert (high > 1.2 * base).all()
    assert back == pytest.approx(base, rel=0.03)
    bench.safe_state()
    bench.safe_state()
    assert lab.world.outputs_off
    assert lab.world.violations == []


def test_messages_are_no_more_than_needed(bench, lab, name):
    bench.read(CELLS)
    bench.apply(pulse_of(bench), CELLS, then_read=True)
    before = lab.messages
    bench.read(CELLS)
    read = lab.messages - before
    bench.apply(pulse_of(bench), CELLS, then_read=True)
    pulsed = lab.messages - before - read
    assert (read / 4, pulsed / 4) == MESSAGES[name]


def test_what_is_beyond_the_bench_is_refused_before_the_wire(bench, lab):
    can, before = bench.capabilities, lab.messages
    for operation in (
        VoltagePulse(can.amplitude_v.high * 1.01, can.set_width_s),
        VoltagePulse(0.5, can.width_s.low * 0.99),
        VoltagePulse(0.5, can.width_s.high * 1.01),
        FieldPulse(can.field_t.high * 1.01, 0.01),
    ):
        with pytest.raises(LimitExceeded):
            bench.apply(operation, CELLS)
    with pytest.raises(LimitExceeded):
        bench.read(CELLS, ReadPulse(0.2, 0.02))
    assert lab.messages == before


@pytest.mark.parametrize("kind", [FaultKind.REPLY_LOST, FaultKind.COMMAND_LOST, FaultKind.REPLY_LATE])
def test_no_reply_after_the_trigger_leaves_that_cell_ambiguous(bench, lab, name, kind):
    inject(lab, PULSER[name], kind, FIRE[name], after=2)
    with pytest.raises(DeviceError, match=r"cell 2: .*: fire") as caught:
        bench.apply(pulse_of(bench), CELLS, then_read=True)
    assert caught.value.delivered.tolist() == [0, 1]
    assert caught.value.ambiguous.tolist() == [2]
    assert len(lab.world.delivered) == (2 if kind is FaultKind.COMMAND_LOST else 3)  # never fired again
    assert not lab.world.pulser.on
    assert bench.read(CELLS).cells.tolist() == CELLS.tolist()
    assert lab.world.violations == []


def test_a_garbled_read_keeps_what_was_read_and_the_next_answers_are_not_shifted(bench, lab):
    address = METER if METER in lab.wires else SOURCE_METER
    inject(lab, address, FaultKind.GARBAGE, ":READ?", after=2)
    with pytest.raises(DeviceError, match="unreadable") as caught:
        bench.read(CELLS)
    assert caught.value.partial.cells.tolist() == [0, 1]
    assert bench.read(CELLS).resistance_ohm == pytest.approx(
        lab.world.array.resistance(CELLS, 0.1), rel=0.015
    )


def test_switching_off_asks_nothing_and_a_dead_instrument_stops_no_other(bench, lab):
    replies = sum(wire.replies for wire in lab.wires.values())
    for dead in lab.wires:
        if dead == GAUSSMETER:
            continue  # it has nothing to switch off
        inject(lab, dead, FaultKind.CLOSED, count=99)
        lab.wires[MAGNET].send("CURR 2") if dead != MAGNET else None
        lab.world.clock.sleep(1.0)
        with pytest.raises(DeviceError):
            bench.safe_state()
        lab.wires[dead].faults.clear()
        assert not lab.world.pulser.on
        assert not lab.world.meter.on
        assert dead == MAGNET or lab.world.magnet.current_a(lab.world.clock.now()) == 0.0
    assert sum(wire.replies for wire in lab.wires.values()) == replies


def test_a_set_up_that_fails_anywhere_leaves_everything_off(name, file, lab, virtual, drive):
    for address in lab.wires:
        for text in ("*ESR?" if address == GAUSSMETER else "SYST:ERR?", "*IDN?"):
            _, other = virtual(name, cells=4)
            inject(other, address, FaultKind.REPLY_LOST, text)
            with pytest.raises(DeviceError):
                drive(file, other)
            assert other.world.outputs_off


def test_what_a_crash_left_on_is_off_although_an_instrument_does_not_answer(file, lab, name, drive):
    world = lab.world
    world.drive(world.pulser, True, 0.0)
    world.drive(world.meter, True, 0.1)
    for address in lab.wires:  # who it is has been told; then silence
        inject(lab, address, FaultKind.REPLY_LOST, "?", count=99, after=1)
    with pytest.raises(DeviceError):
        drive(file, lab)
    assert not world.meter.on
    assert not world.pulser.on or name == "source-meter"  # there the pulser is the meter


def test_an_error_in_the_queue_is_raised_with_the_instruments_own_text(bench, lab, name):
    lab.wires[PULSER[name]].instrument.scpi.error(-330, "Self-test failed")
    with pytest.raises(DeviceError, match=r"arm .*-330 \"Self-test failed"):
        bench.apply(pulse_of(bench), CELLS)
    assert not lab.world.delivered


@pytest.mark.parametrize("name", ["fast-pulse"])
def test_the_81160a_gets_its_load_then_limits_then_levels_and_refuses_more_itself(bench, lab):
    bench.apply(pulse_of(bench), CELLS[:1])
    sent = list(lab.wires[FAST_GENERATOR].sent)
    load = next(i for i, m in enumerate(sent) if ":OUTP1:LOAD 5" in m)
    limits = next(i for i, m in enumerate(sent) if "LIM:STAT 1" in m)
    level = next(i for i, m in enumerate(sent) if ":PULS:WIDT1" in m)
    assert load < limits < level < sent.index(":OUTP1 1;*TRG;*WAI;:OUTP1 0;:SYST:ERR?")
    lab.wires[FAST_GENERATOR].send(":VOLT1:HIGH 1;:SYST:ERR?")  # 2 V open
    assert lab.wires[FAST_GENERATOR].receive().startswith("-222")


@pytest.mark.parametrize("name", ["fast-pulse"])
def test_pulses_of_nanoseconds_and_no_shorter_ones(bench, lab):
    bench.apply(VoltagePulse(0.7, 1.5e-9), CELLS[:1])
    assert lab.world.delivered[0].width_s == 1.5e-9
    with pytest.raises(LimitExceeded, match=r"1\.5e-09"):
        bench.apply(VoltagePulse(0.7, 1.4e-9), CELLS[:1])


@pytest.mark.parametrize("name", ["source-meter"])
def test_a_2450_makes_no_pulse_of_nanoseconds_and_says_its_limit(bench):
    with pytest.raises(LimitExceeded, match=r"width_s=2e-08: outside 0.001 to 0.01 s"):
        bench.apply(VoltagePulse(0.7, 20e-9), CELLS[:1])


@pytest.mark.parametrize("name", ["source-meter"])
def test_the_2450_ends_its_pulse_itself_and_stands_at_0_v_between_operations(bench, lab):
    bench.apply(pulse_of(bench), CELLS[:1])
    unit = lab.wires[SOURCE_METER].instrument
    assert (unit.values["volts"], unit.values["output"]) == (0.0, False)
    bench.read(CELLS[:1])
    assert (unit.values["volts"], unit.values["output"]) == (0.0, False)
    assert unit.values["protection"] == "PROT2"


@pytest.mark.parametrize("name", ["source-meter"])
def test_a_2450_with_another_command_set_is_refused(file, lab, drive):
    lab.wires[SOURCE_METER].instrument.values["language"] = "SCPI2400"
    with pytest.raises(DeviceError, match="command set is SCPI2400"):
        drive(file, lab)
    assert lab.world.outputs_off


@pytest.mark.parametrize("name", ["source-meter"])
def test_a_short_is_in_compliance_and_an_open_cell_has_no_resistance(bench, lab, monkeypatch):
    array = lab.world.array
    monkeypatch.setattr(array, "resistance", lambda cells, *_: np.full(len(cells), 1.0))
    monkeypatch.setattr(array, "read", lambda cells, *_: np.full(len(cells), 1.0))
    with pytest.raises(DeviceError, match="compliance"):
        bench.read(CELLS)
    monkeypatch.setattr(array, "resistance", lambda cells, *_: np.full(len(cells), 1e12))
    monkeypatch.setattr(array, "read", lambda cells, *_: np.full(len(cells), 1e12))
    with pytest.raises(DeviceError, match="cell open"):
        bench.read(CELLS)


@pytest.mark.parametrize("name", ["slow-matrix-2700"])
def test_a_relay_of_the_2700_that_does_not_close_is_noticed_before_the_pulse(bench, lab, monkeypatch):
    monkeypatch.setattr(lab.world, "switch", lambda _: None)
    with pytest.raises(DeviceError, match=r"2700: close \(@101\)"):
        bench.apply(pulse_of(bench), CELLS)
    assert not lab.world.delivered


@pytest.mark.parametrize("name", ["slow-matrix-2700"])
def test_a_2700_without_its_matrix_modules_is_refused(file, lab, drive, monkeypatch):
    monkeypatch.setattr("quest_lab.instruments.keithley2700.MODULE", "7700")
    with pytest.raises(DeviceError, match="needs one of type 7700"):
        drive(file, lab)


def test_limits_beyond_the_instruments_are_refused_when_they_are_made():
    with pytest.raises(LimitExceeded, match="81160A gives"):
        PulseGenerator81160A(None, limit_v=11.0)
    with pytest.raises(LimitExceeded, match="protected at 2"):
        SourceMeter2450(None, pulse_limit_v=3.0)
    with pytest.raises(LimitExceeded, match=r"2450 gives 1\.05 A"):
        SourceMeter2450(None, pulse_limit_a=2.0)
    with pytest.raises(BadInput, match="8 columns"):
        MatrixSwitch2700(None, Wiring(16), None)


@pytest.mark.parametrize("name", sorted(example_benches()))
def test_characterize_finds_the_states_on_every_bench_without_being_told_where(name, example):
    device, clock = open_file_bench(example(name, cells=6, seed=4))
    settings = CharacterizeSettings(step_v=0.02, repeats=2, attempts=3, max_cycles=12)
    found, _ = characterize(Session(device, clock, seed=4), np.arange(6), np.arange(6), settings)
    device.close()
    assert found.states == (5 if name == "arc-one" else 7)
    if name != "arc-one":  # whose conductance, not resistance, has equal steps
        assert found.levels.mean == pytest.approx(np.arange(7) / 6, abs=0.03)


def test_a_2450_measures_what_its_pulse_spends(virtual, drive):
    """V^2 t / R of the cell at the pulse's bias, labelled measured; a 33500 can only compute."""
    file, lab = virtual("source-meter", cells=2)
    bench, width_s = drive(file, lab), file.bench.chip.set_width_s
    ohm = lab.world.array.resistance(np.arange(2), 0.4)
    done = bench.apply(VoltagePulse(0.4, width_s), np.arange(2))
    assert done.origin is EnergyOrigin.MEASURED
    assert done.energy_j == pytest.approx(0.4**2 * width_s / ohm, rel=0.01)
    bench.close()
    other = drive(*virtual("slow-matrix", cells=2))
    assert other.apply(VoltagePulse(0.4, 1e-6), np.arange(2)).origin is EnergyOrigin.COMPUTED
    other.close()
