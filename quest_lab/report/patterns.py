"""Section of an energy run: the matrices of the mapping patterns, update and activation energy (QUEST)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from quest_lab.report import pattern_figures
from quest_lab.report.numbers import pattern_name, quantity, state_names
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.ranked import Ranked, load
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

QUEST = "QUEST (arXiv 2504.00679)"
_MOST_CHANGES = 4
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
    out = replace(out, finding=_finding(ranked))
    out.blocks.append(Text(_summary(ranked, files.assumed(source))))
    out.blocks.extend([_matrix_table(ranked), _pattern_table(ranked)])
    out.blocks.extend(_pictures(ranked, chip))
    return out


def _finding(ranked: Ranked) -> str:
    def cost(pattern: int) -> str:
        update = quantity(ranked.write[pattern] / ranked.steps[0])
        read = quantity(_read_j(ranked, pattern))
        return f"{ranked.name(pattern)} (E_w {update} per batch, E_a gated {read} per sample)"

    return f"Best of {len(ranked.order)} patterns {cost(ranked.order[0])}, worst {cost(ranked.order[-1])}"


def _read_j(ranked: Ranked, pattern: int) -> float:
    return float(ranked.gated[pattern, :, 0].sum() / ranked.samples[0])


def _summary(ranked: Ranked, assumed: str) -> str:
    best, worst = ranked.order[0], ranked.order[-1]
    changes = " ".join(
        f"With a reset of a cell above {quantity(j)}, {pattern_name(ranked.used[above])} takes less update "
        f"energy than {pattern_name(ranked.used[below])}."
        for j, below, above in ranked.changes[:_MOST_CHANGES]
    )
    if len(ranked.changes) > _MOST_CHANGES:
        changes += f" There are {len(ranked.changes) - _MOST_CHANGES} more such changes, at higher energies."
    return (
        f"A pattern is the tuple of states that hold the weight levels {', '.join(ranked.weight_levels)}; the "
        f"best one is computed, not asserted. Here {ranked.name(best)} is the cheapest in update and gated "
        f"activation energy together, {ranked.name(worst)} the dearest. {_reset(ranked)} "
        f"{changes or 'No reset energy changes the best pattern.'} {assumed} {UNRECOVERABLE}"
    )


def _reset(ranked: Ranked) -> str:
    one, field = quantity(ranked.reset_j), quantity(ranked.field_j)
    if ranked.scope == "cell":
        return (
            f"This chip resets single cells at {one} each; beside it, what a field of {field} (as much, for every "
            "cell) would cost that resets the whole array."
        )
    return (
        f"This chip's field resets the whole array at {field}; beside it, what resets of single cells at {one} "
        "each (its share) would cost."
    )


def _matrix_table(ranked: Ranked) -> Numbers:
    names = state_names(ranked.used)
    rows = [
        (f"from {name}", *(_entry(ranked, i, j) for j in range(len(names)))) for i, name in enumerate(names)
    ]
    note = (
        "Expected energy of the pulses and resets of one write, closed loop, without verify reads. "
        f"Single cells are reset, at {quantity(ranked.reset_j)}{_what_if(ranked, 'cell')}. A dash: never reached."
    )
    return Numbers("Energy matrix E[from, to]", ("", *(f"to {n}" for n in names)), rows, note)


def _what_if(ranked: Ranked, scope: str) -> str:
    """What to add where numbers are for a kind of reset that the chip does not have."""
    return "" if ranked.scope == scope else " (what if: this chip does not have such a reset)"


def _entry(ranked: Ranked, start: int, end: int) -> str:
    if start != end and ranked.success[start, end] <= 0:
        return "–"
    return quantity(float(ranked.matrix[start, end]))


def _pattern_table(ranked: Ranked) -> Numbers:
    batches, samples = ranked.steps[0], ranked.samples[0]
    rows = [
        (
            f"{ranked.order.index(p) + 1}", ranked.name(p), quantity(ranked.update[p, :, 0].sum() / batches),
            quantity(ranked.update[p, :, 0].sum() / samples), quantity(ranked.array[p, 0] / batches),
            quantity(_read_j(ranked, p)), quantity(ranked.row[p, :, 0].sum() / samples),
        )
        for p in ranked.shown
    ]  # fmt: skip
    header = ("rank", f"states of {', '.join(ranked.weight_levels)}", "E_w per batch", "E_w per sample",
              "E_w array, per batch", "E_a gated, per sample", "E_a row, per sample")  # fmt: skip
    note = (
        f"Mean of all {batches:.0f} training steps, {ranked.selection}, ranked for this chip's reset scope, "
        f"{ranked.scope}. E_w: update (Algorithm 1) with resets of single cells and of the array, E_a: "
        "activation (Algorithm 2), forward reads of training; backward reads are excluded, "
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
            f"nothing: unchanged weights are not written. Single "
            f"cells are reset{_what_if(ranked, 'cell')}. Source: {QUEST}, Algorithm 1.",
            partial(pattern_figures.matrices, ranked),
        )
    ]
    blocks += [
        Picture(
            "update-energy",
            f"Update energy per layer and stage, chip {chip}",
            f"E_w[l, p] = Σ M_l[i, j] W_p[i, j] ({QUEST}, Algorithm 1) of {ranked.selection}, with resets of "
            f"single cells at {quantity(ranked.reset_j)}{_what_if(ranked, 'cell')}. Left axes: mean of a batch; "
            "right axes: the same per sample. Stages are batches 1–10, 96–105 and 180–190 of QUEST's first epoch "
            "of 195, scaled to this one. Axes differ between panels.",
            partial(pattern_figures.update, ranked),
        ),
        Picture(
            "update-energy-array",
            f"Update energy with an array-wide reset, chip {chip}",
            f"A field of {quantity(ranked.field_j)} resets all cells at once{_what_if(ranked, 'array')}: cells "
            "interact and no split into layers exists. A step with any downward move costs the field and the "
            f"pulses that bring back every cell not meant to be at R0; {ranked.selection}, mean of a batch, whole "
            "chip; right axis: the same per sample.",
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
