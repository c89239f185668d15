"""MINT's levels, gradients and first scale, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

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


def test_initial_alpha_is_twice_the_mean_over_the_root_of_the_top_level_up_to_4_bits() -> None:
    weights = torch.tensor([-0.3, 0.1, 0.2])
    assert [initial_alpha(weights, b) for b in (2, 3, 8)] == pytest.approx([0.4, 0.4 / math.sqrt(3), 0.4])
