"""State dicts of plain PyTorch, and levels for their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing, Weights, assemble
from quest_lab.imports.nir_network import from_nir
from quest_lab.imports.quantise import best_alpha, quantise, to_levels
from quest_lab.imports.state_dict import from_state_dict
from quest_lab.layers import Topology
from quest_lab.network import Network
from quest_lab.neurons import Neuron

PEERS = Path(__file__).parent / "peers"
DIGITS = Images("digits", (1, 8, 8), tuple("0123456789"), mean=(0.3,), std=(0.4,))
TEXT = "4-6M-F-L12"
NAMES = {"conv1": "0", "conv2": "1", "fc3": "4", "head": "5"}


def _net() -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(96, 12, bias=False), nn.Linear(12, 10),
    )  # fmt: skip


def _imported(path: Path, network: str = TEXT, **names: str) -> Network:
    return from_state_dict(
        path, network, DIGITS, Timing(3, Neuron.parse("lif-soft"), 0.4), names=names or None
    )


def _saved(folder: Path, suffix: str, net: nn.Module) -> Path:
    path, state = folder / f"net{suffix}", net.state_dict()
    arrays = {name: value.numpy() for name, value in state.items()}
    if suffix == ".pt":
        torch.save(state, path)
    elif suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    return path


def _fire(current: torch.Tensor) -> torch.Tensor:
    """Spikes (T, ...) of LIF neurons, leak 1/2, soft reset at 0.4, from currents (T, ...)."""
    membrane, fired = torch.zeros_like(current[0]), []
    for step in current:
        membrane = membrane + step
        fired.append((membrane > 0.4).float())
        membrane = 0.5 * (membrane - 0.4 * fired[-1])
    return torch.stack(fired)


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_its_spiking_network_computes_what_torch_does(tmp_path: Path, suffix: str) -> None:
    net = _net()
    names = NAMES if suffix == ".safetensors" else {}
    found = _imported(_saved(tmp_path, suffix, net), **names)
    images = np.random.default_rng(0).random((20, 1, 8, 8)).astype(np.float32)
    conv1, conv2, pool, flat, fc3, head = net
    with torch.no_grad():
        x = (torch.from_numpy(images) - 0.3) / 0.4
        spikes = _fire(conv1(x).expand(3, *[-1] * 4))
        spikes = torch.stack([pool(step) for step in _fire(torch.stack([conv2(step) for step in spikes]))])
        spikes = _fire(torch.stack([fc3(flat(step)) for step in spikes]))
        want = sum(head(step) for step in spikes)
    assert found.infer(images).logits == pytest.approx(want.numpy(), abs=1e-4)
    assert 0.05 < spikes.mean() < 0.95


def test_a_shape_that_does_not_fit_names_key_and_both_shapes(tmp_path: Path) -> None:
    path = _saved(tmp_path, ".pt", _net())
    with pytest.raises(
        BadInput, match=r"1: weight has shape \(6, 4, 3, 3\), want \(8, 4, 3, 3\) \(conv2 of 4-8M"
    ):
        _imported(path, "4-8M-F-L12")


def test_tensors_without_a_layer_are_named(tmp_path: Path) -> None:
    net = _net()
    net[2].register_buffer("beta", torch.tensor(0.9))
    path = _saved(tmp_path, ".npz", net)
    with pytest.raises(BadInput, match=r"2\.beta: no weights or biases .*said by --neuron and --theta"):
        _imported(path)
    assert _imported(path, **NAMES).topology.text == TEXT


def _normed() -> nn.Sequential:
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 5, stride=2), nn.BatchNorm2d(6),
        nn.Flatten(), nn.Linear(24, 10),
    )  # fmt: skip
    for norm in (net[1], net[3]):
        for values, low in (
            (norm.weight, 1),
            (norm.bias, 0),
            (norm.running_mean, -0.5),
            (norm.running_var, 0.1),
        ):
            nn.init.uniform_(values, low, low + 0.5)
    return net.eval()


@pytest.mark.parametrize("names", [{}, {"conv1": "0+1", "conv2": "2+3", "head": "5"}])
def test_batch_norms_fold_into_weights_and_biases(tmp_path: Path, names: dict[str, str]) -> None:
    net = _normed()
    found = _imported(_saved(tmp_path, ".pt", net), "4-6k5s2p0-F", **names)
    images = np.random.default_rng(0).random((20, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        spikes = _fire(net[:2]((torch.from_numpy(images) - 0.3) / 0.4).expand(3, *[-1] * 4))
        fired = _fire(torch.stack([net[2:4](step) for step in spikes]))
        want = sum(net[4:](step) for step in fired)
    assert found.infer(images).logits == pytest.approx(want.numpy(), abs=1e-4)
    assert 0.1 < fired.mean() < 0.9


def test_averages_are_taken_into_the_next_layer(tmp_path: Path) -> None:
    torch.manual_seed(6)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 12), nn.Linear(12, 10),
    )  # fmt: skip
    nn.init.normal_(net[5].weight)
    found = _imported(_saved(tmp_path, ".pt", net), "4V-6V-F-L12")
    assert found.topology.text == "4-6k6s2p2-F-L12"
    images = np.random.default_rng(0).random((20, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        spikes = _fire(net[0]((torch.from_numpy(images) - 0.3) / 0.4).expand(3, *[-1] * 4))
        spikes = _fire(torch.stack([net[1:3](step) for step in spikes]))
        spikes = _fire(torch.stack([net[3:6](step) for step in spikes]))
        want = sum(net[6](step) for step in spikes)
    assert found.infer(images).logits == pytest.approx(want.numpy(), abs=1e-4)
    assert 0.05 < spikes.mean() < 0.95


def test_an_average_before_another_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 10))
    with pytest.raises(BadInput, match="'4-6V-A': an average before the spatial average of A; want F"):
        _imported(_saved(tmp_path, ".pt", net), "4-6V-A")


def test_batch_norms_that_follow_no_layer_are_asked_for(tmp_path: Path) -> None:
    net = _normed()
    state = {f"{name}.{key}": x.numpy() for name, i in (("a", 0), ("b", 2), ("n", 1), ("m", 3), ("c", 5))
             for key, x in net[i].state_dict().items()}  # fmt: skip
    np.savez(tmp_path / "net.npz", **state)
    with pytest.raises(BadInput, match=r"m\.running_mean: no weights right before .* --map conv1=NAME\+NORM"):
        _imported(tmp_path / "net.npz", "4-6k5s2p0-F")


def test_too_few_layers_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"4 weight tensors \(0, 1, 4, 5\), but the network has 3 layers"):
        _imported(_saved(tmp_path, ".pt", _net()), "4-6M-F")


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(BadInput, match="theta=0: want a finite threshold above 0"):
        Timing(theta=0)


def test_only_tensors_are_unpickled(tmp_path: Path) -> None:
    torch.save(_net(), tmp_path / "net.pt")
    with pytest.raises(BadInput, match=r"not a readable \.pt file, or more than tensors: want torch\.save"):
        _imported(tmp_path / "net.pt")


def test_biases_leaks_and_membranes_get_their_own_levels(tmp_path: Path) -> None:
    net = from_nir(PEERS / "snntorch-lenet.nir", DIGITS, written_by="snntorch", neuron="lif-delayed")
    made = quantise(net, 3, membrane_bits=10).network
    made.save(tmp_path / "w.h5")
    again = Network.load(tmp_path / "w.h5")
    assert (str(again.neuron), again.membrane_bits) == ("lif-delayed@0.8984375", 10)
    assert [x.neuron.leak for x in again.layers if x.neuron] == [205 / 256, 243 / 256]
    for layer, found in zip(again.layers, net.layers, strict=True):
        assert found.bias is not None
        assert np.abs(layer.bias * layer.alpha / 3 - found.bias).max() <= layer.alpha / 6 * 1.001


@pytest.mark.parametrize(("bits", "fired"), [(2, 0), (6, 3)])
def test_wide_membranes_keep_what_narrow_ones_lose(bits: int, fired: int) -> None:
    """A current of 3 at each of 12 steps, threshold 9, levels of 3: a membrane of one level never gets there."""
    weights = [Weights(name, np.full((1, 1), w, np.float32)) for name, w in (("a", 9.5), ("b", 3), ("c", 1))]
    images = Images("one", (1, 1, 1), ("a",))
    found = assemble(Topology.parse("F-L1-L1", (1, 1, 1), 1), weights, Timing(12, theta=9), images, source="")
    network = quantise(found, 2, alpha=3, membrane_bits=bits).network
    assert network.infer(np.ones((1, 1, 1, 1))).logits.item() == fired


@pytest.mark.parametrize("bits", [2, 3])
def test_no_other_alpha_has_a_smaller_error(bits: int) -> None:
    weights = np.random.default_rng(bits).laplace(0, 0.3, 4000).astype(np.float32)
    top = 2 ** (bits - 1) - 1

    def error(alpha: float) -> float:
        nearest = np.abs(weights[:, None] - alpha / top * np.arange(-top, top + 1)).min(axis=1)
        return float((nearest**2).sum())

    best = min(error(alpha) for alpha in np.linspace(0.05, 3, 2000))
    assert error(best_alpha(weights, bits)) <= best * 1.0001


def test_levels_are_minTs(tmp_path: Path) -> None:
    assert to_levels(np.array([-2, -0.3, 0.2, 0.6, 9.0]), 1.0, 3).tolist() == [-3, -1, 1, 2, 3]
    made = quantise(_imported(_saved(tmp_path, ".pt", _net())), 2, alpha=0.2)
    made.network.save(tmp_path / "w.h5")
    assert np.array_equal(Network.load(tmp_path / "w.h5").levels, made.network.levels)
    assert made.network.integer
    assert made.layers[0].zeros == np.mean(made.network.layers[0].weights == 0)
