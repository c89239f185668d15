"""Section of a validation: accuracies with intervals, what the errors cost, and where the wrong cells are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from quest_lab.report import style, validated_costs
from quest_lab.report.numbers import interval, pattern_name, percent, points, points_interval
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]


def section(source: Source, files: Files) -> Section:
    """What accuracy the weights have once they are in the cells."""
    chip = files.chip(source)
    out = Section(f"Validation on chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        if "accuracy" not in run.results:
            kept = run.rows("validation_tiles")
            text = (
                f"{source.path.name} ended as {source.status}, without a result; {kept} tiles are kept in it."
            )
            out.blocks.append(Text(text, True))
            return out
        found = Accuracies.of(run.result("accuracy"))
        cells = np.asarray(run.result("wrong_cells")["wrong"])
        costs = (run.result("costs"), run.result("layer_confusion")) if "costs" in run.results else None
    out.blocks.extend([_picture(found, source, chip, files.assumed(source)), _table(found)])
    if costs is not None:
        out.blocks.extend(validated_costs.blocks(*costs, chip))
    out.blocks.append(_wrong_cells(found, cells, chip))
    return replace(out, finding=found.finding)


@dataclass(frozen=True)
class Accuracies:
    """The result `accuracy` by row: its name, accuracy and change with intervals, wrong weights (-1: not decoded)."""

    names: list[str]
    accuracy: Floats
    interval: Floats
    change: Floats
    change_interval: Floats
    wrong: NDArray[np.int64]
    about: dict[str, Any]

    @classmethod
    def of(cls, data: xr.Dataset) -> Accuracies:
        """From the run file; intervals of shape (2, rows)."""
        low, high, change, least, most = (
            np.asarray(data[n].values) for n in ("low", "high", "change", "change_low", "change_high")
        )
        names = [str(name) for name in data["row_name"].values]
        return cls(names, np.asarray(data["accuracy"].values), np.stack([low, high]), change,
                   np.stack([least, most]), np.asarray(data["wrong"].values), dict(data.attrs))  # fmt: skip

    @property
    def finding(self) -> str:
        """The first read-backs in a sentence."""
        first = [i for i, name in enumerate(self.names) if not _is_control(name)][:3]
        return "; ".join(
            f"{self.names[i]} {percent(self.accuracy[i])} ({interval(self.interval[:, i])})" for i in first
        )


def _is_control(name: str) -> bool:
    return "wrong pattern" in name


def _picture(found: Accuracies, source: Source, chip: str, assumed: str) -> Picture:
    pattern, states = source.settings.get("pattern"), source.states
    used = (
        f" The weights were written with pattern {pattern_name(np.asarray(states)[pattern])}."
        if pattern and states
        else ""
    )
    tiles = int(found.about["tiles"])
    parts = f" The weights lay on the chip in {tiles} tiles, one after the other." if tiles > 1 else ""
    return Picture(
        "accuracy",
        f"Accuracy on held-out images, chip {chip}",
        f"Share of {found.about['images']} held-out images classified right, with its 95 % interval (Wilson): by the "
        "integer network itself, with the levels decoded from the programmed cells (one cell a weight, sensed and "
        "added digitally), closed loop (program and verify) and open loop (each pulse once, unverified), and with "
        "analogue weights, against a reference column (G − G_ref) and in differential pairs (G⁺ − G⁻), as read and "
        "with each cell's baseline corrected. The analogue accuracy of decoded cells is not defined. Orange: read "
        f"back with another mapping pattern than the one written, as a control.{used}{parts} {assumed}",
        partial(_accuracy, found),
    )


def _accuracy(found: Accuracies) -> Figure:
    figure = style.new_figure(8.0, 0.9 + 0.32 * len(found.names))
    axes = figure.add_subplot()
    values, (low, high) = found.accuracy, found.interval
    colours = [style.ORANGE if _is_control(name) else style.BLUE for name in found.names]
    y = np.arange(values.size)
    axes.barh(y, 100 * values, color=colours, height=0.65, xerr=100 * np.abs([values - low, high - values]),
              error_kw={"ecolor": style.DARK, "elinewidth": 1.0, "capsize": 2.0})  # fmt: skip
    for i, value in enumerate(values):
        axes.annotate(percent(float(value)), (100 * high[i], i), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(y, found.names)
    axes.set(xlim=(0, 114), xlabel="Accuracy (%)", xticks=range(0, 101, 20))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    return figure


def _table(found: Accuracies) -> Numbers:
    rows = [
        (name, percent(value), interval(found.interval[:, i]),
         *(("", "") if i == 0 else (points(found.change[i]), points_interval(found.change_interval[:, i]))),
         "" if found.wrong[i] < 0 else f"{found.wrong[i]}")
        for i, (name, value) in enumerate(zip(found.names, found.accuracy, strict=True))
    ]  # fmt: skip
    skipped = f" Not done: {found.about['skipped']}." if found.about["skipped"] else ""
    return Numbers(
        "Accuracies",
        ("", "accuracy", "95 % interval", f"points from {found.names[0]}", "95 % interval", "wrong weights"),
        rows,
        "Intervals: Wilson's for an accuracy; for a difference only the images that changed sides count (paired, "
        f"Agresti and Min 2005).{skipped}",
    )


def _wrong_cells(found: Accuracies, cells: NDArray[np.int64], chip: str) -> Block:
    wrong, weights = int(found.about["wrong_weights"]), int(found.about["weights"])
    count = f"{wrong} of {weights} weights read back at another level than the one written (closed loop)"
    if wrong == 0 or not np.any(cells > 0):
        return Text(f"{count}; so there is no map of wrong cells to draw." if wrong == 0 else f"{count}.")
    return Picture(
        "wrong-cells",
        f"Map of wrong cells, chip {chip}",
        f"{count}, {percent(wrong / weights)}. Cells in the order of their index, row by row: the position in "
        "the picture is an index, not a place on a die. A cell that was wrong in any tile is circled.",
        partial(_map, np.sign(cells)),
    )


def _map(cells: NDArray[np.int64]) -> Figure:
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
