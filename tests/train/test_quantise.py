"""MINT's values worked by hand, and the neuron's gradients against torch's own differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from quest_lab.train.neurons import fire_float, fire_quantised
from quest_lab.train.quantise import initial_alpha, quantise_weights


def _weights(tanhs: list[float]) -> torch.Tensor:
    """Weights whose tanh is `tanhs`."""
    return torch.tensor([math.atanh(t) for t in tanhs], dtype=torch.float64)


@pytest.mark.parametrize(("bits", "tanhs", "want"), [
    # alpha 0.4: tanh(w) / alpha = -2, -0.6, -0.4, 0.1, 0.6, 1.5; levels -1, 0, 1
    (2, [-0.8, -0.24, -0.16, 0.04, 0.24, 0.6], [-1, -1, 0, 0, 1, 1]),
    # times 3: -3 (clamped), -1.8, -1.2, 0.3, 1.8, 3 (clamped)
    (3, [-0.8, -0.24, -0.16, 0.04, 0.24, 0.6], [-3, -2, -1, 0, 2, 3]),
    # times 7: -7 (clamped), -4.2, -2.8, 0.7, 4.2, 7 (clamped)
    (4, [-0.8, -0.24, -0.16, 0.04, 0.24, 0.6], [-7, -4, -3, 1, 4, 7]),
])  # fmt: skip
def test_levels_worked_by_hand(bits: int, tanhs: list[float], want: list[int]) -> None:
    assert quantise_weights(_weights(tanhs), torch.tensor(0.4), bits).tolist() == want


def test_gradient_passes_the_rounding_and_stops_at_the_clamp() -> None:
    weights, alpha = _weights([0.1, 0.8]).requires_grad_(), torch.tensor(0.4, requires_grad=True)
    quantise_weights(weights, alpha, 3).sum().backward()
    assert weights.grad is not None
    assert alpha.grad is not None
    # d(3 tanh(w) / alpha)/dw = 3 (1 - tanh^2) / alpha inside, 0 outside; /dalpha = -3 tanh(w) / alpha^2
    np.testing.assert_allclose(weights.grad.numpy(), [3 * 0.99 / 0.4, 0.0], rtol=1e-6)
    assert alpha.grad.item() == pytest.approx(-3 * 0.1 / 0.16, rel=1e-6)


def test_initial_alpha_is_twice_the_mean_over_the_root_of_the_top_level() -> None:
    weights = torch.tensor([-0.3, 0.1, 0.2])
    assert [initial_alpha(weights, b) for b in (2, 3)] == pytest.approx([0.4, 0.4 / math.sqrt(3)])


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


def _graph(current: torch.Tensor, alpha: torch.Tensor, theta: float, bits: int) -> torch.Tensor:
    """The quantised neurons in plain torch operations, as facts.md writes MINT's equations."""
    top = 2 ** (bits - 1) - 1
    u, out = torch.zeros_like(current[0]), []
    for i in current:
        h = u + i * alpha / top
        fired = (torch.round(h.detach() * top / alpha.detach()) * (alpha.item() / top) > theta).double()
        out.append(_surrogate(h, fired, theta))
        x = torch.clamp(h * (1 - fired) / alpha, -1.0, 1.0) * top
        u = (x + (torch.round(x) - x).detach()) * alpha / top
    return torch.stack(out)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gradients_are_those_of_the_equations(bits: int) -> None:
    rng = np.random.default_rng(bits)
    counts, weight = rng.integers(-4, 6, (4, 50)), rng.normal(size=(4, 50))
    grads = []
    for function in (fire_quantised, _graph):
        single = function is fire_quantised
        dtype = torch.float32 if single else torch.float64
        current = torch.tensor(counts, dtype=dtype, requires_grad=True)
        alpha = torch.tensor(0.37, dtype=dtype, requires_grad=True)
        (function(current, alpha, 0.5, bits) * torch.tensor(weight, dtype=dtype)).sum().backward()
        assert current.grad is not None
        assert alpha.grad is not None
        grads.append((current.grad.numpy(), alpha.grad.item()))
    np.testing.assert_allclose(grads[0][0], grads[1][0], atol=1e-5)
    assert grads[0][1] == pytest.approx(grads[1][1], rel=1e-4)


def test_encoder_gradients_are_those_of_the_equations() -> None:
    rng = np.random.default_rng(0)
    start, weight = rng.normal(0.2, 0.3, 60), torch.tensor(rng.normal(size=(4, 60)))
    current = torch.tensor(start, requires_grad=True)
    u, out = torch.zeros_like(current), []
    for _ in range(4):
        h = u + current
        fired = (h.detach() > 0.5).double()
        out.append(_surrogate(h, fired, 0.5))
        u = h * (1 - fired)
    (torch.stack(out) * weight).sum().backward()
    single = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    (fire_float(single[None], 0.5, 4) * weight.float()).sum().backward()
    assert single.grad is not None
    assert current.grad is not None
    np.testing.assert_allclose(single.grad.numpy(), current.grad.numpy(), atol=1e-5)


def test_more_neurons_than_one_block_are_all_computed() -> None:
    current = torch.full((2, 5000), 2.0)
    assert fire_quantised(current, torch.tensor(0.5), 0.5, 2).sum().item() == 10_000
