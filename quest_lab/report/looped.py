"""Section of a training in the loop: what was written, what the cells held instead, the energy accounts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from quest_lab.report import style
from quest_lab.report.numbers import percent, quantity
from quest_lab.report.page import Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

if TYPE_CHECKING:
    import pandas

_ACCOUNTS = (
    ("write", "spent_energy_j"),
    ("verify reads", "verify_energy_j"),
    ("reset fields (array)", "field_energy_j"),
    ("spent in vain by writes that were cut off", "resume_energy_j"),
)


def section(source: Source, files: Files) -> Section:
    """What became of the weights of a training in its cells."""
    chip, assumed = files.chip(source), files.assumed(source)
    out = Section(f"Training in the loop on chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        table = run.table("loop_steps")
        pulses = np.asarray(run.result("final_weights")["pulses"]) if "final_weights" in run.results else None
    if not source.complete:
        out.blocks.append(Text(f"This run is {source.status}: it holds {len(table)} writes.", True))
    if table.empty:
        out.blocks.append(Text("No weight was written: nothing to draw."))
        return out
    worn = (
        ""
        if pulses is None
        else f" A cell got {pulses.mean():.1f} pulses in the mean, {pulses.max()} at most."
    )
    how = "a reset and one pulse each" if source.settings.get("open_loop") else "program and verify"
    out.blocks.append(Text(f"{_finding(table, source)}; {how}.{worn} {assumed}"))
    out.blocks.extend([_picture(table, chip), _accounts(table)])
    return replace(out, finding=_finding(table, source))


def _finding(table: pandas.DataFrame, source: Source) -> str:
    weights, wrong = source.settings.get("weights"), int(table["diverged"].iloc[-1])
    writes, missed = int(table["writes_intended"].sum()), int(table["writes_wrong"].sum())
    share = f" ({percent(wrong / weights)})" if weights else ""
    return (
        f"{writes} writes of weights in {int(table['step'].iloc[-1])} training steps, {missed} of them "
        f"({percent(missed / max(writes, 1))}) did not end in their target; {wrong} weights{share} do not hold "
        "what was asked for after the last, and the network uses what they hold"
    )


def _picture(table: pandas.DataFrame, chip: str) -> Picture:
    return Picture(
        "in-the-loop",
        f"Writes of the training in the loop, chip {chip}",
        "Weights written after each training step, the initial load at step 0, and those whose state read back "
        "differs from the intended one (linear below 2, logarithmic above). Below: weights of the whole network "
        "whose cell, as last read, does not hold what was asked for.",
        partial(_draw, table),
    )


def _draw(table: pandas.DataFrame) -> Figure:
    figure = style.new_figure(8.0, 4.6)
    above, below = figure.subplots(2, 1, sharex=True)
    step = table["step"].to_numpy()
    look: dict[str, Any] = {"linewidth": 1.1, "marker": style.marker(len(table)), "markersize": 3}
    above.plot(step, table["writes_intended"], color=style.SKY, label="writes", **look)
    above.plot(step, table["writes_wrong"], color=style.RED, label="not in their target", **look)
    above.set(ylabel="Writes per step", yscale="symlog")
    above.set_ylim(bottom=-0.3, top=2 * max(1.0, float(table["writes_intended"].max())))
    figure.legend(loc="outside upper right", ncols=2)
    below.plot(step, table["diverged"], color=style.RED, **look)
    below.set(ylabel="Weights not as asked", xlabel="Training step")
    below.set_ylim(0, 1.15 * max(1.0, float(table["diverged"].max())))
    for axis in (below.xaxis, below.yaxis):
        style.whole_numbers(axis)
    for axes in (above, below):
        axes.grid(axis="y")
    return figure


def _accounts(table: pandas.DataFrame) -> Numbers:
    rows = [
        (name, quantity(float(table[column].sum())), quantity(float(table[column].iloc[0])))
        for name, column in _ACCOUNTS
    ]
    note = f"{int(table['pulses'].sum())} set pulses and {int(table['resets'].sum())} resets."
    return Numbers("Energy accounts", ("account", "all", "of which the initial load"), rows, note)
