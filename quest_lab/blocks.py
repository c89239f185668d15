"""The blocks of a spiking VGG, as its text spells or names them, and how a kernel moves over an image.

What the words mean: quest_lab.layers.Topology.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from quest_lab.errors import BadInput

KERNEL = 3
_PART = re.compile(
    r"(?P<linear>L)?(?P<channels>[1-9]\d{0,4})(?P<moves>(?:k(?P<kernel>[1-9]\d?))?(?:s(?P<stride>[1-9]\d?))?"
    r"(?:p(?P<padding>\d{1,2}))?)(?P<pool>M)?|(?P<end>[AF])"
)

# vgg6: QUEST, with widths assumed (not published). vgg8: NeuroSim's, as in Dhull et al. (TNNLS 2025). vgg9: Kim and
# Panda's (BNTT, Front. Neurosci. 2021), whose pooling is an average. vgg16: Simonyan and Zisserman's convolutions with
# one linear layer, as usual for CIFAR-10.
NETWORKS = {
    "vgg6": "64-64M-128-128M-256-256-A",
    "vgg8": "128-128M-256-256M-512-512M-F-L1024",
    "vgg9": "64-64M-128-128M-256-256-256M-F-L1024",
    "vgg16": "64-64M-128-128M-256-256-256M-512-512-512M-512-512-512M-F",
}


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over an image, alike in rows and columns. `padding` None: (kernel - 1) // 2 on each side."""

    stride: int = 1
    padding: int | None = None

    def pad(self, kernel: int) -> int:
        """Rows of zeros before the first row of the image."""
        return (kernel - 1) // 2 if self.padding is None else self.padding

    def places(self, size: int, kernel: int) -> int:
        """Output places along an axis of `size`; the padding after the image fits an odd kernel of stride 1."""
        after = kernel // 2 if self.padding is None else self.padding
        return (size + self.pad(kernel) + after - kernel) // self.stride + 1

    def met(self, size: int, tap: int, kernel: int) -> slice:
        """Input places that kernel position `tap` meets while the output runs over all its places."""
        first = tap - self.pad(kernel)
        last = first + (self.places(size, kernel) - 1) * self.stride
        if first < 0:
            first += -(first // self.stride) * self.stride
        return slice(first, max(0, min(last + 1, size)), self.stride)


SAME = Window()


@dataclass(frozen=True, slots=True)
class Block:
    """A convolution (or linear layer) of `channels` outputs, its neurons, and 2x2 maximum pooling if `pool`."""

    channels: int
    pool: bool
    linear: bool = False
    kernel: int = KERNEL
    window: Window = SAME

    @property
    def trainable(self) -> bool:
        """Whether the trainer has it."""
        return self.kernel == KERNEL and self.window == SAME

    def size(self, entering: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of its neurons."""
        if self.linear:
            return 1, 1
        height, width = (self.window.places(size, self.kernel) for size in entering)
        return height, width

    def pooled(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of what leaves it."""
        return (size[0] // 2, size[1] // 2) if self.pool else size


def parse_blocks(text: str) -> tuple[tuple[Block, ...], bool]:
    """The blocks that `text` names or spells, and whether they end flattened. Raises BadInput at a bad part."""
    blocks: list[Block] = []
    end = ""
    for part in NETWORKS.get(text, text).split("-"):
        found = _PART.fullmatch(part)
        if found is None or (found["linear"] and (found["pool"] or found["moves"])):
            raise BadInput(
                f"network {text!r}: part {part!r} is no channel count with an optional M (64M, 64k5s2p0M), no A or "
                f"F, and no linear layer after F (L1024); names are {', '.join(NETWORKS)}"
            )
        if (end and not found["linear"]) or (found["linear"] and end != "F"):
            raise BadInput(
                f"network {text!r}: part {part!r} after {end or 'a convolution'!r}: want convolutions, then A or F, "
                "then after F linear layers, whose inputs must be spikes"
            )
        end = found["end"] or end
        if not found["end"]:
            blocks.append(_block(found))
    if len(blocks) < 2:
        raise BadInput(f"network {text!r}: want an encoder and at least one quantised layer")
    return tuple(blocks), end == "F"


def _block(found: re.Match[str]) -> Block:
    """The convolution or linear layer that a part spells."""
    kernel, stride = int(found["kernel"] or KERNEL), int(found["stride"] or 1)
    window = Window(stride, None if found["padding"] is None else int(found["padding"]))
    if kernel % 2 and window.padding == kernel // 2:
        window = Window(stride)
    return Block(int(found["channels"]), bool(found["pool"]), bool(found["linear"]), kernel, window)
