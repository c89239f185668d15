"""One network on one chip four ways: in software, programmed open loop, closed loop, and trained in the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Cells
from quest_lab.layers import Topology
from quest_lab.mapping import level_count
from quest_lab.network import Network
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.validate import program_decoded
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.train.chip import ChipWeights
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.data import Dataset
from quest_lab.train.loop import train
from quest_lab.write import Programmer

STATES = {2: (0, 3, 6), 3: (0, 1, 2, 3, 4, 5, 6)}
SPARE = 512  # cells: at 20 % spread some never answer, and no weight is placed on them
WIDE = CharacterizeSettings(start_v=0.1, stop_v=1.4, step_v=0.02)
WAYS = ("ideal", "open loop", "closed loop", "in the loop")
ABOUT = (
    "Scikit-learn's digits, 450 held-out images, network `{network}`, {epochs} epochs in batches of {batch}: {weights} "
    "weights, one cell each, decoded; 3 bits on all seven states, 2 bits on 0, 3, 6. Preset `scaled` (assumed "
    "parameters) with the threshold spread `d_cell`; a seed is that of the training and, plus 100, of the chip, which "
    "is characterised first. Then the stuck share of the cells that hold weights takes random states and stays there: "
    "neither characterisation nor placement know of it. Ideal: trained in software. Open loop: that network, a "
    "reset and one set pulse a cell. Closed loop: that network, program and verify. In the loop: trained on the "
    "cells, closed loop, from the same start; accuracy of all cells as read at the end."
)


@dataclass(frozen=True, order=True)
class Point:
    bits: int
    spread: float
    stuck: float


@dataclass(frozen=True)
class Found:
    """By WAYS: accuracy, share of weights wrong, the part of it on cells that are not stuck; writes and pulses a cell
    of the training in the loop."""

    accuracy: tuple[float, ...]
    wrong: tuple[float, ...]
    missed: tuple[float, ...]
    writes: float
    pulses: float
    most_pulses: int


@dataclass(frozen=True)
class Measure:
    """Trains `config` at any precision and seed, in software once, and on chips."""

    config: TrainConfig
    digits: Dataset
    folder: Path

    @property
    def weights(self) -> int:
        d = self.digits
        layers = Topology.parse(self.config.network, d.image_shape, len(d.class_names)).layers()
        return sum(layer.size for layer in layers)

    @property
    def about(self) -> str:
        c = self.config
        return ABOUT.format(network=c.network, epochs=c.epochs, batch=c.batch_size, weights=self.weights)

    def on_chip(
        self, spread: float, seed: int, shares: Sequence[float], bits: Sequence[int]
    ) -> Iterator[tuple[Point, Found]]:
        """Every precision at each share of stuck cells (ascending) on one chip, characterised once."""
        with chip(self.weights + SPARE, spread, 100 + seed) as (session, full):
            rng = np.random.default_rng(seed)
            order = rng.permutation(full.cells[: self.weights])
            for share in shares:
                stuck = np.sort(order[: round(share * self.weights)])
                stick(session, full, stuck, rng)
                for b in bits:
                    found = self.measured(session, full.restrict(STATES[b]), b, seed, stuck)
                    print(Point(b, spread, share), seed, found, flush=True)
                    yield Point(b, spread, share), found

    def measured(
        self, session: Session, found: Characterization, bits: int, seed: int, stuck: Cells
    ) -> Found:
        d, pattern, ideal = self.digits, tuple(range(level_count(bits))), self.ideal(bits, seed)
        held, accuracy = [ideal.levels], [ideal.accuracy(d.test_images, d.test_labels)]
        for closed in (False, True):
            held.append(program_decoded(session, ideal, found, pattern, closed_loop=closed).levels())
            programmed = ideal.with_levels(held[-1])
            accuracy.append(programmed.accuracy(d.test_images, d.test_labels))
        placement = Placement.on(found, self.weights)
        cells = ChipWeights(session, found, placement, bits)
        accuracy.append(self.train(bits, seed, "loop", cells).test_accuracy)
        wrong = [*(levels != ideal.levels for levels in held), cells.wrong]
        free = ~np.isin(placement.cells, stuck)
        return Found(
            tuple(accuracy),
            tuple(float(w.mean()) for w in wrong),
            tuple(float(np.mean(w & free)) for w in wrong),
            cells.total("writes_intended") / self.weights,
            float(cells.pulses.mean()),
            int(cells.pulses.max()),
        )

    def ideal(self, bits: int, seed: int) -> Network:
        path = self.folder / f"ideal-{bits}-{seed}.weights"
        return Network.load(path if path.exists() else self.train(bits, seed, "ideal").weights)

    def train(self, bits: int, seed: int, name: str, cells: ChipWeights | None = None) -> TrainResult:
        weights, schedule = (self.folder / f"{name}-{bits}-{seed}.{what}" for what in ("weights", "schedule"))
        config = replace(self.config, bits=bits, seed=seed)
        return train(
            config, weights=weights, schedule=schedule, dataset=self.digits, cells=cells, overwrite=True
        )


@contextmanager
def chip(cells: int, d_cell: float, seed: int) -> Iterator[tuple[Session, Characterization]]:
    clock = VirtualClock()
    array = CellArray(SkMTJ.preset("scaled", d_cell=d_cell), cells, seed=seed)
    session, everyone = Session(SimulatedChip(array, clock), clock, seed=seed), np.arange(cells)
    try:
        found = characterize(session, everyone, everyone[:: cells // 256], WIDE)[0]
        assert found.states == 7, f"d_cell={d_cell}, chip {seed}: found {found.states} states, not 7"
        yield session, found
    finally:
        array.close()


def stick(session: Session, full: Characterization, cells: Cells, rng: np.random.Generator) -> None:
    """Bring the cells to random states, and from now on they stay there (those that were stuck before, where they
    were).
    """
    Programmer(session.device, full).write(cells, rng.integers(0, full.states, cells.size))
    assert isinstance(session.device, SimulatedChip)
    assert isinstance(session.device.array, CellArray)
    session.device.array.stick(cells)
