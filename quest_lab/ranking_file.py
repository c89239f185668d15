"""A ranking as results of a run file: energy matrices, patterns with their intervals, choices of states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.choices import Choice
from quest_lab.device import Floats
from quest_lab.mapping import Pattern
from quest_lab.matrices import SCOPES
from quest_lab.policy import WriteCost
from quest_lab.ranking import STAGES, Ranking
from quest_lab.schema import Field, Result

Attrs: TypeAlias = dict[str, str | int | float | bool]
_PAIR = ("state_from", "state_to")
_BY_SCOPE = ("reset_scope", "pattern")


def to_results(ranking: Ranking, layers: list[str], choices: Sequence[Choice] = ()) -> list[Result]:
    """Energy matrices of both scopes, the energies of every pattern, where the optimum changes; choices of states.

    Errors are standard errors over resampled cells; `interval_reach` of them make a 95 % interval.
    """
    about = _about(ranking)
    return [
        _matrix(ranking, 0, "energy_matrix", "Write energy", about),
        _matrix(ranking, 1, "energy_matrix_array", "Write energy where a field resets the whole array", about),
        Result("patterns", _energies(ranking, layers), title="Energy of every pattern", signal="write_j",
               axes=("pattern",), attrs=about),
        _changes(ranking),
        *([_choices(choices)] if choices else []),
    ]  # fmt: skip


def _about(ranking: Ranking) -> Attrs:
    about: Attrs = {
        "scope": str(ranking.scope),
        "reset_j": ranking.reset_j,
        "field_j": ranking.field_j,
        "best": ranking.order[0],
    }
    if ranking.bound_j is not None:
        about["bound_j"] = ranking.bound_j
    if ranking.errors is not None:
        about |= {
            "resamples": ranking.errors.resamples,
            "sampled_cells": ranking.errors.cells,
            "interval_reach": ranking.errors.reach,
        }
    return about


def _matrix(ranking: Ranking, scope: int, name: str, title: str, about: Attrs) -> Result:
    cost: WriteCost = (ranking.matrices.cell, ranking.matrices.array)[scope]
    pulse, total = (_error(ranking, which, scope) for which in ("pulse_j", "total_j"))
    states = np.arange(cost.pulse_j.shape[0])
    fields = {
        "pulse_j": Field(cost.pulse_j, "J", "expected pulse energy of a write", _PAIR, pulse),
        "total_j": Field(cost.total_j, "J", "expected energy with verify reads", _PAIR, total),
        "pulses": Field(cost.pulses, "", "expected operations", _PAIR),
        "resets": Field(cost.resets, "", "expected resets", _PAIR),
        "success": Field(cost.success, "", "probability to end in the target", _PAIR),
        "read_j": Field(
            ranking.matrices.read_j, "J", "energy of a read", _PAIR[:1], _error(ranking, "read_j")
        ),
        "state_from": Field(states, "", "state before", _PAIR[:1]),
        "state_to": Field(states, "", "state after", _PAIR[1:]),
    }
    return Result(name, fields, title=title, signal="pulse_j", axes=_PAIR, attrs=about)


def _energies(ranking: Ranking, layers: list[str]) -> dict[str, Field]:
    cube, scopes = ("pattern", "layer", "stage"), [str(s) for s in SCOPES]
    own = SCOPES.index(ranking.scope)
    return {
        "update_j": Field(ranking.update_j, "J", "update energy, Algorithm 1", cube),
        "gated_j": Field(ranking.gated_j, "J", "activation energy, zero weights not read", cube),
        "row_j": Field(ranking.row_j, "J", "activation energy, whole rows biased", cube),
        "array_j": Field(
            ranking.array_j, "J", "update energy with an array-wide reset", ("pattern", "stage")
        ),
        "write_j": Field(
            ranking.write_j, "J", "update energy of the run under the chip's scope", cube[:1],
            _error(ranking, "write_j", own),
        ),
        "run_j": Field(
            ranking.run_j, "J", "update energy of the run", _BY_SCOPE, _error(ranking, "write_j")
        ),
        "activation_j": Field(
            ranking.read_j, "J", "gated activation energy of the run", cube[:1], _error(ranking, "activation_j")
        ),
        "sum_j": Field(
            ranking.sum_j, "J", "update and gated activation energy of the run", _BY_SCOPE,
            _error(ranking, "sum_j"),
        ),
        "lead_j": Field(
            ranking.lead_j, "J", "distance of `sum_j` to the cheapest pattern", _BY_SCOPE,
            _error(ranking, "lead_j"),
        ),
        "never": Field(
            ranking.never.astype(np.uint8), "", "1: needs writes that never arrive; ranks last", _BY_SCOPE
        ),
        "states": Field(np.array(ranking.patterns), "", "state of each level", ("pattern", "level")),
        "layer_name": Field(np.array(layers), "", "layer", ("layer",)),
        "stage_name": Field(np.array(STAGES), "", "stage", ("stage",)),
        "scope_name": Field(np.array(scopes), "", "what a reset empties", ("reset_scope",)),
        "steps": Field(ranking.steps, "", "optimizer steps in the stage", ("stage",)),
        "samples": Field(ranking.samples, "", "images in the stage", ("stage",)),
        "pattern": Field(np.arange(len(ranking.patterns)), "", "row of `states`", cube[:1]),
    }  # fmt: skip


def _error(ranking: Ranking, name: str, scope: int | None = None) -> Floats | None:
    """Standard errors of a quantity, all of them or under one scope; None without."""
    holder = ranking.errors if hasattr(ranking.errors, name) else ranking.pattern_errors
    if holder is None:
        return None
    every: Floats = getattr(holder, name)
    return every if scope is None else every[scope]


def _changes(ranking: Ranking) -> Result:
    levels, pair = len(ranking.patterns[0]), ("change", "level")
    below, above = ([getattr(c, side) for c in ranking.changes] for side in ("below", "above"))
    fields = {
        "reset_j": Field(np.array([c.reset_j for c in ranking.changes]), "J", "reset energy", ("change",)),
        "below": Field(_rows(below, levels), "", "cheapest below", pair),
        "above": Field(_rows(above, levels), "", "cheapest above", pair),
    }
    return Result("optimum_changes", fields, title="Reset energies at which the cheapest pattern changes")


def _choices(choices: Sequence[Choice]) -> Result:
    pair = ("choice", "reset_scope")
    fields = {
        "states": Field(
            np.array([c.states for c in choices]), "", "states of the chip that hold levels", ("choice", "place")
        ),
        "error": Field(
            np.array([c.error for c in choices]), "", "decoding error of the closest two", ("choice",)
        ),
        "sum_j": Field(
            np.array([c.sum_j for c in choices]), "J", "update and gated activation energy, cheapest pattern", pair
        ),
        "pattern": Field(
            np.array([c.patterns for c in choices]), "", "cheapest pattern: the chip's state of each level",
            (*pair, "level"),
        ),
    }  # fmt: skip
    return Result("choices", fields, title="Choices of the states that hold weight levels")


def _rows(patterns: list[Pattern], levels: int) -> NDArray[np.int64]:
    """Shape (patterns, levels), also where there is none."""
    return np.array(patterns, np.int64).reshape(len(patterns), levels)
