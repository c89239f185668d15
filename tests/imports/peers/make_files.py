"""Makes the .nir files here with the libraries' own exporters, and what those libraries compute: `make_files.py`.

Made with torch 2.13.0, nir 1.0.8, nirtorch 2.6, snnTorch 1.0.0, Norse 1.1.0, SpikingJelly 2.0.0, Sinabs 3.1.3, all
installed with --no-deps beside torch (Sinabs needs pbr). NAME.npz: `images` (N, 1, 8, 8) of 0..1; `spikes0`, ... uint8
(T, N, ...) of each spiking layer; `logits` (N, 10): what the last layer gives, summed over the T steps. The weights
are random but for `spikingjelly`, which is trained on the digits that quest-lab does not hold out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import sinabs.layers as sl
import sinabs.nir
import snntorch as snn
import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from snntorch.export_nir import export_to_nir as snntorch_to_nir
from spikingjelly.activation_based import functional, layer, neuron, nir_exchange
from torch import Tensor, nn

HERE = Path(__file__).parent
STEPS = 6


def linear(inputs: int, outputs: int, *, bias: bool, gain: float) -> nn.Linear:
    made = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(made.weight, std=gain / inputs**0.5)
    return made


def conv(inputs: int, outputs: int, *, bias: bool, gain: float) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
    nn.init.normal_(made.weight, std=gain / (9 * inputs) ** 0.5)
    return made


def snntorch() -> tuple[nn.Module, Any, Callable[[nn.Module, Tensor], Tensor]]:
    """Leaky neurons that reset to zero, one threshold for each neuron of the second layer; spikes at the end."""
    torch.manual_seed(1)
    kind = {"init_hidden": True, "reset_mechanism": "zero"}
    theta = torch.linspace(0.5, 1.5, 16)
    net = nn.Sequential(
        nn.Flatten(),
        linear(64, 24, bias=True, gain=2.5),
        snn.Leaky(beta=torch.full((24,), 0.5), threshold=torch.ones(24), **kind),
        linear(24, 16, bias=False, gain=3.0),
        snn.Leaky(beta=torch.full((16,), 0.5), threshold=theta, **kind),
        linear(16, 10, bias=False, gain=3.0),
        snn.Leaky(beta=torch.full((10,), 0.5), threshold=torch.ones(10), **kind),
    )
    graph = snntorch_to_nir(net, torch.rand(1, 1, 8, 8), ignore_dims=[0])
    for module in net:
        if isinstance(module, snn.Leaky):
            module.reset_mem()
    return net, graph, lambda net, x: torch.stack([net(x) for _ in range(STEPS)])


def norse_() -> tuple[nn.Module, Any, Callable[[nn.Module, Tensor], Tensor]]:
    """LIF box neurons at 1 ms with tau_mem_inv = 500 / s, hence a leak of 1/2; currents at the end."""
    torch.manual_seed(2)

    def kind(*shape: int) -> norse.LIFBoxParameters:
        return norse.LIFBoxParameters(
            tau_mem_inv=torch.full(shape, 500.0), v_th=torch.full(shape, 0.4), v_leak=torch.zeros(shape),
            v_reset=torch.zeros(shape),
        )  # fmt: skip

    net = norse.SequentialState(
        linear(64, 24, bias=True, gain=2.5),
        norse.LIFBoxCell(kind(24)),
        linear(24, 16, bias=False, gain=3.0),
        norse.LIFBoxCell(kind(16)),
        linear(16, 10, bias=True, gain=1.0),
    )
    graph = norse.to_nir(net, torch.rand(1, 64))

    def run(net: nn.Module, x: Tensor) -> Tensor:
        state, out = None, []
        for _ in range(STEPS):
            y, state = net(x.flatten(1), state)
            out.append(y)
        return torch.stack(out)

    return net, graph, run


def digits() -> list[tuple[Tensor, Tensor]]:
    """Images and labels to train on, and those that quest-lab holds out (quest_lab/train/data.py)."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    split = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    return [(images[own], torch.tensor(labels[own])) for own in split]


def spikingjelly() -> tuple[nn.Module, Any, Callable[[nn.Module, Tensor], Tensor]]:
    """LIF neurons with a leak of 1/2, trained; an average pooling before the last layer."""
    torch.manual_seed(3)
    kind = {"tau": 2.0, "decay_input": False, "detach_reset": True}
    net = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1), neuron.LIFNode(**kind),
        layer.Conv2d(8, 8, 3, padding=1, bias=False), neuron.LIFNode(**kind),
        layer.AvgPool2d(2, 2), layer.Flatten(), layer.Linear(128, 10),
    )  # fmt: skip

    def run(net: nn.Module, x: Tensor) -> Tensor:
        functional.reset_net(net)
        return torch.stack([net(x) for _ in range(STEPS)])

    (images, target), _ = digits()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(15):
        for own in torch.randperm(len(images)).split(50):
            loss = nn.functional.cross_entropy(run(net, images[own]).mean(0), target[own])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    functional.reset_net(net)
    return net, nir_exchange.export_to_nir(net, images[:1]), run


def sinabs_() -> tuple[nn.Module, Any, Callable[[nn.Module, Tensor], Tensor]]:
    """IAF neurons with a soft reset and at most a spike a step; a sum pooling before the last layer."""
    torch.manual_seed(4)

    def iaf() -> sl.IAFSqueeze:
        return sl.IAFSqueeze(batch_size=1, spike_fn=SingleSpike, reset_fn=MembraneSubtract())

    net = nn.Sequential(
        conv(1, 6, bias=True, gain=2.0), iaf(), conv(6, 8, bias=False, gain=1.5), iaf(),
        sl.SumPool2d(2), nn.Flatten(), linear(128, 10, bias=True, gain=1.0),
    )  # fmt: skip

    def run(net: nn.Module, x: Tensor) -> Tensor:
        for module in net:
            if isinstance(module, sl.IAFSqueeze):
                module.reset_states()
                module.batch_size = len(x)
        repeated = x[:, None].expand(-1, STEPS, *x.shape[1:]).flatten(0, 1)
        return net(repeated).unflatten(0, (len(x), STEPS)).transpose(0, 1)

    run(net, torch.rand(1, 1, 8, 8))
    graph = sinabs.nir.to_nir(net, torch.rand(STEPS, 1, 8, 8))
    graph.infer_types()
    return net, graph, run


def spikes_of(net: nn.Module, run: Callable[[nn.Module, Tensor], Tensor], x: Tensor) -> dict[str, np.ndarray]:
    """What each neuron layer fires, and the summed output."""
    kinds = (
        snn.Leaky,
        snn.Synaptic,
        norse.LIFBoxCell,
        norse.LIFCell,
        norse.IAFCell,
        neuron.BaseNode,
        sl.IAFSqueeze,
        sl.LIFSqueeze,
    )
    layers = [module for module in net.modules() if isinstance(module, kinds)]
    seen: list[list[Tensor]] = [[] for _ in layers]
    for module, own in zip(layers, seen, strict=True):
        module.register_forward_hook(
            lambda _m, _i, out, own=own: own.append(out[0] if isinstance(out, tuple) else out)
        )
    with torch.no_grad():
        out = {"logits": run(net, x).sum(0).numpy()}
    for i, own in enumerate(seen):
        if len(own) == 1:  # Sinabs: all steps at once, image after image
            own = list(own[0].unflatten(0, (len(x), STEPS)).transpose(0, 1))
        out[f"spikes{i}"] = torch.stack(own).to(torch.uint8).numpy()
    return out


if __name__ == "__main__":
    pixels = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for name, make in (
        ("snntorch", snntorch),
        ("norse", norse_),
        ("spikingjelly", spikingjelly),
        ("sinabs", sinabs_),
    ):
        net, graph, run = make()
        nir.write(HERE / f"{name}.nir", graph)
        found = spikes_of(net, run, pixels)
        np.savez_compressed(HERE / f"{name}.npz", images=pixels.numpy(), **found)
        print(name, {k: (v.shape, round(float(v.mean()), 3)) for k, v in found.items()})
