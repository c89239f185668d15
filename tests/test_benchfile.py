"""Bench files: the example says what it says, and every kind of mistake names file, key, value and remedy."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_lab.benchfile import load_bench, parse_bench, schema
from quest_lab.benchmodel import Bench
from quest_lab.errors import BadInput

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "benches").glob("*.toml"))
SLOW = next(path for path in EXAMPLES if path.name == "slow-matrix.toml")

PASSIVE = 'kind = "passive"\nbias_scheme = "floating"\nrows = 32\ncolumns = 32'
SEVEN_STATES = ", ".join(f'"{2000 + 100 * k} ohm"' for k in range(7))


def changed(*replacements: tuple[str, str]) -> str:
    """The slow matrix bench with other words; each must be there."""
    text = SLOW.read_text(encoding="utf-8")
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after, 1)
    return text


def refusal(*replacements: tuple[str, str]) -> str:
    with pytest.raises(BadInput) as refused:
        parse_bench(changed(*replacements), Path("my.toml"))
    assert all(line.startswith("my.toml: ") for line in str(refused.value).splitlines())
    return str(refused.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_loads(path: Path) -> None:
    assert load_bench(path).bench.name


def test_there_are_seven_examples() -> None:
    assert len(EXAMPLES) == 7


def test_quantities_are_si_floats_inside() -> None:
    bench = load_bench(SLOW).bench
    assert bench.limits.width_s == (1e-7, 1e-2)
    assert bench.chip.resistance_ohm == (1400.0, 3600.0)
    assert bench.field is not None
    assert (bench.field.tesla_per_ampere, bench.field.reset.field_t) == (0.02, 0.1)
    assert bench.conditions.temperature_k == 295.0


def test_cells_are_on_the_named_crosspoints() -> None:
    text = changed(('["1!1:1!10", "2!1:2!6"]', '["2!3", "1!1:1!2"]'))
    wiring = parse_bench(text, SLOW).bench.joined()
    assert [wiring.crosspoint(1, cell) for cell in range(3)] == [(2, 1, 3), (1, 1, 1), (1, 1, 2)]
    assert [wiring.cell(point) for point in [(2, 2, 3), (1, 2, 2), (1, 2, 3)]] == [0, 2, None]


def test_text_and_hash_are_those_of_the_file() -> None:
    file = load_bench(SLOW)
    assert file.text.encode() == SLOW.read_bytes()
    assert file.sha256 == hashlib.sha256(SLOW.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (("[limits]", "[limits]\nvolts = 3"), "limits.volts=3: unknown key; known here: amplitude, width"),
        (("[read]", "[reed]"), "read: missing section"),
        (('id = "skmtj-die-7"', ""), "chip.id: missing key"),
        (('read_amplitude = "0.1 V"', "read_amplitude = 0.1"), "limits.read_amplitude=0.1: has no unit; want V"),
        (('mains = "50 Hz"', 'mains = "50 V"'), "devices.meter.mains='50 V': is in V, which cannot be Hz"),
        (('"0.1 mA"', '"5 A"'), "compliance='5 A': outside its range, at least 1e-06 A and at most 1.05 A"),
        (('"0.15 T"', '"0.15 Tesl"'), "limits.field='0.15 Tesl': has the unknown unit 'Tesl'; want T"),
        (("attenuation = 1.0", "attenuation = 2"), "signal_path.attenuation=2: input should be less than"),
        (("seed = 1", 'seed = "1"'), "twin.seed='1': input should be a valid integer"),
        (("buffered = false", 'buffered = "no"'), "signal_path.buffered='no'"),
        (('"agilent33500"', '"ag33"'), "devices.pulser.driver='ag33': want 'agilent33500', 'keysight81160a'"),
        (('"2!1:2!6"', '"3!1"'), "'3!1': want slot!column, slots 1 to 2, columns 1 to 10"),
        (('"2!1:2!6"', '"1!3"'), "1!3 is named twice"),
        (("pulser_row = 1", "pulser_row = 2"), "pulser_row and meter_row are both 2"),
        (("polarity = 1", "polarity = 0"), "field.polarity=0"),
        (('kind = "isolated"', 'kind = "passive"'), 'kind = "passive": needs bias_scheme, rows, columns too'),
        (('kind = "isolated"', 'kind = "1T1R"\nrows = 4'), 'rows with kind = "1T1R": only a passive crossbar'),
        (('kind = "isolated"', PASSIVE), 'chip.states: topology.kind = "passive" needs the resistances'),
        (('reset_scope = "array"', 'reset_scope = "cell"'), 'reset_scope = "cell": this magnet reaches every cell'),
        (('field = "100 mT"', 'field = "200 mT"'), "field.reset.field=0.2 T: above 0.15 T"),
        (('amplitude = "0.1 V"\nwidth', 'amplitude = "0.2 V"\nwidth'), "read.amplitude=0.2 V: above limits.read_"),
        (('set_width = "1 us"', 'set_width = "1 s"'), "chip.set_width=1 s: outside limits.width=1e-07 to 0.01 s"),
        (("GPIB0::24::INSTR", "GPIB0::10::INSTR"), "the address 'GPIB0::10::INSTR' is given twice"),
        (('temperature = "295 K"', 'temperature = "-3 K"'), "conditions.temperature='-3 K': outside its range"),
        (("name = ", "name == "), "no TOML"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key_its_value_and_what_is_wanted(
    replacement: tuple[str, str], words: str
) -> None:
    assert words in refusal(replacement)


@pytest.mark.parametrize(
    ("name", "replacement", "words"),
    [
        ("slow-matrix", ('bandwidth = "10 MHz"', 'bandwidth = "100 kHz"'), "below 7e-06 s, two rise times"),
        ("slow-matrix", ('bias_field = "0 T"', 'bias_field = "0.1 T"'), "would empty the cells as field.reset=0.1 T"),
        ("slow-matrix", ("pulser_row = 1", "pulser_row = 5"), "wiring.pulser_row=5: a keithley7001 has rows 1 to 4"),
        ("slow-matrix", ('["1!1:1!10", "2!1:2!6"]', "16"), "wiring.cells=16: want places like slot!column"),
        ("slow-matrix", ('preset = "lab"', 'preset = "domain-wall"'), "such cells are emptied by chip.reset"),
        ("slow-matrix", ('["0.35 V", "0.85 V"]', '["0.35 V", "1.2 V"]'), "chip.set_amplitude=1.2 V: above limits.amp"),
        ("slow-matrix-2700", ('"2!1:2!8"', '"2!1:2!9"'), "'2!9': want slot!column, slots 1 to 2, columns 1 to 8"),
        ("fast-pulse", ('"50 ohm"                #', '"infinite" #'), "an 81160A is told 0.3 to 1e+06 ohm"),
        ("fast-pulse", ('set_width = "20 ns"', 'set_width = "1 ns"'), "outside limits.width=1.5e-09 to 1e-05 s"),
        ("fast-pulse", ("cells = 6", 'cells = ["1!1"]'), "want how many cells there are with this switch"),
        ("fast-pulse", ('full_scale = "0.35 T"', 'full_scale = "35 mT"'), "does not hold 0.15 T"),
        ("fast-pulse", ('full_scale = "0.35 T"', 'full_scale = "1 T"'), "1 T: a 425 has the ranges 0.0035, 0.035"),
        ("source-meter", ('source_impedance = "0 ohm"', ""), "a 2450 regulates the volts at its terminals"),
        ("source-meter", ('keithley2450"\naddress', 'keithley2400"\naddress'), "and that is a keithley2400"),
        ("arc-one", ("[topology]", "[signal_path]\n[topology]"), "a board's volts are volts at the cell"),
        ("arc-one", ('"1!1:1!16"', '"33!1"'), "'33!1': want word!bit, words 1 to 32"),
        ("arc-one", ('"-1.0 V"', '"1.0 V"'), "chip.reset.amplitude=1 V: want below 0 V"),
        ("arc-one", ("reset = {", "# "), "want one of them, the pulse or the field"),
        ("arc-one", ('identity = "8.1"', 'identity = "eight"'), "devices.board.identity='eight'"),
    ],
)  # fmt: skip
def test_what_contradicts_on_each_bench_is_told(name: str, replacement: tuple[str, str], words: str) -> None:
    path = next(path for path in EXAMPLES if path.stem == name)
    text = path.read_text(encoding="utf-8")
    assert replacement[0] in text
    with pytest.raises(BadInput) as refused:
        parse_bench(text.replace(*replacement), Path("my.toml"))
    assert words in str(refused.value)


def test_a_floating_32x32_is_refused_with_its_numbers() -> None:
    said = refusal(('kind = "isolated"', PASSIVE), ('id = "skm', f'states = [{SEVEN_STATES}]\nid = "skm'))
    assert (
        'topology.bias_scheme = "floating": in this 32x32 crossbar states 5 and 6 (2500 and 2600 ohm) read 124.58 '
        "and 124.82 ohm at the terminals, 0.63 sigma apart (sigma = 0.378 ohm); want at least 3 sigma"
    ) in said


def test_a_matrix_has_no_lines_to_bias() -> None:
    grounded = PASSIVE.replace("floating", "grounded")
    said = refusal(('kind = "isolated"', grounded), ('id = "skm', f'states = [{SEVEN_STATES}]\nid = "skm'))
    assert "a matrix leaves the lines of a crossbar unbiased" in said


def test_all_mistakes_are_told_at_once() -> None:
    said = refusal(("seed = 1", "sead = 1"), ('"0.15 T"', "0.15"), ("[read]", "[reed]"))
    assert [key for key in ("twin.sead", "limits.field", "read", "reed") if f": {key}" in said] == [
        "twin.sead", "limits.field", "read", "reed",
    ]  # fmt: skip


def test_a_field_without_a_magnet_is_refused() -> None:
    text = changed()
    start, end = text.index("[devices.magnet]"), text.index("# ---- from the generator")
    with pytest.raises(BadInput, match=r"devices\.magnet and field: a bench has both or neither"):
        parse_bench(text[:start] + text[end:], SLOW)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such bench file"):
        load_bench(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match=r"b\.toml: no UTF-8 text"):
        load_bench(tmp_path / "b.toml")


def test_the_schema_knows_every_section_and_allows_nothing_else() -> None:
    told = schema()
    assert set(told["properties"]) == set(Bench.model_fields)
    assert all(part["additionalProperties"] is False for part in [told, *told["$defs"].values()])
    assert told["$defs"]["Read"]["properties"]["width"]["type"] == "string"


def sections(table: dict[str, object], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [(key, value) for key, value in table.items() if isinstance(value, dict)]
    return [at, *(path for key, value in inner for path in sections(value, (*at, key)))]


@given(st.data())
def test_an_unknown_key_anywhere_is_refused_by_its_name(data: st.DataObject) -> None:
    where = data.draw(st.sampled_from(sections(tomllib.loads(changed()))))
    key = data.draw(st.from_regex(r"x[a-z]{3,8}", fullmatch=True))
    told = tomllib.loads(changed())
    table = told
    for part in where:
        table = table[part]
    table[key] = 1
    with pytest.raises(ValueError, match=key):
        Bench.model_validate(told)
