"""pymeasure's own drivers of the 81160A, 2450, 2700 and 425, used directly, and what the manuals say beyond them."""

import numpy as np
import pytest
import pyvisa
from pymeasure.instruments.keithley import Keithley2450, Keithley2700
from pymeasure.instruments.keysight import Keysight81160A
from pymeasure.instruments.lakeshore import LakeShore425

FAST_GENERATOR, SOURCE_METER, MATRIX_2700 = (f"GPIB0::{n}::INSTR" for n in (11, 18, 16))  # of the examples
GAUSSMETER = "ASRL3::INSTR"
FIRST = np.array([0])


@pytest.fixture
def lab(virtual):
    return virtual("fast-pulse", cells=2)[1]


@pytest.fixture
def matrix_lab(virtual):
    return virtual("slow-matrix-2700")[1]


def resource(lab, address):
    return pyvisa.ResourceManager(lab.library).open_resource(address)


@pytest.mark.parametrize("address", [FAST_GENERATOR, SOURCE_METER])
def test_an_unknown_command_is_an_undefined_header(lab, address):
    line = resource(lab, address)
    line.write("NONSENSE 1")
    assert line.query("SYST:ERR?").startswith('-113,"Undefined header')
    assert line.query("syst:err:next?").lstrip("+").startswith('0,"No error')


# 81160A


def single_pulse(generator, shown_v, width_s, load):
    """What a pymeasure user writes for one pulse a trigger."""
    channel = generator.ch_1
    channel.output_load = load
    channel.shape = "PULS"
    channel.voltage_high = shown_v
    channel.voltage_low = 0.0
    channel.trigger_mode = "MAN"
    channel.pulse_width = width_s
    channel.output = True
    generator.trigger()
    channel.output = False


@pytest.mark.parametrize(("load", "shown_v", "open_v"), [(50.0, 0.4, 0.8), (1e6, 0.8, 0.80004)])
def test_one_trigger_is_one_pulse_of_the_volts_that_the_displayed_load_says(lab, load, shown_v, open_v):
    ohm = lab.world.array.resistance(FIRST, 0.0)[0]
    generator = Keysight81160A(FAST_GENERATOR, visa_library=lab.library)
    single_pulse(generator, shown_v, 20e-9, load)
    (delivered,) = lab.world.delivered
    assert delivered.volts == pytest.approx(open_v * ohm / (ohm + 50), rel=1e-6)
    assert delivered.width_s == 20e-9
    assert generator.check_errors() == []
    assert lab.world.violations == []


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
        "limit_state_enabled",
        "limit_high",
        "limit_low",
        "coupling_enabled",
        "trigger_mode",
    ],
)
def test_every_property_of_pymeasures_81160a_is_understood(lab, name):
    generator = Keysight81160A(FAST_GENERATOR, visa_library=lab.library)
    value = getattr(generator.ch_1, name)
    assert getattr(generator.ch_2, name) == value
    setattr(generator.ch_1, name, value)
    assert getattr(generator.ch_1, name) == value
    assert generator.check_errors() == []


def test_a_burst_of_three_is_three_pulses(lab):
    generator = Keysight81160A(FAST_GENERATOR, visa_library=lab.library)
    generator.ch_1.trigger_count = 3
    single_pulse(generator, 0.2, 20e-9, 50.0)
    assert len(lab.world.delivered) == 3


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (":PULS:WIDT1 1.4ns", -222),
        (":VOLT1:HIGH 5.1", -222),
        (":VOLT1:HIGH -0.049", -222),  # less than 50 mVpp above the low level
        (":VOLT1:LIM:HIGH 0.01", -221),  # below the level that stands
        (":VOLT1:LIM:STAT 1;:OUTP1:LOAD 100", -221),
        ("*TRG", -211),
        (":VOLT3:HIGH 1", -114),
        (":DATA1:NVOL:FREE", -113),  # arbitrary waveforms are not modelled
    ],
)
def test_what_an_81160a_refuses(lab, command, code):
    line = resource(lab, FAST_GENERATOR)
    line.write(command)
    assert line.query("SYST:ERR?").startswith(str(code))


def test_a_level_beyond_its_limit_is_refused_and_nothing_changes(lab):
    channel = Keysight81160A(FAST_GENERATOR, visa_library=lab.library).ch_1
    channel.limit_high, channel.limit_state_enabled = 0.5, True
    channel.voltage_high = 0.6
    assert channel.voltage_high == pytest.approx(0.05)


def test_applied_pulses_run_freely_and_are_noticed(lab):
    Keysight81160A(FAST_GENERATOR, visa_library=lab.library).ch_1.apply_pulse(1e6, 0.4, 0.2)
    assert "81160A output on with a free-running PULS" in lab.world.violations[0]


# 2450


def meter_on(lab):
    meter = Keithley2450(SOURCE_METER, visa_library=lab.library)
    meter.apply_voltage(voltage_range=2, compliance_current=1e-3)
    meter.measure_current(nplc=1, current=1e-4, auto_range=False)
    meter.source_voltage = 0.1
    meter.write(":SENS:CURR:AZER OFF")
    return meter


def test_pymeasures_2450_measures_the_cell(lab):
    meter = meter_on(lab)
    meter.enable_source()
    ampere = meter.current
    meter.disable_source()
    assert 0.1 / ampere == pytest.approx(lab.world.array.resistance(FIRST, 0.1)[0], rel=0.02)
    assert meter.check_errors() == []
    assert lab.world.violations == []


@pytest.mark.parametrize(
    "name",
    [
        "current_range",
        "current_nplc",
        "compliance_current",
        "source_current",
        "source_current_range",
        "source_current_delay",
        "source_current_delay_auto",
        "voltage_range",
        "voltage_nplc",
        "compliance_voltage",
        "source_voltage",
        "source_voltage_range",
        "source_voltage_delay",
        "source_voltage_delay_auto",
        "resistance_range",
        "resistance_nplc",
        "wires",
        "current_filter_type",
        "current_filter_count",
        "current_output_off_state",
        "voltage_output_off_state",
    ],
)
def test_settings_of_pymeasures_2450_are_understood(lab, name):
    meter = Keithley2450(SOURCE_METER, visa_library=lab.library)
    value = getattr(meter, name)
    setattr(meter, name, value)
    assert getattr(meter, name) == value
    assert meter.check_errors() == []


def test_a_read_with_the_output_off_is_refused_and_nothing_comes_back(lab):
    meter = meter_on(lab)
    with pytest.raises(pyvisa.VisaIOError):
        meter.current  # noqa: B018  # pymeasure's properties talk
    assert meter.check_errors()[0][0] == -221


def test_a_trigger_model_of_on_delay_off_is_one_pulse_and_the_output_is_off(lab):
    line = resource(lab, SOURCE_METER)
    line.write(
        ":SOUR:VOLT:ILIM 1mA;:SOUR:VOLT 0.5;:TRIG:LOAD 'Empty';:TRIG:BLOC:SOUR:STAT 1, ON;:TRIG:BLOC:DEL:CONS 2, 1 ms"
    )
    line.write(":trigger:block:source 3,off;:INIT;*WAI")
    ((_, cell, volts, width_s),) = [(d.at_s, d.cell, d.volts, d.width_s) for d in lab.world.delivered]
    assert (cell, volts, width_s) == (0, pytest.approx(0.5), 1e-3)
    assert line.query("OUTP?;:SYST:ERR?").startswith("0;0")
    assert lab.world.violations == []


def test_the_manuals_loop_gives_as_many_pulses(lab):
    line = resource(lab, SOURCE_METER)
    line.write(":SOUR:VOLT 0.3;:TRIG:BLOC:SOUR:STAT 1,ON;:TRIG:BLOC:DEL:CONS 2,1e-3")
    line.write(":TRIG:BLOC:SOUR:STAT 3,OFF;:TRIG:BLOC:DEL:CONS 4,1e-3;:TRIG:BLOC:BRAN:COUN 5,10,1;:INIT;*WAI")
    assert len(lab.world.delivered) == 10


def test_a_pulse_shorter_than_the_settling_does_not_reach_its_level(lab):
    line = resource(lab, SOURCE_METER)
    line.write(":SOUR:VOLT:ILIM 1mA;:SOUR:VOLT 0.5;:TRIG:BLOC:SOUR:STAT 1,ON;:TRIG:BLOC:DEL:CONS 2,20us")
    line.write(":TRIG:BLOC:SOUR:STAT 3,OFF;:INIT;*WAI")
    assert lab.world.delivered[0].volts == pytest.approx(0.25, rel=0.05)


def test_current_limit_and_overvoltage_protection_hold_during_a_pulse(lab):
    line = resource(lab, SOURCE_METER)
    pulse = (
        ":TRIG:LOAD 'Empty';:TRIG:BLOC:SOUR:STAT 1,ON;:TRIG:BLOC:DEL:CONS 2,1e-3;:TRIG:BLOC:SOUR:STAT 3,OFF"
    )
    line.write(f":SOUR:VOLT 0.5;:SOUR:VOLT:ILIM 1e-4;{pulse};:INIT;*WAI")
    assert lab.world.delivered[0].volts == pytest.approx(0.2, rel=0.1)  # 100 µA in 2 kohm
    line.write(":SOUR:VOLT:PROT PROT2;:SOUR:VOLT 5;:SOUR:VOLT:ILIM 0.1;:INIT;*WAI")
    assert lab.world.delivered[1].volts == pytest.approx(2.0, rel=0.05)
    assert line.query(":SOUR:VOLT:PROT:TRIP?").strip() == "1"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (":SOUR:FUNC CURR", -224),
        (":SOUR:VOLT 211", -222),
        (":SOUR:VOLT:RANG 2;:SOUR:VOLT 2.2", -222),
        (":SENS:CURR:RANG 1e-3;:SOUR:VOLT:ILIM 1e-5", -221),
        (":SENS:CURR:RANG 1", -221),  # the limit of 105 µA is below a tenth of it
        (":INIT", -221),
        (":TRIG:BLOC:SOUR:STAT 2,ON", -222),  # block 1 comes first
        (":TRIG:BLOC:DEL:CONS 1", -109),
    ],
)
def test_what_a_2450_refuses(lab, command, code):
    line = resource(lab, SOURCE_METER)
    line.write(command)
    assert line.query("SYST:ERR?").startswith(str(code))


def test_a_source_left_on_above_the_read_voltage_is_noticed_and_disturbs_the_cell(lab):
    line = resource(lab, SOURCE_METER)
    line.write(":SOUR:VOLT:ILIM 0.01;:SOUR:VOLT 0.6;:OUTP ON")
    lab.world.clock.sleep(1.0)
    line.write(":OUTP OFF")
    assert "read at 0.6 V" in lab.world.violations[0]
    assert lab.world.array.states(FIRST)[0] > 0


def test_moving_the_probe_with_a_source_on_is_noticed(lab):
    resource(lab, SOURCE_METER).write(":OUTP ON")
    lab.world.land(1)
    assert "probe moved with the meter's output on" in lab.world.violations[0]


# 2700


def test_pymeasures_2700_finds_its_modules_and_routes_rows_to_columns(matrix_lab):
    matrix = Keithley2700(MATRIX_2700, visa_library=matrix_lab.library)
    assert matrix.cards == {1: "7709", 2: "7709"}
    matrix.close_rows_to_columns(2, 3, slot=1)
    assert matrix_lab.world.closed == {(1, 2, 3)}
    assert matrix.closed_channels == [111]
    matrix.open_rows_to_columns(2, 3, slot=1)
    matrix.closed_channels = [101, 248]
    assert matrix_lab.world.closed == {(1, 1, 1), (2, 6, 8)}
    matrix.open_all_channels()
    assert not matrix_lab.world.closed
    assert matrix.check_errors() == []


def test_closing_leaves_the_other_channels_closed(matrix_lab):
    line = resource(matrix_lab, MATRIX_2700)
    line.write("rout:mult:clos (@101, 103:105)")
    line.write("ROUTE:MULTIPLE:CLOSE (@250)")
    assert line.query("ROUT:MULT:CLOS?").strip() == "(@101,103,104,105,250)"
    assert line.query("ROUT:MULT:CLOS:STAT? (@101,102)").strip() == "1,0"
    assert len(matrix_lab.world.closed) == 4  # 250 joins a row to the multimeter


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ROUT:MULT:CLOS (@151)", -222),
        ("ROUT:MULT:CLOS (@301)", -222),
        ("ROUT:MULT:CLOS 101", -102),
        ("ROUTe:MULTiple:STATe (@101)", -113),  # pymeasure's word; the manual's has CLOSe in it
    ],
)
def test_what_a_2700_refuses(matrix_lab, command, code):
    line = resource(matrix_lab, MATRIX_2700)
    line.write(command)
    assert line.query("SYST:ERR?").startswith(str(code))


# 425


def test_pymeasures_gaussmeter_reads_the_field_of_the_magnet(lab):
    meter = LakeShore425(GAUSSMETER, visa_library=lab.library)
    lab.world.aim_magnet(True, 5.0)
    lab.world.clock.sleep(1.0)
    assert meter.field == pytest.approx(1000.0, abs=0.2)  # gauss at power-up
    meter.unit, meter.range = "T", 3500
    assert (meter.unit, meter.range) == ("T", 3500)
    assert meter.field == pytest.approx(0.1, rel=1e-4)
    assert meter.measure(3)[1] == pytest.approx(0.0, abs=1e-6)


def test_dc_and_ac_modes_and_the_zero_of_the_probe(lab):
    meter = LakeShore425(GAUSSMETER, visa_library=lab.library)
    lab.world.aim_magnet(True, 1.0)
    lab.world.clock.sleep(1.0)
    meter.ac_mode()
    assert meter.field == 0.0
    meter.dc_mode(wideband=False)
    assert meter.mode == (1, 0, 2)
    meter.zero_probe()
    assert meter.field == 0.0


def test_a_field_beyond_the_range_is_no_number(lab):
    line = resource(lab, GAUSSMETER)
    line.write("RANGE 1")
    lab.world.aim_magnet(True, 5.0)
    lab.world.clock.sleep(1.0)
    assert line.query("RDGFIELD?").strip() == "OL"
    line.write("AUTO 1")
    assert line.query("RANGE?;RDGFIELD?").strip() == "3;+9.99985E+02"


def test_a_gaussmeter_that_is_hurried_is_noticed(lab):
    line = resource(lab, GAUSSMETER)
    line.query("RDGFIELD?")
    lab.world.clock.sleep(0.03)
    line.query("RDGFIELD?")
    assert lab.world.violations == []
    line.query("RDGFIELD?")
    assert "within 30 ms" in lab.world.violations[0]


@pytest.mark.parametrize(("command", "bit"), [("NONSENSE", 32), ("SYST:ERR", 32), ("UNIT 7", 16)])
def test_a_gaussmeter_without_an_error_queue_tells_by_its_event_register(lab, command, bit):
    line = resource(lab, GAUSSMETER)
    line.write("*CLS")
    line.write(command)
    assert int(line.query("*ESR?")) & bit
