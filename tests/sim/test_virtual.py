"""pymeasure's own drivers, used directly, on the virtual instruments over the in-process VISA library."""

import numpy as np
import pytest
import pyvisa
from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400
from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.sim.wire import Fault, FaultKind

GENERATOR, METER, MATRIX, MAGNET = (f"GPIB0::{n}::INSTR" for n in (10, 24, 7, 6))  # of slow-matrix.toml


@pytest.fixture
def lab(virtual):
    return virtual("slow-matrix")[1]


def route(lab, row):
    with pyvisa.ResourceManager(lab.library).open_resource(MATRIX) as matrix:
        matrix.write(f":OPEN ALL;:CLOS (@1!{row}!1)")
    lab.world.clock.sleep(0.1)


def pulse(generator, shown_v, load):
    """What a pymeasure user writes to give one microsecond pulse."""
    channel = generator.ch_1
    channel.output_load = load
    channel.shape = "PULS"
    channel.pulse_width = 1e-6
    channel.voltage_high = shown_v
    channel.voltage_low = 0.0
    channel.burst_ncycles = 1
    channel.burst_state = True
    generator.trigger_source = "BUS"
    channel.output = True
    generator.trigger()
    channel.output = False


def test_resources_are_listed_and_identified(lab):
    manager = pyvisa.ResourceManager(lab.library)
    assert set(manager.list_resources()) == {GENERATOR, METER, MATRIX, MAGNET}
    makers = [
        manager.open_resource(a).query("*IDN?").split(",")[0] for a in (GENERATOR, METER, MATRIX, MAGNET)
    ]
    assert makers == ["Agilent Technologies", *["KEITHLEY INSTRUMENTS INC."] * 2, "KEPCO"]


def test_an_address_without_an_instrument_is_not_found(lab):
    with pytest.raises(pyvisa.VisaIOError, match="VI_ERROR_RSRC_NFOUND"):
        pyvisa.ResourceManager(lab.library).open_resource("GPIB0::1::INSTR")


@pytest.mark.parametrize(
    ("load", "shown_v", "open_v"), [("50", 0.6, 1.2), ("INF", 0.6, 0.6), ("2000", 0.6, 0.615)]
)
def test_displayed_volts_become_volts_at_the_cell_by_load_and_divider(lab, load, shown_v, open_v):
    route(lab, 1)
    ohm = lab.world.array.resistance(np.array([0]), 0.0)[0]  # a fresh cell: the same at every bias
    pulse(Agilent33500(GENERATOR, visa_library=lab.library), shown_v, load)
    (delivered,) = lab.world.delivered
    assert delivered.volts == pytest.approx(open_v * ohm / (ohm + 50))
    assert delivered.width_s == 1e-6


def test_a_generator_set_for_50_ohm_puts_twice_its_volts_on_the_cell_and_is_caught(lab):
    route(lab, 1)
    pulse(Agilent33500(GENERATOR, visa_library=lab.library), 0.6, "50")
    assert lab.world.delivered[0].volts == pytest.approx(1.17, abs=0.005)
    assert "V at the cell" in lab.world.violations[0]


def test_changing_the_load_changes_what_is_shown_not_what_comes_out(lab):
    channel = Agilent33500(GENERATOR, visa_library=lab.library).ch_1
    channel.voltage_high = 1.0
    channel.output_load = "INF"
    assert channel.voltage_high == pytest.approx(2.0)
    assert float(channel.output_load) == pytest.approx(9.9e37)


def test_the_load_is_refused_while_voltage_limits_are_on(lab):
    generator = Agilent33500(GENERATOR, visa_library=lab.library)
    generator.write("VOLT:LIM:STAT 1")
    generator.ch_1.output_load = "INF"
    assert generator.check_errors()[0][0] == -221


def test_levels_beyond_a_voltage_limit_are_clipped_with_an_error(lab):
    generator = Agilent33500(GENERATOR, visa_library=lab.library)
    generator.write("VOLT:LIM:HIGH 0.5;LOW 0;STAT 1")
    generator.ch_1.voltage_high = 0.9
    assert generator.ch_1.voltage_high == pytest.approx(0.5)
    assert generator.check_errors()[0] == [-222, '"Data out of range; value clipped to upper limit"']


def test_widths_below_16_ns_are_out_of_range(lab):
    generator = Agilent33500(GENERATOR, visa_library=lab.library)
    generator.write("FUNC:PULS:WIDT 15 ns")
    assert generator.check_errors()[0][0] == -222


def test_a_trigger_without_an_armed_burst_is_ignored(lab):
    generator = Agilent33500(GENERATOR, visa_library=lab.library)
    generator.trigger()
    assert generator.check_errors()[0][0] == -211


def test_an_output_that_runs_freely_is_noticed(lab):
    Agilent33500(GENERATOR, visa_library=lab.library).ch_1.output = True
    assert "free-running SIN" in lab.world.violations[0]


@pytest.mark.parametrize(
    "name",
    [
        "shape",
        "frequency",
        "amplitude",
        "amplitude_unit",
        "offset",
        "voltage_high",
        "voltage_low",
        "phase",
        "square_dutycycle",
        "ramp_symmetry",
        "pulse_period",
        "pulse_hold",
        "pulse_width",
        "pulse_dutycycle",
        "pulse_transition",
        "output",
        "output_load",
        "burst_state",
        "burst_mode",
        "burst_period",
        "burst_ncycles",
    ],
)
def test_every_property_of_pymeasures_generator_is_understood(lab, name):
    generator = Agilent33500(GENERATOR, visa_library=lab.library)
    value = getattr(generator, name)
    assert getattr(generator.ch_2, name) == value
    setattr(generator, name, value)
    assert getattr(generator, name) == value
    assert generator.check_errors() == []


def meter_on(lab):
    meter = Keithley2400(METER, visa_library=lab.library)
    meter.source_mode = "voltage"
    meter.compliance_current = 1e-3
    meter.auto_zero_enabled = False
    meter.source_voltage = 0.1
    return meter


def test_pymeasures_source_meter_measures_the_cell(lab):
    route(lab, 2)
    meter = meter_on(lab)
    meter.source_enabled = True
    ampere = meter.current
    meter.source_enabled = False
    assert 0.1 / ampere == pytest.approx(lab.world.array.resistance(np.array([0]), 0.1)[0], rel=0.02)
    assert meter.check_errors() == []
    assert lab.world.violations == []


def test_a_read_with_the_output_off_is_not_permitted(lab):
    meter = meter_on(lab)
    with pytest.raises(pyvisa.VisaIOError):
        meter.current  # noqa: B018  # pymeasure's properties talk
    assert 803 in [int(error[0]) for error in meter.check_errors()]


def test_auto_output_off_leaves_nothing_on_after_a_read(lab):
    route(lab, 2)
    meter = meter_on(lab)
    meter.auto_output_off_enabled = True
    values = meter.measure_all()
    assert values["resistance"] == pytest.approx(0.1 / values["current"])
    assert not lab.world.meter.on
    assert not meter.source_enabled


def test_autozero_keeps_the_bias_on_for_three_apertures_and_is_noticed(lab):
    route(lab, 2)
    meter = meter_on(lab)
    meter.auto_zero_enabled = True
    meter.auto_output_off_enabled = True
    meter.measure_all()
    assert "meter on for 0.061 s" in lab.world.violations[0]


def test_compliance_is_told_in_the_status_word(lab):
    route(lab, 2)
    meter = meter_on(lab)
    meter.compliance_current = 1e-6
    meter.auto_output_off_enabled = True
    assert meter.measure_all()["status"] & 8


def test_an_open_circuit_draws_no_current(lab):
    meter = meter_on(lab)
    meter.source_enabled = True
    assert abs(meter.current) < 1e-12


def test_meter_noise_falls_with_the_square_root_of_the_aperture(virtual):
    _, laboratory = virtual("slow-matrix", meter_noise=True)
    meter = meter_on(laboratory)
    meter.auto_output_off_enabled = True
    meter.current_range = 1e-4

    def spread(nplc):
        meter.current_nplc = nplc
        return np.std([meter.current for _ in range(400)])

    assert spread(0.01) / spread(1.0) == pytest.approx(10.0, rel=0.15)


def test_pymeasures_kepco_drives_the_magnet(lab):
    everyone = np.arange(16)
    lab.world.array.pulse(everyone, 0.7, 1e-6)
    supply = KepcoBOP3612(MAGNET, visa_library=lab.library)
    supply.operating_mode = "CURR"
    supply.voltage_setpoint = 36
    supply.current_setpoint = 5
    supply.output_enabled = True
    lab.world.clock.sleep(0.02)
    assert supply.current == pytest.approx(5.0)
    supply.current_setpoint = 0
    lab.world.clock.sleep(0.02)
    supply.output_enabled = False
    assert not lab.world.array.states(everyone).any()
    assert supply.check_errors() == []
    assert lab.world.violations == []


def test_matrix_ranges_lists_and_states_follow_the_manual(lab):
    with pyvisa.ResourceManager(lab.library).open_resource(MATRIX) as matrix:
        matrix.write("rout:clos (@1!1!2:1!1!4, 2!3!10)")
        assert matrix.query(":close:state?").strip() == "(@1!1!2,1!1!3,1!1!4,2!3!10)"
        assert matrix.query("ROUT:CLOS? (@1!1!1,1!1!2);:ROUT:OPEN? (@1!1!1)").strip() == "0,1;1"
        matrix.write("ROUTE:OPEN (@1!1!3)")
        assert len(lab.world.closed) == 3
        matrix.write("OPEN ALL")
    assert not lab.world.closed


@pytest.mark.parametrize("channel", ["(@3!1!1)", "(@1!5!1)", "(@1!1!11)"])
def test_relays_that_are_not_there_are_out_of_range(lab, channel):
    with pyvisa.ResourceManager(lab.library).open_resource(MATRIX) as matrix:
        matrix.write(f":CLOS {channel}")
        assert matrix.query("SYST:ERR?").startswith("-222")


def test_a_lost_reply_is_a_timeout_in_virtual_time(lab):
    lab.wires[METER].faults.append(Fault(FaultKind.REPLY_LOST, "*IDN?"))
    with pyvisa.ResourceManager(lab.library).open_resource(METER, timeout=3000) as meter:
        with pytest.raises(pyvisa.VisaIOError, match="TMO"):
            meter.query("*IDN?")
        assert lab.world.clock.now() == pytest.approx(3.0)
        assert meter.query("*IDN?").startswith("KEITHLEY")


def test_the_status_byte_is_read_without_a_message(lab):
    with pyvisa.ResourceManager(lab.library).open_resource(METER) as meter:
        meter.write("NONSENSE")
        assert meter.read_stb() & 4
