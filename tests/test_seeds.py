"""Keyed randomness: Philox against Random123's known answers, normals against SciPy, order never matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import kstest

from quest_lab import seeds
from quest_lab.seeds import Purpose, normal, normals, philox

ONES = 2**32 - 1


@pytest.mark.parametrize(("counter", "key", "answer"), [  # Random123, kat_vectors, philox4x32 10
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((ONES,) * 4, (ONES,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
])  # fmt: skip
def test_philox_gives_the_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], answer: str
) -> None:
    cell, seed = counter[0] | counter[1] << 32, key[0] | key[1] << 32
    words = philox(np.uint64(cell), np.uint64(counter[2]), np.uint64(counter[3]), np.uint64(seed))
    assert " ".join(f"{int(w):08x}" for w in words) == answer


@given(st.integers(0, ONES))
def test_a_normal_is_the_inverse_distribution_function(word: int) -> None:
    assert normal(np.uint64(word)) == pytest.approx(ndtri((word + 0.5) / 2**32), rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("word", [0, 1, 2**31 - 1, 2**31, ONES - 1, ONES])
def test_the_ends_and_the_middle_of_the_normal(word: int) -> None:
    assert normal(np.uint64(word)) == pytest.approx(ndtri((word + 0.5) / 2**32), rel=2e-6, abs=1e-9)


def test_normals_are_standard_and_independent() -> None:
    z = normals(7, int(Purpose.PULSE), np.arange(50_000), 3)
    assert kstest(z.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(z.T) - np.eye(4)).max() < 0.02


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=20, unique=True),
    st.integers(0, 2**63 - 1),
    st.randoms(use_true_random=False),
)
def test_a_draw_does_not_depend_on_order_or_company(cells: list[int], seed: int, shuffler: object) -> None:
    together = dict(zip(cells, normals(seed, 2, np.array(cells), 5).tolist(), strict=True))
    mixed = sorted(cells, key=lambda _: shuffler.random())  # type: ignore[attr-defined]
    half = len(mixed) // 2
    for part in (mixed[:half], mixed[half:], [cells[0]]):
        got = normals(seed, 2, np.array(part, np.int64), 5).tolist()
        assert got == [together[cell] for cell in part]


@pytest.mark.parametrize("other", [(8, 2, 5), (7, 3, 5), (7, 2, 6), (7 + 2**32, 2, 5)])
def test_seed_purpose_and_event_each_change_every_draw(other: tuple[int, int, int]) -> None:
    cells = np.arange(100)
    seed, purpose, event = other
    assert not np.any(normals(7, 2, cells, 5) == normals(seed, purpose, cells, event))


def test_cells_beyond_32_bits_have_draws_of_their_own() -> None:
    low, high = normals(1, 2, np.array([3]), 0), normals(1, 2, np.array([3 + 2**32]), 0)
    assert not np.any(low == high)


def test_generators_are_told_apart_by_purpose_and_seed() -> None:
    first = seeds.generator(1, "a").random(4)
    assert np.array_equal(first, seeds.generator(1, "a").random(4))
    assert not np.any(first == seeds.generator(1, "b").random(4))
    assert not np.any(first == seeds.generator(2, "a").random(4))
