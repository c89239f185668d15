"""Section of a validation: accuracies, and where the wrong cells are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from quest_lab.report import style
from quest_lab.report.numbers import pattern_name, percent
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

_WRONG_PATTERN = "wrong pattern"


def section(source: Source, files: Files) -> Section:
    """What accuracy the weights have once they are in the cells."""
    chip = files.chip(source)
    out = Section(f"Validation on chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        if "accuracy" not in run.results:
            out.blocks.append(Text(f"{source.path.name} ended as {source.status}, without a result.", True))
            return out
        data = run.result("accuracy")
        cells = np.asarray(run.result("wrong_cells")["wrong"]) if "wrong_cells" in run.results else None
    names, values = [str(x) for x in data["row_name"].values], np.asarray(data["accuracy"].values)
    out.blocks.extend([_picture(names, values, source, chip, files.assumed(source)), _table(names, values)])
    out = replace(out, finding="; ".join(f"{n} {percent(v)}" for n, v in _no_controls(names, values)))
    wrong, weights = int(data.attrs["wrong_weights"]), int(data.attrs["weights"])
    out.blocks.append(_wrong_cells(wrong, weights, cells, chip))
    return out


def _no_controls(names: list[str], values: NDArray[np.float64]) -> list[tuple[str, float]]:
    return [(n, float(v)) for n, v in zip(names, values, strict=True) if _WRONG_PATTERN not in n]


def _picture(
    names: list[str], values: NDArray[np.float64], source: Source, chip: str, assumed: str
) -> Picture:
    pattern, states = source.settings.get("pattern"), source.states
    used = (
        f" The weights were written with pattern {pattern_name(np.asarray(states)[pattern])}."
        if pattern and states
        else ""
    )
    return Picture(
        "accuracy",
        f"Accuracy on held-out images, chip {chip}",
        "Share of held-out images classified right: by the integer network itself, with the levels decoded from "
        "the programmed cells (one cell a weight, sensed and added digitally), closed loop (program and "
        "verify) and open loop (each pulse once, unverified), and with differential pairs (G⁺ − G⁻, analogue). Orange: "
        f"read back with another mapping pattern than the one written, as a control.{used} {assumed}",
        partial(_accuracy, names, values),
    )


def _accuracy(names: list[str], values: NDArray[np.float64]) -> Figure:
    figure = style.new_figure(8.0, 0.9 + 0.32 * len(names))
    axes = figure.add_subplot()
    colours = [style.ORANGE if _WRONG_PATTERN in name else style.BLUE for name in names]
    y = np.arange(len(names))
    axes.barh(y, 100 * values, color=colours, height=0.65)
    for i, value in enumerate(values):
        axes.annotate(percent(float(value)), (100 * value, i), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(y, names)
    axes.set(xlim=(0, 112), xlabel="Accuracy (%)", xticks=range(0, 101, 20))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    return figure


def _table(names: list[str], values: NDArray[np.float64]) -> Numbers:
    rows = [
        (name, percent(float(value)), f"{100 * (value - values[0]):+.2f}".replace("-", "−"))
        for name, value in zip(names, values, strict=True)
    ]
    return Numbers("Accuracies", ("", "accuracy", f"points from {names[0]}"), rows)


def _wrong_cells(wrong: int, weights: int, cells: NDArray[np.int8] | None, chip: str) -> Block:
    count = f"{wrong} of {weights} weights read back at another level than the one written (closed loop)"
    if wrong == 0 or cells is None or not np.any(cells == 1):
        return Text(f"{count}; so there is no map of wrong cells to draw." if wrong == 0 else f"{count}.")
    return Picture(
        "wrong-cells",
        f"Map of wrong cells, chip {chip}",
        f"{count}, {percent(wrong / weights)}. Cells in the order of their index, row by row: the position in "
        "the picture is an index, not a place on a die. A wrong cell is circled.",
        partial(_map, cells),
    )


def _map(cells: NDArray[np.int8]) -> Figure:
    figure = style.new_figure(6.0, 6.2)
    axes = figure.add_subplot()
    colours = {-1: "white", 0: style.PALE, 1: style.RED}
    axes.imshow(cells, cmap=ListedColormap(list(colours.values())), vmin=-1.5, vmax=1.5, interpolation="none")
    row, column = np.nonzero(cells == 1)
    axes.scatter(column, row, s=28, facecolors="none", edgecolors=style.RED, linewidths=0.8)
    axes.set(xlabel="Column (cell index within the row)", ylabel="Row")
    names = {0: "right", 1: "wrong level", -1: "no weight"}
    handles = [
        Patch(facecolor=colours[v], edgecolor=style.GREY, label=name)
        for v, name in names.items() if np.any(cells == v)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
