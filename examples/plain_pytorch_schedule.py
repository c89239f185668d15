"""Write a schedule.h5 from your own PyTorch training loop: `python plain_pytorch_schedule.py OUT.h5`.

The model, the loop and the optimizer are plain PyTorch and know nothing of quest-lab. What a schedule needs of them is
said once, by a table of layers, and then after every optimizer step: the integer levels of the weights, and the spikes
that entered and left each layer. `quest-lab energy` and `quest-lab replay` take the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from quest_lab.layers import layer_table, tap_counts
from quest_lab.schedule import Header, ScheduleWriter, stage_of

BITS, TIME_STEPS, BATCH, STEPS, SEED = 2, 4, 64, 40, 0
LAYERS = layer_table([("conv1", (8, 1, 3, 3), (8, 8)), ("conv2", (8, 8, 3, 3), (8, 8))])


class Ternary(nn.Conv2d):
    """A convolution whose weights are -1, 0 or +1 in the forward pass, with a straight-through gradient."""

    def levels(self) -> Tensor:
        scaled = self.weight / (2 * self.weight.detach().abs().mean())
        return scaled + (scaled.clamp(-1, 1).round() - scaled).detach()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.levels(), padding=1)


class Fire(torch.autograd.Function):
    """1 above the threshold; gradient of a triangle around it."""

    @staticmethod
    def forward(ctx, membrane):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(membrane)
        return (membrane > 1).float()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient * torch.clamp(1 - (ctx.saved_tensors[0] - 1).abs(), min=0)


class Net(nn.Module):
    """Two convolutions of spiking neurons; the image comes in as random spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([Ternary(1, 8, 3, bias=False), Ternary(8, 8, 3, bias=False)])
        self.head = nn.Linear(8 * 8 * 8, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits, and for each layer the spikes (T, B, ...) that enter and leave it."""
        entering: list[list[Tensor]] = [[], []]
        leaving: list[list[Tensor]] = [[], []]
        membranes = [torch.zeros(len(images), 8, 8, 8) for _ in self.convs]
        for _ in range(TIME_STEPS):
            spikes = torch.bernoulli(images)
            for i, conv in enumerate(self.convs):
                entering[i].append(spikes)
                membranes[i] = membranes[i] + conv(spikes)
                spikes = Fire.apply(membranes[i])
                membranes[i] = membranes[i] * (1 - spikes.detach())
                leaving[i].append(spikes)
        rate = torch.stack(leaving[1]).mean(0)
        return self.head(rate.flatten(1)), *([torch.stack(x) for x in side] for side in (entering, leaving))


def levels_of(net: Net) -> np.ndarray:
    """All levels as the schedule wants them: int8, flat, layer after layer."""
    return torch.cat([conv.levels().flatten() for conv in net.convs]).detach().numpy().astype(np.int8)


def counts_of(entering: list[Tensor], leaving: list[Tensor]) -> dict[str, np.ndarray]:
    """Spikes per tap, and in and out of each layer, over the batch and all time steps."""
    places = [x.sum((0, 1)).detach().numpy().astype(np.int64) for x in entering]  # (channels, height, width)
    taps = [tap_counts(p, layer.shape[2:]).ravel() for p, layer in zip(places, LAYERS, strict=True)]
    return {
        "taps": np.concatenate(taps),
        "spikes_in": np.array([int(p.sum()) for p in places]),
        "spikes_out": np.array([int(x.sum()) for x in leaving]),
    }


def main(path: Path) -> float:
    """Train, write the schedule to `path`, return the accuracy on the last batches."""
    torch.manual_seed(SEED)
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    target = torch.tensor(labels)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    header = Header(BITS, TIME_STEPS, BATCH, "digits", SEED, "8-8-F, plain PyTorch")
    right = 0
    with ScheduleWriter(path, header, LAYERS, levels_of(net), overwrite=True) as schedule:
        for step in range(STEPS):
            own = torch.randint(len(images), (BATCH,))
            logits, entering, leaving = net(images[own])
            loss = nn.functional.cross_entropy(logits, target[own])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.append(
                levels_of(net), epoch=0, batch=step, samples=BATCH, stage=stage_of(0, step, STEPS),
                loss=loss.item(), **counts_of(entering, leaving),
            )  # fmt: skip
            right += int((logits.argmax(1) == target[own]).sum()) if step >= STEPS - 10 else 0
    return right / (10 * BATCH)


if __name__ == "__main__":
    print(f"accuracy of the last 10 batches: {main(Path(sys.argv[1])):.1%}")
