"""`quest-lab energy`: energy matrices of a chip, and a schedule's energy under every mapping pattern."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quest_lab.bootstrap import resampled
from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.choices import Choice, cheapest, compare_choices, countable
from quest_lab.cli.common import chosen_states
from quest_lab.cli.matrices import print_choices, print_matrices, print_ranking
from quest_lab.cli.rates import last_epoch_activity, print_comparison
from quest_lab.cmos import compare
from quest_lab.energy import Counts, count
from quest_lab.errors import BadInput
from quest_lab.export import Priced, check_target, export
from quest_lab.matrices import Errors, Matrices
from quest_lab.ranking import Ranking, rank
from quest_lab.ranking_file import to_results
from quest_lab.record import RunWriter
from quest_lab.schedule import Schedule

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options ask for: states by name or by a bound on their decoding error, resamples of cells."""

    states: tuple[int, ...] | None = None
    max_error: float | None = None
    resamples: int = RESAMPLES


@dataclass(frozen=True, slots=True)
class Energies:
    """What was computed; `choices` is empty where there is nothing to choose or too much."""

    priced: Priced
    ranking: Ranking
    choices: list[Choice]


def run(
    *,
    characterization: Path,
    schedule: Path | None,
    out: Path | None,
    export_to: Path | None,
    overwrite: bool,
    states: tuple[int, ...] | None,
    max_error: float | None,
    resamples: int,
) -> None:
    asked = Asked(states, max_error, resamples)
    if export_to is not None:
        check_target(export_to, overwrite=overwrite)
    full = load_characterization(characterization)
    if schedule is None:
        priced = _without_schedule(full, out, asked)
        print_matrices(priced)
    else:
        done = execute(full=full, schedule=schedule, out=out, overwrite=overwrite, asked=asked)
        priced = done.priced
        print_matrices(priced)
        print_choices(done.choices, priced, done.ranking)
        print_ranking(priced, done.ranking)
        with Schedule.open(schedule) as source:
            rates = last_epoch_activity(source)
            print_comparison(compare([layer.macs for layer in source.layers], rates.aor, rates.rate_in))
    if out is not None:
        print(f"energies: {out}")
    if export_to is not None:
        print("exported: " + ", ".join(map(str, export(export_to, priced))))


def execute(
    *, full: Characterization, schedule: Path, out: Path | None, overwrite: bool, asked: Asked | None = None
) -> Energies:
    """Rank the mapping patterns of a schedule on a chip; `out` is a run file for the results. Raises BadInput."""
    asked = asked or Asked()
    with Schedule.open(schedule) as source:
        counts, layers = count(source), [layer.name for layer in source.layers]
    used, choices = _states(full, counts, asked)
    found = full.restrict(used)
    ranking = rank(found, counts, replicas=_replicas(full, used, asked.resamples))
    if out is not None:
        settings = {"chip_id": full.chip_id, "schedule": schedule.name, "states": list(used)}
        with RunWriter.create(
            out, kind="energy", title="Energy of every mapping pattern", seed=0, settings=settings,
            overwrite=overwrite,
        ) as writer:  # fmt: skip
            for result in to_results(ranking, layers, choices):
                writer.add_result(result, default=result.name == "patterns")
    return Energies(Priced.of(found, used, ranking), ranking, choices)


def _states(full: Characterization, counts: Counts, asked: Asked) -> tuple[tuple[int, ...], list[Choice]]:
    """The states in use, and what there was to choose from."""
    levels = counts.levels.shape[-1]
    if asked.states is not None and asked.max_error is not None:
        raise BadInput("--states and --max-decoding-error: want one of them")
    used = chosen_states(full, asked.states, levels)
    many = countable(levels, full.states) and levels < full.states
    choices = compare_choices(full, counts) if many or asked.max_error is not None else []
    if asked.max_error is not None:
        used = cheapest(choices, full.reset_scope, asked.max_error).used
    return used, choices


def _replicas(full: Characterization, used: tuple[int, ...], resamples: int) -> list[Characterization]:
    """Of the chip restricted to `used`; none where the counts of each cell are not known."""
    if full.by_cell is None:
        return []
    return [one.restrict(used) for one in resampled(full, resamples)]


def _without_schedule(full: Characterization, out: Path | None, asked: Asked) -> Priced:
    """The matrices alone, of the states asked for or all."""
    if out is not None or asked.max_error is not None:
        option = "--max-decoding-error" if out is None else "--out"
        raise BadInput(f"{option}: wants a --schedule, whose writes and reads say which pattern is cheapest")
    used = tuple(range(full.states)) if asked.states is None else tuple(sorted(asked.states))
    found, replicas = full.restrict(used), _replicas(full, used, asked.resamples)
    errors = Errors.of([Matrices.of(one) for one in replicas], found)
    return Priced(found, used, Matrices.of(found), errors)
