"""Which weights move at all: states of sampled weights batch by batch, and shares that stay, by layer and stage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quest_lab import seeds
from quest_lab.report import style
from quest_lab.report.numbers import levels, percent
from quest_lab.report.page import Numbers
from quest_lab.schedule import STAGES, Schedule

SAMPLED = 48


@dataclass(frozen=True)
class Stages:
    """The stages 1 to 3 of the first epoch. By stage: `states[weight, batch]` of the sampled weights after every
    batch, `batches` their numbers from 1; `frozen[stage, layer]` share of weights that no batch of the stage
    changed, `still[stage, layer]` mean share that a batch leaves alone.
    """

    layers: list[str]
    layer_of: NDArray[np.int64]
    states: dict[int, NDArray[np.int8]]
    batches: dict[int, NDArray[np.int64]]
    frozen: NDArray[np.float64]
    still: NDArray[np.float64]
    bits: int


def load(path: Path) -> Stages:
    """Stream the schedule's first epoch."""
    with Schedule.open(path) as schedule:
        sizes = np.array([layer.size for layer in schedule.layers])
        ends = np.cumsum(sizes)
        sample = _sampled(schedule.weights)
        now, touched = schedule.initial_levels.copy(), np.zeros((4, schedule.weights), bool)
        changes, steps = np.zeros((4, sizes.size)), np.zeros(4)
        states: dict[int, list[NDArray[np.int8]]] = {1: [], 2: [], 3: []}
        batches: dict[int, list[int]] = {1: [], 2: [], 3: []}
        for step in takewhile(lambda s: s.epoch == 0, schedule):
            now[step.weight] = step.new
            touched[step.stage, step.weight] = True
            layer = np.searchsorted(ends, step.weight, side="right")
            changes[step.stage] += np.bincount(layer, minlength=sizes.size)
            steps[step.stage] += 1
            if step.stage:
                states[step.stage].append(now[sample])
                batches[step.stage].append(step.batch + 1)
        names, bits = [layer.name for layer in schedule.layers], schedule.header.bits
    there = [s for s in (1, 2, 3) if states[s]]
    seen = steps[1:, None]
    moved = np.add.reduceat(touched[1:], ends - sizes, axis=1, dtype=np.int64)
    return Stages(
        names,
        np.searchsorted(ends, sample, side="right"),
        {s: np.array(states[s]).T for s in there},
        {s: np.array(batches[s]) for s in there},
        frozen=np.where(seen > 0, 1 - moved / sizes, np.nan),
        still=np.where(seen > 0, 1 - changes[1:] / (np.maximum(seen, 1) * sizes), np.nan),
        bits=bits,
    )


def _sampled(weights: int) -> NDArray[np.int64]:
    """The same weights every time, in order."""
    chosen = seeds.generator(0, "sampled weights").choice(weights, min(SAMPLED, weights), replace=False)
    return np.sort(chosen)


def table(found: Stages) -> Numbers:
    """Frozen weights by layer and stage."""
    rows = [
        (name, *(percent(x[s, i]) for s in range(3) for x in (found.still, found.frozen)))
        for i, name in enumerate(found.layers)
    ]
    header = ["layer"]
    for s in (1, 2, 3):
        count = len(found.batches.get(s, ()))
        header += [f"{STAGES[s]}: unchanged a batch", f"in all {count} batches"]
    return Numbers(
        "Frozen weights in the stages of the first epoch", header, rows,
        "Share of a layer's weights whose level a mean batch leaves as it is, and of those that no batch of the "
        "stage changes. QUEST: most weights are frozen between batches even early on.",
    )  # fmt: skip


def draw(found: Stages) -> Figure:
    """States of the sampled weights over the batches of each stage (QUEST's state matrix, Fig. 7a)."""
    names = levels(2**found.bits - 1)
    shown = sorted(found.states)
    half = len(names) // 2
    colours = ListedColormap(style.ordered_colours(len(names)))
    norm = BoundaryNorm(np.arange(-half, half + 2) - 0.5, len(names))
    figure = style.new_figure(9.6, 5.4)
    widths = [max(4, len(found.batches[s])) for s in shown]
    grid = figure.subplots(1, len(shown), sharey=True, squeeze=False, width_ratios=widths)
    borders = np.flatnonzero(np.diff(found.layer_of)) + 0.5
    for axes, s in zip(grid[0], shown, strict=True):
        first, last = found.batches[s][0], found.batches[s][-1]
        rows = len(found.layer_of)
        image = axes.imshow(found.states[s], cmap=colours, norm=norm, aspect="auto", interpolation="nearest",
                            extent=(first - 0.5, last + 0.5, rows - 0.5, -0.5))  # fmt: skip
        for border in borders:
            axes.axhline(border, color="white", linewidth=1.5)
        axes.set(title=STAGES[s].capitalize(), xlabel="Batch")
        style.whole_numbers(axes.xaxis)
        axes.tick_params(length=0)
    middle = [float(np.flatnonzero(found.layer_of == i).mean()) for i in np.unique(found.layer_of)]
    grid[0, 0].set_yticks(middle, [found.layers[i] for i in np.unique(found.layer_of)])
    grid[0, 0].set_ylabel(f"{len(found.layer_of)} sampled weights")
    bar = figure.colorbar(image, ax=grid, label="Level after the batch", shrink=0.8)
    bar.set_ticks([*range(-half, half + 1)], labels=names)
    return figure
