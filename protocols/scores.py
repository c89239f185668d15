"""How good a network is on held-out images, with intervals: accuracy, and what it lost against another network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.estimates import Z
from quest_lab.network import Network

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """Of `images` images `right` are classified right; `lost` of those the ideal network has right are not, and
    `gained` are right only here."""

    images: int
    right: int
    lost: int
    gained: int

    @property
    def accuracy(self) -> float:
        """Share of images classified right, 0..1."""
        return self.right / self.images

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval of the accuracy."""
        tries = self.images + Z**2
        middle = (self.right + 0.5 * Z**2) / tries
        half = Z * float(np.sqrt(self.right * (1.0 - self.accuracy) + 0.25 * Z**2)) / tries
        return max(middle - half, 0.0), min(middle + half, 1.0)

    @property
    def change(self) -> float:
        """Accuracy minus that of the ideal network, on the same images."""
        return (self.gained - self.lost) / self.images

    @property
    def change_interval(self) -> Interval:
        """95 % interval of `change`: only the images that changed sides count, as in McNemar's test.

        Wald's after adding half an image to each of the four cells (Agresti and Min, Statist. Med. 24, 729, 2005).
        """
        lost, gained, images = self.lost + 0.5, self.gained + 0.5, self.images + 2
        middle = (gained - lost) / images
        half = Z * float(np.sqrt(lost + gained - (gained - lost) ** 2 / images)) / images
        return max(middle - half, -1.0), min(middle + half, 1.0)


class Judge:
    """Scores networks on one set of images, beside the `ideal` network."""

    def __init__(self, ideal: Network, images: NDArray[Any], labels: NDArray[np.int64]) -> None:
        self._images, self._labels = images, labels
        self._ideal = ideal.infer(images).predictions == labels

    @property
    def ideal(self) -> Score:
        """The ideal network's own score."""
        return self._score(self._ideal)

    def score(self, network: Network) -> Score:
        """What `network` does with the images."""
        return self._score(network.infer(self._images).predictions == self._labels)

    def _score(self, right: NDArray[np.bool_]) -> Score:
        ideal = self._ideal
        lost, gained = np.count_nonzero(ideal & ~right), np.count_nonzero(~ideal & right)
        return Score(right.size, int(np.count_nonzero(right)), int(lost), int(gained))
