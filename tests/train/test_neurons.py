"""The neurons of the training graph: spikes worked by hand, gradients against torch's own differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quest_lab.neurons import Neuron
from quest_lab.train import neurons as functions
from quest_lab.train.neurons import fire_float, fire_memory_free, fire_quantised, mix

MEMBRANES = ("if-hard", "if-soft", "lif-hard", "lif-soft")
STEPS = 5


@pytest.fixture(params=["kernels", "torch"])
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways through the loops over time: the CPU's kernels, and the torch operations of other devices."""
    monkeypatch.setattr(functions, "KERNEL_DEVICE", "cpu" if request.param == "kernels" else "none")


def _column(*currents: float) -> torch.Tensor:
    return torch.tensor(currents, dtype=torch.float32)[:, None]


@pytest.mark.parametrize(("bits", "alpha", "currents", "want"), [
    # scale 0.5, theta 0.5: h = 1 is a tie, stays; then 1 + 1 = 2 fires and resets; then 1 does not
    (2, 0.5, [1, 1, 1, 1], [0, 1, 0, 1]),
    # h = 3 fires; -5 is kept as -1 (clamped), so +2 gives 1: a tie, kept; +1 gives 2: fires
    (2, 0.5, [3, -5, 2, 1], [1, 0, 0, 1]),
    # scale 0.1: fires from 6; 5 is kept as 3 (clamped), so 2 more is not enough, 3 more is
    (3, 0.3, [5, 2, 3, 5], [0, 0, 1, 0]),
    # scale 0.1, seven levels: 5 is kept whole, and 5 + 1 fires
    (4, 0.7, [5, 1, 5, 0], [0, 1, 0, 0]),
])  # fmt: skip
def test_neurons_worked_by_hand(bits: int, alpha: float, currents: list[float], want: list[int]) -> None:
    spikes = fire_quantised(_column(*currents), torch.tensor(alpha, dtype=torch.float64), 0.5, bits)
    assert spikes.ravel().tolist() == want


def _surrogate(h: torch.Tensor, fired: torch.Tensor, theta: float) -> torch.Tensor:
    """Value `fired`, gradient of the triangle: its integral has the slope max(0, 1 - |h - theta|)."""
    d = torch.clamp(h - theta, -1.0, 1.0)
    soft = d - torch.sign(d) * d**2 / 2
    return fired + soft - soft.detach()


def _left(h: torch.Tensor, fired: torch.Tensor, neuron: Neuron, theta: float) -> torch.Tensor:
    return neuron.leak * (h - fired * theta if neuron.soft else h * (1 - fired))


def _graph(current: torch.Tensor, alpha: torch.Tensor, bits: int, neuron: Neuron) -> torch.Tensor:
    """The quantised neurons in plain torch operations, as MINT's equations are written."""
    top = 2 ** (bits - 1) - 1
    u, out = torch.zeros_like(current[0]), []
    for i in current:
        h = u + i * alpha / top
        fired = (h.detach() > 0.5).double()
        out.append(_surrogate(h, fired, 0.5))
        x = _left(h, fired, neuron, 0.5) * top / alpha
        x = x + (
            torch.round(x.detach() * 2**30) / 2**30 - x.detach()
        )  # whole levels stay whole, clamps decide right
        x = torch.clamp(x, -top, top)
        u = (x + (torch.round(x) - x).detach()) * alpha / top
    return torch.stack(out)


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", MEMBRANES)
def test_spikes_and_gradients_are_those_of_the_equations(name: str, bits: int, whole: bool) -> None:
    rng, neuron, top = np.random.default_rng(bits), Neuron.parse(name), 2 ** (bits - 1) - 1
    counts, weight = rng.integers(-top - 1, 2 * top + 2, (STEPS, 50)), rng.normal(size=(STEPS, 50))
    counts = counts if whole else counts + rng.uniform(0.1, 0.4, counts.shape)
    current = torch.tensor(counts, requires_grad=True, dtype=torch.float64)
    alpha = torch.tensor(0.37, requires_grad=True, dtype=torch.float64)
    want = _graph(current, alpha, bits, neuron)
    (want * torch.tensor(weight)).sum().backward()
    single = torch.tensor(counts, requires_grad=True, dtype=torch.float32)
    scale = torch.tensor(0.37, requires_grad=True)
    spikes = fire_quantised(single, scale, 0.5, bits, neuron, whole=whole)
    (spikes * torch.tensor(weight, dtype=torch.float32)).sum().backward()
    assert torch.equal(spikes.double(), want.detach().round())
    assert single.grad is not None
    assert current.grad is not None
    np.testing.assert_allclose(single.grad.numpy(), current.grad.numpy(), atol=1e-5)
    assert scale.grad is not None
    assert alpha.grad is not None
    assert scale.grad.item() == pytest.approx(alpha.grad.item(), rel=1e-4, abs=1e-4)


@pytest.mark.usefixtures("_backend")
@pytest.mark.parametrize("rows", [1, STEPS])
@pytest.mark.parametrize("name", MEMBRANES)
def test_fp32_spikes_and_gradients_are_those_of_the_equations(name: str, rows: int) -> None:
    rng, neuron = np.random.default_rng(0), Neuron.parse(name)
    start, weight = rng.normal(0.2, 0.3, (rows, 60)), torch.tensor(rng.normal(size=(STEPS, 60)))
    current = torch.tensor(start, requires_grad=True)
    u, out = torch.zeros_like(current[0]), []
    for t in range(STEPS):
        h = u + current[min(t, rows - 1)]
        fired = (h.detach() > 0.5).double()
        out.append(_surrogate(h, fired, 0.5))
        u = _left(h, fired, neuron, 0.5)
    want = torch.stack(out)
    (want * weight).sum().backward()
    single = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    spikes = fire_float(single, 0.5, STEPS, neuron)
    (spikes * weight.float()).sum().backward()
    assert torch.equal(spikes.double(), want.detach().round())
    assert single.grad is not None
    assert current.grad is not None
    np.testing.assert_allclose(single.grad.numpy(), current.grad.numpy(), atol=1e-5)


def test_memory_free_neurons_sum_the_last_currents_halved_step_by_step() -> None:
    neuron = Neuron.parse("mfp-3")
    current = torch.tensor([1.0, 2.0, 0.0, 4.0], requires_grad=True)
    total = mix(current, neuron, 4)
    assert total.tolist() == [4, 2 + 8, 1 + 4, 2 + 16]
    spikes = fire_memory_free(0.1 * total, (total > 5).float(), 0.5)
    spikes.sum().backward()
    # H = 0.4, 1.0, 0.5, 1.8: surrogate 0.9, 0.5, 1, 0; a current reaches three steps with 4, 2, 1 times 0.1
    assert spikes.tolist() == [0, 1, 0, 1]
    assert current.grad is not None
    np.testing.assert_allclose(current.grad.numpy(), [0.36 + 0.1 + 0.1, 0.2 + 0.2, 0.4, 0.0], rtol=1e-5)


def test_more_neurons_than_one_block_are_all_computed() -> None:
    current = torch.full((2, 5000), 2.0)
    assert fire_quantised(current, torch.tensor(0.5), 0.5, 2).sum().item() == 10_000
