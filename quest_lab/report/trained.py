"""Section of a training run (training.h5): accuracy, reads, membrane writes, energies by epoch, 45 nm."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quest_lab import cmos
from quest_lab.quantity import prefix_for
from quest_lab.report import style
from quest_lab.report.numbers import levels, pattern_name, percent, quantity, three
from quest_lab.report.page import Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

Floats = NDArray[np.float64]
_ENERGIES = (
    ("update_j", "E_w: update, a batch", "steps"),
    ("gated_j", "E_a gated: activation, a sample", "samples"),
    ("row_j", "E_a row-activated, a sample", "samples"),
    ("neuron_j", "E_n: neuron cells, a sample", "samples"),
)


def section(source: Source, files: Files) -> Section:
    """What every epoch of a training run reached, read, wrote and spent."""
    said = source.settings
    out = Section(
        f"Epochs of a training on {said.get('dataset')} at {said.get('bits')} bits ({source.path.name})"
    )
    with open_run(source.path) as run:
        if "epochs" not in run.results:
            out.blocks.append(Text(f"{source.path.name} ended as {source.status}, without an epoch.", True))
            return out
        data, compared = run.result("epochs"), run.result("comparison")
    out.blocks.append(_accuracy_picture(data))
    if "update_j" in data:
        out.blocks.extend([_energy_picture(data, source, files), _energy_table(data, source)])
    out.blocks.append(_reads_table(data))
    out.blocks.append(_comparison_table(compared))
    last = float(data["accuracy"][-1])
    gain = float(compared["gain"][0])
    return replace(
        out,
        finding=f"Epoch {int(data['epoch'][-1])}: {percent(last)} on the training images; {gain:.3g} times fewer "
        f"operations' energy than the ANN in 45 nm, counted by AOR (QUEST: {cmos.PAPER_GAIN:g})",
    )


def _accuracy_picture(data: Any) -> Picture:
    return Picture(
        "epochs",
        "Accuracy and membrane writes of every epoch",
        "Left: accuracy on the training images while training, augmented. Right: how often the membrane of a neuron "
        "changes its level, per image, by layer, with the return to 0 before the next image.",
        partial(_draw_accuracy, data),
    )


def _draw_accuracy(data: Any) -> Figure:
    figure = style.new_figure(9.6, 3.4)
    left, right = figure.subplots(1, 2)
    epochs, samples = data["epoch"].values, data["samples"].values[:, None]
    left.plot(
        epochs,
        100 * data["accuracy"].values,
        color=style.BLUE,
        marker=style.marker(epochs.size),
        markersize=3,
    )
    left.set(xlabel="Epoch", ylabel="Accuracy (%)")
    _by_layer(right, data, data["neuron_writes"].values / samples)
    right.set(xlabel="Epoch", ylabel="Membrane writes an image (count)")
    for axes in (left, right):
        axes.grid(axis="y")
        style.whole_numbers(axes.xaxis)
    right.set_ylim(bottom=0)
    style.legend_below(figure, right)
    return figure


def _by_layer(axes: Any, data: Any, values: Floats) -> None:
    epochs = data["epoch"].values
    for i, name in enumerate(data["layer_name"].values):
        axes.plot(epochs, values[:, i], color=style.colour(i), linestyle=style.line_style(i), label=str(name),
                  marker=style.marker(epochs.size), markersize=3)  # fmt: skip


def _pattern(data: Any, source: Source, key: str) -> str:
    found = ast.literal_eval(str(data.attrs[key]))
    return pattern_name([source.states[s] for s in found] if source.states else found)


def _energy_picture(data: Any, source: Source, files: Files) -> Picture:
    return Picture(
        "epoch-energies",
        "Energies of every epoch, by layer",
        f"E_w (Algorithm 1, single-cell resets) and E_a (Algorithm 2) under {_pattern(data, source, 'pattern')}, the "
        "pattern that is cheapest over the whole run; gated: zero weights are not read; row-activated: a spike "
        f"biases the whole row. E_n: membranes held in cells under {_pattern(data, source, 'neuron_pattern')}, which "
        f"QUEST leaves out. {files.assumed(source)}",
        partial(_draw_energies, data),
    )


def _draw_energies(data: Any) -> Figure:
    figure = style.new_figure(9.6, 5.2)
    grid = figure.subplots(2, 2, sharex=True)
    for axes, (key, title, per) in zip(grid.flat, _ENERGIES, strict=True):
        values = data[key].values / data[per].values[:, None]
        factor, unit = prefix_for(values)
        _by_layer(axes, data, values / factor)
        axes.set(title=title, ylabel=f"Energy ({unit})")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        style.whole_numbers(axes.xaxis)
    for axes in grid[1]:
        axes.set_xlabel("Epoch")
    style.legend_below(figure, grid[0, 0])
    return figure


def _energy_table(data: Any, source: Source) -> Numbers:
    steps, samples = float(data["steps"][-1]), float(data["samples"][-1])
    columns = [
        ("update_j", steps),
        ("update_j", samples),
        *((n, samples) for n in ("gated_j", "row_j", "neuron_j")),
    ]
    values = np.array([data[name].values[-1] / per for name, per in columns])
    rows = [(str(x), *map(quantity, values[:, i])) for i, x in enumerate(data["layer_name"].values)]
    rows.append(("all", *map(quantity, values.sum(axis=1))))
    header = (
        "layer",
        "E_w / batch",
        "E_w / sample",
        "E_a gated / sample",
        "E_a row / sample",
        "E_n / sample",
    )
    note = f"Under {_pattern(data, source, 'pattern')}; membranes under {_pattern(data, source, 'neuron_pattern')}."
    return Numbers(f"Energies of the last epoch ({int(data['epoch'][-1])})", header, rows, note)


def _reads_table(data: Any) -> Numbers:
    reads = data["reads"].values[-1] / float(data["samples"][-1])
    names = levels(reads.shape[1])
    if len(names) > 7:
        names, reads = ["zero", "not zero"], np.stack(
            [reads[:, len(names) // 2], reads.sum(axis=1) - reads[:, len(names) // 2]], axis=1
        )  # fmt: skip
    rows = [(str(x), *(three(v) for v in reads[i])) for i, x in enumerate(data["layer_name"].values)]
    return Numbers(
        "Reads of weights by their level, an image, last epoch", ("layer", *names), rows,
        "Exact counts of (spike, weight) pairs; a gated array skips those of level 0.",
    )  # fmt: skip


def _comparison_table(data: Any) -> Numbers:
    rows = [
        (str(name), *(f"{float(data[key][i]):.3g}" for key in ("gain", "vgg6", "vgg16")),
         quantity(float(data["energy_j"][i])))
        for i, name in enumerate(data["way_name"].values)
    ]  # fmt: skip
    rows.append(
        ("QUEST, as published", *(f"{x:g}" for x in (cmos.PAPER_GAIN, cmos.PAPER_VGG6, cmos.PAPER_VGG16)), "")
    )
    diet = "; ".join(
        f"{x.name}: {x.macs / 1e6:g} M MACs at rate {x.rate:.3f}, {quantity(x.energy_j)} an image"
        for x in (cmos.DIET_VGG6, cmos.DIET_VGG16)
    )
    return Numbers(
        "Against CMOS in 45 nm, by operation rate, last epoch",
        ("operations by", "times below the ANN", "VGG6-DIET-SNN", "VGG16-DIET-SNN", "an image"), rows,
        f"{cmos.E_MAC_J * 1e12:g} pJ a multiply-accumulate, {cmos.E_AC_J * 1e12:g} pJ an accumulate; no energy of a "
        f"memory cell is in these numbers. {diet} (rates derived from QUEST's three ratios).",
    )  # fmt: skip
