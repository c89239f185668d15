"""Quantities: units are understood, and what has none or the wrong one is refused with value and unit."""

from __future__ import annotations

import pytest

from quest_lab.quantity import Unit, si


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("50 ns", "s", 50e-9),
        ("50ns", "s", 50e-9),
        ("1.5 µs", "s", 1.5e-6),
        ("1.5 us", "s", 1.5e-6),
        ("0.1 T", "T", 0.1),
        ("-100 mT", "T", -0.1),
        ("1e3 Oe*µ_0", "T", None),
        ("2 kohm", "ohm", 2000.0),
        ("2 kΩ", "ohm", 2000.0),
        ("20 mT/A", "T/A", 0.02),
        ("1 A/ms", "A/s", 1000.0),
        ("22 degC", "K", 295.15),
        ("10 uJ", "J", 1e-5),
        ("100 ns", "s", 1e-7),
    ],
)
def test_a_number_with_its_unit_is_an_si_float(text: str, unit: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="want T"):
            si(text, unit)
    else:
        assert si(text, unit) == value


@pytest.mark.parametrize("text", [0.9, 1, "0.9", " 1e-3 ", "-2", "nan"])
def test_a_number_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match='has no unit; want V, like "1 V"'):
        si(text, "V")


@pytest.mark.parametrize("text", ["0.9 A", "0.9 ns", "3 kohm"])
def test_a_unit_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be V; want V"):
        si(text, "V")


@pytest.mark.parametrize("text", ["0.9 vlt", "0.9 V V(", "3 __import__('os')"])
def test_an_unknown_unit_is_refused_and_nothing_is_evaluated(text: str) -> None:
    with pytest.raises(ValueError, match="want V"):
        si(text, "V")


@pytest.mark.parametrize("value", [True, None, [], "", "V", "one V"])
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="want V"):
        si(value, "V")


def test_a_value_out_of_range_names_the_range() -> None:
    with pytest.raises(ValueError, match="'5 A': outside its range, at least 1e-06 A and at most 1 A"):
        Unit("A", low=1e-6, high=1.0).read("5 A")


@pytest.mark.parametrize("value", ["1 s", ["1 s"], ["1 s", "2 s", "3 s"], ["2 s", "1 s"]])
def test_a_pair_is_two_quantities_in_order(value: object) -> None:
    pair = Unit("s", pair=True)
    assert pair.read(["1 ms", "2 s"]) == (1e-3, 2.0)
    with pytest.raises(ValueError, match="lower"):
        pair.read(value)
