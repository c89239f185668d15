"""Stays of a track summed over all cuts, against every cut written out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from quest_lab.device import Floats
from quest_lab.mixture import Mixture, Order, shares
from quest_lab.segmentation import Observations, possible_stays

NOISE = 0.1
MEAN, STD = np.array([0.0, 0.25, 0.6]), np.array([0.02, 0.1, 0.1])
ORDER = Order(
    first=np.array([[0.8, 0.15, 0.05]]),
    move=np.array([[0.05, 0.6, 0.2], [0.1, 0.1, 0.5], [0.05, 0.1, 0.05]]),
    stop=np.array([0.15, 0.3, 0.8]),
)
READS = np.array([0.03, -0.06, 0.17, 0.36, 0.31, 0.74])


def every_cut() -> Iterator[list[tuple[int, int]]]:
    for cut in product([False, True], repeat=READS.size - 1):
        ends = [0, *(np.flatnonzero(cut) + 1).tolist(), READS.size]
        yield list(pairwise(ends))


def joint(stays: list[tuple[int, int]], levels: tuple[int, ...]) -> float:
    """Density of the reads, cut so and on these levels; the reads of a stay share the residual of its landing."""
    out = ORDER.first[0, levels[0]] * ORDER.stop[levels[-1]]
    for a, b in pairwise(levels):
        out *= ORDER.move[a, b]
    for stay, k in zip(stays, levels, strict=True):
        out *= alone(*stay, k)
    return float(out)


@cache
def alone(s: int, t: int, k: int) -> float:
    """Density of the reads from s to t on one level."""
    covariance = STD[k] ** 2 + NOISE**2 * np.eye(t - s)
    return float(multivariate_normal.pdf(READS[s:t], np.full(t - s, MEAN[k]), covariance))


def by_hand() -> dict[tuple[int, int], Floats]:
    """Probability that the reads from s to t are one stay, on each level."""
    out: dict[tuple[int, int], Floats] = {}
    for stays in every_cut():
        for levels in product(range(MEAN.size), repeat=len(stays)):
            density = joint(stays, levels)
            for stay, k in zip(stays, levels, strict=True):
                out.setdefault(stay, np.zeros(MEAN.size))[k] += density
    whole = sum(p.sum() for (s, _), p in out.items() if s == 0)
    return {stay: p / whole for stay, p in out.items()}


def test_a_stay_is_as_likely_as_all_cuts_that_have_it() -> None:
    track = READS[:, None]
    found = possible_stays(track, np.full(track.shape, NOISE**2), np.zeros(track.shape, np.int64))
    seen = Observations.of(found, READS.size, 1, np.arange(READS.size, dtype=float))
    seen, nowhere = replace(seen, volts=np.full(seen.x.size, np.nan)), np.full(MEAN.size, np.nan)
    share = shares(seen, Mixture(ORDER, MEAN, STD**2, nowhere, nowhere, 0.0, seen))
    wanted = by_hand()
    assert len(wanted) == share.shape[0] == READS.size * (READS.size + 1) // 2
    for s, t, p in zip(seen.start, seen.end, share, strict=True):
        assert p == pytest.approx(wanted[int(s), int(t)], rel=1e-6, abs=1e-9)


def test_a_stay_does_not_reach_over_a_step_far_above_the_noise() -> None:
    track = np.repeat([0.0, 5.0], 3)[:, None]
    found = possible_stays(track, np.full(track.shape, NOISE**2), np.repeat([0, 1], 3)[:, None])
    assert not np.any((found.start < 3) & (found.end > 3))
    assert {(0, 3), (3, 6)} <= set(zip(found.start.tolist(), found.end.tolist(), strict=True))


@pytest.mark.parametrize("noise", [1e-6, 10.0])
def test_a_track_of_hundreds_of_stays_is_within_the_range_of_numbers(noise: float) -> None:
    n = 400
    x, none = np.tile(MEAN[:2], n // 2), np.zeros(n, np.int64)
    seen = Observations.certain(x, np.full(n, noise**2), none, np.full(n, np.nan), none, none)
    nowhere = np.full(MEAN.size, np.nan)
    share = Mixture(ORDER, MEAN, np.full(MEAN.size, noise**2), nowhere, nowhere, 0.0, seen).share
    assert share.sum(axis=1) == pytest.approx(np.ones(n))
