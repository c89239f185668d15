"""The SCPI parser against what SCPI-99 and IEEE 488.2 say, on an instrument of four commands."""

import pytest

from quest_lab.sim.scpi import Command, Scpi, setting
from quest_lab.sim.scpi_arguments import ScpiError, boolean, flag, keyword, number, scientific, split


@pytest.fixture
def meter():
    values = {"high": 0.0, "low": 0.0, "output": False, "function": "SIN"}

    def volts(text):
        return number(text, -5.0, 5.0, unit="V")

    commands = [
        setting(values, "[SOURce#:]VOLTage[:LEVel]:HIGH", "high", volts, str),
        setting(values, "[SOURce#:]VOLTage[:LEVel]:LOW", "low", volts, str),
        setting(values, "OUTPut#[:STATe]", "output", boolean, flag),
        Command("MEASure:ALL", query=lambda call: ",".join(call.arguments)),
    ]
    return Scpi("ACME,1,2,3", commands, reset=lambda: values.update(output=False))


def ask(scpi, message):
    scpi.receive(message)
    return scpi.answer()


@pytest.mark.parametrize(
    "header",
    [
        "VOLT:HIGH",
        "VOLTAGE:HIGH",
        "voltage:high",
        ":SOURce:VOLTage:LEVel:HIGH",
        "SOUR1:VOLT:LEV:HIGH",
        "sOuR:VoLt:hIgH",
    ],
)
def test_long_short_and_mixed_case_headers_are_one_command(meter, header):
    meter.receive(f"{header} 1.5")
    assert ask(meter, f"{header}?") == "1.5"


@pytest.mark.parametrize("header", ["VOLTA:HIGH", "VOL:HIGH", "SOURC:VOLT:HIGH", "NONSENSE", "*NON", "VOLT"])
def test_a_header_between_short_and_long_form_is_undefined(meter, header):
    meter.receive(f"{header} 1")
    assert ask(meter, "SYST:ERR?") == '-113,"Undefined header"'


def test_after_a_semicolon_the_header_continues_at_the_branch(meter):
    assert ask(meter, ":SOUR:VOLT:HIGH 2;LOW -1;HIGH?;LOW?") == "2.0;-1.0"


def test_a_colon_after_a_semicolon_starts_at_the_root(meter):
    assert ask(meter, "VOLT:HIGH 2;:OUTP 1;:VOLT:HIGH?") == "2.0"


def test_common_commands_do_not_change_the_branch(meter):
    assert ask(meter, "VOLT:HIGH 2;*WAI;HIGH?") == "2.0"


def test_a_command_error_ends_the_message_but_an_execution_error_does_not(meter):
    meter.receive("VOLT:HIGH 99;:OUTP 1")
    assert ask(meter, "OUTP?;:SYST:ERR?") == '1;-222,"Data out of range"'
    meter.receive("NONSENSE 1;:OUTP 0")
    assert ask(meter, "OUTP?") == "1"


def test_errors_queue_in_order_and_overflow_is_told(meter):
    for _ in range(30):
        meter.receive("NONSENSE")
    answers = [ask(meter, "SYST:ERR?") for _ in range(21)]
    assert answers[18:] == ['-113,"Undefined header"', '-350,"Queue overflow"', '0,"No error"']


def test_event_register_tells_the_class_of_an_error_and_clears_when_read(meter):
    meter.receive("*CLS;NONSENSE")
    assert ask(meter, "*ESR?") == "32"
    meter.receive("VOLT:HIGH 99")
    assert ask(meter, "*ESR?") == "16"
    assert ask(meter, "*OPC;*ESR?") == "1"


def test_status_byte_summarises_errors_events_and_service_request(meter):
    meter.receive("*CLS;*ESE 32;*SRE 32")
    assert ask(meter, "*STB?") == "0"
    meter.receive("NONSENSE")
    assert int(ask(meter, "*STB?")) == 4 + 32 + 64


def test_common_queries_answer(meter):
    assert ask(meter, "*IDN?;*OPC?;*TST?") == "ACME,1,2,3;1;0"


def test_an_unread_answer_is_interrupted_by_the_next_message(meter):
    meter.receive("*IDN?")
    assert ask(meter, "SYST:ERR?") == '-410,"Query INTERRUPTED"'


def test_reading_without_a_question_gives_nothing_and_an_error(meter):
    assert meter.answer() is None
    assert ask(meter, "SYST:ERR?") == '-420,"Query UNTERMINATED"'


def test_a_suffix_beyond_the_channels_is_out_of_range(meter):
    meter.receive("OUTP3 1")
    assert ask(meter, "SYST:ERR?") == '-114,"Header suffix out of range"'


def test_missing_and_surplus_arguments_have_their_own_errors(meter):
    meter.receive("OUTP")
    meter.receive("OUTP 1,2")
    assert ask(meter, "SYST:ERR?;:SYST:ERR?") == '-109,"Missing parameter";-108,"Parameter not allowed"'


def test_a_query_of_a_command_without_one_is_undefined(meter):
    meter.receive("*RST?")
    assert ask(meter, "SYST:ERR?").startswith("-113")


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("1", "V", 1.0), (".5e1V", "V", 5.0), ("20 mV", "V", 0.02), ("3 us", "S", 3e-6), ("1MHz", "HZ", 1e6)],
)
def test_numbers_take_units_and_prefixes(text, unit, value):
    assert number(text, -1e9, 1e9, unit=unit) == pytest.approx(value)


@pytest.mark.parametrize(("text", "code"), [("abc", -104), ("1 A", -131), ("11", -222), ("", -104)])
def test_bad_numbers_have_the_standard_codes(text, code):
    with pytest.raises(ScpiError) as caught:
        number(text, 0.0, 10.0, unit="V")
    assert caught.value.code == code


def test_minimum_and_maximum_are_the_limits():
    assert (number("MIN", 1.0, 2.0), number("MAXimum", 1.0, 2.0)) == (1.0, 2.0)


def test_keywords_take_both_forms_and_nothing_between():
    assert keyword("puls", "SINusoid", "PULSe") == keyword("PULSE", "SINusoid", "PULSe") == "PULS"
    with pytest.raises(ScpiError):
        keyword("PUL", "SINusoid", "PULSe")


def test_lists_are_split_outside_quotes_and_parentheses():
    assert split("a,(@1!2,3),'x,y'", ",") == ["a", "(@1!2,3)", "'x,y'"]


def test_numbers_are_answered_with_sign_and_exponent():
    assert scientific(0.1) == "+1.000000000E-01"
