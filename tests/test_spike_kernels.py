"""Sums of levels over spikes and integer neurons, against loops over every place in Python integers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate

from quest_lab import neurons
from quest_lab.bit_kernels import convolve_bits, level_planes
from quest_lab.blocks import Window
from quest_lab.convolution import fire_encoder, fire_integers, over_time, places, sum_floats, sum_levels
from quest_lab.layers import top_level
from quest_lab.neurons import Neuron
from quest_lab.spike_kernels import convolve, in_threads, tap_rows

NAMED = ["if-hard", "if-soft", "lif-hard", "lif-soft", "lif-hard@0.8984375", "lif-delayed@0.953125"]
MOVES = [(1, None), (1, 0), (2, 1), (3, 0), (2, 2)]


def summed(spikes: np.ndarray, levels: np.ndarray, stride: int = 1, padding: int | None = None) -> np.ndarray:
    """The sums, weight by weight."""
    c_out, _, kernel, _ = levels.shape
    before = kernel // 2 if padding is None else padding
    down, across = ((size + 2 * before - kernel) // stride + 1 for size in spikes.shape[2:4])
    out = np.zeros((*spikes.shape[:2], down, across, c_out), int)
    for t, n, y, x, c in np.argwhere(spikes):
        for to_y, to_x in np.ndindex(down, across):
            i, j = y + before - to_y * stride, x + before - to_x * stride
            if 0 <= i < kernel and 0 <= j < kernel:
                out[t, n, to_y, to_x] += levels[:, c, i, j]
    return out


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*(st.integers(1, most) for most in (2, 2, 5, 5, 9))),
    c_out=st.integers(1, 35),
    kernel=st.sampled_from([1, 3, 5]),
    bits=st.sampled_from([2, 3, 8]),
    rate=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_sums_equal_the_loop_over_spikes_and_weights(
    seed: int, shape: tuple[int, ...], c_out: int, kernel: int, bits: int, rate: float
) -> None:
    rng, top = np.random.default_rng(seed), top_level(bits)
    spikes = (rng.random(shape) < rate).astype(np.uint8)
    levels = rng.integers(-top, top + 1, (c_out, shape[-1], kernel, kernel)).astype(np.int8)
    source, sums = spikes.reshape(-1, *shape[2:]), np.empty((*shape[:-1], c_out), np.int32)
    convolve(source, tap_rows(levels), (kernel, kernel), top, sums.reshape(*source.shape[:-1], c_out))
    assert np.array_equal(sums, summed(spikes, levels))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*(st.integers(1, most) for most in (2, 3, 4))),
    c_in=st.sampled_from([9, 64, 65]),
    c_out=st.sampled_from([1, 64, 70]),
    kernel=st.sampled_from([1, 3]),
    bits=st.sampled_from([2, 3, 8]),
)
def test_sums_of_counted_bits_equal_the_loop_over_spikes_and_weights(
    seed: int, shape: tuple[int, ...], c_in: int, c_out: int, kernel: int, bits: int
) -> None:
    rng, top = np.random.default_rng(seed), top_level(bits)
    spikes = (rng.random((*shape, c_in)) < 0.4).astype(np.uint8)
    levels = rng.integers(-top, top + 1, (c_out, c_in, kernel, kernel)).astype(np.int8)
    sums = np.empty((*shape, c_out), np.int32)
    convolve_bits(spikes, level_planes(levels, bits), kernel, kernel, 1, kernel // 2, kernel // 2, sums)
    assert np.array_equal(sums[None], summed(spikes[None], levels))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rate", [0.02, 0.9])
def test_few_and_many_spikes_are_summed_alike_by_any_number_of_threads(rate: float, threads: int) -> None:
    rng = np.random.default_rng(4)
    spikes = (rng.random((4, 5, 6, 64)) < rate).astype(np.uint8)
    levels = rng.integers(-7, 8, (20, 64, 3, 3)).astype(np.int8)
    assert np.array_equal(sum_levels(spikes, levels, 7, threads)[None], summed(spikes[None], levels))


@pytest.mark.parametrize(("stride", "padding"), MOVES)
@pytest.mark.parametrize("rate", [0.02, 0.9])
def test_a_moved_kernel_sums_the_same_by_every_way(rate: float, stride: int, padding: int | None) -> None:
    rng, window = np.random.default_rng(4), Window(stride, padding)
    spikes = (rng.random((1, 3, 7, 8, 64)) < rate).astype(np.uint8)
    levels = rng.integers(-7, 8, (20, 64, 5, 5)).astype(np.int8)
    want = summed(spikes, levels, stride, padding)
    assert np.array_equal(sum_levels(spikes, levels, 7, window=window), want)
    assert np.array_equal(over_time(spikes, levels, np.dtype(np.float64), window), want)
    floats = levels.astype(np.float32)
    assert np.array_equal(
        sum_floats(spikes.astype(np.float32), floats, np.zeros(20, np.float32), window), want
    )


@pytest.mark.parametrize("kernel", [1, 3])
def test_floats_are_convolved_as_scipys_correlation(kernel: int) -> None:
    rng = np.random.default_rng(5)
    x, bias = rng.normal(size=(2, 4, 5, 3)).astype(np.float32), np.array([0.5, -1], np.float32)
    weights = rng.normal(size=(2, 3, kernel, kernel)).astype(np.float32)
    planes = [
        [sum(correlate(image[..., c], own[c], mode="constant") for c in range(3)) for own in weights]
        for image in x
    ]
    assert sum_floats(x, weights, bias) == pytest.approx(np.moveaxis(planes, 1, -1) + bias, abs=1e-5)


@pytest.mark.parametrize(("c_in", "want"), [(28, np.int16), (29, np.int32)])
def test_sums_of_the_largest_levels_do_not_overflow(c_in: int, want: type) -> None:
    spikes, levels = np.ones((1, 1, 3, 3, c_in), np.uint8), np.full((2, c_in, 3, 3), 127, np.int8)
    sums = sum_levels(spikes, levels, 127)
    assert sums.dtype == want
    assert sums[0, 0, 1, 1].tolist() == [9 * 127 * c_in] * 2


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("bits", [2, 4])
def test_integer_neurons_fire_as_numpys(name: str, bits: int) -> None:
    neuron, top = Neuron.parse(name), top_level(bits)
    sums = np.random.default_rng(1).integers(-9, 12, (5, 2, 33, 33, 1)).astype(np.int16)
    charge = neurons.reset_charge(0.5, 0.3, bits, neuron)
    limit = neurons.integer_limit(0.5, 0.3, bits)
    want = neurons.fire(sums.astype(np.float64), neuron, limit=limit, charge=charge, top=top, whole=True)
    assert np.array_equal(fire_integers(sums, neuron, limit=limit, charge=charge, top=top), want)
    assert 0 < want.mean() < 1


@pytest.mark.parametrize("name", NAMED)
def test_a_repeated_current_fires_as_the_same_current_at_every_step(name: str) -> None:
    neuron = Neuron.parse(name)
    current = np.random.default_rng(2).normal(size=(1, 3, 40, 40, 2)).astype(np.float32)
    once = fire_encoder(current, neuron, 0.5, 4)
    every = np.repeat(current, 4, 0)
    want = neurons.fire(every, neuron, limit=0.5, charge=neuron.taken(0.5), top=None, whole=False)
    assert np.array_equal(once, want)
    assert np.array_equal(fire_encoder(every, neuron, 0.5, 4), want)


def test_places_count_more_images_than_a_byte_holds() -> None:
    spikes = (np.random.default_rng(3).random((2, 700, 2, 3, 4)) < 0.9).astype(np.uint8)
    assert np.array_equal(places(spikes), np.moveaxis(spikes.astype(int).sum(1), -1, 1))


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
def test_every_part_is_worked_on_once(threads: int) -> None:
    done, lock = [], threading.Lock()

    def work(start: int, stop: int) -> None:
        with lock:
            done.extend(range(start, stop))

    in_threads(work, 7, threads)
    assert sorted(done) == list(range(7))
