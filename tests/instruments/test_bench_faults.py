"""What goes wrong on the wire: all goes off, what was delivered stays in the books, nothing fires twice."""

import numpy as np
import pytest

from quest_lab.device import FieldPulse, VoltagePulse
from quest_lab.errors import DeviceError
from quest_lab.instruments.visa import NO_HARDWARE, open_instrument
from quest_lab.sim.wire import Fault, FaultKind

GENERATOR, METER, MATRIX, MAGNET = (f"GPIB0::{n}::INSTR" for n in (10, 24, 7, 6))  # of slow-matrix.toml
CELLS = np.arange(4)
PULSE = VoltagePulse(0.6, 1e-6)


def inject(lab, address, kind, contains="", count=1, after=0):
    """A fault on the message number `after` that contains the text."""
    faults = lab.wires[address].faults
    faults.append(Fault(kind, contains, count))
    if after:
        faults.insert(0, Fault(FaultKind.NONE, contains, after))


@pytest.mark.parametrize("kind", [FaultKind.REPLY_LOST, FaultKind.COMMAND_LOST, FaultKind.REPLY_LATE])
def test_no_reply_after_the_trigger_leaves_that_cell_ambiguous(bench, lab, kind):
    inject(lab, GENERATOR, kind, "*TRG", after=2)
    with pytest.raises(DeviceError, match="cell 2: 33500: fire") as caught:
        bench.apply(PULSE, CELLS, then_read=True)
    assert caught.value.delivered.tolist() == [0, 1]
    assert caught.value.ambiguous.tolist() == [2]
    assert caught.value.partial.cells.tolist() == [0, 1]
    assert len(lab.world.delivered) == (2 if kind is FaultKind.COMMAND_LOST else 3)  # never fired again


def test_the_cell_in_doubt_can_be_read_next_and_later_answers_are_not_shifted(bench, lab):
    before = bench.read(CELLS).resistance_ohm
    inject(lab, GENERATOR, FaultKind.REPLY_LATE, "*TRG")
    with pytest.raises(DeviceError):
        bench.apply(PULSE, CELLS[:1])
    assert bench.read(CELLS[:1]).resistance_ohm[0] > 1.05 * before[0]
    bench.apply(PULSE, CELLS[1:2])
    assert lab.world.violations == []


@pytest.mark.parametrize(
    ("address", "contains"), [(GENERATOR, "VOLT:HIGH"), (MATRIX, "CLOS")], ids=["arm", "route"]
)
def test_a_failure_before_the_trigger_is_not_ambiguous(bench, lab, address, contains):
    inject(lab, address, FaultKind.REPLY_LOST, contains)
    with pytest.raises(DeviceError) as caught:
        bench.apply(PULSE, CELLS)
    assert caught.value.delivered.size == caught.value.ambiguous.size == 0
    assert not lab.world.delivered


def test_a_read_that_fails_after_its_pulse_keeps_the_pulse_in_the_books(bench, lab):
    inject(lab, METER, FaultKind.REPLY_LOST, "READ?", after=1)
    with pytest.raises(DeviceError, match="2400: read") as caught:
        bench.apply(PULSE, CELLS, then_read=True)
    assert caught.value.delivered.tolist() == [0, 1]
    assert caught.value.ambiguous.size == 0
    assert caught.value.partial.cells.tolist() == [0]


def test_a_read_that_fails_half_way_hands_over_what_it_has(bench, lab):
    inject(lab, METER, FaultKind.GARBAGE, "READ?", after=3)
    with pytest.raises(DeviceError, match="unreadable") as caught:
        bench.read(CELLS)
    assert caught.value.partial.cells.tolist() == [0, 1, 2]
    assert np.isfinite(caught.value.partial.resistance_ohm).all()


def test_a_field_that_fails_on_the_ramp_leaves_all_cells_ambiguous_and_no_current(bench, lab):
    everyone = np.arange(16)
    inject(lab, MAGNET, FaultKind.CLOSED, "CURR 3")
    with pytest.raises(DeviceError, match=r"Kepco: .*lost at .ramp") as caught:
        bench.apply(FieldPulse(0.1, 1e-2), everyone)
    assert caught.value.ambiguous.tolist() == everyone.tolist()
    assert lab.world.magnet.current_a(lab.world.clock.now()) == 0.0
    bench.apply(bench.capabilities.reset, everyone)  # set up afresh
    assert lab.world.violations == []


def test_a_short_is_in_compliance_and_an_open_cell_has_no_resistance(bench, lab, monkeypatch):
    array = lab.world.array
    monkeypatch.setattr(array, "resistance", lambda cells, *_: np.full(len(cells), 1.0))
    with pytest.raises(DeviceError, match="compliance"):
        bench.read(CELLS)
    monkeypatch.undo()
    lab.world.wiring = type(lab.world.wiring)(1)  # the other cells' bond wires are gone
    with pytest.raises(DeviceError, match=r"open|no resistance"):
        bench.read(CELLS[1:])


def test_a_relay_that_does_not_close_is_noticed_before_the_pulse(bench, lab, monkeypatch):
    monkeypatch.setattr(lab.world, "switch", lambda _: None)
    with pytest.raises(DeviceError, match=r"7001: close \(@1!1!1\)"):
        bench.apply(PULSE, CELLS)
    assert not lab.world.delivered


def test_an_error_in_the_queue_is_raised_with_the_instruments_own_text(bench, lab):
    lab.wires[GENERATOR].instrument.scpi.error(-330, "Self-test failed")
    with pytest.raises(DeviceError, match=r'33500: arm .*-330 "Self-test failed"'):
        bench.apply(PULSE, CELLS)
    assert not lab.world.delivered


def energise(lab):
    """Everything on that can be, as a crash would leave it."""
    world = lab.world
    lab.wires[GENERATOR].send("OUTP1 1")
    lab.wires[METER].send(":OUTP 1")
    for ampere in (2, 4):
        lab.wires[MAGNET].send(f"CURR {ampere}")
    world.clock.sleep(1.0)


@pytest.mark.parametrize("address", [GENERATOR, METER, MATRIX, MAGNET])
def test_one_dead_instrument_never_stops_the_others_from_going_off(bench, lab, address):
    energise(lab)
    inject(lab, address, FaultKind.CLOSED, count=99)
    with pytest.raises(
        DeviceError, match={GENERATOR: "33500", METER: "2400", MATRIX: "7001", MAGNET: "Kepco"}[address]
    ):
        bench.safe_state()
    world, current = lab.world, lab.world.magnet.current_a(lab.world.clock.now())
    on = {
        GENERATOR: world.pulser.on,
        METER: world.meter.on,
        MATRIX: bool(world.closed),
        MAGNET: current != 0.0,
    }
    assert {a for a, still in on.items() if still} <= {address}


def test_the_order_of_safe_state_is_pulser_source_matrix_magnet(bench, lab):
    order = []
    for name, address in (("pulser", GENERATOR), ("source", METER), ("matrix", MATRIX), ("magnet", MAGNET)):
        wire = lab.wires[address]
        send = wire.send
        wire.send = lambda m, name=name, send=send: (order.append(name), send(m))[1]
    bench.safe_state()
    assert list(dict.fromkeys(order)) == ["pulser", "source", "matrix", "magnet"]


def test_switching_off_asks_nothing(bench, lab):
    replies = sum(wire.replies for wire in lab.wires.values())
    bench.safe_state()
    assert sum(wire.replies for wire in lab.wires.values()) == replies
    assert not any("?" in wire.sent[-1] for wire in lab.wires.values())


@pytest.mark.parametrize("address", [GENERATOR, METER, MATRIX, MAGNET])
def test_a_set_up_that_fails_leaves_everything_off(lab, address, drive, example):
    inject(lab, address, FaultKind.REPLY_LOST, "SYST:ERR?")
    with pytest.raises(DeviceError):
        drive(example("slow-matrix"), lab)
    assert lab.world.outputs_off


def test_an_interrupt_between_question_and_answer_shifts_no_later_answer(bench, lab, monkeypatch):
    wire = lab.wires[METER]
    monkeypatch.setattr(wire, "receive", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bench.read(CELLS[:1])
    monkeypatch.undo()
    assert bench.read(CELLS).cells.tolist() == CELLS.tolist()


def test_another_instrument_at_the_address_is_refused_after_a_lost_reply(bench, lab, monkeypatch):
    inject(lab, METER, FaultKind.REPLY_LOST, "READ?")
    with pytest.raises(DeviceError):
        bench.read(CELLS)
    monkeypatch.setattr(lab.wires[METER], "instrument", lab.wires[MATRIX].instrument)
    with pytest.raises(DeviceError, match=r"resynchronise.*7001"):
        bench.read(CELLS)


def test_real_hardware_is_not_opened_where_the_environment_forbids_it(monkeypatch):
    monkeypatch.setenv(NO_HARDWARE, "1")
    with pytest.raises(DeviceError, match=NO_HARDWARE):
        open_instrument(lambda *_, **__: None, "GPIB0::10::INSTR")
