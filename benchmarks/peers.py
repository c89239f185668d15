"""The network of the training benchmark in the libraries that a user would otherwise take, in FP32.

conv3-64, MP, conv3-128, conv3-128, MP, conv3-256, conv3-256, MP, FC-10 on 3x32x32 images repeated T times, integrate
and fire neurons with hard reset, threshold 1, arctangent surrogate (or the library's nearest), with batch norm.
Runs with torch and the library alone; nothing of quest-lab is imported.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = ((3, 64), (64, 128), (128, 128), (128, 256), (256, 256))
POOLED = (0, 2, 4)
FEATURES = 256 * 16
STEPS = 4


def convolution(i: int, norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(*CHANNELS[i], 3, padding=1, bias=not norm)]
    return [*layers, nn.BatchNorm2d(CHANNELS[i][1])] if norm else layers


def spikingjelly(norm: bool) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    parts: list[nn.Module] = []
    for i, (c_in, c_out) in enumerate(CHANNELS):
        parts.append(layer.Conv2d(c_in, c_out, 3, padding=1, bias=not norm))
        if norm:
            parts.append(layer.BatchNorm2d(c_out))
        parts.append(neuron.IFNode(v_threshold=1.0, v_reset=0.0, surrogate_function=surrogate.ATan()))
        if i in POOLED:
            parts.append(layer.MaxPool2d(2, 2))
    net = nn.Sequential(*parts, layer.Flatten(), layer.Linear(FEATURES, 10))
    functional.set_step_mode(net, "m")

    def forward(images: Tensor) -> Tensor:
        functional.reset_net(net)
        return net(images.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)).mean(0)

    return net, forward


class SnnTorch(nn.Module):
    def __init__(self, norm: bool) -> None:
        import snntorch
        from snntorch import surrogate

        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(*convolution(i, norm)) for i in range(len(CHANNELS)))
        self.neurons = nn.ModuleList(
            snntorch.Leaky(
                beta=1.0,
                threshold=1.0,
                reset_mechanism="zero",
                reset_delay=False,
                spike_grad=surrogate.atan(),
            )
            for _ in CHANNELS
        )
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        membranes = [neuron.reset_mem() for neuron in self.neurons]
        total = torch.zeros(())
        for _ in range(STEPS):
            x = images
            for i, (block, neuron) in enumerate(zip(self.blocks, self.neurons, strict=True)):
                x, membranes[i] = neuron(block(x), membranes[i])
                x = F.max_pool2d(x, 2) if i in POOLED else x
            total = total + self.head(x.flatten(1))
        return total / STEPS


def snntorch(norm: bool) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    net = SnnTorch(norm)
    return net, net


def norse(norm: bool) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Cells in a loop over time, which is faster than norse's Lift."""
    import norse.torch as nt
    from norse.torch.functional.iaf import IAFParameters

    parts: list[nn.Module] = []
    for i in range(len(CHANNELS)):
        parts += [*convolution(i, norm), nt.IAFCell(IAFParameters(alpha=torch.as_tensor(100.0)))]
        if i in POOLED:
            parts.append(nn.MaxPool2d(2))
    net = nt.SequentialState(*parts, nn.Flatten(), nn.Linear(FEATURES, 10))

    def forward(images: Tensor) -> Tensor:
        state, total = None, torch.zeros(())
        for _ in range(STEPS):
            y, state = net(images, state)
            total = total + y
        return total / STEPS

    return net, forward


def convolutions(_: bool) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The floor: convolutions, pooling and linear layer alone, the batch repeated T times; no neurons, no norm."""
    parts: list[nn.Module] = []
    for i in range(len(CHANNELS)):
        parts += convolution(i, False)
        if i in POOLED:
            parts.append(nn.MaxPool2d(2))
    net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(FEATURES, 10))
    return net, lambda images: net(images.repeat(STEPS, 1, 1, 1)).view(STEPS, len(images), 10).mean(0)


PEERS = {
    "SpikingJelly": spikingjelly,
    "snnTorch": snntorch,
    "Norse": norse,
    "convolutions alone": convolutions,
}


def inference(name: str, weights: list[Tensor], batch: int) -> Callable[[], object]:
    """One pass over random images without batch norm, with the given weights of the convolutions and no bias."""
    torch.manual_seed(0)
    net, forward = PEERS[name](False)
    net.eval()
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for module, weight in zip(convolutions, weights, strict=True):
        module.weight.data.copy_(weight)
        module.bias.data.zero_()
    images = torch.rand(batch, 3, 32, 32)

    @torch.no_grad()
    def run() -> object:
        return forward(images)

    return run


def training_step(name: str, batch: int) -> Callable[[], None]:
    """One step of Adam on random images, FP32 with batch norm."""
    torch.manual_seed(0)
    net, forward = PEERS[name](True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(forward(images), labels).backward()
        optimizer.step()

    return step
