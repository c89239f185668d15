"""Section of a replay: divergence, predicted and spent energy, accounts, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quest_lab.protocols.replay_costs import COST_NAMES
from quest_lab.quantity import prefix_for
from quest_lab.report import style
from quest_lab.report.numbers import pattern_name, percent, quantity, short, state_names, three
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import Run, open_run

if TYPE_CHECKING:
    import pandas

Counted = NDArray[np.int64]
_ACCOUNTS = (
    ("write, predicted", "predicted_energy_j"),
    ("write, spent", "spent_energy_j"),
    ("verify reads", "verify_energy_j"),
    ("reset fields (array)", "field_energy_j"),
    ("inference reads, gated", "inference_gated_energy_j"),
    ("inference reads, row-activated", "inference_row_energy_j"),
)


def _over_tiles(table: pandas.DataFrame) -> pandas.DataFrame:
    """One row a step: counts and energies are sums over the parts of the weights."""
    kept = {name: "first" if name in ("epoch", "batch") else "sum" for name in table.columns.drop("step")}
    return table.groupby("step", as_index=False, sort=True).agg(kept)


def section(source: Source, files: Files) -> Section:
    """What became of a schedule in the cells."""
    chip = files.chip(source)
    out = Section(f"Replay on chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        table = _over_tiles(run.table("replay_steps"))
        confusion = np.asarray(run.result("confusion")["writes"]) if "confusion" in run.results else None
        costs = _cost_table(run) if "write_costs" in run.results else None
        resumes = run.columns("resumes") if "resumes" in run.tables else {}  # files of old versions have none
    if not source.complete:
        out.blocks.append(Text(f"This run is {source.status}: it holds {len(table)} steps.", True))
    load, steps = table[table["step"] < 0], table[table["step"] >= 0]
    if steps.empty:
        out.blocks.append(Text("No training step was replayed: nothing to draw."))
        return out
    assumed = files.assumed(source)
    out = replace(out, finding=_finding(steps))
    out.blocks.append(Text(_summary(source, steps, assumed)))
    out.blocks.extend([*_pictures(load, steps, chip, assumed), _account_table(load, steps, resumes)])
    if costs is not None:
        out.blocks.append(costs)
    if confusion is not None and confusion.sum():
        out.blocks.append(_confusion_picture(confusion, source.states or range(len(confusion)), chip))
    return out


def _finding(steps: pandas.DataFrame) -> str:
    return (
        f"{int(steps['writes_intended'].sum())} writes in {len(steps)} steps, "
        f"{int(steps['writes_wrong'].sum())} wrong, {int(steps['diverged'].iloc[-1])} weights diverged at the end; "
        f"write energy predicted {quantity(float(steps['predicted_energy_j'].sum()))}, spent "
        f"{quantity(float(steps['spent_energy_j'].sum()))}"
    )


def _summary(source: Source, steps: pandas.DataFrame, assumed: str) -> str:
    writes, wrong = int(steps["writes_intended"].sum()), int(steps["writes_wrong"].sum())
    pattern, states = source.settings.get("pattern"), source.states
    name = f" with pattern {pattern_name(np.asarray(states)[pattern])}" if pattern and states else ""
    return (
        f"{len(steps)} training steps{name}, every write closed-loop (program and verify): {writes} writes, "
        f"{wrong} of them not in their target at the end ({percent(wrong / max(writes, 1))}); "
        f"{int(steps['diverged'].iloc[-1])} weights differ from the schedule after the last step. {assumed}"
    )


def _pictures(load: pandas.DataFrame, steps: pandas.DataFrame, chip: str, assumed: str) -> list[Block]:
    most = int(steps["diverged"].max())
    diverged = (
        "Below: weights of the whole network whose last read state is not the schedule's, after the step."
        if most
        else "After no step did any weight's last read state differ from the schedule's: no curve is drawn for it."
    )
    return [
        Picture(
            "divergence",
            f"Divergence of the replay, chip {chip}",
            "Writes of each training step, and those whose state read back differs from the intended one "
            f"(linear below 2, logarithmic above). {diverged} A read is decoded against the cell's own baseline.",
            partial(_divergence, steps),
        ),
        Picture(
            "energy-balance",
            f"Predicted and spent write energy, chip {chip}",
            "Cumulative energy of set pulses and single-cell resets, the initial load and array-wide reset "
            "fields left out. Predicted: the policy's expectation before each step; spent: "
            f"as the device says, for these very writes. Below: (spent − predicted)/predicted. {assumed}",
            partial(_balance, steps),
        ),
        Picture(
            "accounts",
            f"Energy accounts of the replay, chip {chip}",
            "Sums over all replayed steps, and the initial load beside them; accounts are never added up. "
            "Inference reads: forward reads of training, counts × V_read² t_read / R of the state, gated "
            f"(weights of level 0 not read) and row-activated. Logarithmic axis. {assumed}",
            partial(_accounts, load, steps),
        ),
    ]  # fmt: skip


def _rows(load: pandas.DataFrame, steps: pandas.DataFrame) -> list[tuple[str, float]]:
    rows = [(name, float(steps[column].sum())) for name, column in _ACCOUNTS]
    if not load.empty:
        rows += [(f"initial load: {name}", float(load[column].sum()))
                 for name, column in _ACCOUNTS[1:4]]  # fmt: skip
    return rows


def _account_table(
    load: pandas.DataFrame, steps: pandas.DataFrame, resumes: Mapping[str, NDArray[Any]]
) -> Numbers:
    rows = [(name, quantity(joule), quantity(joule / len(steps))) for name, joule in _rows(load, steps)]
    rows = [(n, total, "" if n.startswith("initial") else mean) for n, total, mean in rows]
    note = f"{int(steps['pulses'].sum())} set pulses and {int(steps['resets'].sum())} cell resets."
    if cuts := len(resumes.get("read_energy_j", ())):
        rows.append(("reads of cells in doubt", quantity(float(resumes["read_energy_j"].sum())), ""))
        doubt = int(resumes["pulses_in_doubt"].sum())
        note += f" Cut off and resumed: {cuts}; of up to {doubt} pulses under way at a cut the energy is in no account."
    return Numbers("Energy accounts", ("account", "all steps", "mean of a step"), rows, note)


def _divergence(steps: pandas.DataFrame) -> Figure:
    """Writes of each step and, if there are any, diverged weights below."""
    most = int(steps["diverged"].max())
    figure = style.new_figure(8.0, 4.6 if most else 3.0)
    panels = figure.subplots(2 if most else 1, 1, sharex=True, squeeze=False)[:, 0].tolist()
    x, marker = steps["step"].to_numpy() + 1, style.marker(len(steps))
    look: dict[str, Any] = {"linewidth": 1.1, "marker": marker, "markersize": 3}
    panels[0].plot(x, steps["writes_intended"], color=style.SKY, label="writes intended", **look)
    panels[0].plot(x, steps["writes_wrong"], color=style.RED, label="writes wrong", **look)
    panels[0].set(ylabel="Writes per step", yscale="symlog")
    panels[0].set_ylim(bottom=-0.3, top=2 * max(1.0, float(steps["writes_intended"].max())))
    figure.legend(loc="outside upper right", ncols=2)
    if most:
        panels[1].plot(x, steps["diverged"], color=style.RED, **look)
        panels[1].set(ylabel="Weights diverged", ylim=(0, 1.15 * most))
        style.whole_numbers(panels[1].yaxis)
    _step_axes(panels)
    return figure


def _step_axes(panels: Sequence[Axes]) -> None:
    panels[-1].set_xlabel("Training step")
    style.whole_numbers(panels[-1].xaxis)
    for axes in panels:
        axes.grid(axis="y")


def _balance(steps: pandas.DataFrame) -> Figure:
    predicted, spent = (
        steps[n].fillna(0.0).cumsum().to_numpy() for n in ("predicted_energy_j", "spent_energy_j")
    )
    x, marker = steps["step"].to_numpy() + 1, style.marker(len(steps))
    factor, unit = prefix_for([predicted[-1], spent[-1]])
    known = predicted > 0
    figure = style.new_figure(8.0, 4.4 if known.any() else 3.0)
    panels = figure.subplots(2 if known.any() else 1, 1, sharex=True, squeeze=False)[:, 0].tolist()
    panels[0].plot(
        x, spent / factor, color=style.BLUE, linewidth=2.4, marker=marker, markersize=4, label="spent"
    )
    panels[0].plot(
        x, predicted / factor, color=style.ORANGE, linewidth=1.3, linestyle="--", label="predicted"
    )
    panels[0].set(ylabel=f"Write energy so far ({unit})")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(loc="upper left")
    if known.any():
        share = 100 * (spent[known] / predicted[known] - 1)
        panels[1].plot(x[known], share, color=style.BLUE, linewidth=1.2, marker=marker, markersize=3)
        panels[1].axhline(0, color=style.GREY, linewidth=0.7)
        panels[1].set_ylabel("Difference (%)")
    _step_axes(panels)
    return figure


def _accounts(load: pandas.DataFrame, steps: pandas.DataFrame) -> Figure:
    rows = _rows(load, steps)
    joule = np.array([value for _, value in rows])
    positive = joule[np.isfinite(joule) & (joule > 0)]
    low, high = (positive.min() / 10, positive.max()) if positive.size else (1e-12, 1e-11)
    figure = style.new_figure(8.0, 0.9 + 0.32 * len(rows))
    axes = figure.add_subplot()
    colours = [style.GREY if name.startswith("initial") else style.BLUE for name, _ in rows]
    y = np.arange(len(rows))
    axes.barh(y, np.where(joule > 0, joule, low), left=0, color=colours, height=0.65)
    axes.set(xscale="log", xlim=(low, high * (high / low) ** 0.16), xlabel="Energy (J)")
    for i, value in enumerate(joule):
        axes.annotate(quantity(value), (max(value, low), i), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.set_yticks(y, [name for name, _ in rows])
    axes.invert_yaxis()
    axes.minorticks_off()
    axes.tick_params(axis="y", length=0)
    return figure


def _cost_table(run: Run) -> Numbers:
    """What the policy expected of the writes after the initial load, and what they cost."""
    costs = run.result("write_costs")
    names, units = (costs.attrs[name].split(", ") for name in ("costs", "units"))
    rows = []
    for i, (name, unit) in enumerate(zip(names, units, strict=True)):
        values = (float(costs[c][i]) for c in ("expected", "low", "high", "observed"))
        mean, low, high, observed = (quantity(v, unit) if unit else three(v) for v in values)
        rows.append((COST_NAMES.get(name, name), mean, f"{low} to {high}", observed))
    note = (
        f"The policy rests on: {costs.attrs['model']}. Interval: 95 %, of what the characterised cells leave open; a "
        "single value for counted shares. Times: pulse and read widths, one after the other."
    )
    return Numbers("Cost of the writes", ("cost", "expected", "interval", "observed"), rows, note)


def _confusion_picture(confusion: Counted, states: list[int] | range, chip: str) -> Picture:
    total, right = int(confusion.sum()), int(np.trace(confusion))
    return Picture(
        "confusion",
        f"Intended and read states, chip {chip}",
        f"State read back after every write, the initial load included, by the intended one: {total - right} of "
        f"{total} writes ({percent((total - right) / total)}) ended in another state. Logarithmic colour; 0 is "
        "pale.",
        partial(_confusion, confusion, state_names(states)),
    )


def _confusion(confusion: Counted, names: list[str]) -> Figure:
    n = len(names)
    figure = style.new_figure(2.8 + 0.6 * n, 1.6 + 0.45 * n)
    axes = figure.add_subplot()
    texts = [[short(int(x)) for x in row] for row in confusion]
    norm = LogNorm(0.8, max(2.0, float(confusion.max())))
    values = np.where(confusion > 0, confusion, np.nan).astype(np.float64)
    image = style.heat_map(axes, values, texts, names, names, norm=norm)
    axes.set(xlabel="State read back", ylabel="Intended state")
    figure.colorbar(image, ax=axes, label="Writes (count)").minorticks_off()
    return figure
