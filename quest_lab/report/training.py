"""Section of a schedule: loss and changes, transitions between levels, spike rates, sparsity, AOR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quest_lab.layers import ACCUMULATE_J
from quest_lab.neurons import Neuron
from quest_lab.report import frozen, style
from quest_lab.report.numbers import levels, percent, short
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.schedule import STAGES, Schedule
from quest_lab.taps import TapLevels

Floats = NDArray[np.float64]
_RATES = (
    ("R_in: spikes entering / input", "rate_in"),
    ("R_out: spikes leaving / neuron", "rate_out"),
    ("Sparsity: share of zero weights", "sparsity"),
    ("AOR: operations / MACs of one pass", "aor"),
)


@dataclass(frozen=True)
class History:
    """A training run, counted. `loss`, `changed` (share of weights) [step]; `epoch` [step]; the rates are of
    each epoch: [epoch, layer]; `spikes` leaving and `operations_j` of an image in the last epoch, `memory_bits` of a
    neuron: [layer]; `moves[stage, from, to]` over all steps and the stages 1 to 3.
    """

    bits: int
    weights: int
    layers: list[str]
    epoch: NDArray[np.int64]
    stage: NDArray[np.int8]
    loss: Floats
    changed: Floats
    rate_in: Floats
    rate_out: Floats
    sparsity: Floats
    aor: Floats
    spikes: Floats
    operations_j: Floats
    memory_bits: Floats
    moves: NDArray[np.int64]

    @property
    def far(self) -> tuple[int, int]:
        """Transitions by more than one level, and all of them."""
        n = self.moves.shape[1]
        distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        return int(self.moves[0][distance > 1].sum()), int(self.moves[0].sum())


def load(path: str) -> History:
    """Stream the schedule once; memory grows with steps and epochs, not with weights or levels."""
    with Schedule.open(path) as schedule:
        bits, weights, layers = schedule.header.bits, schedule.weights, schedule.layers
        neuron = Neuron.parse(schedule.header.neuron)
        now = TapLevels(layers, schedule.initial_levels, bits)
        moves = np.zeros((4, now.levels, now.levels), np.int64)
        steps: list[tuple[float, ...]] = []
        counts: list[tuple[NDArray[np.int64], ...]] = []
        zeros: list[NDArray[np.float64]] = []
        for step in schedule:
            reads = now.reads(step.taps)
            moved = now.write(step.weight, step.old, step.new).sum(axis=0)
            moves[0] += moved
            if step.stage:
                moves[step.stage] += moved
            held = now.weights()
            steps.append((step.epoch, step.stage, step.loss, step.weight.size, step.samples))
            counts.append((step.spikes_in, step.spikes_out, reads.sum(axis=1) - reads[:, now.top]))
            zeros.append(held[:, now.top] / held.sum(axis=1))
    epoch, stage, loss, changed, samples = (np.array(column) for column in zip(*steps, strict=True))
    spikes_in, spikes_out, effective = (np.array(column) for column in zip(*counts, strict=True))
    seen = _by_epoch(samples[:, None], epoch)
    last = np.flatnonzero(np.diff(epoch, append=epoch[-1] + 1))
    inputs, neurons, macs = (np.array([getattr(x, n) for x in layers]) for n in ("inputs", "neurons", "macs"))
    rate_out, aor = (
        _by_epoch(spikes_out, epoch) / (seen * neurons),
        _by_epoch(effective, epoch) / (seen * macs),
    )
    return History(
        bits, weights, [x.name for x in layers], epoch, stage, loss, changed / weights,
        rate_in=_by_epoch(spikes_in, epoch) / (seen * inputs),
        rate_out=rate_out,
        sparsity=np.array(zeros)[last],
        aor=aor,
        spikes=rate_out[-1] * neurons,
        operations_j=aor[-1] * macs * ACCUMULATE_J,
        memory_bits=np.array([neuron.memory_bits(x, bits) / x.neurons for x in layers]),
        moves=moves,
    )  # fmt: skip


def _by_epoch(values: NDArray[np.int64], epoch: NDArray[np.int64]) -> NDArray[np.int64]:
    starts = np.flatnonzero(np.diff(epoch, prepend=epoch[0] - 1))
    return np.add.reduceat(values, starts, axis=0)


def section(source: Source, _files: Files) -> Section:
    """What the trainer did to the weights, and how often it read them."""
    with Schedule.open(source.path) as schedule:
        head, steps, writes = schedule.header, schedule.steps, schedule.writes
        convention, weights = schedule.convention, schedule.weights
    out = Section(f"Training on {head.dataset} at {head.bits} bits ({source.path.name})")
    out.blocks.append(
        Text(
            f"Network {head.network} (first convolution and last layer FP32), neurons {head.neuron}, "
            f"{weights} quantised weights, T = {head.time_steps} time steps, {steps} batches of {head.batch_size}, "
            f"seed {head.seed}; {writes} weight changes. The schedule counts, in its own words: {convention}. T, "
            "network, epochs and learning rate are this run's own: QUEST's are not recoverable."
        )
    )
    if steps == 0:
        out.blocks.append(Text("The schedule holds no training step: nothing to draw.", True))
        return out
    history = load(str(source.path))
    out = replace(out, finding=_finding(history))
    out.blocks.extend([*_pictures(history), _table(history), *_frozen(source)])
    return out


def _frozen(source: Source) -> list[Block]:
    found = frozen.load(source.path)
    if not found.states:
        return []
    caption = (
        f"Level of {len(found.layer_of)} weights, drawn at random from all layers, after every batch of the stages of "
        "the first epoch: a row that keeps its colour is a frozen weight. White lines part the layers."
    )
    picture = Picture(
        "states", "States of sampled weights, batch by batch", caption, partial(frozen.draw, found)
    )
    return [picture, frozen.table(found)]


def _finding(history: History) -> str:
    def span(key: str) -> str:
        last = getattr(history, key)[-1]
        return f"{last.min():.3f} to {last.max():.3f}"

    return (
        f"Last epoch, over the layers: R_in {span('rate_in')}, R_out {span('rate_out')}, sparsity "
        f"{span('sparsity')}, AOR {span('aor')}; {percent(float(history.changed.mean()))} of the weights change "
        "in a mean batch"
    )


def _pictures(history: History) -> list[Block]:
    far, total = history.far
    half = levels(history.moves.shape[1])
    ends = int(history.moves[0][0, -1] + history.moves[0][-1, 0])
    frozen = 1.0 - float(history.changed[history.stage == 1].mean()) if np.any(history.stage == 1) else np.nan
    return [
        Picture(
            "training",
            "Loss and share of weights changed",
            "Mean loss of each batch, and the share of quantised weights whose level the optimizer step "
            "changed. Left: first epoch, with QUEST's stages (early, middle, final: batches 1–10, 96–105, "
            f"180–190 of 195, scaled to this epoch); right, if there are more epochs: all batches. "
            "Unchanged in an early batch: "
            f"{percent(frozen)} of the weights.",
            partial(_training, history),
        ),
        Picture(
            "transitions",
            "Transitions between weight levels",
            "Counted changes from level to level (QUEST's transition matrix, Algorithm 1), over all batches and "
            "in the stages of the first epoch; a dash: unchanged, not counted. Logarithmic colour; 0 is pale. Measured "
            f"here: {ends} of {total} changes go {half[0]} ↔ {half[-1]} directly, {far} skip at least one "
            "level. QUEST reports 0 % between non-adjacent states.",
            partial(_transitions, history),
        ),
        Picture(
            "activity",
            "Spike rates, sparsity and activation operation rate",
            "Per layer and epoch, while training (training images, all T time steps). R_in: spikes entering a "
            "layer (after pooling) per input; R_out: spikes leaving its neurons, before pooling, QUEST's R_l. "
            "Sparsity: share of weights at level 0 at the end of the epoch. AOR = OP_eff/OP_tot: (spike, non-zero "
            "weight) pairs over all T per MAC of one pass, not divided by T (definition derived from QUEST's "
            "numbers, its formula is not recoverable).",
            partial(_activity, history),
        ),
    ]  # fmt: skip


def _table(history: History) -> Numbers:
    rows = [
        (name, *(f"{getattr(history, key)[-1, i]:.3f}" for _, key in _RATES), f"{history.spikes[i]:.0f}",
         f"{1e9 * history.operations_j[i]:.3g}", f"{history.memory_bits[i]:.2f}")
        for i, name in enumerate(history.layers)
    ]  # fmt: skip
    header = ("layer", "R_in", "R_out", "sparsity", "AOR", "spikes", "operations (nJ)", "memory (bits)")
    note = (
        "Definitions as in the figure above. Spikes leaving an image; operations of an image: AOR x MACs x "
        f"{1e12 * ACCUMULATE_J:g} pJ, 45 nm CMOS (DIET-SNN), without the FP32 layers and without the cells' energy; "
        "memory: what a neuron stores from step to step."
    )
    return Numbers(f"Last epoch ({int(history.epoch[-1]) + 1})", header, rows, note)


def _training(history: History) -> Figure:
    first = history.epoch == history.epoch[0]
    parts = [first] if first.all() else [first, np.ones_like(first)]
    figure = style.new_figure(4.0 + 2.8 * len(parts), 4.6)
    grid = figure.subplots(2, len(parts), sharey="row", squeeze=False, width_ratios=(1, 1.6)[: len(parts)])
    for column, part in zip(grid.T, parts, strict=True):
        x = np.flatnonzero(part) + 1
        for axes, values in zip(column, (history.loss, 100 * history.changed), strict=True):
            axes.plot(
                x, values[part], color=style.BLUE, linewidth=1.0, marker=style.marker(x.size), markersize=3
            )
            axes.grid(axis="y")
            axes.set(xlabel="Batch", xlim=(0.5, x[-1] + 0.5))
            style.whole_numbers(axes.xaxis)
            if part is first:
                _shade(axes, history.stage[part])
    grid[0, 0].set(title=f"Epoch {int(history.epoch[0]) + 1}", ylabel="Loss (nats)")
    grid[0, 0].set_ylim(bottom=min(0.0, float(history.loss.min())))
    grid[1, 0].set_ylabel("Weights changed (%)")
    grid[1, 0].set_ylim(bottom=0)
    if len(parts) > 1:
        grid[0, 1].set_title(f"All {int(history.epoch[-1] - history.epoch[0]) + 1} epochs")
    handles, names = grid[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _shade(axes: Axes, stage: NDArray[np.int8]) -> None:
    for s in (1, 2, 3):
        where = np.flatnonzero(stage == s)
        if where.size:
            name = STAGES[s]
            axes.axvspan(where[0] + 0.5, where[-1] + 1.5, color=style.STAGE_COLOURS[name], alpha=0.3,
                         linewidth=0, label=f"{name} stage")  # fmt: skip


def _transitions(history: History) -> Figure:
    names = levels(history.moves.shape[1])
    shown = [0] + [s for s in (1, 2, 3) if np.any(history.stage == s)]
    small = len(names) <= 3
    columns = len(shown) if small else 2
    rows = -(-len(shown) // columns)
    figure = style.new_figure(9.6, 2.9 if small else 0.4 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    norm = LogNorm(0.8, max(2.0, float(history.moves[0].max())))
    for axes, s in zip(grid.flat, shown, strict=False):
        moves = history.moves[s]
        texts = [["–" if i == j else short(int(x)) for j, x in enumerate(row)] for i, row in enumerate(moves)]
        values = np.where(moves > 0, moves, np.nan)
        image = style.heat_map(axes, values, texts, names, names, norm=norm, font_pt=8 if small else 7)
        steps = int((history.stage == s).sum()) if s else history.stage.size
        name = STAGES[s].capitalize() if s else "All"
        axes.set(
            title=f"{name}: {steps} batch{'es' if steps != 1 else ''}", xlabel="To level", ylabel="From level"
        )
    for axes in grid.flat[len(shown) :]:
        axes.remove()
    figure.colorbar(image, ax=grid, label="Changes (count)", shrink=0.9).minorticks_off()
    return figure


def _activity(history: History) -> Figure:
    figure = style.new_figure(9.6, 5.2)
    grid = figure.subplots(2, 2, sharex=True)
    epochs = np.arange(history.rate_in.shape[0]) + int(history.epoch[0]) + 1
    for axes, (title, key) in zip(grid.flat, _RATES, strict=True):
        for i, name in enumerate(history.layers):
            axes.plot(epochs, getattr(history, key)[:, i], color=style.colour(i), label=name,
                      linestyle=style.line_style(i), marker=style.marker(epochs.size), markersize=3)  # fmt: skip
        axes.set(title=title, ylabel="Share" if key == "sparsity" else "Rate (no unit)")
        axes.set_ylim(0, 1 if key == "sparsity" else 1.1 * float(getattr(history, key).max()) or 1.0)
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.grid(axis="y")
        style.whole_numbers(axes.xaxis)
    for axes in grid[1]:
        axes.set_xlabel("Epoch")
    style.legend_below(figure, grid[0, 0])
    return figure
