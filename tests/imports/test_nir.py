"""NIR graphs that four libraries wrote: the spikes are those the libraries fired themselves (peers/make_files.py)."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from quest_lab.convolution import sum_floats, to_first, to_last
from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images
from quest_lab.imports.nir_file import Node
from quest_lab.imports.nir_network import from_nir
from quest_lab.network import Network

PEERS = Path(__file__).parent / "peers"
DIGITS = Images("digits", (1, 8, 8), tuple("0123456789"))
WRITTEN = {
    "snntorch": "lif-hard",
    "norse": "lif-hard",
    "spikingjelly": "lif-hard",
    "sinabs": "if-soft",
    "snntorch-lenet": "lif-delayed",
    "norse-lenet": None,
    "spikingjelly-lenet": None,
    "sinabs-lenet": "lif-soft",
    "snntorch-cuba": "cuba-delayed",
    "norse-cuba": None,
    "spikingjelly-cuba": None,
}


def _of(name: str) -> Network:
    library = name.partition("-")[0]
    return from_nir(PEERS / f"{name}.nir", DIGITS, time_steps=6, written_by=library, neuron=WRITTEN[name])


@pytest.mark.parametrize("name", WRITTEN)
def test_every_spike_is_the_one_the_library_fired(name: str) -> None:
    """No spike of thousands differs; outputs agree to a few float32 roundings of their sums."""
    network, theirs = _of(name), np.load(PEERS / f"{name}.npz")
    encoded = network.encode(theirs["images"])
    ours = [encoded, *network.layer_spikes(encoded)]
    assert len(ours) == sum(name.startswith("spikes") for name in theirs)
    for i, spikes in enumerate(ours):
        want = theirs[f"spikes{i}"]
        assert np.array_equal(spikes.reshape(want.shape), want)
        assert 0.1 < want.mean() < 0.7
    assert network.propagate(encoded).logits == pytest.approx(theirs["logits"], abs=1e-4)


def _graph(*nodes: Any) -> nir.NIRGraph:
    """Nodes on 6 inputs, in a row."""
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    ends = nir.Input(np.array([6])), nir.Output(np.array([2]))
    every = dict(zip(names, (ends[0], *nodes, ends[1]), strict=True))
    return nir.NIRGraph(every, list(pairwise(names)), type_check=False)


def _neurons(n: int, **other: Any) -> nir.LIF:
    """snnTorch's neurons with beta = 1/2, threshold 1."""
    same = {"tau": 2e-4, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | other
    return nir.LIF(**{name: np.full(n, value) for name, value in same.items()})


def _linear(outputs: int, inputs: int, seed: int = 0) -> nir.Linear:
    return nir.Linear(np.random.default_rng(seed).normal(0.4, 1, (outputs, inputs)).astype(np.float32))


SIX = Images("six pixels", (6, 1, 1), ("a", "b"))
PLAIN = (_linear(5, 6), _neurons(5), _linear(4, 5, 1), _neurons(4), _linear(2, 4, 2))


def _imported(folder: Path, *nodes: Any, **options: Any) -> Network:
    nir.write(folder / "net.nir", _graph(*nodes))
    return from_nir(folder / "net.nir", SIX, **options)


def _spikes(network: Network) -> Any:
    encoded = network.encode(np.random.default_rng(3).random((50, 6, 1, 1)).astype(np.float32))
    return network.layer_spikes(encoded)[0]


def test_a_threshold_and_a_scale_fold_into_the_weights(tmp_path: Path) -> None:
    """Weights times two, a scale of one half, threshold and current times three: the same spikes."""
    plain = _imported(tmp_path, *PLAIN)
    double = nir.Linear(2 * PLAIN[2].weight)
    rest = nir.Scale(np.full(4, 0.5)), _neurons(4, v_threshold=3.0, r=6.0), PLAIN[4]
    scaled = _imported(tmp_path, *PLAIN[:2], double, *rest)
    assert np.array_equal(_spikes(scaled), _spikes(plain))
    assert 0.1 < _spikes(plain).mean() < 0.9


def test_spikes_scaled_before_a_layer_are_its_weights_scaled(tmp_path: Path) -> None:
    factors = np.array([1, 2, 3, 4, 5], np.float32)
    network = _imported(tmp_path, *PLAIN[:2], nir.Scale(factors), *PLAIN[2:])
    assert network.layers[0].weights[:, :, 0, 0] == pytest.approx(PLAIN[2].weight * factors)


def test_an_infinite_tau_is_a_membrane_without_leak(tmp_path: Path) -> None:
    """snnTorch writes beta = 1 as tau = R = inf."""
    endless = {"tau": np.inf, "r": np.inf}
    network = _imported(
        tmp_path, PLAIN[0], _neurons(5, **endless), PLAIN[2], _neurons(4, **endless), PLAIN[4]
    )
    assert str(network.neuron) == "if-hard"
    assert np.array_equal(network.layers[0].weights[:, :, 0, 0], PLAIN[2].weight)


def test_a_rest_that_membranes_are_reset_to_is_zero(tmp_path: Path) -> None:
    low = {"v_leak": -0.75, "v_reset": -0.75, "v_threshold": 0.25}
    shifted = _imported(tmp_path, PLAIN[0], _neurons(5, **low), PLAIN[2], _neurons(4, **low), PLAIN[4])
    assert np.array_equal(_spikes(shifted), _spikes(_imported(tmp_path, *PLAIN)))


def test_each_layer_keeps_its_leak(tmp_path: Path) -> None:
    endless = {"tau": np.inf, "r": np.inf}
    network = _imported(tmp_path, *PLAIN[:3], _neurons(4, **endless), PLAIN[4])
    assert [str(network.neuron), str(network.layers[0].neuron)] == ["lif-hard", "if-hard"]


CONVOLUTIONS = {
    "stride, padding": {"kernel": 5, "stride": 2, "padding": 1},
    "groups": {"kernel": 3, "stride": 1, "padding": 1, "groups": 2},
    "dilation": {"kernel": 3, "stride": 1, "padding": 0, "dilation": 2},
    "an even kernel": {"kernel": 2, "stride": 2, "padding": 0},
    "same": {"kernel": 4, "stride": 1, "padding": "same"},
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_sums_what_torchs_does(case: str) -> None:
    given = {"dilation": 1, "groups": 1} | CONVOLUTIONS[case]
    rng, kernel = np.random.default_rng(0), given.pop("kernel")
    weight = rng.normal(size=(6, 4 // given["groups"], kernel, kernel)).astype(np.float32)
    x = rng.normal(size=(2, 4, 9, 8)).astype(np.float32)
    node = nir.Conv2d((9, 8), weight, bias=np.zeros(6), **given)
    found, window = Node("n", "Conv2d", node).convolution()
    ours = to_first(sum_floats(to_last(x), found, np.zeros(6, np.float32), window))
    with warnings.catch_warnings():  # torch says that an even kernel with padding 'same' copies its input
        warnings.simplefilter("ignore")
        want = F.conv2d(torch.from_numpy(x), torch.from_numpy(weight), **given)
    assert ours == pytest.approx(want.numpy(), abs=1e-5)


@pytest.mark.parametrize(("pool", "factor"), [(nir.SumPool2d, 4), (nir.AvgPool2d, 1)])
def test_currents_that_are_pooled_bring_their_bias(tmp_path: Path, pool: Any, factor: int) -> None:
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(3, 1, 3, 3)).astype(np.float32), np.array([0.5, -0.25, 1], np.float32)
    fire, two = nir.IF(np.full((3, 3, 2), 1e4), np.ones((3, 3, 2))), np.array([2, 2])
    nodes = (
        nir.Conv2d((6, 4), weight, 1, 1, 1, 1, bias),
        pool(two, two, 0 * two),
        fire,
        nir.Flatten({"input": np.array([3, 3, 2])}, 0, -1),
    )
    graph = _graph(*nodes, _linear(4, 18), nir.IF(np.full(4, 1e4), np.ones(4)), _linear(2, 4))
    graph.nodes["input"] = nir.Input(np.array([1, 6, 4]))
    nir.write(tmp_path / "net.nir", graph)
    network = from_nir(tmp_path / "net.nir", replace(SIX, shape=(1, 6, 4)), time_steps=1)
    x = torch.from_numpy(rng.random((20, 1, 6, 4)).astype(np.float32))
    current = F.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias), padding=1)
    want = F.avg_pool2d(current, 2) * factor > 1
    assert np.array_equal(network.encode(x.numpy())[0], want.numpy())
    assert 0.1 < want.float().mean() < 0.9


def test_a_network_that_ends_in_its_convolution_is_refused(tmp_path: Path) -> None:
    node = nir.Conv2d((6, 1), np.ones((4, 1, 3, 3)), 1, 1, 1, 1, np.zeros(4))
    graph = _graph(node, nir.IF(np.full((4, 6, 1), 1e4), np.ones((4, 6, 1))))
    graph.nodes["input"] = nir.Input(np.array([1, 6, 1]))
    nir.write(tmp_path / "net.nir", graph)
    with pytest.raises(BadInput, match=r"ends in shape \(4, 6, 1\); want the currents or spikes of a linear"):
        from_nir(tmp_path / "net.nir", SIX)


MIXED = nir.LIF(np.array([2e-4, 2e-4, 4e-4, 4e-4]), np.ones(4), np.zeros(4), np.ones(4))
REFUSED = {
    "no leak that is one": (3, _neurons(4, tau=5e-5), r"'n3' \(LIF\): tau: a step leaves -1 of the membrane"),
    "a rest": (3, _neurons(4, v_reset=-1.0), r"'n3' \(LIF\): v_reset=-1, v_leak=0: want both alike"),
    "two leaks": (3, MIXED, r"'n3' \(LIF\): tau: leaks from 0\.5 to 0\.75; want one leak"),
    "no neurons": (1, nir.Scale(np.ones(5)), r"'n2' \(Linear\): follows 'n0' without neurons"),
    "a readout": (4, nir.LI(*(np.ones(4) for _ in range(3))), r"'n4' \(LI\): a leaky readout"),
    "no threshold": (1, _neurons(5, v_threshold=0.0), r"'n1' \(LIF\): v_threshold=0"),
    "other inputs": (2, _linear(4, 7), r"'n2' \(Linear\): takes 7 inputs, but 5 arrive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cells_cannot_do_is_refused_by_node_and_reason(tmp_path: Path, case: str) -> None:
    at, node, message = REFUSED[case]
    with pytest.raises(BadInput, match=message):
        _imported(tmp_path, *PLAIN[:at], node, *PLAIN[at + 1 :])


def test_a_loop_is_refused(tmp_path: Path) -> None:
    graph = _graph(*PLAIN)
    graph.edges.append(("n3", "n2"))
    nir.write(tmp_path / "net.nir", graph)
    with pytest.raises(BadInput, match=r"'n3' \(LIF\): leads to 2 nodes"):
        from_nir(tmp_path / "net.nir", SIX)


@pytest.mark.parametrize(("asked", "message"), [
    ("lif-soft", "snntorch takes the threshold off one step later, after the leak: say --neuron lif-delayed"),
    (None, "NIR cannot say which reset it was: say --neuron lif-delayed, or lif-hard"),
    ("if-hard", r"the file's are lif-hard, lif-hard, lif-hard; want lif-hard or lif-delayed"),
    ("lif-hard@0.9", r"the file's are lif-hard, lif-hard, lif-hard; want"),
])  # fmt: skip
def test_a_reset_that_the_file_cannot_mean_is_refused(asked: str | None, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_nir(PEERS / "snntorch.nir", DIGITS, written_by="snntorch", neuron=asked)


def test_a_reset_that_clears_a_synapse_is_refused() -> None:
    with pytest.raises(BadInput, match="snntorch's reset to zero clears the synapse too; want cuba-delayed"):
        from_nir(PEERS / "snntorch-cuba.nir", DIGITS, written_by="snntorch", neuron="cuba-hard")


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(
        BadInput, match=r"takes inputs of shape \(64,\), but images of 'digits' are \(1, 9, 9\)"
    ):
        from_nir(PEERS / "norse.nir", replace(DIGITS, shape=(1, 9, 9)), written_by="norse")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_bytes(b"no HDF5")
    with pytest.raises(BadInput, match="not a NIR file"):
        from_nir(tmp_path / "net.nir", DIGITS)
