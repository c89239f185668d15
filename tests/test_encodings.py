"""Rate and latency coding: their statistics, and that batches do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from quest_lab.encodings import check_encoding, spike_train
from quest_lab.errors import BadInput

NUMBERS = np.arange(6)


def _images() -> np.ndarray:
    return np.random.default_rng(0).random((6, 1, 8, 8)).astype(np.float32)


def _rate(images: np.ndarray, numbers: np.ndarray = NUMBERS, steps: int = 4, **keys: int) -> np.ndarray:
    return spike_train(
        images, "rate", steps, seed=keys.get("seed", 3), numbers=numbers, epoch=keys.get("epoch", 0)
    )


def test_a_pixel_spikes_with_its_intensity_as_probability() -> None:
    chance = np.array([0.0, 0.1, 0.5, 0.9, 1.0], np.float32).reshape(1, 1, 1, 5).repeat(200, 0)
    share = _rate(chance, np.arange(200), steps=50).mean((0, 1, 2, 3))
    # 10 000 draws: four standard deviations of a mean are at most 0.02
    np.testing.assert_allclose(share, chance[0, 0, 0], atol=0.02)
    assert (share[0], share[-1]) == (0.0, 1.0)


def test_spikes_depend_on_the_images_number_alone() -> None:
    images, whole = _images(), _rate(_images())
    assert np.array_equal(
        np.concatenate([_rate(images[i : i + 1], NUMBERS[i : i + 1]) for i in range(6)], 1), whole
    )
    assert np.array_equal(_rate(images[::-1], NUMBERS[::-1]), whole[:, ::-1])
    assert np.array_equal(_rate(images, steps=7)[:4], whole)


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 1}])
def test_another_seed_or_epoch_draws_anew(other: dict[str, int]) -> None:
    assert 0.2 < np.mean(_rate(_images()) != _rate(_images(), **other)) < 0.5


def test_steps_and_pixels_are_independent() -> None:
    spikes = _rate(np.full((40, 1, 8, 8), 0.5, np.float32), np.arange(40), steps=8).reshape(8, -1)
    assert np.abs(np.corrcoef(spikes)[np.triu_indices(8, 1)]).max() < 0.08  # 2560 pixels: four deviations


def test_latency_spikes_once_the_brightest_first_and_black_never() -> None:
    images = np.array([1.0, 0.8, 0.75, 0.5, 0.26, 0.01, 0.0], np.float32).reshape(1, 1, 1, 7)
    spikes = spike_train(images, "latency", 4, seed=0, numbers=NUMBERS[:1])[:, 0, 0, 0]
    assert spikes.sum(0).tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert spikes.argmax(0)[:6].tolist() == [0, 0, 1, 2, 2, 3]


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(BadInput, match="encoding='burst': want one of direct, rate, latency"):
        check_encoding("burst")
