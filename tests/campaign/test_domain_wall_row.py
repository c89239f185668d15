"""Domain walls from end to end: characterised, priced, trained on with their stochastic writes, validated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Floats
from quest_lab.energy import count
from quest_lab.layers import Topology
from quest_lab.mapping import in_chip_states, level_count
from quest_lab.network import Network
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import characterize
from quest_lab.protocols.validate import validate
from quest_lab.ranking import Ranking, rank, single_cell_cost
from quest_lab.schedule import Schedule
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.train.chip import ChipWeights
from quest_lab.train.config import TrainConfig, TrainResult
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.loop import train

pytestmark = pytest.mark.campaign

SEEDS = (0, 1, 2)
SPARE = 64  # cells
PINNING = 0.02
CONFIG = TrainConfig(
    network="8-8M-16-16M-32-32M-F-L64", epochs=12, time_steps=2, batch_size=32, learning_rate=1e-2, shift_pixels=0
)  # fmt: skip
CLOSED, OPEN = "decoded read-back, closed loop", "decoded read-back, open loop"
SOFTWARE, VERIFIED, ONE_PULSE = "in software", "in the loop, verified", "in the loop, one pulse a write"
WAYS = (
    SOFTWARE,
    f"{SOFTWARE}, then a chip, closed loop",
    f"{SOFTWARE}, then a chip, open loop",
    VERIFIED,
    f"{VERIFIED}, then another chip, closed loop",
    f"{VERIFIED}, then another chip, open loop",
    ONE_PULSE,
    f"{ONE_PULSE}, then another chip, closed loop",
    f"{ONE_PULSE}, then another chip, open loop",
)
COSTS = (
    "writes a weight", "writes that missed", "pulses and resets a write", "write, fJ", "verify reads a write, fJ",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Walls:
    """A track of `sites` that holds weights of `bits` on some of its `states`."""

    sites: int
    bits: int
    states: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.sites} sites, {self.bits} bits on {','.join(map(str, self.states))}"


ROWS = (Walls(3, 2, (0, 1, 2)), Walls(5, 2, (0, 2, 4)), Walls(7, 3, (0, 1, 2, 3, 4, 5, 6)))


@dataclass(frozen=True)
class Found:
    """Held-out accuracies by WAYS; COSTS of the two trainings in the loop; the chip, and its price of a training."""

    accuracy: dict[str, float]
    training: dict[str, float]  # accuracy on the training images, of the three trainings
    costs: dict[str, tuple[float, ...]]
    pulse_j: Floats
    lands: Floats  # share of first pulses that end in their state, by state from 1
    best: str
    update_j: float  # of a batch, on the best pattern
    read_j: float  # of a sample, gated


def test_the_domain_wall_row(tmp_path: Path, publish: Callable[[str, str, str], None]) -> None:
    digits, found = load_dataset("digits"), defaultdict(list)
    for seed in SEEDS:
        software = {
            bits: _trained(_config(bits, seed), digits, tmp_path / f"software-{bits}-{seed}")
            for bits in (2, 3)
        }
        for walls in ROWS:
            found[walls].append(_measured(walls, seed, digits, software[walls.bits], tmp_path))
            print(walls, seed, found[walls][-1], flush=True)
        publish("domain-wall", "Domain walls: a VGG8-shaped network end to end", _page(digits, found))
    for walls, ones in found.items():
        accuracy = {way: np.mean([one.accuracy[way] for one in ones]) for way in WAYS}
        assert accuracy[VERIFIED] >= accuracy[SOFTWARE] - 0.05, walls
        assert accuracy[f"{VERIFIED}, then another chip, closed loop"] >= accuracy[VERIFIED] - 0.02, walls
        assert all(1e-15 < one.pulse_j[0, 1:].min() < 10e-15 for one in ones), walls


def _measured(walls: Walls, seed: int, digits: Dataset, software: TrainResult, folder: Path) -> Found:
    """The row once: the chip trained on is of seed 100 + `seed`, the other one of 200 + `seed`."""
    config, weights = _config(walls.bits, seed), _weights(digits)
    nets, costs = {SOFTWARE: software}, {}
    with _chip(walls, weights + SPARE, 100 + seed) as (session, full):
        used = full.restrict(walls.states)
        for name, closed in ((VERIFIED, True), (ONE_PULSE, False)):
            cells = ChipWeights(session, used, Placement.on(used, weights), walls.bits, closed_loop=closed)
            nets[name] = _trained(config, digits, folder / f"loop-{walls.sites}-{closed}-{seed}", cells)
            costs[name] = _costs(cells)
        accuracy = {name: net.test_accuracy for name, net in nets.items()}
        accuracy |= _validated(session, full, walls, digits, f"{SOFTWARE}, then a chip", software)
    with _chip(walls, weights + SPARE, 200 + seed) as (session, other):
        for name in (VERIFIED, ONE_PULSE):
            accuracy |= _validated(session, other, walls, digits, f"{name}, then another chip", nets[name])
    ranking = _ranked(used, nets[VERIFIED])
    best = ranking.order[0]
    return Found(
        accuracy, {name: net.train_accuracy for name, net in nets.items()}, costs,
        single_cell_cost(used).pulse_j, used.set_probability()[1:, 0],
        in_chip_states(ranking.patterns[best], walls.states),
        float(ranking.update_j[best, :, 0].sum() / ranking.steps[0]),
        float(ranking.read_j[best] / ranking.samples[0]),
    )  # fmt: skip


@contextmanager
def _chip(walls: Walls, cells: int, seed: int) -> Iterator[tuple[Session, Characterization]]:
    """A chip with process variation, characterised; its number of states is not told."""
    clock = VirtualClock()
    array = DomainWallArray(DomainWall(sites=walls.sites, pinning_spread=PINNING), cells, seed=seed)
    session, everyone = Session(SimulatedChip(array, clock), clock, seed=seed), np.arange(cells)
    try:
        found = characterize(session, everyone, everyone[:: cells // 256])[0]
        assert found.states == walls.sites, f"{walls}, chip {seed}: found {found.states} states"
        yield session, found
    finally:
        array.close()


def _config(bits: int, seed: int) -> TrainConfig:
    return replace(CONFIG, bits=bits, seed=seed)


def _trained(config: TrainConfig, digits: Dataset, at: Path, cells: ChipWeights | None = None) -> TrainResult:
    return train(
        config, weights=at.with_suffix(".weights"), schedule=at.with_suffix(".schedule"), dataset=digits, cells=cells,
        overwrite=True,
    )  # fmt: skip


def _validated(
    session: Session, full: Characterization, walls: Walls, digits: Dataset, name: str, trained: TrainResult
) -> dict[str, float]:
    network, pattern = Network.load(trained.weights), tuple(range(level_count(walls.bits)))
    found = validate(session, network, digits.test_images, digits.test_labels, full, walls.states, pattern)
    return {f"{name}, closed loop": found.accuracy[CLOSED], f"{name}, open loop": found.accuracy[OPEN]}


def _ranked(used: Characterization, trained: TrainResult) -> Ranking:
    assert trained.schedule is not None
    with Schedule.open(trained.schedule) as schedule:
        return rank(used, count(schedule))


def _costs(cells: ChipWeights) -> tuple[float, ...]:
    writes = cells.total("writes_intended")
    return (
        writes / cells.wrong.size,
        cells.total("writes_wrong") / writes,
        (cells.total("pulses") + cells.total("resets")) / writes,
        1e15 * cells.total("spent_energy_j") / writes,
        1e15 * cells.total("verify_energy_j") / writes,
    )


def _weights(digits: Dataset) -> int:
    layers = Topology.parse(CONFIG.network, digits.image_shape, len(digits.class_names)).layers()
    return sum(layer.size for layer in layers)


def _page(digits: Dataset, found: Mapping[Walls, Sequence[Found]]) -> str:
    about = (
        f"Network `{CONFIG.network}`: VGG8 (`128-128M-256-256M-512-512M-F-L1024`) at one sixteenth of its width, "
        f"{_weights(digits)} quantised weights, one cell each, decoded; encoder and last layer in FP32; IF neurons, "
        f"T = {CONFIG.time_steps}. Data: scikit-learn's digits, 8x8, which three poolings leave one place of; "
        f"{len(digits.train_images)} training and {len(digits.test_images)} held-out images, {CONFIG.epochs} epochs in "
        f"batches of {CONFIG.batch_size}, Adam {CONFIG.learning_rate:g}, the same at 2 and 3 bits. Cells: simulated "
        f"walls (`sim/domain_wall.py`, all assumed) with landing 20 nm, residual 2 nm, resistance 5 %, swing 3 %, "
        f"pinning {100 * PINNING:g} %, read noise 0.3 %; reset by a pulse of −1 V, no field. A chip is characterised "
        "first, without being told its number of states. Means over the seeds "
        f"{', '.join(str(s) for s in SEEDS[: len(found[ROWS[0]])])}, with standard errors."
    )
    said = (
        "*Verified*: each changed weight programmed and verified before the next forward pass. *One pulse a write*: a "
        "reset and one set pulse, taken as it lands: the cell's stochastic writes reach the network unfiltered. *Then "
        "another chip*: its network programmed into a chip of another seed, characterised for itself. *Open loop*: a "
        "reset and one pulse a cell, nothing verified. Last three rows: accuracy on the training images."
    )
    return "\n\n".join(
        [about, said, _accuracies(found), "## Writes", _writes(found), "## Energy matrices", _matrices(found),
         "## Beside Dhull et al.", _beside(found)]
    )  # fmt: skip


def _accuracies(found: Mapping[Walls, Sequence[Found]]) -> str:
    rows = [[way, *(_shares([one.accuracy[way] for one in ones]) for ones in found.values())] for way in WAYS]
    rows += [
        [
            f"{way}: training images",
            *(_shares([one.training[way] for one in ones]) for ones in found.values()),
        ]
        for way in (SOFTWARE, VERIFIED, ONE_PULSE)
    ]
    return _table(["trained", *map(str, found)], rows)


def _writes(found: Mapping[Walls, Sequence[Found]]) -> str:
    rows = []
    for way in (VERIFIED, ONE_PULSE):
        for walls, ones in found.items():
            mean = np.mean([one.costs[way] for one in ones], axis=0)
            rows.append(
                [f"{way}; {walls}", f"{mean[0]:.1f}", f"{100 * mean[1]:.2f} %", *map(_three, mean[2:])]
            )
    return "A write is a weight asked for another level, the first load included.\n\n" + _table(
        ["", *COSTS], rows
    )


def _matrices(found: Mapping[Walls, Sequence[Found]]) -> str:
    """Of the first seed's chip."""
    firsts = {walls: ones[0] for walls, ones in found.items()}
    rows = [
        [str(walls), f"{100 * one.lands.min():.1f} to {100 * one.lands.max():.1f}", one.best,
         _three(1e12 * one.update_j), _three(1e12 * one.read_j)]
        for walls, one in firsts.items()
    ]  # fmt: skip
    head = ["", "first pulse lands, %", "cheapest pattern", "E_w a batch, pJ", "E_a a sample, gated, pJ"]
    said = (
        "First seed. Expected energy of the pulses of a verified write, fJ, from the characterisation's counts. "
        "Pattern, E_w and E_a: of the whole schedule of the verified training."
    )
    return "\n\n".join([said, _table(head, rows), *(_matrix(walls, one) for walls, one in firsts.items())])


def _matrix(walls: Walls, found: Found) -> str:
    names = [f"R{s}" for s in walls.states]
    rows = [[name, *map(_three, 1e15 * row)] for name, row in zip(names, found.pulse_j, strict=True)]
    return _table([f"{walls.sites} sites, from \\ to", *names], rows)


def _beside(found: Mapping[Walls, Sequence[Found]]) -> str:
    def ours(way: str) -> str:
        return "; ".join(
            f"{w.sites} sites {_shares([one.accuracy[way] for one in ones])}" for w, ones in found.items()
        )

    rows = [
        ["accuracy, on-chip training", "92.4 %", ours(ONE_PULSE)],
        ["accuracy, inference", "90.4 %", ours(f"{ONE_PULSE}, then another chip, open loop")],
        ["energy against pure CMOS", "9.6× less", "not modelled (cells only, no periphery)"],
        ["area against pure CMOS", "13.8× less", "not modelled"],
        ["latency against pure CMOS", "3.5× less", "not modelled"],
    ]
    text = (
        "TNNLS 2025, abstract of the preprint: VGG8 at full width on CIFAR-10, stochastic writes, process variation. "
        "Another network, other images, other neurons and a cell of assumed numbers: nothing here reproduces these "
        "figures, they stand beside ours. That *inference* means weights programmed without verification into a chip "
        "that was not trained on is our reading."
    )
    return text + "\n\n" + _table(["", "Dhull et al.", "here (1/16 width, digits)"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def _shares(values: Sequence[float]) -> str:
    error = f" ± {100 * np.std(values, ddof=1) / np.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{error} %"


def _three(value: float) -> str:
    return f"{value:.3g}"
