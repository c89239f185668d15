"""The layer table, tap counts, MACs and rates, each against brute force over every pair."""

from __future__ import annotations

import numpy as np
import pytest

from quest_lab.blocks import Window
from quest_lab.errors import BadInput
from quest_lab.layers import Topology, activity, layer_table, reads_by_level, tap_counts, top_level


def _pairs(spikes: np.ndarray, weights: np.ndarray, stride: int = 1, padding: int = 1) -> np.ndarray:
    """Reads of every single weight (c_out, c_in, k, k) by 0/1 spikes (n, c_in, h, w): one loop per pair."""
    reads, kernel = np.zeros(weights.shape, np.int64), weights.shape[2]
    down, across = ((size + 2 * padding - kernel) // stride + 1 for size in spikes.shape[2:])
    for n, c, y, x in np.argwhere(spikes):
        assert spikes[n, c, y, x] == 1
        for to_y, to_x in np.ndindex(down, across):
            i, j = y + padding - to_y * stride, x + padding - to_x * stride
            if 0 <= i < kernel and 0 <= j < kernel:
                reads[:, c, i, j] += 1
    return reads


def _case(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    spikes = (rng.random((6, 3, height, width)) < 0.3).astype(np.int64)
    return spikes, rng.integers(-1, 2, (4, 3, 3, 3)).astype(np.int8)


@pytest.mark.parametrize(("height", "width"), [(5, 4), (1, 1), (2, 7)])
def test_taps_and_reads_equal_brute_force_over_every_pair(height: int, width: int) -> None:
    spikes, weights = _case(1, height, width)
    every = _pairs(spikes, weights)
    taps = tap_counts(spikes.sum(0), (3, 3))
    assert np.array_equal(taps, every[0])
    (layer,) = layer_table([("a", weights.shape, (height, width))])
    want = [int(every[weights == v].sum()) for v in (-1, 0, 1)]
    assert reads_by_level(layer, taps.ravel(), weights.ravel(), 2).tolist() == want


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (4, 2, 0), (5, 1, 0), (2, 3, 1), (6, 2, 2)]
)
def test_taps_and_macs_of_moved_kernels_equal_brute_force(kernel: int, stride: int, padding: int) -> None:
    rng, window = np.random.default_rng(2), Window(stride, padding)
    spikes = (rng.random((6, 3, 7, 8)) < 0.3).astype(np.int64)
    weights = np.ones((4, 3, kernel, kernel), np.int8)
    taps = tap_counts(spikes.sum(0), (kernel, kernel), window)
    assert np.array_equal(taps, _pairs(spikes, weights, stride, padding)[0])
    (layer,) = layer_table([("a", weights.shape, (7, 8))], [window])
    every = _pairs(np.ones((1, 3, 7, 8), int), weights, stride, padding)
    assert (layer.macs, layer.inputs) == (every.sum(), 168)


def test_a_kernel_larger_than_the_image_is_refused() -> None:
    with pytest.raises(BadInput, match="the kernel of part 2 of 2 leaves nothing of images of 6x6 pixels"):
        Topology.parse("4M-8k5p0-F", (1, 6, 6), 10)


def test_taps_stay_exact_where_float32_would_not() -> None:
    counts = np.full((1, 3, 3), 2**24 + 1, np.int64)
    assert tap_counts(counts, (3, 3))[0, 1, 1] == 9 * (2**24 + 1)


@pytest.mark.parametrize(("height", "width"), [(5, 4), (1, 1), (2, 7)])
def test_macs_are_the_pairs_when_every_spike_is_present(height: int, width: int) -> None:
    spikes, weights = np.ones((1, 3, height, width), np.int64), np.ones((4, 3, 3, 3), np.int8)
    (layer,) = layer_table([("a", weights.shape, (height, width))])
    assert layer.macs == _pairs(spikes, weights).sum()


def test_aor_is_one_with_every_spike_at_one_step_and_no_zero_weight() -> None:
    (layer,) = layer_table([("a", (4, 3, 3, 3), (5, 5))])
    taps = tap_counts(np.full((3, 5, 5), 7), (3, 3)).ravel()
    ones = np.ones(layer.size, np.int8)
    both = {"spikes_in": np.array([7 * 75]), "spikes_out": np.array([350])}
    rates = activity([layer], ones, taps=taps, samples=7, bits=2, **both)
    assert (rates.aor[0], rates.rate_in[0], rates.rate_out[0], rates.sparsity[0]) == (1.0, 1.0, 0.5, 0.0)


def test_vgg6_is_the_recommended_one() -> None:
    layers = Topology.parse("vgg6", (3, 32, 32), 10).layers()
    assert Topology.parse("vgg6", (3, 32, 32), 10).text == "64-64M-128-128M-256-256-A"
    assert sum(layer.size for layer in layers) == 1_142_784
    padded = [layer.size * layer.neurons // layer.shape[0] / 1e6 for layer in layers]
    assert [round(macs, 2) for macs in padded] == [37.75, 18.87, 37.75, 18.87, 37.75]
    assert all(0.8 < layer.macs / 1e6 / macs < 1 for layer, macs in zip(layers, padded, strict=True))


def test_offsets_follow_each_other_and_pooling_halves() -> None:
    topology = Topology.parse("2-3M-5-F", (1, 8, 6), 4)
    one, two = topology.layers()
    assert (one.shape, two.shape) == ((3, 2, 3, 3), (5, 3, 3, 3))
    assert (two.offset, two.taps_offset) == (54, 18)
    assert (two.inputs, two.neurons, topology.features) == (3 * 12, 5 * 12, 60)


@pytest.mark.parametrize(("name", "convolutions", "weights", "features"), [
    # weights by hand: 9 x (c_in x c_out of the convolutions after the encoder) + linear layers before the last
    ("vgg8", 6, 9 * (128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512) + 8192 * 1024, 1024),
    ("vgg9", 7, 9 * (64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 2 * 256 * 256) + 4096 * 1024, 1024),
    ("vgg16", 13, 9 * (64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 5 * 512**2), 512),
])  # fmt: skip
def test_named_networks_have_their_weights(name: str, convolutions: int, weights: int, features: int) -> None:
    topology = Topology.parse(name, (3, 32, 32), 10)
    assert sum(not block.linear for block in topology.blocks) == convolutions
    assert (sum(x.size for x in topology.layers()), topology.features) == (weights, features)


def test_a_linear_layer_is_a_convolution_of_one_place() -> None:
    one, two, three = Topology.parse("2-3M-F-L7-L5", (1, 8, 6), 4).layers()
    assert (two.name, two.shape, three.shape) == ("fc3", (7, 3 * 12, 1, 1), (5, 7, 1, 1))
    assert (two.macs, two.inputs, two.neurons, two.taps) == (252, 36, 7, 36)
    assert (two.offset, two.taps_offset) == (one.size, one.taps)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "32",
        "32-x",
        "32-0",
        "32-32MM",
        "8M-8M-8M-8M",
        "8-A",
        "8-A-8",
        "8-8-A-L9",
        "8-L9",
        "8-8-F-L9M",
        "vgg7",
    ],
)
def test_a_bad_notation_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="network"):
        Topology.parse(text, (1, 8, 8), 10)


def test_levels_of_two_three_and_four_bits() -> None:
    assert [top_level(bits) for bits in (2, 3, 4, 8)] == [1, 3, 7, 127]
    with pytest.raises(BadInput, match="bits=1"):
        top_level(1)
