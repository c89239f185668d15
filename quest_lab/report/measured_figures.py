"""Pictures of the measurements of one property, each from its result."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from quest_lab.findings import share
from quest_lab.lifetimes import Lives, fit_barrier, weibull
from quest_lab.protocols.half_select import BACKGROUNDS
from quest_lab.protocols.measurement import Kind
from quest_lab.report import style
from quest_lab.report.numbers import three

Floats = NDArray[np.float64]
_KINDS = {Kind.GOOD: style.PALE, Kind.OPEN: style.BLUE, Kind.SHORT: style.RED, Kind.STUCK: style.ORANGE}
_MOST_LINES = 60


def yield_map(data: xr.Dataset) -> Figure:
    kind, cell = data["kind"].values, data["cell"].values
    columns = int(np.ceil(np.sqrt(kind.size)))
    grid = np.full((-(-kind.size // columns), columns), np.nan)
    grid.flat[: kind.size] = kind
    figure = style.new_figure(6.6, 0.9 + 5.0 * grid.shape[0] / columns)
    axes = figure.add_subplot()
    axes.imshow(
        grid, cmap=ListedColormap(list(_KINDS.values())), vmin=-0.5, vmax=3.5, interpolation="nearest"
    )
    axes.set(xticks=[], yticks=[], xlabel=f"{columns} cells a row, first cell {cell[0]}, last {cell[-1]}")
    axes.spines[:].set_visible(False)
    handles = [Patch(color=c, label=f"{k.name.lower()}: {int((kind == k).sum())}") for k, c in _KINDS.items()]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def endurance(data: xr.Dataset) -> Figure:
    figure = style.new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    cycles, fresh = data["cycles"].values, data["fresh"].values == 1
    shown = np.maximum(cycles, 0.5)  # the look before the first cycle, on a logarithmic axis
    _shares(
        left, shown, _counts(data["life_low"].values[fresh], cycles), int(fresh.sum()), style.BLUE, "cells"
    )
    if "weibull_life" in data.attrs:
        t = np.geomspace(0.5, cycles[-1] * 2, 300)
        life, shape = data.attrs["weibull_life"], data.attrs["weibull_shape"]
        left.plot(
            t,
            weibull(life, shape, t),
            color=style.RED,
            label=f"Weibull, {three(life)} cycles, shape {three(shape)}",
        )
    left.set(
        xscale="log",
        ylim=(-0.03, 1.05),
        xlabel="Cycles (first dot: before any)",
        ylabel="Share of cells that work",
    )
    left.legend(loc="lower left")
    for name, colour, label in (
        ("r0_ohm", style.BLUE, "R0"),
        ("top_ohm", style.ORANGE, "after the set pulse"),
    ):
        works = data["life_low"].values[None, :] >= cycles[:, None]
        _band(right, shown, np.where(works, data[name].values, np.nan).T, colour, label)
    right.set(xscale="log", xlabel="Cycles", ylabel="Resistance (ohm)")
    right.legend(loc="best")
    return figure


def retention(data: xr.Dataset) -> Figure:
    figure = style.new_figure(7.6, 3.9)
    axes = figure.add_subplot()
    time_s = data["time_s"].values
    amplitudes = data["amplitudes_v"].values
    for g, volts in enumerate(amplitudes):
        mine = (data["programmed"].values == 1) & (data["group"].values == g)
        lives = Lives(data["life_low_s"].values[mine], data["life_high_s"].values[mine])
        colour = style.colour(g)
        _shares(axes, time_s, _counts(lives.low, time_s), int(mine.sum()), colour, f"set by {volts:g} V")
        if (fit := fit_barrier(lives, data.attrs["attempt_s"])) is not None:
            t = np.geomspace(time_s[0], time_s[-1], 200)
            axes.plot(t, fit.survival(t), color=colour, linewidth=1.2)
    axes.set(
        xscale="log", ylim=(-0.03, 1.05), xlabel="Time since programming (s)", ylabel="Share of cells unmoved"
    )
    axes.legend(loc="lower left")
    return figure


def field_loop(data: xr.Dataset) -> Figure:
    figure = style.new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    for b, (colour, name) in enumerate(((style.BLUE, "rising"), (style.RED, "falling"))):
        field_mt = 1e3 * data["branch_t"].values[b]
        _band(left, field_mt, data["remanent_ohm"].values[b].T, colour, f"{name}, after the field")
        if "in_field_ohm" in data:
            in_field = np.nanmedian(data["in_field_ohm"].values[b], axis=1)
            left.plot(
                field_mt, in_field, color=colour, linestyle="--", linewidth=1.0, label=f"{name}, in the field"
            )
        switch = 500.0 * (data["switch_before_t"].values[b] + data["switch_after_t"].values[b])
        switch = switch[np.isfinite(switch)]
        step = abs(field_mt[1] - field_mt[0])
        bins = np.arange(field_mt.min(), field_mt.max() + step, step)
        right.hist(switch, bins=bins.tolist(), color=colour, alpha=0.8, label=f"{name}: {switch.size} cells")
    left.set(xlabel="Field (mT)", ylabel="Resistance (ohm)")
    left.legend(loc="best")
    right.set(xlabel="Switching field (mT)", ylabel="Cells", xlim=left.get_xlim())
    style.whole_numbers(right.yaxis)
    right.legend(loc="best")
    return figure


def disturb(data: xr.Dataset) -> Figure:
    figure = style.new_figure(9.0, 3.6)
    left, right = figure.subplots(1, 2)
    reads = data["reads"].values
    left.step(np.maximum(reads, 0.5), data["undisturbed"].values, where="post", color=style.BLUE)
    volts, width_s = data.attrs["read_v"], data.attrs["read_s"]
    left.set(
        xscale="log",
        ylim=(-0.03, 1.05),
        xlabel=f"Reads of {volts:g} V, {width_s:g} s",
        ylabel="Share of cells unmoved",
    )
    noise = 100.0 * data["noise"].values
    right.hist(noise[np.isfinite(noise)], bins=30, color=style.BLUE)
    right.set(xlabel="Read noise (% of R)", ylabel="Cells")
    style.whole_numbers(right.yaxis)
    return figure


def width(data: xr.Dataset) -> Figure:
    figure = style.new_figure(6.6, 4.2)
    axes = figure.add_subplot()
    volts, time_s = data["amplitude_v"].values, data["time_s"].values
    some = np.unique(np.linspace(0, time_s.shape[1] - 1, _MOST_LINES).astype(int))
    axes.plot(volts, time_s[:, some], color=style.SKY, linewidth=0.5, alpha=0.6)
    axes.plot([], [], color=style.SKY, linewidth=0.8, label="single cells")
    axes.plot(volts, data["median_s"].values, "o", color=style.BLUE, label="median")
    delta, v0 = (
        float(np.nanmean(data[n].values)) if np.isfinite(data[n]).any() else np.nan for n in ("delta", "v0_v")
    )
    law = data.attrs["set_width_s"] * np.exp(delta * (1.0 - volts / v0))
    axes.plot(volts, law, "--", color=style.RED, label=f"law, Delta = {delta:.3g}, V0 = {v0:.3g} V")
    axes.set(yscale="log", xlabel="Pulse amplitude at the cell (V)", ylabel="Width of the first move (s)")
    axes.legend(loc="best")
    return figure


def half_select(data: xr.Dataset) -> Figure:
    share_hit, written = data["disturbed"].values, data["written"].values
    columns = int(data.attrs["columns"])
    figure = style.new_figure(8.4, 4.0)
    for b, axes in enumerate(figure.subplots(1, 2)):
        image = axes.imshow(share_hit[b].reshape(-1, columns), cmap=style.HEAT, vmin=0.0, vmax=1.0)
        axes.plot(written % columns, written // columns, "x", color=style.RED)
        axes.set(title=f"watched cells at {BACKGROUNDS[b]}", xlabel="Bit line", ylabel="Word line")
        for axis in (axes.xaxis, axes.yaxis):
            style.whole_numbers(axis)
    figure.colorbar(image, ax=figure.axes, label="Share of written cells that disturbed it")
    return figure


def _counts(low: Floats, at: Floats) -> NDArray[np.int64]:
    """Cells known to live at each look."""
    return np.asarray((low[None, :] >= at[:, None]).sum(axis=1))


def _shares(axes: Axes, x: Floats, alive: NDArray[np.int64], total: int, colour: str, label: str) -> None:
    found = [share("", int(n), total, "") for n in alive]
    value = np.array([f.value for f in found])
    error: Any = np.abs(np.array([[f.value - f.low for f in found], [f.high - f.value for f in found]]))
    axes.errorbar(x, value, error, fmt="o", markersize=3.5, linewidth=0.8, color=colour, label=label)


def _band(axes: Axes, x: Floats, values: Floats, colour: str, label: str) -> None:
    """Median and 10 to 90 % over cells of `values` [cell, x], NaN and infinite ones left out."""
    known = np.where(np.isfinite(values), values, np.nan)
    has = np.isfinite(known).any(axis=0)
    low, median, high = np.nanpercentile(known[:, has], [10, 50, 90], axis=0)
    axes.fill_between(x[has], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x[has], median, color=colour, marker=style.marker(x.size), markersize=3, label=label)
