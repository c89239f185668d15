"""What the CPU's kernels give against torch's own operations: values equal, gradients up to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quest_lab.neurons import Neuron
from quest_lab.train.fused import fire_normalised, moments, pool_spikes
from quest_lab.train.neurons import fire_quantised
from quest_lab.train.places import rows
from quest_lab.train.rule import Rule
from quest_lab.train.spike_convolution import convolve_spikes


@pytest.fixture(params=[1, 2])
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _spikes(*shape: int, rate: float = 0.3) -> Tensor:
    return (_random(*shape) < rate).float()


def _gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value, then the gradients of a weighted sum of it."""
    own = [x.clone().requires_grad_() for x in inputs]
    value = function(*own)
    (value * (_random(*value.shape, seed=9) - 0.5)).sum().backward()
    return [value.detach(), *(x.grad for x in own if x.grad is not None)]


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])  # the last is dense: torch takes the weights' gradient
@pytest.mark.parametrize("shape", [(6, 5, 7, 4), (2, 3, 1, 9), (3, 1, 2, 2), (4, 37, 5, 5)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_spikes_is_torchs(shape: tuple[int, ...], rate: float, kernel: int) -> None:
    levels = torch.round(6 * _random(9, shape[1], kernel, kernel, seed=1) - 3)
    want = _gradients(lambda s, w: F.conv2d(s, w, padding=kernel // 2), _spikes(*shape, rate=rate), levels)
    found = _gradients(lambda s, w: convolve_spikes(s, w, 3), _spikes(*shape, rate=rate), levels)
    assert torch.equal(found[0], want[0])
    for one, other in zip(found[1:], want[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_threads_change_no_bit_of_a_gradient() -> None:
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(
            _gradients(lambda s, w: convolve_spikes(s, w, 1), _spikes(8, 16, 9, 9), torch.ones(5, 16, 3, 3))
        )
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("shape", [(3, 2, 4, 6), (2, 5, 7, 5)])
def test_pooling_gives_the_gradient_to_torchs_place(shape: tuple[int, ...]) -> None:
    want = _gradients(lambda s: F.max_pool2d(s, 2), _spikes(*shape))
    found = _gradients(pool_spikes, _spikes(*shape))
    assert all(torch.equal(one, other) for one, other in zip(found, want, strict=True))


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("name", ["if-hard", "if-soft", "lif-hard", "lif-soft"])
@pytest.mark.parametrize("bits", [2, 4])
def test_fused_batch_norm_and_neurons_are_those_one_after_the_other(name: str, bits: int) -> None:
    neuron = Neuron.parse(name)
    sums = torch.round(21 * _random(4, 3, 5, 11, 13) - 9)
    gain, bias, alpha = 1 + _random(5, seed=1), _random(5, seed=2) - 0.5, torch.tensor(0.37)

    def fused(x: Tensor, gain: Tensor, bias: Tensor, alpha: Tensor) -> Tensor:
        mean, variance = moments(rows(x, -1, 5))
        rule = Rule.of(neuron, alpha.item(), 0.5, bits, whole=False)
        return fire_normalised(x, gain, bias, alpha, mean, torch.sqrt(variance + 1e-5), rule)

    def apart(x: Tensor, gain: Tensor, bias: Tensor, alpha: Tensor) -> Tensor:
        normal = F.batch_norm(x.flatten(0, 1), None, None, gain, bias, training=True).view_as(x)
        top = 2 ** (bits - 1) - 1
        return fire_quantised(normal * (top / alpha), alpha, 0.5, bits, neuron, whole=False)

    found, want = _gradients(fused, sums, gain, bias, alpha), _gradients(apart, sums, gain, bias, alpha)
    assert 0.05 < want[0].mean() < 0.95
    for one, other in zip(found, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
