"""State dicts of plain PyTorch, and levels for their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from quest_lab.errors import BadInput
from quest_lab.imports.assemble import Images, Timing
from quest_lab.imports.quantise import best_alpha, quantise, to_levels
from quest_lab.imports.state_dict import from_state_dict
from quest_lab.network import Network
from quest_lab.neurons import Neuron

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
    net.append(nn.BatchNorm1d(10))
    path = _saved(tmp_path, ".npz", net)
    with pytest.raises(BadInput, match=r"6\.bias, .*6\.running_mean.*fold a batch norm before"):
        _imported(path)
    assert _imported(path, **NAMES).topology.text == TEXT


def test_too_few_layers_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"4 weight tensors \(0, 1, 4, 5\), but the network has 3 layers"):
        _imported(_saved(tmp_path, ".pt", _net()), "4-6M-F")


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(BadInput, match="theta=0: want a finite threshold above 0"):
        Timing(theta=0)


def test_only_tensors_are_unpickled(tmp_path: Path) -> None:
    torch.save(_net(), tmp_path / "net.pt")
    with pytest.raises(BadInput, match=r"not a readable \.pt file"):
        _imported(tmp_path / "net.pt")


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
