"""Pictures of the mapping patterns: their matrices, update and activation energies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from quest_lab.quantity import prefix_for
from quest_lab.report import style
from quest_lab.report.numbers import measured, pattern_name, three
from quest_lab.report.ranked import SCOPES, Floats, Ranked, States

_LEAST_ERROR = 1e-12


def matrices(ranked: Ranked) -> Figure:
    n = len(ranked.weight_levels)
    figure = style.new_figure(9.6, 5.6 if n <= 3 else 7.0)
    columns = min(3, len(ranked.shown))
    grid = figure.subplots(-(-len(ranked.shown) // columns), columns, squeeze=False)
    factor, unit = prefix_for(ranked.matrix)
    reachable = ranked.success > 0
    np.fill_diagonal(reachable, True)
    matrix = np.where(reachable, ranked.matrix / factor, np.nan)
    norm = Normalize(0.0, float(np.nanmax(matrix)) or 1.0)
    for axes, p in zip(grid.flat, ranked.shown, strict=False):
        w = matrix[np.ix_(ranked.states[p], ranked.states[p])]
        texts = [[three(x) if np.isfinite(x) else "–" for x in row] for row in w]
        image = style.heat_map(axes, w, texts, ranked.weight_levels, ranked.weight_levels, norm=norm,
                               font_pt=9 if n <= 3 else 6)  # fmt: skip
        axes.set(title=ranked.label(p), xlabel="To level", ylabel="From level")
        axes.title.set_fontsize(9.5 if n <= 3 else 8)
    for axes in grid.flat[len(ranked.shown) :]:
        axes.remove()
    figure.colorbar(image, ax=grid, label=f"Energy of a write ({unit})", shrink=0.7)
    return figure


def _grouped(axes: Axes, values: Floats, groups: list[str], *, outline: Floats | None = None) -> None:
    """Bars of `values[pattern, group]`, side by side; `outline`, if given, drawn hollow behind them."""
    count = values.shape[0]
    width = 0.84 / count
    for k in range(count):
        x = np.arange(len(groups)) + (k - (count - 1) / 2) * width
        if outline is not None:
            axes.bar(x, outline[k], width * 0.92, facecolor="none", edgecolor=style.colour(k), linewidth=0.9)
        axes.bar(x, values[k], width * 0.92, color=style.colour(k))
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_ylim(bottom=0)


def _legend(figure: Figure, ranked: Ranked, *more: Patch) -> None:
    patches = [Patch(color=style.colour(k), label=ranked.label(p)) for k, p in enumerate(ranked.shown)]
    title = f"States of levels {', '.join(ranked.weight_levels)}; # rank"
    columns = 3 if len(ranked.weight_levels) <= 3 else 2
    figure.legend(handles=[*patches, *more], loc="outside lower center", ncols=columns, title=title)


def _stages(ranked: Ranked, draw: Callable[[Axes, int], None]) -> Figure:
    """One panel a stage that has steps."""
    stages = [s for s in range(len(ranked.stages)) if ranked.steps[s] > 0]
    columns = min(2, len(stages))
    rows = -(-len(stages) // columns)
    figure = style.new_figure(9.6, 1.2 + 2.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, s in zip(grid.flat, stages, strict=False):
        steps = f"{ranked.steps[s]:.0f} step{'s' if ranked.steps[s] != 1 else ''}"
        axes.set_title(f"{ranked.stages[s].capitalize()} ({steps})" if s else f"All {steps}")
        draw(axes, s)
    for axes in grid.flat[len(stages) :]:
        axes.remove()
    return figure


def _with_sum(values: Floats, ranked: Ranked) -> tuple[Floats, list[str]]:
    """`values[pattern, layer]` with the sum over layers as a last group, if there is more than one."""
    if len(ranked.layers) == 1:
        return values, ranked.layers
    return np.column_stack([values, values.sum(axis=1)]), [*ranked.layers, "sum"]


def update(ranked: Ranked) -> Figure:
    def draw(axes: Axes, s: int) -> None:
        a_batch, groups = _with_sum(ranked.update[ranked.shown][:, :, s] / ranked.steps[s], ranked)
        factor, unit = prefix_for(a_batch)
        _grouped(axes, a_batch / factor, groups)
        axes.set_ylabel(f"E_w per batch ({unit})")
        _per_sample_axis(axes, factor, ranked.samples[s] / ranked.steps[s], float(a_batch.max()))

    figure = _stages(ranked, draw)
    _legend(figure, ranked)
    return figure


def _per_sample_axis(axes: Axes, factor: float, samples: float, largest_j: float) -> None:
    """The same axis per sample, on the right."""
    other, unit = prefix_for([largest_j / samples])
    scale = factor / (samples * other)
    there, back = (lambda y: np.multiply(y, scale)), (lambda y: np.divide(y, scale))
    right = axes.secondary_yaxis("right", functions=(there, back))
    right.set_ylabel(f"E_w per sample ({unit})")


def array(ranked: Ranked) -> Figure:
    stages = [s for s in range(len(ranked.stages)) if ranked.steps[s] > 0]
    a_batch = ranked.array[ranked.shown][:, stages] / ranked.steps[stages]
    factor, unit = prefix_for(a_batch)
    figure = style.new_figure(8.0, 3.6)
    axes = figure.add_subplot()
    _grouped(axes, a_batch / factor, [ranked.stages[s] for s in stages])
    axes.set_ylabel(f"E_w per batch, whole chip ({unit})")
    _per_sample_axis(axes, factor, ranked.samples[0] / ranked.steps[0], float(a_batch.max()))
    _legend(figure, ranked)
    return figure


def activation(ranked: Ranked) -> Figure:
    def draw(axes: Axes, s: int) -> None:
        gated, groups = _with_sum(ranked.gated[ranked.shown][:, :, s] / ranked.samples[s], ranked)
        row, _ = _with_sum(ranked.row[ranked.shown][:, :, s] / ranked.samples[s], ranked)
        factor, unit = prefix_for(row)
        _grouped(axes, gated / factor, groups, outline=row / factor)
        axes.set_ylabel(f"E_a per sample ({unit})")

    figure = _stages(ranked, draw)
    _legend(figure, ranked, Patch(color=style.GREY, label="filled: gated"),
            Patch(facecolor="none", edgecolor=style.GREY, label="outline: row-activated"))  # fmt: skip
    return figure


def leads(ranked: Ranked) -> Figure:
    """Distance of each shown pattern to the cheapest one, with its interval, one panel a reset scope."""
    figure = style.new_figure(9.6, 1.6 + 0.3 * len(ranked.shown))
    panels = figure.subplots(1, len(SCOPES), sharey=True)
    place = np.arange(len(ranked.shown))
    for k, axes in enumerate(panels):
        value, half = (x[k, ranked.shown] / ranked.steps[0] for x in (ranked.lead, ranked.half_lead))
        factor, unit = prefix_for(value + half)
        hollow = value <= half
        axes.errorbar(value / factor, place, xerr=half / factor, fmt="none", ecolor=style.GREY, capsize=3)
        for chosen, face in ((hollow, "white"), (~hollow, style.BLUE)):
            axes.plot(value[chosen] / factor, place[chosen], "o", color=style.BLUE, markerfacecolor=face)
        for x, y, each in zip(value, place, half, strict=True):
            axes.annotate(measured(x, each), (x / factor, y), xytext=(0, 6), textcoords="offset points",
                          ha="center", fontsize=7)  # fmt: skip
        axes.axvline(0.0, color=style.GREY, linewidth=0.8)
        axes.margins(x=0.12)
        axes.set(title=f"Reset scope {SCOPES[k]}", xlabel=f"Above the cheapest, per batch ({unit})")
        axes.grid(axis="x")
    panels[0].set_yticks(place, [ranked.label(p) for p in ranked.shown])
    panels[0].set_ylim(len(place) - 0.5, -0.9)
    return figure


def choice(ranked: Ranked, choices: States) -> Figure:
    """Energy of a batch against decoding error: every choice, the front, the one in use."""
    scope = SCOPES.index(ranked.scope)
    energy, error = choices.sum_j[:, scope] / ranked.steps[0], np.maximum(choices.error, _LEAST_ERROR)
    finite = np.isfinite(energy)
    factor, unit = prefix_for(energy)
    front = choices.front(scope)
    figure = style.new_figure(8.0, 4.4)
    axes = figure.add_subplot()
    axes.plot(error[finite], energy[finite] / factor, "o", color=style.SKY, markersize=4, label="choices")
    axes.plot(
        error[front],
        energy[front] / factor,
        "o-",
        drawstyle="steps-post",
        color=style.BLUE,
        markersize=5,
        label="none is better in both",
    )
    used = [i for i in range(error.size) if {0, *choices.states[i].tolist()} == set(ranked.used.tolist())]
    axes.plot(error[used], energy[used] / factor, "s", color=style.RED, label="in use")
    axes.set_xscale("log")
    low, high = int(np.floor(np.log10(error.min()))), int(np.ceil(np.log10(error.max())))
    decades = range(low, high + 1, max(1, (high - low) // 6))
    axes.set_xlim(10.0 ** (low - 0.5), 10.0 ** (high + 0.8))
    axes.set_xticks([10.0**d for d in decades], [f"$10^{{{d}}}$" for d in decades])
    axes.minorticks_off()
    axes.set(
        xlabel=f"Decoding error of the closest two (below {_LEAST_ERROR:g} drawn there)",
        ylabel=f"E_w + E_a gated per batch ({unit})",
    )
    for i in {*front, *used}:
        side = 1 if i == front[0] else -1
        axes.annotate(
            pattern_name(choices.pattern[i, scope]), (error[i], energy[i] / factor), xytext=(5 * side, -11),
            textcoords="offset points", fontsize=7, ha="left" if side > 0 else "right",
        )  # fmt: skip
    axes.margins(y=0.12)
    axes.grid()
    axes.legend()
    return figure
