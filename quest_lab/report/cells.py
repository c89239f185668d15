"""Section of a characterised chip: staircase, levels, transition diagram, set probabilities."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quest_lab import intervals
from quest_lab.characterization import RSTD_PROBABILITY, Characterization
from quest_lab.characterization_file import NAME, load_characterization
from quest_lab.device import FieldPulse
from quest_lab.report import rstd, style
from quest_lab.report.numbers import percent, quantity, state_names
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

_MOST_TRACKS = 60  # more lines than this are a grey area
Floats = NDArray[np.float64]


def section(source: Source, files: Files) -> Section:
    """What was measured of one chip."""
    chip = files.chip(source)
    out = Section(f"Characterisation of chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        results, staircase = run.results, run.result("staircase") if "staircase" in run.results else None
    if NAME not in results:
        out.blocks.append(Text(f"{source.path.name} ended as {source.status}, without a result.", True))
        return out
    found = load_characterization(source.path)
    out = replace(out, finding=_finding(found))
    out.blocks.append(Text(_findings(found, files.assumed(source))))
    if staircase is not None:
        volts, ohm = np.asarray(staircase["amplitude"]), np.asarray(staircase["ohm"])
        out.blocks.extend(_staircase_pictures(found, volts, ohm, chip, files.assumed(source)))
    out.blocks.append(_table(found))
    if found.estimates:
        out.blocks.append(
            Numbers(
                f"95 % intervals of {found.chip_id}",
                intervals.HEADER,
                intervals.rows(found),
                intervals.note(found),
            )
        )
    out.blocks.extend(_diagrams(found, files.states_used(source), chip))
    return out


def _finding(found: Characterization) -> str:
    ohm, landed = found.resistance_ohm, found.set_probability()[1:, 0]
    return (
        f"{found.states} states from {ohm[0]:.0f} to {ohm[-1]:.0f} ohm; set pulses from R0 land at the first try "
        f"with {percent(float(np.nanmin(landed)))} or more; a read decodes to the wrong neighbour with at most "
        f"{percent(float(found.levels.decoding_error.max()))}; {found.stuck.size} cells stuck"
    )


def _findings(found: Characterization, assumed: str) -> str:
    stuck = f"; cells {', '.join(map(str, found.stuck[:8]))} ..." if found.stuck.size else ""
    return (
        f"{found.states} states were found in the data; their number was not told to the measurement. "
        f"{found.cells.size} cells have a baseline, {found.sample.size} were sampled, {found.stuck.size} are "
        f"stuck{stuck}. Read noise {percent(found.read_noise)} of R a read. The reset reaches "
        f"{'one cell' if found.reset_scope == 'cell' else 'the whole array'} and spends "
        f"{quantity(found.reset_energy_j)}. {assumed}"
    )


def _staircase_pictures(
    found: Characterization, volts: Floats, ohm: Floats, chip: str, assumed: str
) -> list[Block]:
    tracks = ohm[0][:, np.unique(np.linspace(0, ohm.shape[2] - 1, _MOST_TRACKS).astype(int))]
    mean = ohm.mean(axis=(0, 2))
    where = found.index_of(found.sample)
    base, top = found.baseline_ohm[where], found.top_ohm[where]
    position = ((ohm - base) / (top - base)).ravel()
    pulses = f"pulses of {quantity(found.set_width_s, 's')}"
    return [
        Picture(
            "staircase",
            f"Amplitude staircase and states, chip {chip}",
            f"Resistance read after {pulses} of rising amplitude (volts at the cell), from R0. Thin lines: "
            f"{tracks.shape[1]} of {ohm.shape[2]} sampled cells, one repeat; thick line: mean of all sampled "
            f"cells and {ohm.shape[0]} repeats. Dashed: mean resistance of each state found. The upper axis "
            f"marks the set amplitude chosen for each state (middle of its plateau). {assumed}",
            partial(_staircase, found, volts, tracks, mean),
        ),
        Picture(
            "levels",
            f"Level histogram, chip {chip}",
            "Every read of the staircase as its position (R − R0)/(Rtop − R0) against the cell's own baseline, "
            "coloured by the state it decodes to; note the logarithmic count. Dashed: decision boundaries "
            "between neighbouring levels. A spread of absolute R0 between cells does not appear here. "
            f"Probability of decoding a read to the wrong neighbour: at most "
            f"{percent(float(found.levels.decoding_error.max()))} (normal levels assumed).",
            partial(_histogram, found, position),
        ),
    ]  # fmt: skip


def _staircase(found: Characterization, volts: Floats, tracks: Floats, mean: Floats) -> Figure:
    figure = style.new_figure(8.0, 4.6)
    axes = figure.add_subplot()
    axes.plot(volts, tracks, color=style.SKY, linewidth=0.5, alpha=0.5)
    axes.plot([], [], color=style.SKY, linewidth=0.8, label="single cells")
    axes.plot(volts, mean, color=style.BLUE, linewidth=2.2, label="mean")
    for ohm in found.resistance_ohm:
        axes.axhline(ohm, color=style.DARK, linewidth=0.7, linestyle="--", zorder=1)
    axes.plot([], [], color=style.DARK, linewidth=0.7, linestyle="--", label="state found")
    for volt in found.set_v:
        axes.axvline(volt, color=style.RED, linewidth=0.7, linestyle=":", zorder=1)
    axes.plot([], [], color=style.RED, linewidth=0.9, linestyle=":", label="set amplitude")
    axes.set(xlabel="Pulse amplitude at the cell (V)", ylabel="Resistance (ohm)")
    axes.set_xlim(min(volts[0], *found.set_v), max(volts[-1], *found.set_v))
    names = state_names(range(found.states))
    style.right_labels(axes, found.resistance_ohm.tolist(), names, 250.0)
    _set_axis(axes.secondary_xaxis("top"), found, axes.get_xlim())
    axes.legend(loc="upper left" if mean[-1] > mean[0] else "lower left")
    return figure


def _set_axis(top: object, found: Characterization, limits: tuple[float, float]) -> None:
    """Names of the set pulses over their amplitudes, left out where two would touch."""
    least = 0.05 * (limits[1] - limits[0])
    shown: list[int] = []
    for s in range(1, found.states):
        if not shown or abs(found.set_v[s - 1] - found.set_v[shown[-1] - 1]) >= least:
            shown.append(s)
    top.set_xticks([found.set_v[s - 1] for s in shown], [f"set R{s}" for s in shown])  # type: ignore[attr-defined]
    top.tick_params(colors=style.RED)  # type: ignore[attr-defined]


def _histogram(found: Characterization, position: Floats) -> Figure:
    figure = style.new_figure(8.0, 3.6)
    axes = figure.add_subplot()
    state = np.searchsorted(found.levels.boundary, position)
    bins = _bins(position, found.levels.boundary)
    names = state_names(range(found.states))
    for s, (name, colour) in enumerate(zip(names, style.ordered_colours(found.states), strict=True)):
        axes.hist(position[state == s], bins=bins, color=colour, label=name, histtype="stepfilled")
    for boundary in found.levels.boundary:
        axes.axvline(boundary, color=style.RED, linestyle="--", linewidth=0.8)
    axes.plot([], [], color=style.RED, linestyle="--", linewidth=0.8, label="boundary")
    axes.set(yscale="log", xlabel="Position (R − R0)/(Rtop − R0) of a read", ylabel="Reads")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _bins(position: Floats, boundary: Floats) -> list[float]:
    """Nearly equal bins, none of them across a boundary."""
    edges = np.unique([position.min(), *boundary, position.max()])
    width = float(edges[-1] - edges[0]) / 180
    pieces = [np.linspace(a, b, max(1, round((b - a) / width)) + 1)[:-1] for a, b in pairwise(edges)]
    return [*np.concatenate(pieces), edges[-1]]


def _table(found: Characterization) -> Numbers:
    landed = found.set_probability()[:, 0]
    rows = []
    for s in range(found.states):
        position = f"{round(float(found.levels.mean[s]), 3) + 0.0:.3f}".replace("-", "−")  # + 0: no −0.000
        rows.append((
            f"R{s}", f"{found.resistance_ohm[s]:.0f}", f"{found.set_v[s - 1]:.3f} V" if s else _reset(found),
            percent(float(landed[s])) if s else "", position, f"{found.levels.std[s]:.3f}",
            f"{found.repeat_std[s]:.3f}",
            f"{found.levels.decoding_error[s - 1]:.1e}" if s else "",
        ))  # fmt: skip
    note = (
        f"Set pulses last {quantity(found.set_width_s, 's')}; a read is {found.read.amplitude_v:g} V for "
        f"{quantity(found.read.width_s, 's')}. Lands: share of first tries from R0. Spread: of all reads; cycle "
        "to cycle: within a cell; both in units of position. 95 % intervals of the set probabilities: "
        f"± {percent(found.half_width)} or less (asked: {percent(found.confidence)})."
    )
    header = (
        "state",
        "R (ohm)",
        "set by",
        "lands",
        "position",
        "spread",
        "cycle to cycle",
        "error to state below",
    )
    return Numbers(f"States of {found.chip_id}", header, rows, note)


def _reset(found: Characterization) -> str:
    return "reset field" if isinstance(found.reset, FieldPulse) else "reset pulse"


def _diagrams(found: Characterization, used: list[tuple[int, ...]], chip: str) -> list[Block]:
    if not used and found.states > 3:
        used = [(0, (found.states - 1) // 2, found.states - 1)]
    parts = [states for states in used if len(states) < found.states and states[-1] < found.states]
    shown = ", ".join("(" + ", ".join(state_names(states)) + ")" for states in parts)
    restricted = f" Right: the same cells used with {shown} only." if parts else ""
    return [
        Picture(
            "rstd",
            f"Resistance-state transition diagram (RSTD), chip {chip}",
            "An edge is a direct operation that lands with at least probability "
            f"{RSTD_PROBABILITY:g} at the lower end of its 95 % interval. Blue, above: set pulses; red, below: "
            f"the {_reset(found)}, which lands on R0 only. A transition down to any other state has no direct edge: "
            f"it is indirect, a reset and then a set pulse (as R2→R1 in QUEST).{restricted} Numbers on edges: "
            "probability at the first try, energy of the pulse or of one reset.",
            partial(_rstd, found, parts[:2]),
        ),
        Picture(
            "set-probability",
            f"First-try probability of every operation, chip {chip}",
            "Share of first tries at the middle attempt that landed in the target state, by the state the cell "
            "was in; without a number where an operation was never given. Set pulses only raise a cell.",
            partial(_probabilities, found),
        ),
    ]  # fmt: skip


def _rstd(found: Characterization, parts: list[tuple[int, ...]]) -> Figure:
    figure = style.new_figure(6.0 + 3.4 * len(parts), 4.7)
    every = figure.subplots(1, 1 + len(parts), squeeze=False, width_ratios=[5.6] + [3.4] * len(parts))[0]
    rstd.draw(every[0], range(found.states), rstd.edges_of(found), f"All {found.states} states")
    for axes, states in zip(every[1:], parts, strict=True):
        title = "Used as " + ", ".join(state_names(states))
        rstd.draw(axes, states, rstd.edges_of(found.restrict(states)), title)
    figure.legend(handles=rstd.legend(), loc="outside lower center", ncols=3)
    return figure


def _probabilities(found: Characterization) -> Figure:
    share = 100.0 * found.set_probability().T  # [from, operation]
    np.fill_diagonal(share, np.nan)
    n = found.states
    figure = style.new_figure(2.6 + 0.62 * n, 1.5 + 0.4 * n)
    axes = figure.add_subplot()
    texts = [[f"{p:.1f}" if np.isfinite(p) else "" for p in row] for row in share]
    targets = ["reset"] + [f"set R{s}" for s in range(1, n)]
    known = share[np.isfinite(share)]
    norm = Normalize(min(80.0, float(known.min())) if known.size else 0.0, 100.0)
    image = style.heat_map(axes, share, texts, state_names(range(n)), targets, norm=norm)
    axes.set(xlabel="Operation", ylabel="State before")
    figure.colorbar(image, ax=axes, label="Lands in the target (%)")
    return figure
