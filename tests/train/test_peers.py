"""The unquantised integrate-and-fire neuron against other libraries' (installed by `make bench`, see Makefile)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quest_lab.neurons import IF_HARD, Neuron, fire
from quest_lab.train.neurons import fire_float

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

STEPS, THETA = 16, 0.5


def _currents() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0.1, 0.4, (STEPS, 20_000)).astype(np.float32))


def _spikingjelly(current: torch.Tensor, *, soft: bool) -> torch.Tensor:
    neurons = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neurons.IFNode(v_threshold=THETA, v_reset=None if soft else 0.0, step_mode="m")
    return node(current)


def _norse(current: torch.Tensor) -> torch.Tensor:
    iaf = pytest.importorskip("norse.torch.functional.iaf")
    state = iaf.IAFFeedForwardState(v=torch.zeros_like(current[0]))
    parameters, out = iaf.IAFParameters(v_th=torch.tensor(THETA)), []
    for step in current:
        spikes, state = iaf.iaf_feed_forward_step(step, state, parameters)
        out.append(spikes)
    return torch.stack(out)


def _snntorch(current: torch.Tensor, leak: float) -> torch.Tensor:
    snn = pytest.importorskip("snntorch")
    cell = snn.Leaky(beta=leak, threshold=THETA, reset_mechanism="zero", reset_delay=False)
    membrane, out = cell.init_leaky(), []
    for step in current:
        spikes, membrane = cell(step, membrane)
        out.append(spikes)
    return torch.stack(out)


def _ours(current: torch.Tensor, neuron: Neuron) -> torch.Tensor:
    """The training graph's spikes, which must be those of inference too."""
    spikes = fire_float(current, THETA, STEPS, neuron)
    inference = fire(current.numpy(), neuron, limit=THETA, charge=THETA, top=None, whole=False)
    assert np.array_equal(spikes.numpy(), inference)
    return spikes


def test_hard_reset_spikes_are_spikingjellys_and_norses() -> None:
    current = _currents()
    ours = _ours(current, IF_HARD)
    assert torch.equal(ours, _spikingjelly(current, soft=False))
    assert torch.equal(ours, _norse(current))
    assert 0.1 < ours.mean() < 0.5


def test_soft_reset_spikes_are_spikingjellys() -> None:
    assert torch.equal(_ours(_currents(), Neuron(soft=True)), _spikingjelly(_currents(), soft=True))


@pytest.mark.parametrize("leak", [1.0, 0.5])
def test_hard_reset_spikes_are_snntorchs_with_and_without_leak(leak: float) -> None:
    """Its soft reset subtracts again at the next step from what is still above the threshold: another neuron."""
    assert torch.equal(_ours(_currents(), Neuron(leak=leak)), _snntorch(_currents(), leak))
