"""Intervals of accuracies: against published numbers, and how often they hold what they should."""

from __future__ import annotations

import numpy as np
import pytest

from quest_lab.protocols.scores import Score


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(right: int, images: int, low: float, high: float) -> None:
    """Newcombe, Statist. Med. 17, 857 (1998), table I, method 3."""
    assert Score(images, right, 0, 0).interval == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("lose", "gain"), [(0.04, 0.01), (0.1, 0.1), (0.3, 0.02)])
def test_the_interval_of_a_change_covers_it_in_95_of_100_cases(lose: float, gain: float) -> None:
    """4000 draws of 450 images: four standard errors are 1.4 %."""
    rng = np.random.default_rng(1)
    lost, gained, _ = rng.multinomial(450, [lose, gain, 1 - lose - gain], 4000).T
    ends = np.array(
        [Score(450, 400, int(a), int(b)).change_interval for a, b in zip(lost, gained, strict=True)]
    )
    covered = np.mean((ends[:, 0] <= gain - lose) & (gain - lose <= ends[:, 1]))
    assert 0.935 <= covered <= 0.97


def test_equal_networks_have_no_change_but_an_interval() -> None:
    same = Score(450, 424, 0, 0)
    assert same.change == 0.0
    low, high = same.change_interval
    assert low == -high
    assert 0.0 < high < 0.01
