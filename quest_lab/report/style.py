"""How every picture looks: colour-blind-safe colours, sizes, and what keeps labels apart.

Colours: Okabe and Ito (2008) for lines and bars, cividis (Nuñez 2018) for heat maps and ordered states.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

BLUE, ORANGE, GREEN, PURPLE, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, "#000000")
STAGE_COLOURS = {"early": SKY, "middle": ORANGE, "final": GREEN}
DARK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
HEAT = "cividis"
DPI = 150
RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "text.color": DARK,
    "axes.labelcolor": DARK,
    "axes.edgecolor": GREY,
    "xtick.color": DARK,
    "ytick.color": DARK,
    "figure.facecolor": "white",
    "savefig.dpi": "figure",
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
}


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure of its own, without pyplot's global state."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


@contextmanager
def use() -> Generator[None]:
    """Context in which figures are made and drawn, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)  # type: ignore[arg-type]  # its keys are a closed list in the stubs
        yield


def ordered_colours(count: int) -> list[str]:
    """Colours of ordered things (states, levels), from dark to light."""
    return [to_hex(mpl.colormaps[HEAT](x)) for x in np.linspace(0.0, 0.95, count)]


def colour(index: int) -> str:
    return CYCLE[index % len(CYCLE)]


def line_style(index: int) -> str:
    """Changes when the colours start again."""
    return ("-", "--", ":", "-.")[index // len(CYCLE) % 4]


def marker(points: int) -> str:
    """Dots on a line of few points: a line of one point is invisible."""
    return "o" if points <= 60 else ""


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend of `axes`, below all of the figure."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(6, len(names)))


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers only."""
    axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def apart(positions: ArrayLike, gap: float) -> NDArray[np.float64]:
    """`positions` moved as little as needed to be at least `gap` from each other, order kept."""
    wanted = np.asarray(positions, np.float64)
    order = np.argsort(wanted)
    groups: list[tuple[float, int]] = []  # (mean of what the members want for the first place, members)
    for x in wanted[order]:
        groups.append((float(x), 1))
        while len(groups) > 1 and groups[-1][0] < groups[-2][0] + groups[-2][1] * gap:
            (first, n), (second, m) = groups[-2], groups[-1]
            groups[-2:] = [((n * first + m * (second - n * gap)) / (n + m), n + m)]
    placed = [start + i * gap for start, n in groups for i in range(n)]
    out = np.empty_like(wanted)
    out[order] = placed
    return out


def right_labels(axes: Axes, values: Sequence[float], labels: Sequence[str], height_pt: float) -> None:
    """Labels at heights `values` (data) beside the right edge of axes about `height_pt` high, moved apart
    where they would touch."""
    low, high = axes.get_ylim()
    gap = abs(high - low) * 11.0 / height_pt
    for y, at, label in zip(values, apart(values, gap), labels, strict=True):
        axes.annotate(
            label, (1.0, y), xytext=(1.03, at), xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(), va="center", ha="left", fontsize=8,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5}, annotation_clip=False,
        )  # fmt: skip


def heat_map(
    axes: Axes,
    values: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    norm: Any,
    font_pt: float = 8.0,
) -> Any:
    """A matrix with its numbers written in; NaN is pale. Returns the image, for a colour bar."""
    image = axes.imshow(np.ma.masked_invalid(values), cmap=HEAT, norm=norm, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#F1F1F1")
    for i, line in enumerate(texts):
        for j, text in enumerate(line):
            shade = float(norm(values[i, j])) if np.isfinite(values[i, j]) else 1.0
            axes.text(j, i, text, ha="center", va="center", fontsize=font_pt, in_layout=False,
                      color="white" if shade < 0.5 else "black")  # fmt: skip
    return image
