"""The bench as a Device: what reaches the cells, what is refused before the wire, how many messages."""

import numpy as np
import pytest

from quest_lab.benches import open_file_bench
from quest_lab.clock import VirtualClock
from quest_lab.device import EnergyOrigin, FieldPulse, ReadPulse, Scope, VoltagePulse
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

GENERATOR, MAGNET = "GPIB0::10::INSTR", "GPIB0::6::INSTR"
BUFFERED = ("buffered = false", "buffered = true")
CELLS = np.arange(16)
READ = ReadPulse(0.1, 0.02)


def states(lab):
    return lab.world.array.states(CELLS)


def test_reads_agree_with_the_cells_and_nothing_bad_happens(bench, lab):
    reading = bench.read(CELLS[::-1])
    true = lab.world.array.resistance(CELLS[::-1], 0.1)
    assert reading.resistance_ohm == pytest.approx(true, rel=0.015)  # five sigma of the cell's read noise
    assert reading.energy_j == pytest.approx(0.01 * 0.02 / true, rel=0.015)
    assert lab.world.violations == []


def test_volts_at_the_cell_are_those_asked_for_once_its_resistance_is_known(bench, lab):
    bench.read(CELLS)
    bench.apply(VoltagePulse(0.6, 1e-6), CELLS)
    assert [d.cell for d in lab.world.delivered] == CELLS.tolist()
    assert [d.volts for d in lab.world.delivered] == pytest.approx([0.6] * 16, rel=1e-3)


def test_a_buffered_path_is_exact_without_any_read(virtual, drive):
    file, lab = virtual("slow-matrix", BUFFERED)
    bench = drive(file, lab)
    bench.apply(VoltagePulse(0.6, 1e-6), CELLS)
    assert {d.volts for d in lab.world.delivered} == {0.6}
    bench.close()


def test_a_path_that_the_bench_believes_wrongly_gives_other_volts(lab, drive, example):
    attenuator = (
        ("attenuation = 1.0", "attenuation = 0.5"),
        ('open_circuit = "1.0 V"', 'open_circuit = "2 V"'),
    )
    bench = drive(example("slow-matrix", *attenuator), lab)  # there is none
    bench.read(CELLS[:1])
    bench.apply(VoltagePulse(0.6, 1e-6), CELLS[:1])
    assert lab.world.delivered[0].volts == pytest.approx(1.2, rel=5e-3)
    assert "V at the cell" in lab.world.violations[0]


def test_energies_are_computed_from_the_last_resistance_read(bench):
    ohm = bench.read(CELLS).resistance_ohm
    applied = bench.apply(VoltagePulse(0.5, 2e-6), CELLS)
    assert applied.origin is EnergyOrigin.COMPUTED
    assert applied.energy_j == pytest.approx(0.25 * 2e-6 / ohm)


def test_a_pulse_then_a_field_raises_and_empties_every_cell(bench, lab):
    applied = bench.apply(VoltagePulse(0.65, 1e-6), CELLS, then_read=True)
    assert states(lab).min() >= 2
    bench.apply(bench.capabilities.reset, CELLS)
    assert not states(lab).any()
    fresh = bench.read(CELLS).resistance_ohm
    assert (applied.reading.resistance_ohm > 1.05 * fresh).all()
    assert lab.world.violations == []


def test_field_energy_is_that_of_the_coil_shared_by_all_cells(bench):
    applied = bench.apply(FieldPulse(0.1, 10e-3), CELLS)
    assert applied.energy_j.sum() == pytest.approx(5.0**2 * 0.4 * 10e-3)


@pytest.mark.parametrize("width_s", [0.5e-3, 2e-3])
def test_a_flat_top_resets_exactly_when_the_law_says_so(bench, lab, width_s):
    bench.apply(VoltagePulse(0.65, 1e-6), CELLS)
    bench.apply(FieldPulse(0.1, width_s), CELLS)
    assert states(lab).any() == (width_s < 1e-3)


def test_a_magnet_reaches_all_cells_so_all_must_be_named(bench):
    assert bench.capabilities.reset_scope is Scope.ARRAY
    with pytest.raises(BadInput, match="all 16 cells"):
        bench.apply(FieldPulse(0.1, 10e-3), CELLS[:4])


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (VoltagePulse(1.01, 1e-6), "amplitude_v=1.01"),
        (VoltagePulse(-0.5, 1e-6), "amplitude_v=-0.5"),
        (VoltagePulse(0.5, 15e-9), "width_s"),
        (VoltagePulse(0.5, 1.0), "width_s"),
        (FieldPulse(0.3, 1e-2), "field_t"),
    ],
)
def test_what_is_beyond_the_bench_is_refused_before_the_wire(bench, lab, operation, word):
    before = lab.messages
    with pytest.raises(LimitExceeded, match=word):
        bench.apply(operation, CELLS)
    assert lab.messages == before


@pytest.mark.parametrize("at", [ReadPulse(0.2, 0.02), ReadPulse(0.1, 1e-6), ReadPulse(0.1, 1.0)])
def test_reads_that_disturb_or_that_the_meter_cannot_do_are_refused(bench, lab, at):
    with pytest.raises(LimitExceeded):
        bench.read(CELLS, at)
    assert not lab.world.meter.on


@pytest.mark.usefixtures("bench")
def test_the_generator_itself_refuses_more_than_the_cell_may_get(lab):
    lab.wires[GENERATOR].send("VOLT:HIGH 3;:SYST:ERR?")
    assert lab.wires[GENERATOR].receive().startswith("-222")
    assert (
        lab.world.path.cell_v(lab.wires[GENERATOR].instrument.channels[1].values["high"], lambda _: 2000.0)
        < 1.05
    )


def test_everything_is_off_after_safe_state_twice_and_after_close(bench, lab):
    bench.apply(VoltagePulse(0.6, 1e-6), CELLS[:2], then_read=True)
    bench.safe_state()
    bench.safe_state()
    assert lab.world.outputs_off
    bench.apply(bench.capabilities.reset, CELLS)  # and it works again afterwards
    bench.close()
    bench.close()
    assert lab.world.outputs_off
    assert lab.world.violations == []


def test_set_up_takes_over_a_magnet_that_carries_current(lab, drive, example):
    lab.world.aim_magnet(True, 4.0)
    lab.wires[MAGNET].instrument.values.update(output=True, mode="CURR", ampere=4.0, volts=36.0)
    lab.world.clock.sleep(1.0)
    drive(example("slow-matrix"), lab)
    assert lab.world.magnet.current_a(lab.world.clock.now()) == 0.0
    assert lab.world.violations == []


def test_the_load_is_set_before_the_limits_and_the_limits_before_any_level_in_use(bench, lab):
    bench.apply(VoltagePulse(0.6, 1e-6), CELLS[:1])
    sent = list(lab.wires[GENERATOR].sent)
    load = next(i for i, m in enumerate(sent) if "LOAD INF" in m)
    limits = next(i for i, m in enumerate(sent) if "LIM:STAT 1" in m)
    level = next(i for i, m in enumerate(sent) if "FUNC:PULS:WIDT" in m)
    assert load < limits < level < sent.index("OUTP1 1;*TRG;*WAI;OUTP1 0;:SYST:ERR?")


@pytest.mark.parametrize(
    ("what", "messages"),
    [
        (lambda bench: bench.read(CELLS), 2 * 16),  # route, read
        (lambda bench: bench.apply(VoltagePulse(0.6, 1e-6), CELLS), 3 * 16),  # arm, route, fire
        (lambda bench: bench.apply(VoltagePulse(0.6, 1e-6), CELLS, then_read=True), 5 * 16),
        (lambda bench: bench.apply(FieldPulse(0.1, 10e-3), CELLS), 21),  # 10 steps up, check, 10 down
    ],
)
def test_messages_for_each_operation_are_no_more_than_needed(bench, lab, what, messages):
    bench.read(CELLS)
    before = lab.messages
    what(bench)
    assert lab.messages - before == messages


def test_an_unchanged_pulse_on_the_same_cell_is_one_message(bench, lab):
    bench.apply(VoltagePulse(0.4, 1e-6), CELLS[:1])
    before = lab.messages
    bench.apply(VoltagePulse(0.4, 1e-6), CELLS[:1])
    assert lab.messages - before == 1


def test_a_buffered_write_and_verify_is_four_messages_a_cell(virtual, drive):
    file, lab = virtual("slow-matrix", BUFFERED)
    bench = drive(file, lab)
    before = lab.messages
    bench.apply(VoltagePulse(0.6, 1e-6), CELLS, then_read=True)
    assert lab.messages - before == 4 * 16 + 2  # levels and the read are armed once
    bench.close()


def walk(device):
    """A staircase with verify reads and a reset; cells' resistances in the order of the reads."""
    device.apply(device.capabilities.reset, CELLS)
    out = [device.read(CELLS, READ).resistance_ohm]
    for amplitude_v in np.arange(0.44, 0.80, 0.02):
        device.apply(VoltagePulse(float(amplitude_v), 1e-6), CELLS)
        out.append(device.read(CELLS, READ).resistance_ohm)
    return np.array(out)


def test_bench_and_simulated_chip_with_one_seed_are_the_same_chip(virtual, drive):
    bench = drive(*virtual("slow-matrix", BUFFERED, seed=7))
    array = CellArray(SkMTJ.preset("lab"), 16, seed=7)
    chip = SimulatedChip(array, VirtualClock())
    assert walk(bench) == pytest.approx(walk(chip), rel=1e-8)  # nine digits travel on the wire
    bench.close()
    chip.close()


@pytest.mark.parametrize("preset", ["lab", "scaled"])
def test_cells_survive_the_bench_in_their_file(tmp_path, preset, example):
    path, file = tmp_path / "chip.cells", example("slow-matrix", ('preset = "lab"', f'preset = "{preset}"'))
    bench, _ = open_file_bench(file, cells_file=path)
    width_s = bench.capabilities.set_width_s
    raised = bench.apply(VoltagePulse(0.75, width_s), CELLS, then_read=True).reading
    bench.close()
    again, _ = open_file_bench(file, cells_file=path)
    assert again.read(CELLS).resistance_ohm == pytest.approx(raised.resistance_ohm, rel=0.02)
    again.close()
