"""The resistance-state transition diagram: states on a line, set pulses above it, resets below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from quest_lab.characterization import Characterization
from quest_lab.report import style
from quest_lab.report.numbers import percent, quantity, state_names

_NODE_PT = 13.0
_MOST_LABELLED = 4  # with more states, numbers on the edges would overlap: they stand in a matrix


@dataclass(frozen=True)
class Edge:
    """One arrow; `indirect` for a transition that takes a reset and a pulse."""

    start: int
    end: int
    text: str = ""
    indirect: bool = False

    @property
    def colour(self) -> str:
        return style.GREY if self.indirect else style.BLUE if self.end > self.start else style.RED


def edges_of(found: Characterization) -> list[Edge]:
    """The usable direct transitions, with their probability and energy where there is room for it."""
    direct = [Edge(a, b, _label(found, a, op)) for a, b, op in found.edges()]
    if found.states > _MOST_LABELLED:
        return direct
    have = {(edge.start, edge.end) for edge in direct}
    every = [(a, b) for a in range(found.states) for b in range(found.states) if a != b]
    return direct + [Edge(a, b, "reset\n+ pulse", True) for a, b in every if (a, b) not in have]


def _label(found: Characterization, start: int, operation: int) -> str:
    if found.states > _MOST_LABELLED:
        return ""
    probability = float(found.set_probability()[operation, start])
    spent = float(found.energy_j[operation, found.attempts // 2, start])
    if operation == 0:  # a magnet's field is no energy of a pulse at the cell
        spent = found.reset_energy_j
    return f"{percent(probability)}\n{quantity(spent)}"


def draw(axes: Axes, states: Sequence[int], edges: Sequence[Edge], title: str) -> None:
    """The diagram of `states`; edges count them 0, 1, ... in that order."""
    n = len(states)
    bend = 1.5 if n <= _MOST_LABELLED else 0.75
    for edge in edges:
        _arrow(axes, edge, bend)
    axes.scatter(range(n), [0.0] * n, s=4 * _NODE_PT**2, c=style.ordered_colours(n),
                 edgecolors=style.DARK, zorder=3)  # fmt: skip
    for i, name in enumerate(state_names(states)):
        axes.text(i, 0, name, ha="center", va="center", zorder=4, color="white" if i < n / 2 else "black")
    reach = bend * (n - 1) / 2
    axes.set(xlim=(-0.4, n - 0.6), ylim=(-1.08 * reach, 1.08 * reach), title=title, aspect="equal")
    axes.set_axis_off()


def _arrow(axes: Axes, edge: Edge, bend: float) -> None:
    """An arc from state to state; its middle stands `bend` / 2 of the distance off the line."""
    axes.add_patch(
        FancyArrowPatch(
            (edge.start, 0), (edge.end, 0), connectionstyle=f"arc3,rad={-bend}", arrowstyle="-|>",
            mutation_scale=9, color=edge.colour, linewidth=1.2, shrinkA=_NODE_PT, shrinkB=_NODE_PT,
            linestyle=(0, (4, 3)) if edge.indirect else "-",
        )
    )  # fmt: skip
    if edge.text:
        up = edge.end > edge.start
        middle, height = (edge.start + edge.end) / 2, bend * abs(edge.end - edge.start) / 2
        at = 0.55 * height if up else -0.55 * height  # below the top of its own arc, where that is wide
        axes.text(middle, at, edge.text, ha="center", va="center", fontsize=7.5, color=edge.colour)


def legend() -> list[Line2D]:
    """What the colours mean."""
    return [
        Line2D([], [], color=style.BLUE, label="set pulse, direct"),
        Line2D([], [], color=style.RED, label="reset, direct"),
        Line2D([], [], color=style.GREY, linestyle=(0, (4, 3)), label="indirect: reset, then set pulse"),
    ]
