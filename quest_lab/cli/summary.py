"""The table that the demo ends with: what was found on each chip, with units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.cli.common import energy, percent, print_table
from quest_lab.cli.rates import print_rates
from quest_lab.cli.replay import Replayed
from quest_lab.mapping import in_chip_states
from quest_lab.protocols.validate_rows import Validation
from quest_lab.ranking import Ranking
from quest_lab.train.config import TrainResult

Row: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class OnChip:
    """What the demo finds out on one chip; `used` are the states that hold the weight levels."""

    full: Characterization
    used: tuple[int, ...]
    ranking: Ranking
    replayed: Replayed


def print_summary(trained: TrainResult, chips: Mapping[str, OnChip], validated: Validation) -> None:
    """One column a chip; what concerns the network alone stands in the first."""
    blank = [""] * (len(chips) - 1)
    rows = [*_per_chip(chips)]
    rows += [(name, percent(value), *blank) for name, value in _accuracies(validated)]
    print_table("What the demo found", ("", *(f"preset {name}" for name in chips)), rows, note=_note(chips))
    if trained.schedule is not None:
        print_rates(trained.schedule)
    print(trained.agreement)


def _per_chip(chips: Mapping[str, OnChip]) -> Iterator[Row]:
    every = list(chips.values())
    yield ("states found", *(str(c.full.states) for c in every))
    yield ("resistance of R0, R1, ... (ohm)", *(_ohms(c) for c in every))
    yield ("states that hold weight levels", *(",".join(f"R{s}" for s in c.used) for c in every))
    for i, start in enumerate(every[0].used):
        for j, end in enumerate(every[0].used):
            if i != j:
                costs = (energy(c.ranking.cost.pulse_j[i, j]) for c in every)
                yield (f"E[R{start},R{end}], pulses", *costs)
    for title, place in (("best pattern", 0), ("worst pattern", -1)):
        yield (f"{title} (levels -1, 0, +1)", *(_pattern(c, place) for c in every))
        yield ("  update, mean of a batch", *(_update(c, place) for c in every))
        yield ("  activation of a sample, gated / row", *(_activation(c, place) for c in every))
    yield ("steps replayed", *(str(len(c.replayed.done.steps["step"]) - 1) for c in every))
    yield ("weights that diverged", *(_diverged(c) for c in every))
    yield ("write energy, predicted / spent", *(_spent(c) for c in every))


def _accuracies(validated: Validation) -> Iterator[tuple[str, float]]:
    for name, value in validated.accuracy.items():
        yield f"accuracy, {name}", value
    for name, value in validated.misread.items():
        yield f"accuracy, read with the wrong pattern {name}", value
    if validated.misread:
        yield "accuracy, mean of the wrong patterns", float(np.mean(list(validated.misread.values())))


def _ohms(chip: OnChip) -> str:
    return " ".join(f"{ohm:.0f}" for ohm in chip.full.resistance_ohm)


def _pattern(chip: OnChip, place: int) -> str:
    return in_chip_states(chip.ranking.patterns[chip.ranking.order[place]], chip.used)


def _update(chip: OnChip, place: int) -> str:
    return energy(chip.ranking.write_j[chip.ranking.order[place]] / chip.ranking.steps[0])


def _activation(chip: OnChip, place: int) -> str:
    which, samples = chip.ranking.order[place], chip.ranking.samples[0]
    gated, row = chip.ranking.read_j[which] / samples, chip.ranking.row_j[which, :, 0].sum() / samples
    return f"{energy(gated)} / {energy(row)}"


def _diverged(chip: OnChip) -> str:
    return f"{chip.replayed.done.diverged} of {chip.replayed.done.read.size}"


def _spent(chip: OnChip) -> str:
    done = chip.replayed.done
    return f"{energy(done.total('predicted_energy_j'))} / {energy(done.total('spent_energy_j'))}"


def _note(chips: Mapping[str, OnChip]) -> str:
    fields = [
        f"{name}: {energy(c.ranking.field_j)} a domain"
        for name, c in chips.items()
        if c.ranking.scope == "array"
    ]
    return (
        "Parameters of the simulated cells are assumed (no public numbers exist); accuracies are measured on 450 "
        "held-out handwritten digits. E is what a write costs where single cells can be reset. Where the field "
        f"resets the whole array ({'; '.join(fields)}), updates include the field and every cell set again."
    )
