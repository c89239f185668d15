"""The 45 nm comparison against numbers worked by hand."""

from __future__ import annotations

import pytest

from quest_lab import cmos


def test_the_papers_gain_is_an_operation_rate_of_0_055() -> None:
    assert cmos.rate_of(93.0) == pytest.approx(0.055, abs=5e-4)
    assert cmos.gain([1000.0, 500.0], [0.055, 0.055]) == pytest.approx(92.9, abs=0.05)


def test_the_compared_networks_have_the_rates_of_the_papers_ratios() -> None:
    assert cmos.DIET_VGG6.rate == pytest.approx(0.136, abs=5e-4)
    assert cmos.DIET_VGG16.rate == pytest.approx(0.390, abs=5e-4)
    assert cmos.DIET_VGG6.energy_j == pytest.approx(108.8e6 * 0.1357 * 0.9e-12, rel=1e-3)


def test_three_ways_by_hand() -> None:
    """Layers of 300 and 100 MACs at AOR 0.1 and 0.2, spike rates 0.5 and 0.4; an encoder of 40 MACs."""
    aor, first, spikes = cmos.compare([300, 100], [0.1, 0.2], [0.5, 0.4], 40)
    assert aor.energy_j == pytest.approx(0.9e-12 * 50)  # 30 + 20 accumulates
    assert aor.gain == pytest.approx(4.6 * 400 / (0.9 * 50))
    assert first.energy_j == pytest.approx(0.9e-12 * 50 + 4.6e-12 * 40)
    assert first.gain == pytest.approx(4.6 * 440 / (0.9 * 50 + 4.6 * 40))
    assert spikes.gain == pytest.approx(4.6 * 400 / (0.9 * 190))


def test_the_papers_own_rate_gives_its_three_numbers_back() -> None:
    rate = cmos.rate_of(93.0)
    way = cmos.compare([7], [rate], [rate], 0)[0]
    assert (way.gain, way.vgg6, way.vgg16) == pytest.approx((93.0, 2.47, 7.1))


def test_a_silent_network_spends_nothing() -> None:
    assert cmos.compare([10], [0.0], [0.0], 0)[0].gain == float("inf")
