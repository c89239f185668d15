"""Training in the loop against programming afterwards, over threshold spread, stuck cells and precision."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from looping import SPARE, WAYS, Found, Measure, Point
from numpy.typing import NDArray

from quest_lab.estimates import student_reach
from quest_lab.layers import Levels
from quest_lab.placement import Placement
from quest_lab.protocols.characterize import characterize
from quest_lab.session import open_bench
from quest_lab.train.chip import KIND, ChipWeights
from quest_lab.train.config import TrainConfig, recipe
from quest_lab.train.data import Dataset, load_dataset
from quest_lab.train.loop import train

pytestmark = pytest.mark.campaign

SPREADS = (0.0, 0.05, 0.10, 0.20)
STUCK = (0.0, 0.02, 0.05)
SEEDS = range(5)
SMALL = TrainConfig(network="16-24M-32M-F", learning_rate=5e-3)
Columns: TypeAlias = NDArray[np.float64]  # [seed, way]


def test_in_the_loop_recovers_half_of_what_open_loop_loses(
    tmp_path: Path, publish: Callable[[str, str, str], None]
) -> None:
    """The demo's network, threshold spread 10 %, 2 % stuck cells, seven states, five seeds."""
    measure = Measure(TrainConfig(), load_dataset("digits"), tmp_path)
    found = [one for seed in SEEDS for _, one in measure.on_chip(0.10, seed, (0.02,), (3,))]
    table = _table(found, "accuracy")
    text = [measure.about, _said(table), _by_seed(table), _why(found), _wear(found)]
    publish("in-the-loop", "Training in the loop: digits", "\n\n".join(text))
    assert _recovered(table) >= 0.5


def _said(table: Columns) -> str:
    return (
        "Threshold spread 10 %, 2 % stuck cells, 3 bits. Of the accuracy that open-loop programming loses, training "
        f"in the loop recovers {_share(table)}, the closed loop alone {_share(table[:, [0, 1, 3, 2]])} (95 % "
        f"intervals over seeds, Fieller). In the loop less closed loop: {_difference(_gain(table))} percentage points."
    )


def _by_seed(table: Columns) -> str:
    rows = [
        f"| {way} | {' | '.join(_percent(v) for v in (*column, column.mean(), _error(column)))} |"
        for way, column in zip(WAYS, table.T, strict=True)
    ]
    head = "| | " + " | ".join(f"seed {s}" for s in SEEDS) + " | mean | standard error |"
    return "\n".join([head, "|---|" + "---|" * 7, *rows])


def _why(found: Sequence[Found]) -> str:
    accuracy = _table(found, "accuracy")
    wrong, missed = (_table(found, name).mean(axis=0) for name in ("wrong", "missed"))
    return (
        f"Where the loss comes from: open loop leaves {_percent(wrong[1])} of the weights wrong, {_percent(missed[1])} "
        "because its one pulse missed on a cell that is not stuck. The closed loop leaves "
        f"{_percent(wrong[2])}, {_percent(missed[2])} on cells that are not stuck. Closed loop less ideal: "
        f"{_difference(accuracy[:, 2] - accuracy[:, 0])} percentage points: all that training in the loop, at the end "
        f"of which {_percent(wrong[3])} of the weights are wrong, could regain over it."
    )


def _wear(found: Sequence[Found]) -> str:
    writes, pulses = (float(np.mean([getattr(f, name) for f in found])) for name in ("writes", "pulses"))
    return (
        f"In the loop, a training of 840 steps asked each weight for {writes:.1f} writes and gave its cell "
        f"{pulses:.1f} pulses in the mean, {max(f.most_pulses for f in found)} at most (a stuck cell is tried "
        "until the policy gives up, at every write)."
    )


def test_over_spread_stuck_cells_and_precision(
    tmp_path: Path, publish: Callable[[str, str, str], None]
) -> None:
    """A network of a sixth of the weights, so that the whole grid can be afforded."""
    measure, found = Measure(SMALL, load_dataset("digits"), tmp_path), defaultdict(list)
    for seed in SEEDS:
        for spread in SPREADS:
            for point, one in measure.on_chip(spread, seed, STUCK, (2, 3)):
                found[point].append(one)
        if seed:  # one seed alone has no errors
            title = "Training in the loop: spread, stuck cells, precision"
            publish("in-the-loop-grid", title, _grid(measure, found))
    for point, ones in found.items():
        table = _table(ones, "accuracy")
        if np.mean(table[:, 0] - table[:, 1]) >= 0.02:  # a loss well beyond what training varies by
            assert _recovered(table) >= 0.5, point


def _grid(measure: Measure, found: Mapping[Point, Sequence[Found]]) -> str:
    head = (
        "| bits | d_cell | stuck | "
        + " | ".join(WAYS)
        + " | recovered | in the loop less closed loop | "
        + ("wrong: open loop | closed loop | in the loop | pulses a cell |")
    )
    said = (
        f"Means over {len(next(iter(found.values())))} seeds with standard errors. Recovered: what training in the "
        "loop regains of the accuracy that open loop loses, with its 95 % interval (Fieller); not given where that "
        "loss is not above zero beyond its error. In the loop less closed loop: percentage points, with the 95 % "
        "interval of the paired difference (Student). Wrong: weights whose cell does not hold what was asked for. "
        "Pulses: of the whole training in the loop."
    )
    rows = [_row(point, found[point]) for point in sorted(found)]
    table = "\n".join([head, "|---|" + "---|" * 12, *rows])
    return "\n\n".join([measure.about, said, table, _beyond(found), _pooled(found)])


def _row(point: Point, found: Sequence[Found]) -> str:
    table = _table(found, "accuracy")
    accuracies = [f"{_percent(way.mean())} ± {_percent(_error(way))}" for way in table.T]
    wrong = [_percent(share) for share in _table(found, "wrong").mean(axis=0)[1:]]
    at = f"{point.bits} | {100 * point.spread:g} % | {100 * point.stuck:g} %"
    gained, pulses = _difference(_gain(table)), float(np.mean([f.pulses for f in found]))
    return f"| {at} | {' | '.join([*accuracies, _share(table), gained, *wrong])} | {pulses:.1f} |"


def _beyond(found: Mapping[Point, Sequence[Found]]) -> str:
    """Where training in the loop differs from the closed loop by more than the interval."""
    better, worse = [], []
    for point in sorted(found):
        gained = _gained(found[point])
        if abs(gained.mean()) > _reach(gained):
            (better if gained.mean() > 0 else worse).append(
                f"{point.bits} bits, d_cell {100 * point.spread:g} %, {100 * point.stuck:g} % stuck"
            )
    return (
        f"Beyond its 95 % interval, in the loop is better than the closed loop at {len(better)} of {len(found)} points "
        f"({'; '.join(better) or 'none'}) and worse at {len(worse)} ({'; '.join(worse) or 'none'}); by chance alone "
        f"{len(found) / 40:.1f} would be expected on either side."
    )


def _pooled(found: Mapping[Point, Sequence[Found]]) -> str:
    """Over many points at once: each seed's mean difference, so that seeds stay the independent units."""
    slices = [(f"{100 * s:g} % stuck", "stuck", s) for s in STUCK]
    slices += [(f"d_cell {100 * s:g} %", "spread", s) for s in SPREADS]
    rows = []
    for bits in (2, 3):
        mine = [p for p in found if p.bits == bits]
        means = [
            np.mean([_gained(found[p]) for p in mine if getattr(p, axis) == value], axis=0)
            for _, axis, value in slices
        ]
        rows.append(f"| {bits} | {' | '.join(_difference(mean) for mean in means)} |")
    head = "| bits | " + " | ".join(name for name, _, _ in slices) + " |"
    return "\n".join(["In the loop less closed loop, pooled:\n", head, "|---|" + "---|" * 7, *rows])


def _gained(found: Sequence[Found]) -> NDArray[np.float64]:
    return _gain(_table(found, "accuracy"))


def _gain(table: Columns) -> NDArray[np.float64]:
    """In the loop less closed loop, of each seed."""
    return np.subtract(table[:, 3], table[:, 2])


def _table(found: Sequence[Found], name: str) -> Columns:
    return np.array([getattr(f, name) for f in found])


def _recovered(table: Columns) -> float:
    """(in the loop - open loop) / (ideal - open loop) of the means."""
    ideal, opened, _, loop = table.mean(axis=0)
    return float((loop - opened) / (ideal - opened))


def _share(table: Columns) -> str:
    """What is recovered with Fieller's interval (J. R. Stat. Soc. B 16, 175, 1954); a dash if it has no end."""
    gained, lost = table[:, 3] - table[:, 1], table[:, 0] - table[:, 1]
    (gg, gl), (_, ll) = student_reach(len(table)) ** 2 * np.cov(gained, lost) / len(table)
    mean_g, mean_l = gained.mean(), lost.mean()
    a, b, c = mean_l**2 - ll, mean_g * mean_l - gl, mean_g**2 - gg
    if mean_l <= 0 or a <= 0:
        return "–"
    low, high = ((b + sign * np.sqrt(b * b - a * c)) / a for sign in (-1, 1))
    return f"{100 * _recovered(table):.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"


def _difference(values: NDArray[np.float64]) -> str:
    return f"{100 * values.mean():+.2f} ± {100 * _reach(values):.2f}"


def _reach(values: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean."""
    return student_reach(values.size) * _error(values)


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


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
