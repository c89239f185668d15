"""Tables of `quest-lab energy`: matrices with intervals, choices of states, patterns under both reset scopes."""

from __future__ import annotations

from collections.abc import Sequence

from quest_lab.choices import Choice, pareto
from quest_lab.cli.common import energy, print_table
from quest_lab.device import FieldPulse, Scope
from quest_lab.export import Priced
from quest_lab.mapping import in_chip_states, name
from quest_lab.matrices import SCOPES, reset_energies
from quest_lab.quantity import prefix_for
from quest_lab.ranking import Ranking

_EXACT = 1e-6  # a relative interval this narrow is rounding
_MOST_ROWS = 12  # of a table of choices or patterns
_MOST_NAMES = 3  # of patterns in a sentence


def with_interval(joule: float, half_j: float | None) -> str:
    """3.60 ± 0.04 pJ: the half-width of the 95 % interval in the prefix of the value."""
    if half_j is None or half_j <= _EXACT * abs(joule):
        return energy(joule)
    factor, unit = prefix_for([joule, half_j])
    half = half_j / factor
    text = f"{half:.0f}" if half >= 10 else f"{half:.2g}"
    return f"{joule / factor:.3g} ± {text} {unit}"


def print_matrices(priced: Priced) -> None:
    """E[from, to] of the states in use under both reset scopes: pulses alone and with verify reads."""
    for scope in SCOPES:
        for title, which in (("E_pulse: pulses alone", "pulse_j"), ("E_total: with verify reads", "total_j")):
            _print_matrix(priced, scope, title, which)


def _print_matrix(priced: Priced, scope: Scope, title: str, which: str) -> None:
    k, names = SCOPES.index(scope), priced.used
    values, reachable = getattr(priced.matrices, which)[k], priced.matrices.reachable[k]
    half = None if priced.errors is None else priced.errors.reach * getattr(priced.errors, which)[k]
    rows = [
        (
            f"R{names[i]}",
            *(
                _entry(
                    float(values[i, j]), None if half is None else float(half[i, j]), bool(reachable[i, j])
                )
                for j in range(len(names))
            ),
        )
        for i in range(len(names))
    ]
    header = ("from \\ to", *(f"R{s}" for s in names))
    print_table(
        f"{title}, reset scope {scope} (expected energy of a write)", header, rows, note=_note(priced, scope)
    )


def _entry(joule: float, half_j: float | None, reachable: bool) -> str:
    return with_interval(joule, half_j) if reachable else "–"


def _note(priced: Priced, scope: Scope) -> str:
    found = priced.found
    one, field = reset_energies(found)
    if scope is Scope.ARRAY:
        note = f"Upward only: a field resets all cells at once ({energy(field)}, counted by step)."
    else:
        by_field = isinstance(found.reset, FieldPulse)
        origin = "assumed parameter of the simulated cell" if by_field else "mean of the reset pulses given"
        note = f"Single cells are reset, at {energy(one)} ({origin})."
    if scope is not found.reset_scope:
        note += (
            f" What if: this chip's reset scope is {found.reset_scope}, the other's energy is in proportion."
        )
    if priced.errors is None:
        return f"{note} No intervals: no counts of each cell, or no resamples."
    return (
        f"{note} ±: 95 % over the {priced.errors.cells} sampled cells ({priced.errors.resamples} resamples)."
    )


def print_choices(choices: Sequence[Choice], priced: Priced, ranking: Ranking) -> None:
    """Choices of states than which none is both cheaper and read better, and the one in use."""
    if not choices:
        return
    scope, front = ranking.scope, pareto(choices, ranking.scope)
    shown = front[:: max(1, -(-len(front) // _MOST_ROWS))]
    shown += [c for c in choices if c.used == priced.used and c not in shown]
    rows = [
        (
            ",".join(f"R{s}" for s in c.states),
            f"{c.error:.1e}",
            name(c.pattern(scope)),
            energy(c.cost_j(scope) / ranking.steps[0]),
            "in use" if c.used == priced.used else "",
        )
        for c in sorted(shown, key=lambda c: (c.error, c.cost_j(scope)))
    ]
    header = ("states of the levels", "decoding error", "cheapest pattern", "E_w + E_a gated / batch", "")
    note = (
        f"{len(choices)} choices compared under reset scope {scope}, each with all its patterns; here those than which "
        f"none is both cheaper and read better. The bound is --max-decoding-error; name a choice with --states "
        f"({','.join(map(str, priced.used))} are in use) here and in train, replay and validate, with R0 in any case."
    )
    print_table("Choice of states", header, rows, note=note)


def print_ranking(priced: Priced, ranking: Ranking) -> None:
    """Patterns from cheapest to dearest; where the optimum changes with the reset energy."""
    order, used = ranking.order, priced.used
    if len(order) > _MOST_ROWS:
        order = [*order[: _MOST_ROWS // 2], *order[-_MOST_ROWS // 2 :]]
    batches, samples = ranking.steps[0], ranking.samples[0]
    rows = [
        (
            in_chip_states(ranking.patterns[p], used),
            *(_of_run(ranking, "run_j", "write_j", (k, p), batches) for k in (0, 1)),
            energy(ranking.write_j[p] / samples),
            _of_run(ranking, "read_j", "activation_j", (p,), samples),
            energy(ranking.row_j[p, :, 0].sum() / samples),
            *(_of_run(ranking, "lead_j", "lead_j", (k, p), batches) for k in (0, 1)),
        )
        for p in order
    ]  # fmt: skip
    header = ("low..high level", "E_w / batch, cell", "E_w / batch, array", f"E_w / sample, {ranking.scope}",
              "E_a gated / sample", "E_a row / sample", "above best / batch, cell",
              "above best / batch, array")  # fmt: skip
    read = priced.found.read
    note = (
        f"Whole run. Reset scope cell: single cells at {energy(ranking.reset_j)} each; array: all cells at once, "
        f"{energy(ranking.field_j)} each time; this chip's: {ranking.scope}, which orders the table. A read: "
        f"{read.amplitude_v:g} V for {read.width_s:g} s. Above best: update and gated activation together."
    )
    print_table(f"{len(ranking.patterns)} mapping patterns, best first", header, rows, note=note)
    for scope in SCOPES:
        print(_verdict(ranking, scope, used))
    if ranking.bound_j is not None:
        print(_searched(ranking))
    for change in ranking.changes:
        print(
            f"update energy: with a reset above {energy(change.reset_j)}, "
            f"{in_chip_states(change.above, used)} is cheaper than {in_chip_states(change.below, used)}"
        )


def _of_run(ranking: Ranking, value: str, error: str, at: tuple[int, ...], per: float) -> str:
    """An energy of the run by step or image, with its interval."""
    half = None
    if ranking.errors is not None and ranking.pattern_errors is not None:
        half = ranking.errors.reach * float(getattr(ranking.pattern_errors, error)[at]) / per
    return with_interval(float(getattr(ranking, value)[at]) / per, half)


def _verdict(ranking: Ranking, scope: Scope, used: tuple[int, ...]) -> str:
    """Whether the cheapest pattern is known to be the cheapest."""
    order, tied = ranking.order_of(scope), ranking.tied(scope)
    best = f"reset scope {scope}: {in_chip_states(ranking.patterns[order[0]], used)} is the cheapest"
    if tied is None or len(order) < 2:
        return best
    if not tied:
        lead = _of_run(ranking, "lead_j", "lead_j", (SCOPES.index(scope), order[1]), ranking.steps[0])
        return f"{best}, by {lead} a batch before {in_chip_states(ranking.patterns[order[1]], used)}"
    names = ", ".join(in_chip_states(ranking.patterns[p], used) for p in tied[:_MOST_NAMES])
    more = f" and {len(tied) - _MOST_NAMES} more" if len(tied) > _MOST_NAMES else ""
    return f"{best}, but not told apart from {names}{more}: the 95 % intervals of their distances reach zero"


def _searched(ranking: Ranking) -> str:
    """How good the search of patterns can be said to be."""
    best, bound = float(ranking.sum_j[0].min()), float(ranking.bound_j or 0.0)
    return (
        f"too many patterns to compare one by one: searched for by quadratic assignment. Under reset scope cell none "
        f"costs less than {energy(bound)} (Gilmore-Lawler); the best one found costs {energy(best)}, "
        f"{best / bound - 1:.1%} more. Array-wide: improved by exchanges, without a bound"
    )
