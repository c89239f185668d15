"""What the errors of a validation cost: by layer and by kind, and which levels were read as which."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quest_lab.report import style
from quest_lab.report.numbers import levels, points, points_interval, short
from quest_lab.report.page import Block, Numbers, Picture

if TYPE_CHECKING:
    import xarray as xr

_MOST_LEVELS = 7  # more do not fit into a panel
_ACROSS = 4  # panels beside each other


def blocks(costs: xr.Dataset, confusion: xr.Dataset, chip: str) -> list[Block]:
    """Pictures of the closed-loop read-back that lost most, a table of each."""
    worst = _worst(costs)
    name = str(costs["read_back_name"].values[worst])
    out: list[Block] = [
        Picture(
            "costs",
            f"What the errors cost, chip {chip}",
            f"Accuracy lost against the ideal network by the errors of {name}, on {costs.attrs['images']} held-out "
            "images, with 95 % intervals (paired): the network with the wrong weights of one layer, or one kind of "
            "error, only, and with all wrong weights but those. Dashed: all errors. Stuck: the write gave up and the "
            "cell never left its state.",
            partial(_costs, costs, worst),
        )
    ]
    counts = np.asarray(confusion["weights"].values)[worst]
    if counts.shape[1] <= _MOST_LEVELS:
        out.append(
            Picture(
                "layer-confusion",
                f"Levels written and read back by layer, chip {chip}",
                f"Weights by the level written and the level of {name}. Logarithmic colour; 0 is pale.",
                partial(_confusion, counts, [str(x) for x in confusion["layer_name"].values]),
            )
        )
    return out + [_table(costs, i) for i in range(costs.sizes["read_back"])]


def _worst(costs: xr.Dataset) -> int:
    """The read-back that lost most, an open loop only where there is no other; of several the one most wrong."""
    lost, layers = -np.asarray(costs["all_change"].values), int(costs.attrs["layers"])
    verified = np.array(["open loop" not in str(name) for name in costs["read_back_name"].values])
    return int(np.lexsort((np.asarray(costs["wrong"].values)[:, :layers].sum(axis=1), lost, verified))[-1])


def _costs(costs: xr.Dataset, at: int) -> Figure:
    parts, layers = [str(x) for x in costs["part_name"].values], int(costs.attrs["layers"])
    wrong = np.asarray(costs["wrong"].values)[at]
    y = np.arange(len(parts)) + 0.6 * (np.arange(len(parts)) >= layers)  # kinds stand apart from layers
    figure = style.new_figure(8.0, 1.5 + 0.42 * len(parts))
    axes = figure.add_subplot()
    axes.axvline(0.0, color=style.GREY, linewidth=0.7)
    axes.axvline(100 * float(costs["all_change"].values[at]), color=style.RED, linestyle="--", linewidth=1.2,
                 label="all errors")  # fmt: skip
    for prefix, offset, colour, label in (
        ("only_", -0.14, style.BLUE, "errors of this part only"),
        ("without_", 0.14, style.ORANGE, "all errors but these"),
    ):
        middle, low, high = (
            100 * np.asarray(costs[prefix + n].values)[at] for n in ("change", "change_low", "change_high")
        )
        spread = np.maximum([middle - low, high - middle], 0.0)
        axes.errorbar(
            middle, y + offset, xerr=spread, fmt="o", color=colour, markersize=4, capsize=2, label=label
        )
    axes.set_yticks(y, [f"{part} ({count} wrong)" for part, count in zip(parts, wrong, strict=True)])
    axes.set(xlabel="Accuracy minus that of the ideal network (points)", ylim=(y[-1] + 0.6, -0.6))
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _confusion(counts: NDArray[np.int64], layers: list[str]) -> Figure:
    n, names = counts.shape[1], levels(counts.shape[1])
    across = min(_ACROSS, len(layers))
    down = -(-len(layers) // across)
    figure = style.new_figure(0.8 + across * (0.7 + 0.42 * n), 0.3 + down * (0.9 + 0.36 * n))
    norm = LogNorm(0.8, max(2.0, float(counts.max())))
    panels: list[Any] = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for axes in panels[len(layers) :]:
        axes.remove()
    for axes, table, title in zip(panels, counts, layers, strict=False):
        texts = [[short(int(x)) for x in row] for row in table]
        values = np.where(table > 0, table, np.nan).astype(np.float64)
        style.heat_map(axes, values, texts, names, names, norm=norm, font_pt=7.0)
        axes.set(title=title, xlabel="Level read back", ylabel="Level written")
    return figure


def _table(costs: xr.Dataset, at: int) -> Numbers:
    names = [str(x) for x in costs["part_name"].values]
    wrong, layers = np.asarray(costs["wrong"].values)[at], int(costs.attrs["layers"])
    rows = [
        (name, f"{wrong[i]}", *_change(costs, "only_", at, i), *_change(costs, "without_", at, i))
        for i, name in enumerate(names)
    ]
    rows.append(("all errors", f"{wrong[:layers].sum()}", *_change(costs, "all_", at), "", ""))
    return Numbers(
        f"What the errors cost: {costs['read_back_name'].values[at]}",
        ("errors of", "wrong weights", "only these", "95 % interval", "all but these", "95 % interval"),
        rows,
        f"Points of accuracy against the ideal network on {costs.attrs['images']} images.",
    )


def _change(costs: xr.Dataset, prefix: str, *at: int) -> tuple[str, str]:
    middle, low, high = (
        float(np.asarray(costs[prefix + n].values)[at]) for n in ("change", "change_low", "change_high")
    )
    return points(middle), points_interval((low, high))
