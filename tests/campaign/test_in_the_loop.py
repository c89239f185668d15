"""Training in the loop against programming afterwards, over threshold spread, stuck cells and precision."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Cells
from quest_lab.layers import Levels, Topology
from quest_lab.mapping import level_count
from quest_lab.network import Network
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.validate import program_decoded
from quest_lab.session import Session, open_bench
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.train.chip import KIND, ChipWeights
from quest_lab.train.config import TrainConfig, TrainResult, recipe
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.loop import train
from quest_lab.write import Programmer

pytestmark = pytest.mark.campaign

STATES = {2: (0, 3, 6), 3: (0, 1, 2, 3, 4, 5, 6)}
SPREADS = (0.0, 0.05, 0.10, 0.20)
STUCK = (0.0, 0.02, 0.05)
SPARE = 512  # cells: at 20 % spread some never answer, and no weight is placed on them
WIDE = CharacterizeSettings(start_v=0.1, stop_v=1.4, step_v=0.02)
WAYS = ("ideal", "open loop", "closed loop", "in the loop")
SMALL = TrainConfig(network="8-16M-16M-32-F", epochs=10, batch_size=64, learning_rate=1e-2)
ABOUT = (
    "Scikit-learn's digits, 450 held-out images, {network}, {epochs} epochs in batches of {batch}: {weights} weights, "
    "one cell each, decoded; 3 bits on all seven states, 2 bits on 0, 3, 6. Preset `scaled` (assumed parameters) with "
    "the threshold spread `d_cell`; a seed is that of the training and, plus 100, of the chip, which is "
    "characterised first. Then the stuck share of the cells that hold weights takes random states and stays there: "
    "neither characterisation nor placement know of it. Ideal: trained in software. Open loop: that network, a "
    "reset and one set pulse a cell. Closed loop: that network, program and verify. In the loop: trained on the "
    "cells, closed loop, from the same start; accuracy of all cells as read at the end."
)
Accuracies: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Point:
    bits: int
    spread: float
    stuck: float


@dataclass(frozen=True)
class Found:
    """Accuracies by WAYS; of the training in the loop: weights wrong at the end, writes and pulses a cell."""

    accuracy: tuple[float, ...]
    wrong: float
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

    def on_chip(
        self, spread: float, seed: int, shares: Sequence[float], bits: Sequence[int]
    ) -> Iterator[tuple[Point, Found]]:
        """Every precision at each share of stuck cells (ascending) on one chip."""
        with chip(self.weights + SPARE, spread, 100 + seed) as (session, full):
            rng = np.random.default_rng(seed)
            order = rng.permutation(full.cells[: self.weights])
            for share in shares:
                stick(session, full, np.sort(order[: round(share * self.weights)]), rng)
                for b in bits:
                    found = self.measured(session, full.restrict(STATES[b]), b, seed)
                    print(Point(b, spread, share), seed, found, flush=True)
                    yield Point(b, spread, share), found

    def measured(self, session: Session, found: Characterization, bits: int, seed: int) -> Found:
        d, pattern, ideal = self.digits, tuple(range(level_count(bits))), self.ideal(bits, seed)
        accuracy = [ideal.accuracy(d.test_images, d.test_labels)]
        for closed in (False, True):
            done = program_decoded(session, ideal, found, pattern, closed_loop=closed)
            held = ideal.with_levels(done.levels())
            accuracy.append(held.accuracy(d.test_images, d.test_labels))
        cells = ChipWeights(session, found, Placement.on(found, self.weights), bits)
        trained = self.train(bits, seed, "loop", cells)
        return Found(
            (*accuracy, trained.test_accuracy),
            float(cells.wrong.mean()),
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

    @property
    def about(self) -> str:
        c = self.config
        return ABOUT.format(
            network=f"network `{c.network}`", epochs=c.epochs, batch=c.batch_size, weights=self.weights
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


def test_in_the_loop_recovers_half_of_what_open_loop_loses(
    tmp_path: Path, publish: Callable[[str, str, str], None]
) -> None:
    """The demo's network, threshold spread 10 %, 2 % stuck cells, seven states, five seeds."""
    measure, seeds = Measure(TrainConfig(), load_dataset("digits"), tmp_path), range(5)
    found = [one for seed in seeds for _, one in measure.on_chip(0.10, seed, (0.02,), (3,))]
    table = np.array([f.accuracy for f in found])
    rows = [
        f"| {way} | {' | '.join(_percent(v) for v in (*column, column.mean(), _error(column)))} |"
        for way, column in zip(WAYS, table.T, strict=True)
    ]
    head = [
        "| | " + " | ".join(f"seed {s}" for s in seeds) + " | mean | standard error |",
        "|---|" + "---|" * 7,
    ]
    said = (
        "Threshold spread 10 %, 2 % stuck cells, 3 bits. Of the accuracy that open-loop programming loses, training in "
        f"the loop recovers {100 * _recovered(table):.0f} %."
    )
    text = [measure.about, said, "\n".join([*head, *rows]), _wear(found)]
    publish("in-the-loop", "Training in the loop: digits", "\n\n".join(text))
    assert _recovered(table) >= 0.5


def test_over_spread_stuck_cells_and_precision(
    tmp_path: Path, publish: Callable[[str, str, str], None]
) -> None:
    """A network of an eighth of the weights, a quarter of the steps: so the whole grid can be afforded."""
    measure, found = Measure(SMALL, load_dataset("digits"), tmp_path), defaultdict(list)
    for seed in range(3):
        for spread in SPREADS:
            for point, one in measure.on_chip(spread, seed, STUCK, tuple(STATES)):
                found[point].append(one)
            publish(
                "in-the-loop-grid",
                "Training in the loop: spread, stuck cells, precision",
                _grid(measure, found),
            )
    for point, ones in found.items():
        ideal, opened, _, loop = np.array([f.accuracy for f in ones]).mean(axis=0)
        assert loop >= min(opened, ideal) - 0.01, point


def _grid(measure: Measure, found: Mapping[Point, Sequence[Found]]) -> str:
    head = (
        "| bits | d_cell | stuck | seeds | "
        + " | ".join(WAYS)
        + " | recovered | wrong cells | pulses a cell |"
    )
    said = (
        "Means over the seeds, with standard errors where there are several. Recovered: what training in the loop "
        "regains of the accuracy that open loop loses; not given where that is below 0.5 %."
    )
    rows = [_row(point, found[point]) for point in sorted(found)]
    return "\n\n".join([measure.about, said, "\n".join([head, "|---|" + "---|" * 10, *rows])])


def _row(point: Point, found: Sequence[Found]) -> str:
    table = np.array([f.accuracy for f in found])
    means = " | ".join(_mean(column) for column in table.T)
    lost = table[:, 0].mean() - table[:, 1].mean()
    share = f"{100 * _recovered(table):.0f} %" if lost >= 0.005 else "–"
    wrong, pulses = (float(np.mean([getattr(f, name) for f in found])) for name in ("wrong", "pulses"))
    return (
        f"| {point.bits} | {100 * point.spread:g} % | {100 * point.stuck:g} % | {len(found)} | {means} | {share} | "
        f"{_percent(wrong)} | {pulses:.1f} |"
    )


def _recovered(table: Accuracies) -> float:
    """(in the loop - open loop) / (ideal - open loop) of the means; table[seed, way]."""
    ideal, opened, _, loop = table.mean(axis=0)
    return float((loop - opened) / (ideal - opened))


def _mean(values: Accuracies) -> str:
    return f"{_percent(values.mean())}" + (f" ± {_percent(_error(values))}" if values.size > 1 else "")


def _error(values: Accuracies) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _wear(found: Sequence[Found]) -> str:
    mean = {name: float(np.mean([getattr(f, name) for f in found])) for name in ("wrong", "writes", "pulses")}
    return (
        f"In the loop, a training of 840 steps asked each weight for {mean['writes']:.1f} writes and gave its cell "
        f"{mean['pulses']:.1f} pulses in the mean, {max(f.most_pulses for f in found)} at most (a stuck cell is tried "
        f"until the policy gives up, at every write); {100 * mean['wrong']:.2f} % of the weights did not hold at "
        "the end what was asked for."
    )


def test_vgg6_sized_weights(tmp_path: Path, publish: Callable[[str, str, str], None]) -> None:
    """A few steps; the images are noise, since only sizes matter here."""
    steps, batch, weights = 5, 32, 1_142_784
    config = replace(recipe("cifar10"), batch_size=batch, epochs=1, threads=1, shift_pixels=0, flip=False)
    images = np.random.default_rng(0).integers(0, 256, (steps * batch, 3, 32, 32), np.uint8)
    labels = np.arange(len(images)) % 10
    one = np.ones(3, np.float32)
    data = Dataset("noise", tuple("0123456789"), images, labels, images[:20], labels[:20], one / 2, one / 4)
    with open_bench("scaled", cells=weights + SPARE, run=tmp_path / "cells.h5", kind=KIND) as session:
        everyone, began = np.arange(weights + SPARE), time.monotonic()
        found = characterize(session, everyone, everyone[:: weights // 256])[0].restrict((0, 3, 6))
        characterised, spent = time.monotonic() - began, []
        cells = _Timed(ChipWeights(session, found, Placement.on(found, weights), 2), spent)
        began = time.monotonic()
        train(config, weights=tmp_path / "w.h5", schedule=tmp_path / "s.h5", dataset=data, cells=cells)
        whole = time.monotonic() - began
    rows = cells.chip.past.rows
    table = [
        "| write after step | weights written | did not end there | pulses | wrong afterwards | seconds |",
        "|---|" + "---|" * 5,
    ]
    table += [f"| {rows['step'][i]} | {rows['writes_intended'][i]} | {rows['writes_wrong'][i]} | {rows['pulses'][i]} | "
              f"{rows['diverged'][i]} | {spent[i]:.2f} |" for i in range(steps + 1)]  # fmt: skip
    about = (
        f"Network `vgg6`, {weights} weights on simulated cells (preset `scaled`, default spread), 2 bits, {steps} "
        f"steps of {batch} noise images, everything recorded. Characterisation of all cells: {characterised:.0f} s; "
        f"training with reads, evaluation and files: {whole:.0f} s on one thread of a machine that others used too."
    )
    publish("in-the-loop-vgg6", "Training in the loop: VGG6-sized weights", f"{about}\n\n" + "\n".join(table))
    assert rows["writes_intended"][0] == weights
    assert rows["diverged"][-1] <= 0.001 * weights


@dataclass
class _Timed:
    """The cells, and how long each of their writes took."""

    chip: ChipWeights
    seconds: list[float]

    def write(self, levels: Levels, *, step: int, read_all: bool) -> Levels:
        began = time.monotonic()
        held = self.chip.write(levels, step=step, read_all=read_all)
        self.seconds.append(time.monotonic() - began)
        return held
