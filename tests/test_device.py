"""The seam's values and checks: what is refused, what a domain reset reaches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quest_lab.device import (
    Applied,
    Capabilities,
    EnergyOrigin,
    FieldPulse,
    Range,
    ReadPulse,
    Scope,
    VoltagePulse,
    as_cells,
    check_whole_domains,
    whole_domains,
)
from quest_lab.errors import BadInput, DeviceError


def capabilities(scope: Scope, domain: list[int] | None) -> Capabilities:
    return Capabilities(
        chip_id="c",
        cells=6,
        amplitude_v=Range(0, 1),
        width_s=Range(1e-9, 1),
        read=ReadPulse(0.1, 1e-8),
        read_amplitude_v=Range(0, 0.1),
        reset=FieldPulse(0.1, 0.01),
        reset_scope=scope,
        set_width_s=1e-8,
        domain=None if domain is None else np.array(domain, np.int32),
    )


@pytest.mark.parametrize("kind", [VoltagePulse, FieldPulse, ReadPulse])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pulse_is_finite(kind: Any, value: float) -> None:
    with pytest.raises(BadInput, match="not a finite number"):
        kind(value, 1e-6)
    with pytest.raises(BadInput, match="width_s"):
        kind(0.1, value)


@pytest.mark.parametrize("kind", [VoltagePulse, FieldPulse, ReadPulse])
@pytest.mark.parametrize("width_s", [0.0, -1e-6])
def test_a_width_is_above_zero(kind: Any, width_s: float) -> None:
    with pytest.raises(BadInput, match=r"width_s=.*above 0 s"):
        kind(0.1, width_s)


@given(st.lists(st.integers(0, 99), unique=True))
def test_cells_keep_their_order(cells: list[int]) -> None:
    out = as_cells(cells, 100)
    assert out.dtype == np.int64
    assert out.tolist() == cells


@pytest.mark.parametrize(("cells", "match"), [
    ([0, 6], "index 6 outside 0..5"),
    ([-1, 2], "index -1 outside 0..5"),
    ([3, 1, 3], "named twice"),
    ([0.0, 1.0], "integer indices"),
    ([[0, 1]], "1-D"),
    ([True, False], "integer indices"),
])  # fmt: skip
def test_bad_cells_are_named(cells: list[Any], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        as_cells(cells, 6)


def test_a_reset_reaches_the_domains_of_its_cells() -> None:
    can = capabilities(Scope.ARRAY, [0, 1, 0, 1, 2, 2])
    assert whole_domains(can, np.array([2])).tolist() == [0, 2]
    assert whole_domains(can, np.array([5, 1])).tolist() == [1, 3, 4, 5]
    assert whole_domains(capabilities(Scope.ARRAY, None), np.array([2])).tolist() == list(range(6))


def test_a_domain_is_named_whole_in_any_order() -> None:
    can = capabilities(Scope.ARRAY, [0, 1, 0, 1, 2, 2])
    check_whole_domains(can, np.array([3, 2, 1, 0]))
    with pytest.raises(BadInput, match="all 4 cells of the domain"):
        check_whole_domains(can, np.array([0, 2, 1]))


def test_single_cells_may_be_reset_alone_under_scope_cell() -> None:
    check_whole_domains(capabilities(Scope.CELL, None), np.array([2]))


def test_a_missing_reading_is_an_error_that_knows_what_was_delivered() -> None:
    applied = Applied(np.array([4, 2]), VoltagePulse(0.5, 1e-6), np.zeros(2), EnergyOrigin.COMPUTED)
    with pytest.raises(DeviceError) as caught:
        applied.expect_reading()
    assert caught.value.delivered.tolist() == [4, 2]
