"""Mapping patterns: injective maps of weight levels to states, by name."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from quest_lab import mapping
from quest_lab.errors import BadInput


def test_two_bits_have_six_patterns_on_three_states() -> None:
    patterns = mapping.all_patterns(mapping.level_count(2), 3)
    every = [p for p in product(range(3), repeat=3) if len(set(p)) == 3]
    assert sorted(patterns) == every
    assert len(patterns) == 6


@pytest.mark.parametrize(("bits", "states", "count"), [(2, 7, 210), (3, 7, 5040)])
def test_patterns_are_as_many_as_placements(bits: int, states: int, count: int) -> None:
    patterns = mapping.all_patterns(mapping.level_count(bits), states)
    assert len(set(patterns)) == count


@pytest.mark.parametrize(
    ("levels", "states", "match"), [(7, 3, "do not fit into 3 states"), (7, 8, "more than the 5040")]
)
def test_what_cannot_be_compared_is_refused(levels: int, states: int, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        mapping.all_patterns(levels, states)


@pytest.mark.parametrize("pattern", mapping.all_patterns(3, 3))
def test_names_and_levels_come_back(pattern: tuple[int, ...]) -> None:
    levels = np.array([-1, 0, 1, 1, -1], np.int8)
    states = mapping.to_states(levels, pattern)
    assert [pattern.index(s) - 1 for s in states] == levels.tolist()
    assert np.array_equal(mapping.to_levels(states, pattern), levels)
    assert mapping.parse(mapping.name(pattern), 3, 3) == pattern
    assert mapping.parse(",".join(map(str, pattern)), 3, 3) == pattern


def test_a_pattern_is_named_by_its_states() -> None:
    assert mapping.name((1, 0, 2)) == "(R1,R0,R2)"


def test_a_state_without_a_level_reads_as_the_nearest_one() -> None:
    assert mapping.to_levels([0, 1, 2, 3, 4, 5, 6], (6, 0, 3)).tolist() == [0, 0, 1, 1, 1, -1, -1]
    assert mapping.to_levels([6], (1, 0, 2)).tolist() == [1]


@pytest.mark.parametrize("text", ["0,0,1", "0,1", "0,1,3", "a,b,c", "", "-1,0,1"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="pattern"):
        mapping.parse(text, 3, 3)


def test_a_weight_needs_two_bits() -> None:
    assert [mapping.level_count(b) for b in (2, 3, 4)] == [3, 7, 15]
    with pytest.raises(BadInput, match="bits=1"):
        mapping.level_count(1)


@pytest.mark.parametrize("levels", [[-2], [2]])
def test_a_level_outside_the_pattern_is_refused(levels: list[int]) -> None:
    with pytest.raises(BadInput, match="level"):
        mapping.to_states(levels, (1, 0, 2))
