"""Which layers and which errors cost the accuracy: the network again with some of the wrong weights only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quest_lab.network import Network
from quest_lab.protocols.scores import Judge, Score
from quest_lab.protocols.validate_encodings import Levels

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cost:
    """`errors` names a layer or a kind of error; the network with these `wrong` weights only, and with all but them."""

    errors: str
    wrong: int
    only: Score
    without: Score


@dataclass(frozen=True)
class Costs:
    """The costs of one read-back, all on the same images; `confusion`: weights [layer, intended, read]."""

    read_back: str
    everything: Score
    by_layer: tuple[Cost, ...]
    by_kind: tuple[Cost, ...]
    confusion: NDArray[np.int64]


def costs(
    name: str,
    network: Network,
    read: Levels,
    stuck: Mask,
    judge: Judge,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Costs:
    """What each layer's and each kind's errors in the levels `read` cost; `stuck`: weights on stuck cells."""
    intended = network.levels
    wrong = read != intended

    def score(errors: Mask) -> Score:
        if not errors.any():
            return judge.ideal
        return judge.score(network.with_levels(np.where(errors, read, intended)))

    everything = score(wrong)
    layers, kinds = list(_layers(network)), list(_kinds(read, intended, stuck))
    found = []
    for i, (errors, mask) in enumerate([*layers, *kinds]):
        progress(i, len(layers) + len(kinds))
        mine = wrong & mask
        found.append(Cost(errors, int(mine.sum()), score(mine), score(wrong & ~mask)))
    progress(len(found), len(found))
    by_layer, by_kind = tuple(found[: len(layers)]), tuple(found[len(layers) :])
    return Costs(name, everything, by_layer, by_kind, _confusion(network, read))


def _layers(network: Network) -> Iterator[tuple[str, Mask]]:
    for info in network.infos:
        mask = np.zeros(network.levels.size, np.bool_)
        mask[info.weights_slice] = True
        yield info.name, mask


def _kinds(read: Levels, intended: Levels, stuck: Mask) -> Iterator[tuple[str, Mask]]:
    """Kinds that exclude each other."""
    distance = np.abs(read.astype(np.int64) - intended)
    yield "stuck cells", stuck
    yield "one level off", ~stuck & (distance == 1)
    yield "further off", ~stuck & (distance > 1)


def _confusion(network: Network, read: Levels) -> NDArray[np.int64]:
    half, layers = 2 ** (network.bits - 1) - 1, len(network.infos)
    out = np.zeros((layers, 2 * half + 1, 2 * half + 1), np.int64)
    layer = np.repeat(np.arange(layers), [info.size for info in network.infos])
    np.add.at(out, (layer, network.levels.astype(np.intp) + half, read.astype(np.intp) + half), 1)
    return out
