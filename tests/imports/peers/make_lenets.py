"""Makes NAME-lenet and NAME-cuba .nir and .npz here, like make_files.py, with digits as images: `make_lenets.py`.

NAME-lenet: convolution, pooling, convolution, pooling, two linear layers, biases everywhere, the library's defaults;
snnTorch's and SpikingJelly's are trained, the others random. Norse exports no pooling and no Flatten, hence linear
layers alone. NAME-cuba: three linear layers whose neurons have synapses (CubaLIF).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import sinabs.layers as sl
import sinabs.nir
import snntorch as snn
import torch
from make_files import HERE, STEPS, digits, linear, spikes_of
from sinabs.activation import MembraneSubtract, SingleSpike
from snntorch.export_nir import export_to_nir as snntorch_to_nir
from spikingjelly.activation_based import functional, layer, neuron, nir_exchange
from torch import Tensor, nn

(IMAGES, LABELS), (HELD_OUT, HELD_OUT_LABELS) = digits()
SHAPES = ((8, 8, 8), (12, 4, 4), (32,))
Run = Callable[[nn.Module, Tensor], Tensor]


def lenet(neurons: Sequence[nn.Module], pool: Callable[[], nn.Module], kit: Any = nn) -> nn.Sequential:
    """8 channels of 5x5, 12 of 3x3, 32 neurons, 10 outputs."""
    return nn.Sequential(
        kit.Conv2d(1, 8, 5, padding=2), neurons[0], pool(), kit.Conv2d(8, 12, 3, padding=1), neurons[1], pool(),
        kit.Flatten(), kit.Linear(48, 32), neurons[2], kit.Linear(32, 10),
    )  # fmt: skip


def train(net: nn.Module, run: Run, epochs: int) -> None:
    """Adam on the mean outputs."""
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for own in torch.randperm(len(IMAGES)).split(50):
            loss = nn.functional.cross_entropy(run(net, IMAGES[own]).mean(0), LABELS[own])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def snntorch() -> tuple[nn.Module, Any, Run]:
    """Leaky neurons of three leaks; reset by subtraction, a step later, as by default."""
    torch.manual_seed(1)
    neurons = [
        snn.Leaky(beta=torch.full(shape, beta), threshold=torch.ones(shape), init_hidden=True)
        for beta, shape in zip((0.9, 0.8, 0.95), SHAPES, strict=True)
    ]
    net = lenet(neurons, lambda: nn.AvgPool2d(2))

    def run(net: nn.Module, x: Tensor) -> Tensor:
        for one in neurons:
            one.reset_mem()
        return torch.stack([net(x) for _ in range(STEPS)])

    train(net, run, 40)
    for one in neurons:
        one.reset_mem()
    return net, snntorch_to_nir(net, IMAGES[:1], ignore_dims=[0]), run


def norse_() -> tuple[nn.Module, Any, Run]:
    """LIF box neurons of the default time constant, 10 ms at steps of 1 ms, and integrators without leak."""
    torch.manual_seed(2)

    def lif(n: int) -> norse.LIFBoxCell:
        return norse.LIFBoxCell(
            norse.LIFBoxParameters(
                tau_mem_inv=torch.full((n,), 100.0),
                v_th=torch.ones(n),
                v_leak=torch.zeros(n),
                v_reset=torch.zeros(n),
            )
        )

    net = norse.SequentialState(
        linear(64, 48, bias=True, gain=12.0), lif(48), linear(48, 32, bias=True, gain=20.0), lif(32),
        linear(32, 24, bias=True, gain=3.0), norse.IAFCell(norse.IAFParameters(v_th=torch.ones(24))),
        linear(24, 10, bias=True, gain=1.0),
    )  # fmt: skip

    def run(net: nn.Module, x: Tensor) -> Tensor:
        state, out = None, []
        for _ in range(STEPS):
            y, state = net(x.flatten(1), state)
            out.append(y)
        return torch.stack(out)

    return net, norse.to_nir(net, torch.rand(1, 64)), run


def spikingjelly() -> tuple[nn.Module, Any, Run]:
    """LIF neurons as by default, IF neurons, and LIF neurons whose time constant is trained."""
    torch.manual_seed(3)
    neurons = [neuron.LIFNode(), neuron.IFNode(), neuron.ParametricLIFNode(init_tau=1.5)]
    net = lenet(neurons, lambda: layer.AvgPool2d(2, 2), layer)

    def run(net: nn.Module, x: Tensor) -> Tensor:
        functional.reset_net(net)
        return torch.stack([net(x) for _ in range(STEPS)])

    train(net, run, 40)
    functional.reset_net(net)
    return net, nir_exchange.export_to_nir(net, IMAGES[:1]), run


def sinabs_() -> tuple[nn.Module, Any, Run]:
    """Exponential LIF and IAF neurons with a soft reset and at most a spike a step; sum poolings."""
    torch.manual_seed(4)
    same = {"batch_size": 1, "spike_fn": SingleSpike, "reset_fn": MembraneSubtract()}
    neurons = [
        sl.LIFSqueeze(tau_mem=torch.full(SHAPES[0], 5.0), spike_threshold=torch.ones(SHAPES[0]), **same),
        sl.IAFSqueeze(**same),
        sl.LIFSqueeze(tau_mem=torch.full(SHAPES[2], 20.0), spike_threshold=torch.ones(SHAPES[2]), **same),
    ]
    net = lenet(neurons, lambda: sl.SumPool2d(2))
    net[0].weight.data *= 12
    net[3].weight.data /= 2
    net[7].weight.data *= 20

    def run(net: nn.Module, x: Tensor) -> Tensor:
        for one in neurons:
            one.reset_states()
            one.batch_size = len(x)
        repeated = x[:, None].expand(-1, STEPS, *x.shape[1:]).flatten(0, 1)
        return net(repeated).unflatten(0, (len(x), STEPS)).transpose(0, 1)

    run(net, torch.rand(1, 1, 8, 8))
    graph = sinabs.nir.to_nir(net, torch.rand(STEPS, 1, 8, 8))
    graph.infer_types()
    return net, graph, run


def mlp(neurons: Sequence[nn.Module], first: float, then: float) -> list[nn.Module]:
    """48 and 32 neurons, 10 outputs, random."""
    return [
        linear(64, 48, bias=True, gain=first), neurons[0], linear(48, 32, bias=True, gain=then), neurons[1],
        linear(32, 10, bias=True, gain=1.0),
    ]  # fmt: skip


def snntorch_cuba() -> tuple[nn.Module, Any, Run]:
    """Synaptic neurons, reset by subtraction a step later."""
    torch.manual_seed(5)
    neurons = [
        snn.Synaptic(
            alpha=torch.full((n,), 0.8), beta=torch.full((n,), 0.9), threshold=torch.ones(n), init_hidden=True
        )
        for n in (48, 32)
    ]
    net = nn.Sequential(nn.Flatten(), *mlp(neurons, 1.0, 1.5))

    def run(net: nn.Module, x: Tensor) -> Tensor:
        for one in neurons:
            one.reset_mem()
        return torch.stack([net(x) for _ in range(STEPS)])

    graph = snntorch_to_nir(net, IMAGES[:1], ignore_dims=[0])
    return net, graph, run


def norse_cuba() -> tuple[nn.Module, Any, Run]:
    """LIF neurons as by default: 10 ms and 5 ms at steps of 1 ms."""
    torch.manual_seed(6)

    def lif(n: int) -> norse.LIFCell:
        taus = {"tau_mem_inv": torch.full((n,), 100.0), "tau_syn_inv": torch.full((n,), 200.0)}
        return norse.LIFCell(norse.LIFParameters(v_th=torch.ones(n), v_leak=torch.zeros(n), **taus))

    net = norse.SequentialState(*mlp([lif(48), lif(32)], 5.0, 8.0))

    def run(net: nn.Module, x: Tensor) -> Tensor:
        state, out = None, []
        for _ in range(STEPS):
            y, state = net(x.flatten(1), state)
            out.append(y)
        return torch.stack(out)

    return net, norse.to_nir(net, torch.rand(1, 64)), run


def spikingjelly_cuba() -> tuple[nn.Module, Any, Run]:
    """CUBALIF neurons as by default, reset to zero."""
    torch.manual_seed(7)
    net = nn.Sequential(layer.Flatten(), *mlp([neuron.CUBALIFNode(v_reset=0.0) for _ in range(2)], 1.0, 1.5))

    def run(net: nn.Module, x: Tensor) -> Tensor:
        functional.reset_net(net)
        return torch.stack([net(x) for _ in range(STEPS)])

    run(net, IMAGES[:1])
    functional.reset_net(net)
    return net, nir_exchange.export_to_nir(net, IMAGES[:1]), run


if __name__ == "__main__":
    shown = HELD_OUT[:12]
    makers = {
        "snntorch-lenet": snntorch, "norse-lenet": norse_, "spikingjelly-lenet": spikingjelly, "sinabs-lenet": sinabs_,
        "snntorch-cuba": snntorch_cuba, "norse-cuba": norse_cuba, "spikingjelly-cuba": spikingjelly_cuba,
    }  # fmt: skip
    for name, make in makers.items():
        net, graph, run = make()
        nir.write(HERE / f"{name}.nir", graph)
        found = spikes_of(net, run, shown)
        np.savez_compressed(HERE / f"{name}.npz", images=shown.numpy(), **found)
        with torch.no_grad():
            right = (run(net, HELD_OUT).sum(0).argmax(1) == HELD_OUT_LABELS).float().mean()
        print(
            name, round(float(right), 3), {k: (v.shape, round(float(v.mean()), 3)) for k, v in found.items()}
        )
