"""Section of an energy run: the matrices of the mapping patterns, update and activation energy (QUEST)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from quest_lab.report import pattern_figures
from quest_lab.report.numbers import measured, pattern_name, percent, quantity, state_names
from quest_lab.report.page import Block, Numbers, Picture, Section, Text
from quest_lab.report.ranked import SCOPES, Floats, Ranked, States, load
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

QUEST = "QUEST (arXiv 2504.00679)"
_MOST_CHANGES = 4
_MOST_TIED = 3
UNRECOVERABLE = "The paper's own values and its numbering of patterns are not recoverable."


def section(source: Source, files: Files) -> Section:
    """The energy of every mapping pattern on one chip."""
    chip = files.chip(source)
    out = Section(f"Mapping patterns and energy, chip {chip} ({source.path.name})")
    with open_run(source.path) as run:
        if not {"patterns", "energy_matrix", "energy_matrix_array", "optimum_changes"} <= set(run.results):
            out.blocks.append(Text(f"{source.path.name} ended as {source.status}, without a result.", True))
            return out
        ranked = load(run, source.states)
    out = replace(out, finding=_finding(ranked))
    out.blocks.append(Text(_summary(ranked, files.assumed(source))))
    out.blocks.extend([*_matrix_tables(ranked), _pattern_table(ranked)])
    out.blocks.extend(_pictures(ranked, chip))
    return out


def _finding(ranked: Ranked) -> str:
    def cost(pattern: int) -> str:
        update = quantity(ranked.write[pattern] / ranked.steps[0])
        read = quantity(_read_j(ranked, pattern))
        return f"{ranked.name(pattern)} (E_w {update} per batch, E_a gated {read} per sample)"

    tied = len(ranked.tied(SCOPES.index(ranked.scope)))
    among = f", not told apart from {tied} other{'s' if tied > 1 else ''}" if tied else ""
    return (
        f"Best of {len(ranked.order)} patterns {cost(ranked.order[0])}{among}, worst {cost(ranked.order[-1])}"
    )


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
        f"activation energy together, {ranked.name(worst)} the dearest. {_verdicts(ranked)} {_reset(ranked)} "
        f"{changes or 'No reset energy changes the best pattern.'} {assumed} {UNRECOVERABLE}"
    )


def _verdicts(ranked: Ranked) -> str:
    """Whether the cheapest pattern of either scope is known to be the cheapest; how patterns were found."""
    said = " ".join(_verdict(ranked, k) for k in range(len(SCOPES))) if ranked.known else ""
    if ranked.bound_j is None:
        return said
    best, batches = (ranked.update[:, :, 0] + ranked.gated[:, :, 0]).sum(axis=1).min(), ranked.steps[0]
    return (
        f"{said} Too many patterns to compare one by one: these were searched for by quadratic assignment. With "
        f"resets of single cells none costs less than {quantity(ranked.bound_j / batches)} per batch (Gilmore-"
        f"Lawler); the best found costs {quantity(float(best) / batches)}."
    )


def _verdict(ranked: Ranked, scope: int) -> str:
    best, following = ranked.order_of(scope)[:2]
    tied, how = ranked.tied(scope), ("single cells", "the whole array")[scope]
    if tied:
        names = ", ".join(ranked.name(p) for p in tied[:_MOST_TIED])
        more = f" and {len(tied) - _MOST_TIED} more" if len(tied) > _MOST_TIED else ""
        return f"With resets of {how} {ranked.name(best)} is the cheapest, not told apart from {names}{more}."
    lead = measured(
        ranked.lead[scope, following] / ranked.steps[0], ranked.half_lead[scope, following] / ranked.steps[0]
    )
    return f"With resets of {how} {ranked.name(best)} leads {ranked.name(following)} by {lead} per batch."


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


def _matrix_tables(ranked: Ranked) -> list[Numbers]:
    notes = (
        "Expected energy of the pulses and resets of one write, closed loop, without verify reads. "
        f"Single cells are reset, at {quantity(ranked.reset_j)}{_what_if(ranked, 'cell')}.",
        f"Upward only: a field of {quantity(ranked.field_j)} resets all cells at once and is counted by step"
        f"{_what_if(ranked, 'array')}.",
    )
    values = (
        (ranked.matrix, ranked.half_matrix, ranked.success),
        (ranked.upward, ranked.half_upward, ranked.upward_success),
    )
    return [
        _matrix_table(ranked, f"Energy matrix E[from, to], reset scope {scope}", *value, note)
        for scope, value, note in zip(SCOPES, values, notes, strict=True)
    ]


def _matrix_table(
    ranked: Ranked, title: str, matrix: Floats, half: Floats, success: Floats, note: str
) -> Numbers:
    names = state_names(ranked.used)

    def entry(start: int, end: int) -> str:
        if start != end and success[start, end] <= 0:
            return "–"
        return measured(float(matrix[start, end]), float(half[start, end]))

    rows = [(f"from {name}", *(entry(i, j) for j in range(len(names)))) for i, name in enumerate(names)]
    return Numbers(
        title, ("", *(f"to {n}" for n in names)), rows, f"{note} {_intervals(ranked)} A dash: never reached."
    )


def _intervals(ranked: Ranked) -> str:
    if not ranked.known:
        return "No intervals: the counts of each cell are not known."
    return f"±: 95 % intervals over the {ranked.sampled_cells} sampled cells (bootstrap)."


def _what_if(ranked: Ranked, scope: str) -> str:
    """What to add where numbers are for a kind of reset that the chip does not have."""
    return "" if ranked.scope == scope else " (what if: this chip does not have such a reset)"


def _pattern_table(ranked: Ranked) -> Numbers:
    batches, samples = ranked.steps[0], ranked.samples[0]
    rows = [
        (
            f"{ranked.order.index(p) + 1}", ranked.name(p),
            measured(ranked.update[p, :, 0].sum() / batches, ranked.half_run[0, p] / batches),
            quantity(ranked.update[p, :, 0].sum() / samples),
            measured(ranked.array[p, 0] / batches, ranked.half_run[1, p] / batches),
            measured(_read_j(ranked, p), ranked.half_gated[p] / samples),
            quantity(ranked.row[p, :, 0].sum() / samples),
            *(measured(ranked.lead[k, p] / batches, ranked.half_lead[k, p] / batches) for k in (0, 1)),
        )
        for p in ranked.shown
    ]  # fmt: skip
    header = ("rank", f"states of {', '.join(ranked.weight_levels)}", "E_w per batch", "E_w per sample",
              "E_w array, per batch", "E_a gated, per sample", "E_a row, per sample",
              "above best per batch", "above best per batch, array")  # fmt: skip
    note = (
        f"Mean of all {batches:.0f} training steps, {ranked.selection}, ranked for this chip's reset scope, "
        f"{ranked.scope}. E_w: update (Algorithm 1) with resets of single cells and of the array, E_a: "
        "activation (Algorithm 2), forward reads of training; backward reads are excluded, "
        "as in QUEST. E_w is per batch in QUEST's figures by its size, per sample by its text: both are given. Above "
        f"best: update and gated activation energy together. {_intervals(ranked)}"
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
    if ranked.known:
        blocks.insert(1, _leads(ranked, chip))
    if ranked.choices is not None:
        blocks.append(_choice(ranked, ranked.choices, chip))
    return blocks


def _leads(ranked: Ranked, chip: str) -> Picture:
    return Picture(
        "pattern-leads",
        f"How far patterns are above the cheapest one, chip {chip}",
        "Update and gated activation energy of the run above the cheapest pattern's, mean of a batch, "
        f"{ranked.selection}, with 95 % intervals of the difference over the {ranked.sampled_cells} sampled cells "
        "(bootstrap, paired: what is uncertain of both cancels). Hollow: not told apart from the cheapest one. Left: "
        f"resets of single cells{_what_if(ranked, 'cell')}, right: of the whole array{_what_if(ranked, 'array')}; # "
        "ranks are this chip's.",
        partial(pattern_figures.leads, ranked),
    )


def _choice(ranked: Ranked, choices: States, chip: str) -> Picture:
    scope = SCOPES.index(ranked.scope)
    least = int(choices.front(scope)[-1])
    return Picture(
        "states-choice",
        f"Energy against decoding error of the states that hold levels, chip {chip}",
        f"All {choices.error.size} choices of {choices.states.shape[1]} states, each with its own write policy and "
        f"its cheapest pattern under reset scope {ranked.scope}: update and gated activation energy, mean of a batch, "
        "against the probability that a read falls on the wrong side of its closest neighbours. Line: choices than "
        "which none is both cheaper and read better; the cheapest of all, "
        f"{pattern_name(choices.pattern[least, scope])}, is misread with {percent(float(choices.error[least]))}. Red: "
        "in use. `quest-lab energy --max-decoding-error` takes the cheapest below a bound.",
        partial(pattern_figures.choice, ranked, choices),
    )
