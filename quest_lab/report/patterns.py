"""Section of an energy run: the matrices of the mapping patterns, update and activation energy (QUEST)."""

from __future__ import annotations

from functools import partial

from quest_lab.report import pattern_figures
from quest_lab.report.numbers import pattern_name, quantity, state_names
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.ranked import Ranked, load
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

QUEST = "QUEST (arXiv 2504.00679)"
UNRECOVERABLE = "The paper's own values and its numbering of patterns are not recoverable."


def section(source: Source, files: Files) -> Section:
    """The energy of every mapping pattern on one chip."""
    chip = files.chip(source)
    out = Section(f"Mapping patterns and energy, chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        if not {"patterns", "energy_matrix", "optimum_changes"} <= set(run.results):
            out.blocks.append(Text(f"{source.path.name} ended as {source.status}, without a result.", True))
            return out
        ranked = load(run, source.states)
    out.blocks.append(Text(_summary(ranked, files.assumed(source))))
    out.blocks.extend([_matrix_table(ranked), _pattern_table(ranked)])
    out.blocks.extend(_pictures(ranked, chip))
    return out


def _summary(ranked: Ranked, assumed: str) -> str:
    best, worst = ranked.order[0], ranked.order[-1]
    where = "one cell" if ranked.scope == "cell" else "the whole array"
    changes = " ".join(
        f"With a reset above {quantity(j)}, {pattern_name(ranked.used[above])} takes less update energy than "
        f"{pattern_name(ranked.used[below])}."
        for j, below, above in ranked.changes
    )
    if not changes:
        changes = (
            "No reset energy changes the order."
            if ranked.scope == "cell"
            else "Where one field resets all cells, the reset energy is the same for every pattern."
        )
    return (
        f"A pattern is the tuple of states that hold the weight levels {', '.join(ranked.weight_levels)}; the "
        f"best one is computed, not asserted. Here {ranked.name(best)} is the cheapest in update and gated "
        f"activation energy together, {ranked.name(worst)} the dearest. A reset reaches {where} and spends "
        f"{quantity(ranked.reset_j)}. {changes} {assumed} {UNRECOVERABLE}"
    )


def _matrix_table(ranked: Ranked) -> Numbers:
    names = state_names(ranked.used)
    rows = [
        (f"from {name}", *(_entry(ranked, i, j) for j in range(len(names)))) for i, name in enumerate(names)
    ]
    note = (
        "Expected energy of the pulses and resets of one write, closed loop, without verify reads. "
        "A dash: a single cell cannot be brought there (no reset of one cell)."
    )
    return Numbers("Energy matrix E[from, to]", ("", *(f"to {n}" for n in names)), rows, note)


def _entry(ranked: Ranked, start: int, end: int) -> str:
    if start != end and ranked.success[start, end] <= 0:
        return "–"
    return quantity(float(ranked.matrix[start, end]))


def _pattern_table(ranked: Ranked) -> Numbers:
    batches, samples = ranked.steps[0], ranked.samples[0]
    rows = [
        (
            f"{ranked.order.index(p) + 1}", ranked.name(p), quantity(ranked.write[p] / batches),
            quantity(ranked.write[p] / samples), quantity(ranked.gated[p, :, 0].sum() / samples),
            quantity(ranked.row[p, :, 0].sum() / samples),
        )
        for p in ranked.shown
    ]  # fmt: skip
    header = ("rank", f"states of {', '.join(ranked.weight_levels)}", "E_w per batch", "E_w per sample",
              "E_a gated, per sample", "E_a row, per sample")  # fmt: skip
    note = (
        f"Mean of all {batches:.0f} training steps, {ranked.selection}, reset scope {ranked.scope}. E_w: update "
        "(Algorithm 1), E_a: activation (Algorithm 2), forward reads of training; backward reads are excluded, "
        "as in QUEST. E_w is per batch in QUEST's figures by its size, per sample by its text: both are given."
    )
    return Numbers("Mapping patterns, cheapest first", header, rows, note)


def _pictures(ranked: Ranked, chip: str) -> list[Block]:
    blocks: list[Block] = [
        Picture(
            "pattern-matrices",
            f"Energy matrices of the mapping patterns, chip {chip}",
            f"W_p[i, j] = E[p(i), p(j)]: expected pulse energy of changing a weight from level i to level j, for "
            f"{ranked.selection}, ranked (#) by update and gated activation energy together. The diagonal costs "
            f"nothing: unchanged weights are not written. Source: {QUEST}, Algorithm 1.",
            partial(pattern_figures.matrices, ranked),
        )
    ]
    if ranked.scope == "cell":
        blocks.append(
            Picture(
                "update-energy",
                f"Update energy per layer and stage, chip {chip}",
                f"E_w[l, p] = Σ M_l[i, j] W_p[i, j] ({QUEST}, Algorithm 1) of {ranked.selection}, with a reset of "
                "single cells. Left axes: mean of a batch; right axes: the same per sample. Stages are batches "
                "1–10, 96–105 and 180–190 of QUEST's first epoch of 195, scaled to this one. Axes differ "
                "between panels.",
                partial(pattern_figures.update, ranked),
            )
        )
    else:
        blocks.append(Text("A reset of this chip empties the whole array: cells interact, so no update energy per "
                           "layer exists and it is given for the whole chip only."))  # fmt: skip
    blocks += [
        Picture(
            "update-energy-array",
            f"Update energy with an array-wide reset, chip {chip}",
            f"{_array_premise(ranked)} A step with any downward move then costs the field and the pulses that "
            f"bring back every cell not meant to be at R0; {ranked.selection}, mean of a batch, whole chip. "
            f"No per-layer split exists. The field alone is {quantity(ranked.reset_j)} of each such step.",
            partial(pattern_figures.array, ranked),
        ),
        Picture(
            "activation-energy",
            f"Activation energy per layer and stage, chip {chip}",
            f"E_a[l, p] = Σ N_v e[p(v)], e[s] = V_read² t_read / R_s ({QUEST}, Algorithm 2) per sample, for "
            f"{ranked.selection}. Filled: gated, as in QUEST (weights of level 0 are not read). Outline: "
            "row-activated (a spike biases the whole row, zero weights included).",
            partial(pattern_figures.activation, ranked),
        ),
    ]
    return blocks


def _array_premise(ranked: Ranked) -> str:
    if ranked.scope == "array":
        return f"One reset field of {quantity(ranked.reset_j)} empties all cells of this chip."
    return (
        f"What if one reset of {quantity(ranked.reset_j)} (this chip's energy of one cell, assumed) emptied all "
        "cells?"
    )
