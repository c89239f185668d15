"""The FieldMagnet layer: calibration, ramp limit, and the loop over a gaussmeter."""

import dataclasses

import numpy as np
import pytest

from quest_lab.device import FieldPulse
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.examples import example_benches
from quest_lab.instruments.kepco import FieldCalibration, KepcoMagnet
from quest_lab.instruments.lakeshore425 import Gaussmeter425
from quest_lab.sim.magnet import Coil, Magnet
from quest_lab.sim.wire import Fault, FaultKind

GAUSSMETER, MAGNET = "ASRL3::INSTR", "GPIB0::6::INSTR"
CELLS = np.arange(2)
PULSE = FieldPulse(0.1, 10e-3)


@pytest.fixture
def build(virtual, drive):
    """A bench whose true coil may differ from what its file says."""

    def make(coil=None, gaussmeter=True):
        text = example_benches()["fast-pulse"].read_text(encoding="utf-8")
        section = text[text.index("[devices.gaussmeter]") : text.index("# ---- from the generator")]
        file, lab = virtual("fast-pulse", *([] if gaussmeter else [(section, "")]), cells=2)
        lab.world.magnet = Magnet(coil or Coil())
        return lab, drive(file, lab)

    return make


def fields(lab, monkeypatch):
    """Every field that the cells were held in."""
    seen = []
    field = lab.world.array.field
    monkeypatch.setattr(
        lab.world.array, "field", lambda cells, t, s: (seen.append((t, s)), field(cells, t, s))[1]
    )
    return seen


@pytest.mark.parametrize(("gaussmeter", "held_t"), [(False, 0.09), (True, 0.1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_loop_gives_the_field_asked_for_where_the_calibration_is_wrong(
    build, monkeypatch, gaussmeter, held_t, sign
):
    lab, bench = build(coil=Coil(tesla_per_ampere=0.018), gaussmeter=gaussmeter)
    seen = fields(lab, monkeypatch)
    bench.apply(FieldPulse(sign * 0.1, 10e-3), CELLS)
    longest_t, longest_s = max(seen, key=lambda f: sign * f[0])
    assert longest_t == pytest.approx(sign * held_t, rel=0.01)
    assert longest_s >= 10e-3
    assert lab.world.violations == []


def test_what_was_learned_is_used_by_the_next_pulse(build, monkeypatch):
    lab, bench = build(coil=Coil(tesla_per_ampere=0.018))
    bench.apply(PULSE, CELLS)
    before = lab.wires[GAUSSMETER].messages
    seen = fields(lab, monkeypatch)
    bench.apply(PULSE, CELLS)
    assert lab.wires[GAUSSMETER].messages - before == 1
    assert max(t for t, _ in seen) == pytest.approx(0.1, rel=0.01)


def test_the_energy_counts_the_time_that_the_loop_took(build):
    _, bench = build()
    spent = bench.apply(PULSE, CELLS).energy_j.sum()
    assert spent == pytest.approx(5.0**2 * 0.4 * (0.135 + 10e-3), rel=0.02)  # one reading, then the flat top


def test_a_field_that_the_current_limit_forbids_is_an_error_and_the_magnet_is_off(build):
    lab, bench = build(coil=Coil(tesla_per_ampere=0.010))
    with pytest.raises(DeviceError, match=r"would need .* above the limit of 7\.5 A"):
        bench.apply(FieldPulse(0.12, 10e-3), CELLS)
    assert lab.world.outputs_off
    assert lab.world.violations == []


@pytest.mark.parametrize(
    ("kind", "word"), [(FaultKind.REPLY_LOST, "425: read field"), (FaultKind.GARBAGE, "unreadable")]
)
def test_a_gaussmeter_that_fails_ends_in_no_current(build, kind, word):
    lab, bench = build()
    lab.wires[GAUSSMETER].faults.append(Fault(kind, "RDGFIELD?"))
    with pytest.raises(DeviceError, match=word) as caught:
        bench.apply(PULSE, CELLS)
    assert caught.value.ambiguous.tolist() == CELLS.tolist()
    assert lab.world.outputs_off
    bench.apply(PULSE, CELLS)  # set up afresh
    assert lab.world.violations == []


def test_a_probe_beside_the_gap_never_agrees_and_is_an_error(build, monkeypatch):
    lab, bench = build()
    readings = iter([0.05, 0.16] * 9)  # whatever is done, the field does not follow
    monkeypatch.setattr(bench._field._gaussmeter, "field_t", lambda: next(readings))
    with pytest.raises(DeviceError, match=r"425: field is 0\.16 T, not 0\.1 T, after 8 corrections"):
        bench.apply(PULSE, CELLS)
    assert lab.world.outputs_off


def test_a_gaussmeter_in_other_units_is_set_to_tesla_first(build):
    lab, _ = build()
    assert lab.wires[GAUSSMETER].instrument.values["unit"] == 2


def test_a_refused_setting_of_the_gaussmeter_is_told(build):
    lab, bench = build()
    magnet = bench._field
    lab.wires[GAUSSMETER].faults.append(Fault(FaultKind.COMMAND_LOST, "UNIT 2"))
    lab.wires[GAUSSMETER].instrument.reset()
    magnet.off()
    with pytest.raises(DeviceError, match="unit reads back as 1, not 2"):
        magnet.set_up()
    assert lab.world.outputs_off


@pytest.mark.parametrize("ramp_t_per_s", [0.5, 5.0])
def test_no_ramp_is_faster_than_its_limit_in_tesla_a_second(build, ramp_t_per_s):
    calibration = FieldCalibration(ramp_t_per_s=ramp_t_per_s)
    lab, bench = build(gaussmeter=False)
    bench._field.calibration = calibration
    begun = lab.world.clock.now()
    bench.apply(PULSE, CELLS)
    steps = 10
    assert lab.world.clock.now() - begun >= 2 * (0.1 / ramp_t_per_s) * (steps - 1) / steps
    assert calibration.slew_a_per_s == pytest.approx(ramp_t_per_s / 0.02)


def test_a_calibration_beyond_the_supply_is_refused():
    with pytest.raises(LimitExceeded, match=r"up to 12\.0 A"):
        KepcoMagnet(None, FieldCalibration(limit_a=13.0), None)
    with pytest.raises(BadInput, match=r"a 425 has 0\.0035, 0\.035, 0\.35, 3\.5 T"):
        Gaussmeter425(None, None, full_scale_t=1.0)
    with pytest.raises(BadInput, match="ramp_t_per_s"):
        dataclasses.replace(FieldCalibration(), ramp_t_per_s=0.0)


def test_the_magnet_is_never_opened_with_current_even_if_its_ramp_is_cut_short(build):
    lab, bench = build(gaussmeter=False)
    lab.wires[MAGNET].faults.extend([Fault(FaultKind.NONE, "CURR", 3), Fault(FaultKind.CLOSED, "CURR")])
    with pytest.raises(DeviceError, match=r"Kepco: .*lost at .ramp"):
        bench.apply(PULSE, CELLS)
    assert lab.world.outputs_off
    assert lab.world.violations == []


def test_a_standing_field_adds_to_the_magnets_and_the_loop_knows_it(virtual, drive, monkeypatch):
    file, lab = virtual("fast-pulse", ('bias_field = "0 T"', 'bias_field = "20 mT"'), cells=2)
    bench, seen = drive(file, lab), fields(lab, monkeypatch)
    bench.apply(FieldPulse(0.1, 10e-3), CELLS)
    bench.read(CELLS)
    assert max(t for t, _ in seen) == pytest.approx(0.12, rel=0.01)
    assert seen[-1][0] == pytest.approx(0.02)
    assert lab.world.violations == []
