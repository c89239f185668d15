"""A NIR file as a chain of nodes, and what each node means for one of our layers.

NIR: Pedersen et al., Nat. Commun. 15, 8122 (2024). A file is HDF5 and read by the package `nir` (extra `import`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.blocks import Window
from quest_lab.errors import BadInput

Array = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

_REFUSED = {
    "CubaLI": "a leaky readout weighs the time steps; the head here adds all steps alike (drop it before exporting)",
    "LI": "a leaky readout weighs the time steps; the head here adds all steps alike (drop the LI before exporting)",
    "I": "export the layer before it alone: the head here adds its currents over all time steps",
    "NIRGraph": "a graph inside the graph (recurrence); spikes can only go forward here",
    "Conv1d": "want Conv2d",
    "Delay": "spikes arrive in the step in which they are fired",
    "Threshold": "it has no membrane; want IF or LIF",
}
KNOWN = (
    "Input",
    "Output",
    "Conv2d",
    "Linear",
    "Affine",
    "IF",
    "LIF",
    "CubaLIF",
    "Scale",
    "Flatten",
    "SumPool2d",
    "AvgPool2d",
)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a chain: its name in the file, its kind as NIR calls it, and its parameters."""

    name: str
    kind: str
    values: Any

    def refuse(self, reason: str) -> BadInput:
        """The error that names this node and the reason."""
        return BadInput(f"node {self.name!r} ({self.kind}): {reason}")

    def array(self, name: str) -> Array:
        """A parameter as an array, finite unless it is a time constant. Raises BadInput."""
        values = np.asarray(getattr(self.values, name))
        if values.dtype.kind not in "fiu" or np.any(np.isnan(values)):
            raise self.refuse(f"{name} holds no numbers ({values.dtype})")
        return values

    def pair(self, name: str) -> tuple[int, int]:
        """A parameter for rows and columns."""
        values = np.broadcast_to(self.array(name), 2)
        return int(values[0]), int(values[1])

    def same(self, name: str) -> int:
        """A parameter that is alike for rows and columns. Raises BadInput where it is not."""
        rows, columns = self.pair(name)
        if rows != columns:
            raise self.refuse(f"{name} {(rows, columns)}, want the same for rows and columns")
        return rows

    def convolution(self) -> tuple[Array, Window]:
        """Weights (c_out, c_in, k, k) of all channels, and how they move; groups and dilation as zeros in them."""
        weight, dilation = _ungrouped(self.array("weight"), int(self.values.groups)), self.same("dilation")
        if weight.shape[2] != weight.shape[3]:
            raise self.refuse(f"kernel {weight.shape[2:]}, want a square one")
        side = (weight.shape[2] - 1) * dilation + 1
        spread = np.zeros((*weight.shape[:2], side, side), weight.dtype)
        spread[:, :, ::dilation, ::dilation] = weight
        return spread, Window(self.same("stride"), self._padding())

    def _padding(self) -> int | None:
        given = self.values.padding
        words = {"same": None, "valid": 0}
        if isinstance(given, str | bytes):
            word = given.decode() if isinstance(given, bytes) else given
            if word not in words or (word == "same" and self.same("stride") != 1):
                raise self.refuse(f"padding {word!r} with stride {self.same('stride')}; want numbers")
            return words[word]
        return self.same("padding")


def _ungrouped(weight: Array, groups: int) -> Array:
    """Weights (c_out, c_in, kh, kw) from (c_out, c_in / groups, kh, kw), 0 between groups."""
    c_out, own = weight.shape[:2]
    out = np.zeros((c_out, own * groups, *weight.shape[2:]), weight.dtype)
    for group in range(groups):
        rows = slice(group * c_out // groups, (group + 1) * c_out // groups)
        out[rows, group * own : (group + 1) * own] = weight[rows]
    return out


def read_chain(path: Path) -> tuple[Shape, list[Node]]:
    """The shape of the input without batch, and the nodes between input and output, in order.

    Raises BadInput: missing, foreign, `nir` not installed, branches, loops, nodes that cells cannot do.
    """
    graph = _read(path)
    nodes = {name: Node(name, type(node).__name__, node) for name, node in graph.nodes.items()}
    for node in nodes.values():
        if node.kind in _REFUSED:
            raise node.refuse(_REFUSED[node.kind])
        if node.kind not in KNOWN:
            raise node.refuse(f"want {', '.join(KNOWN)}")
    names = _in_order(nodes, [(str(a), str(b)) for a, b in graph.edges])
    return _input_shape(nodes[names[0]]), [nodes[name] for name in names[1:-1]]


def _read(path: Path) -> Any:
    try:
        import nir
    except ImportError:
        raise BadInput("reading NIR needs the package nir: pip install 'quest-lab[import]'") from None
    if not path.is_file():
        raise BadInput("no such file")
    try:
        return nir.read(path, type_check=False)  # Norse writes shapes with a batch, which the check refuses
    except Exception as error:  # it raises whatever h5py, numpy and its own asserts raise
        raise BadInput(f"not a NIR file that nir {nir.version} reads ({error})") from error


def _in_order(nodes: dict[str, Node], edges: list[tuple[str, str]]) -> list[str]:
    """Names from input to output. Raises BadInput where the graph is no chain."""
    starts = [node for node in nodes.values() if node.kind == "Input"]
    if len(starts) != 1:
        raise BadInput(f"graph: {len(starts)} inputs, want 1")
    names = [starts[0].name]
    while nodes[names[-1]].kind != "Output":
        here = nodes[names[-1]]
        following = [b for a, b in edges if a == here.name]
        if len(following) != 1:
            raise here.refuse(
                f"leads to {len(following)} nodes {following}; want 1, a chain of layers (no recurrence, no branches)"
            )
        if following[0] in names:
            raise here.refuse(f"leads back to {following[0]!r} (recurrence); spikes can only go forward here")
        names += following
    left = sorted(set(nodes) - set(names))
    if left:
        raise nodes[left[0]].refuse("is not on the way from input to output")
    return names


def _input_shape(node: Node) -> Shape:
    """(channels, height, width) or (inputs,); one image of a batch."""
    found = node.values.input_type["input"]
    if found is None:
        raise node.refuse("has no shape; export with an input of known shape")
    shape = tuple(int(n) for n in np.ravel(found))
    shape = shape[1:] if len(shape) in (2, 4) and shape[0] == 1 else shape
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise node.refuse(f"shape {shape}, want (channels, height, width) or (inputs,)")
    return shape
