"""Integer inference: against a loop over every neuron, round trips, bad files."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest

from quest_lab import network as net
from quest_lab.convolution import max_pool
from quest_lab.errors import BadInput
from quest_lab.layers import FP32, Topology
from quest_lab.neurons import Neuron, integer_limit


def make(
    bits: int = 2,
    text: str = "3-4M-5-F",
    seed: int = 0,
    size: tuple[int, int] = (6, 6),
    neuron: str = "if-hard",
    encoding: str = "direct",
) -> net.Network:
    rng = np.random.default_rng(seed)
    topology = Topology.parse(text, (2, *size), 3)
    top = 2 ** (bits - 1) - 1
    pools = [block.pool for block in topology.blocks[1:]]
    layers = tuple(
        net.Layer(info, rng.integers(-top, top + 1, info.shape).astype(np.int8), 0.31 + 0.1 * i, pools[i])
        for i, info in enumerate(topology.layers())
    )
    floats = lambda *shape: rng.normal(0, 0.5, shape).astype(np.float32)  # noqa: E731 - shorthand
    return net.Network(
        topology=topology,
        bits=bits,
        time_steps=3,
        theta=0.5,
        encoder_weight=floats(*topology.encoder_shape),
        encoder_bias=floats(topology.blocks[0].channels),
        layers=layers,
        head_weight=floats(3, topology.features),
        head_bias=floats(3),
        mean=np.array([0.4, 0.5], np.float32),
        std=np.array([0.2, 0.3], np.float32),
        dataset="made up",
        class_names=("a", "b", "c"),
        seed=seed,
        neuron=Neuron.parse(neuron),
        encoding=encoding,
    )


def as_fp32(network: net.Network) -> net.Network:
    """The same network with float weights instead of levels."""
    layers = tuple(replace(x, weights=0.1 * x.weights.astype(np.float32), alpha=1.0) for x in network.layers)
    return replace(network, bits=FP32, layers=layers)


def with_norm(network: net.Network) -> net.Network:
    """Batch norm in every layer."""
    rng = np.random.default_rng(4)
    gains = [np.stack([rng.uniform(0.05, 0.2, n), rng.normal(0, 0.1, n)]) for n in (4, 5)]
    layers = tuple(replace(x, norm=norm) for x, norm in zip(network.layers, gains, strict=True))
    return replace(network, layers=layers)


def images(count: int = 5, seed: int = 1, size: tuple[int, int] = (6, 6)) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 2, *size)).astype(np.float32)


def _by_hand(network: net.Network, layer: net.Layer, spikes: np.ndarray) -> np.ndarray:
    """One layer's spikes, neuron by neuron in Python integers, from spikes (T, N, c, h, w)."""
    steps, n, _, height, width = spikes.shape
    kernel, stride = layer.info.shape[2], layer.info.window.stride
    edge = kernel // 2 if layer.info.window.padding is None else layer.info.window.padding
    padded = np.pad(spikes.astype(int), ((0, 0), (0, 0), (0, 0), (edge, edge), (edge, edge)))
    height, width = ((size + 2 * edge - kernel) // stride + 1 for size in (height, width))
    out = np.zeros((steps, n, layer.info.shape[0], height, width), int)
    weights = layer.weights.astype(int)
    for image, c, y, x in np.ndindex(out.shape[1:]):
        top, left = y * stride, x * stride
        under = padded[:, image, :, top : top + kernel, left : left + kernel]
        bias = 0 if layer.bias is None else int(layer.bias[c])
        currents = [int((step * weights[c]).sum()) + bias for step in under]
        out[:, image, c, y, x] = _neuron(network, layer, currents, c)
    return out


def _neuron(network: net.Network, layer: net.Layer, currents: list[int], channel: int) -> list[bool]:
    """The equations of quest_lab.neurons in fractions."""
    top, neuron, theta = 2 ** (network.bits - 1) - 1, network.neuron, Fraction(network.theta)
    scale, u, k, spikes = Fraction(layer.alpha) / top, 0, 0, []
    for t, current in enumerate(currents):
        if neuron.history:
            h = sum(Fraction(currents[t - j], 2**j) for j in range(min(neuron.history, t + 1)))
            gain, offset = (scale, 0) if layer.norm is None else map(Fraction, layer.norm[:, channel])
            spikes.append((h if layer.norm is None else h * neuron.unit) * gain + offset > theta)
            continue
        if neuron.synapse:
            current = k = max(-top, min(top, round(Fraction(neuron.synapse) * k + current)))
        h = u + current
        spikes.append(h * scale > theta)
        kept = Fraction(neuron.leak) * h
        gone = theta / scale * (1 if neuron.delayed else Fraction(neuron.leak)) if neuron.soft else kept
        left = kept - spikes[-1] * gone
        u = max(-top, min(top, round(left)))
    return spikes


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("neuron", ["if-hard", "if-soft", "lif-hard", "lif-soft", "mfp-2", "mfp-3"])
def test_every_spike_equals_the_neuron_by_neuron_loop(bits: int, neuron: str) -> None:
    network = make(bits, neuron=neuron)
    encoded = network.encode(images(2))
    first, second = network.layer_spikes(encoded)
    assert np.array_equal(first, _by_hand(network, network.layers[0], encoded))
    pooled = first.reshape(*first.shape[:3], 3, 2, 3, 2).max((4, 6))
    assert np.array_equal(second, _by_hand(network, network.layers[1], pooled))
    assert 0 < second.mean() < 1


@pytest.mark.parametrize("neuron", ["if-soft", "lif-delayed@0.8984375", "cuba-soft@0.875,0.796875", "mfp-2"])
def test_every_spike_of_moved_kernels_and_biases_equals_the_loop(neuron: str, tmp_path: Path) -> None:
    """Also after a round trip through the file."""
    made = make(3, text="3k4s1p2-4k5s2p1-5k2s1p0-F", neuron=neuron)
    biases = [np.random.default_rng(7).integers(-3, 6, len(x.weights)).astype(np.int32) for x in made.layers]
    layers = tuple(replace(x, bias=bias) for x, bias in zip(made.layers, biases, strict=True))
    replace(made, layers=layers).save(tmp_path / "w.h5")
    network = net.Network.load(tmp_path / "w.h5")
    encoded = network.encode(images(2))
    first, second = network.layer_spikes(encoded)
    assert np.array_equal(first, _by_hand(network, network.layers[0], encoded))
    assert np.array_equal(second, _by_hand(network, network.layers[1], first))
    assert [x.neurons for x in network.infos] == [first[0, 0].size, second[0, 0].size]
    assert 0 < second.mean() < 1


def test_a_linear_layer_sums_every_place_in_the_order_of_channels_rows_columns() -> None:
    network = make(3, text="3-4M-F-L6")
    encoded = network.encode(images())
    first, second = network.layer_spikes(encoded)
    pooled = first.reshape(*first.shape[:3], 3, 2, 3, 2).max((4, 6))
    assert np.array_equal(second, _by_hand(network, network.layers[1], pooled.reshape(3, 5, 36, 1, 1)))
    taps = network.infer(images()).taps[network.infos[1].taps_slice]
    assert np.array_equal(taps, pooled.sum((0, 1)).ravel())


def test_batch_norm_folds_into_the_thresholds_of_memory_free_neurons() -> None:
    network = with_norm(make(3, neuron="mfp-2"))
    encoded = network.encode(images(2))
    assert network.integer
    assert np.array_equal(network.layer_spikes(encoded)[0], _by_hand(network, network.layers[0], encoded))


@pytest.mark.parametrize(("network", "message"), [
    (with_norm(make()), "w.h5: batch norm gives each channel its own scale"),
    (as_fp32(make()), "w.h5: an FP32 network has no levels"),
])  # fmt: skip
def test_a_network_that_computes_with_floats_is_refused_where_levels_are_needed(
    network: net.Network, message: str
) -> None:
    make().check_integer("w.h5")
    with pytest.raises(BadInput, match=message):
        network.check_integer("w.h5")


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_encoded_images_do_not_depend_on_chunks(encoding: str) -> None:
    network = make(encoding=encoding)
    one, many = network.infer(images(7), chunk=7), network.infer(images(7), chunk=2)
    for name in ("predictions", "spikes_in", "spikes_out", "taps", "encoding_spikes"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name
    assert one.encoding_spikes == network.present(images(7)).sum() > 0


def test_logits_are_the_linear_layer_of_the_last_spikes_summed_over_time() -> None:
    network = make()
    last = network.layer_spikes(network.encode(images()))[-1]
    steps = [s.reshape(5, -1) @ network.head_weight.T + network.head_bias for s in last]
    found = network.infer(images())
    np.testing.assert_allclose(found.logits, np.sum(steps, 0), rtol=1e-5, atol=1e-5)
    assert np.array_equal(found.predictions, np.argmax(np.sum(steps, 0), 1))


def test_the_average_head_is_the_mean_over_places() -> None:
    network = make(text="3-4M-5-A")
    last = network.layer_spikes(network.encode(images()))[-1]
    want = last.mean((3, 4)).sum(0) @ network.head_weight.T + 3 * network.head_bias
    np.testing.assert_allclose(network.infer(images()).logits, want, rtol=1e-5, atol=1e-5)


def test_counts_do_not_depend_on_chunks() -> None:
    one, many = make().infer(images(7), chunk=7), make().infer(images(7), chunk=2)
    for name in ("predictions", "spikes_in", "spikes_out", "taps"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name


def test_spike_and_tap_counts_are_those_of_the_spikes() -> None:
    network = make()
    encoded = network.encode(images())
    first, second = network.layer_spikes(encoded)
    found = network.infer(images())
    pooled = first.reshape(*first.shape[:3], 3, 2, 3, 2).max((4, 6))
    assert found.spikes_in.tolist() == [encoded.sum(), pooled.sum()]
    assert found.spikes_out.tolist() == [first.sum(), second.sum()]
    # the middle tap meets every spike
    centre = found.taps[network.infos[0].taps_slice].reshape(3, 3, 3)[:, 1, 1]
    assert np.array_equal(centre, encoded.sum((0, 1, 3, 4)))


@pytest.mark.parametrize(("theta", "alpha", "bits", "want"), [
    (0.5, 0.5, 2, 2),  # scale 0.5: H = 0.5 does not exceed theta, 1.0 does
    (0.5, 0.4, 2, 2),
    (0.5, 0.6, 2, 1),
    (0.5, 0.75, 3, 3),  # scale 0.25: a tie at 2
    (1.0, 0.875, 4, 9),  # scale 0.125: a tie at 8
])  # fmt: skip
def test_the_threshold_excludes_ties(theta: float, alpha: float, bits: int, want: int) -> None:
    assert integer_limit(theta, alpha, bits) + 1 == want


def test_whole_read_back_weights_give_the_integer_network() -> None:
    network = make(3)
    analogue = network.with_weights(network.levels.astype(float))
    one, other = network.infer(images()), analogue.infer(images())
    assert np.array_equal(one.logits, other.logits)
    assert np.array_equal(one.taps, other.taps)


def test_small_read_back_errors_change_little_and_large_ones_much() -> None:
    network, rng = make(3), np.random.default_rng(0)
    noise = rng.normal(size=network.levels.size)
    spikes = [
        network.with_weights(network.levels + size * noise).layer_spikes(network.encode(images()))[0]
        for size in (0.0, 1e-9, 1.0)
    ]
    assert np.mean(spikes[0] != spikes[1]) < 0.02
    assert np.mean(spikes[0] != spikes[2]) > 0.05


def test_other_levels_round_trip_in_schedule_order() -> None:
    network = make(3)
    flat = np.random.default_rng(9).integers(-3, 4, network.levels.size).astype(np.int8)
    changed = network.with_levels(flat)
    assert np.array_equal(changed.levels, flat)
    assert np.array_equal(changed.layers[1].weights.ravel(), flat[network.infos[1].weights_slice])


@pytest.mark.parametrize("flat", [np.zeros(3, np.int8), np.full(288, 2, np.int8), np.zeros(288)])
def test_levels_of_another_network_or_width_are_refused(flat: np.ndarray) -> None:
    with pytest.raises(BadInput):
        make().with_levels(flat)


def test_read_back_weights_must_be_finite_and_are_not_levels() -> None:
    network = make()
    weights = np.zeros(network.levels.size)
    with pytest.raises(BadInput, match="analogue"):
        _ = network.with_weights(weights).levels
    weights[3] = np.nan
    with pytest.raises(BadInput, match="1 of 288 are not finite"):
        network.with_weights(weights)


def test_bytes_and_floats_of_the_same_image_agree() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (4, 2, 6, 6)).astype(np.uint8)
    network = make()
    assert np.array_equal(network.encode(pixels), network.encode(pixels.astype(np.float32) / np.float32(255)))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(BadInput, match=r"want \(N, \*\(2, 6, 6\)\)"):
        make().infer(np.zeros((2, 2, 5, 6), np.float32))


def test_an_odd_size_drops_its_last_row_when_pooled() -> None:
    assert max_pool(np.arange(25.0).reshape(1, 5, 5, 1)).ravel().tolist() == [6, 8, 16, 18]


@pytest.mark.parametrize(
    "network",
    [make(4, neuron="lif-soft", encoding="rate"), with_norm(make(neuron="mfp-3")), as_fp32(make())],
    ids=["levels", "norm", "fp32"],
)
def test_save_and_load_give_the_same_network(tmp_path: Path, network: net.Network) -> None:
    network.save(tmp_path / "w.h5")
    back = net.Network.load(tmp_path / "w.h5")
    assert np.array_equal(back.infer(images()).logits, network.infer(images()).logits)
    for one, other in zip(back.layers, network.layers, strict=True):
        assert np.array_equal(one.weights, other.weights)
    kept = ("topology", "bits", "time_steps", "theta", "dataset", "class_names", "seed", "neuron", "encoding")
    for name in kept:
        assert getattr(back, name) == getattr(network, name), name


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    make().save(tmp_path / "w.h5")
    with pytest.raises(BadInput, match="exists already"):
        make().save(tmp_path / "w.h5")
    make(seed=3).save(tmp_path / "w.h5", overwrite=True)
    assert net.Network.load(tmp_path / "w.h5").seed == 3


def _spoil(path: Path, what: str) -> None:
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:900])
        return
    with h5py.File(path, "r+") as file:
        if what in ("format", "version", "neuron", "encoding"):
            file.attrs[what] = 7
        elif what == "missing":
            del file["head_bias"]
        elif what == "level":
            file["levels/conv2"][0, 0, 0, 0] = 2
        elif what == "norm":
            file["norm/conv2"] = np.zeros((2, 4))
        elif what == "alpha":
            file["levels/conv2"].attrs["alpha"] = -1.0
        elif what == "shape":
            file.attrs["network"] = "3-7M-5-F"
        elif what == "nan":
            file["encoder_bias"][0] = np.nan


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", "truncated"),
        ("format", "not a weights file"),
        ("version", "version=7"),
        ("neuron", "neuron="),
        ("encoding", "encoding="),
        ("norm", "norm/conv2: want finite float64"),
        ("missing", "head_bias missing"),
        ("level", r"levels/conv2: want int8 levels in -1\.\.1"),
        ("alpha", "alpha=-1.0"),
        ("shape", r"levels/conv2 has shape"),
        ("nan", "encoder_bias: not all"),
    ],
)
def test_a_spoilt_file_is_refused_by_name_and_key(tmp_path: Path, what: str, message: str) -> None:
    path = tmp_path / "w.h5"
    make().save(path)
    _spoil(path, what)
    with pytest.raises(BadInput, match=message) as caught:
        net.Network.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        net.Network.load(tmp_path / "none.h5")


def test_accuracy_is_the_share_of_right_labels() -> None:
    network = make()
    labels = network.infer(images(8)).predictions.copy()
    labels[:2] = (labels[:2] + 1) % 3
    assert network.accuracy(images(8), labels) == 0.75


def test_a_network_is_never_changed_in_place() -> None:
    network = make()
    before = network.levels
    network.with_levels(np.zeros_like(before))
    assert np.array_equal(network.levels, before)
    assert replace(network, seed=5).seed == 5
