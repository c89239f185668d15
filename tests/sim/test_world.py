"""The world behind the instruments: volts by hand-worked dividers, and every bad practice noticed."""

import numpy as np
import pytest

from quest_lab.clock import VirtualClock
from quest_lab.errors import BadInput
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.sim.cells import CellArray
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.world import World

PULSER, METER = (1, 1, 1), (1, 2, 1)  # both reach cell 0
FIRST = np.array([0])


@pytest.fixture
def world():
    array = CellArray(SkMTJ.preset("lab"), 16, seed=3)
    yield World(array, VirtualClock(), Wiring(16))
    array.close()


def close(world, *crosspoints):
    world.switch(frozenset(crosspoints))
    world.clock.sleep(1.0)


def test_a_cell_of_2_kohm_gets_its_share_of_the_open_circuit_volts():
    assert SignalPath().cell_v(1.2, lambda _: 2000.0) == pytest.approx(1.2 * 2000 / 2050)
    assert SignalPath(50.0, 0.5, 150.0).cell_v(2.0, lambda _: 800.0) == pytest.approx(0.8)


def test_a_buffer_puts_exactly_the_open_circuit_volts_on_the_cell():
    assert SignalPath(buffered=True).cell_v(0.6, lambda _: 10.0) == 0.6


def test_the_divider_uses_the_resistance_at_the_bias_it_ends_up_with():
    def ohm(volts):
        return 2000.0 * (1 + 0.3 / (1 + 4 * volts**2))

    volts = SignalPath(series_ohm=450.0).cell_v(1.0, ohm)
    assert volts == pytest.approx(ohm(volts) / (ohm(volts) + 500.0), rel=1e-9)


def test_a_resistance_that_jumps_with_the_bias_still_ends_in_a_number():
    volts = SignalPath().cell_v(1.0, lambda v: 2000.0 if v > 0.9755 else 1950.0)
    assert 0.97 < volts < 0.98


def test_the_bench_and_the_world_invert_each_other():
    path = SignalPath(50.0, 0.3, 10.0)
    assert path.cell_v(path.open_v(0.55, 1234.0), lambda _: 1234.0) == pytest.approx(0.55)


def test_more_cells_than_columns_are_refused():
    with pytest.raises(BadInput, match="20 cells"):
        Wiring(21)


def test_each_cell_has_a_crosspoint_of_its_own_and_back():
    wiring = Wiring(16)
    points = [wiring.crosspoint(1, cell) for cell in range(16)]
    assert [wiring.cell(point) for point in points] == list(range(16))
    assert wiring.cell((2, 1, 7)) is None


def test_a_pulse_reaches_the_routed_cell_alone(world):
    close(world, PULSER)
    world.drive(world.pulser, True, 0.0)
    world.pulse(0.8, 1e-6)
    assert [d.cell for d in world.delivered] == [0]
    assert world.array.states(np.arange(16)).nonzero()[0].tolist() == [0]
    assert world.violations == []


def test_the_meter_sees_the_resistance_of_its_cell(world):
    close(world, METER)
    world.drive(world.meter, True, 0.1)
    volts, ampere = world.measure(0.1, 1e-3, 0.02)
    assert volts / ampere == pytest.approx(world.array.resistance(FIRST, 0.1)[0], rel=0.02)
    assert world.violations == []


def test_compliance_limits_the_current_and_lowers_the_volts(world):
    close(world, METER)
    world.drive(world.meter, True, 0.1)
    volts, ampere = world.measure(0.1, 1e-6, 0.02)
    assert ampere == pytest.approx(1e-6, rel=0.02)
    assert volts == pytest.approx(1e-6 * world.array.resistance(FIRST, 0.1)[0])


def test_hot_switching_is_noticed(world):
    world.drive(world.pulser, True, 0.0)
    world.switch(frozenset([PULSER]))
    assert "hot switching" in world.violations[0]


def test_a_pulse_into_the_connected_meter_is_noticed(world):
    close(world, PULSER, METER)
    world.drive(world.pulser, True, 0.0)
    world.pulse(0.5, 1e-6)
    assert "meter is connected" in world.violations[0]


def test_a_pulse_before_the_relay_has_settled_is_noticed(world):
    world.switch(frozenset([PULSER]))
    world.clock.sleep(1e-3)
    world.pulse(0.5, 1e-6)
    assert "settled" in world.violations[0]


def test_too_many_volts_at_the_cell_are_noticed(world):
    close(world, PULSER)
    world.pulse(1.2, 1e-6)
    assert "V at the cell" in world.violations[0]


def test_a_meter_left_on_is_noticed_and_disturbs_the_cell(world):
    close(world, METER)
    world.drive(world.meter, True, 0.2)
    world.clock.sleep(2.0)
    world.drive(world.meter, False, 0.0)
    assert [v.split(": ")[1] for v in world.violations] == ["read at 0.2 V", "meter on for 2 s"]
    assert world.array.states(FIRST)[0] > 0


def test_a_magnet_opened_with_current_is_noticed(world):
    world.aim_magnet(True, 5.0)
    world.clock.sleep(1.0)
    world.aim_magnet(False, 0.0)
    assert "magnet opened at 5 A" in world.violations[0]


def field_pulse(world, ampere, flat_top_s):
    ramp_s = abs(ampere) / world.magnet.coil.slew_a_per_s
    world.aim_magnet(True, ampere)
    world.clock.sleep(ramp_s + flat_top_s)
    world.aim_magnet(True, 0.0)
    world.clock.sleep(ramp_s)


@pytest.mark.parametrize(
    ("ampere", "flat_top_s", "left"),
    [(5.0, 2e-3, 0), (5.0, 0.5e-3, 16), (3.9, 1.0, 16), (-5.0, 1.0, 16)],
)
def test_the_magnet_empties_every_cell_if_strong_long_and_of_the_right_sign(world, ampere, flat_top_s, left):
    everyone = np.arange(16)
    world.array.pulse(everyone, 0.7, 1e-6)
    field_pulse(world, ampere, flat_top_s)
    assert np.count_nonzero(world.array.states(everyone)) == left
    assert world.violations == []


def test_the_current_slews_no_faster_than_the_inductance_lets_it(world):
    world.aim_magnet(True, 3.6)
    world.clock.sleep(0.5e-3)
    assert world.magnet.current_a(world.clock.now()) == pytest.approx(1.8)


def test_an_open_cell_draws_no_current_and_gets_no_pulse(world):
    world.defects.open_cells.add(0)
    close(world, METER)
    volts, ampere = world.measure(0.1, 1e-4, 0.02)
    assert volts / ampere == pytest.approx(1e12)
    close(world, PULSER)
    world.pulse(0.6, 1e-6)
    assert not world.delivered


def test_a_shorted_cell_takes_the_source_to_its_limit_and_hardly_any_volts(world):
    world.defects.shorted_cells.add(0)
    close(world, METER)
    assert world.measure(0.1, 1e-4, 0.02) == pytest.approx((1e-4 * 1.0, 1e-4))
    close(world, PULSER)
    world.pulse(0.6, 1e-6)
    assert world.delivered[0].volts == pytest.approx(0.6 / 51)


def test_a_stuck_relay_shows_when_it_should_move_and_not_before(world):
    close(world, PULSER)
    world.defects.stuck_closed.add(PULSER)
    world.defects.stuck_open.add(METER)
    assert world.closed == {PULSER}
    close(world, METER)
    assert world.closed == {PULSER}
