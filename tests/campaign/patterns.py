"""Which mapping pattern is cheapest in which layer and stage, on simulated Sk-MTJ chips; E_a beside AOR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.device import Floats, Scope
from quest_lab.energy import Counts, Ints, activation_energy, crossovers
from quest_lab.layers import LayerInfo
from quest_lab.mapping import in_chip_states
from quest_lab.protocols.characterize import characterize
from quest_lab.ranking import STAGES, Ranking, rank
from quest_lab.report.numbers import quantity
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import Preset, SkMTJ
from quest_lab.train.history import Epoch

PRESETS: tuple[Preset, ...] = ("lab", "scaled")
CELLS, SAMPLE = 1024, 256
USED = (0, 3, 6)  # of the cell's seven states
PAPER_J = 1.65e-6  # the best pattern's update energy a sample stays below it in every layer


@dataclass(frozen=True)
class Priced:
    """A run on one chip: ranked at the chip's own reset energy and at zero; `moves[stage, layer, from, to]`."""

    preset: Preset
    found: Characterization
    own: Ranking
    free: Ranking
    moves: Ints


def characterized(preset: Preset) -> Characterization:
    """Of a simulated chip at its default spread, restricted to the states in use."""
    clock = VirtualClock()
    array = CellArray(SkMTJ.preset(preset), CELLS, seed=0)
    session = Session(SimulatedChip(array, clock), clock, seed=0, truth=array.states)
    everyone = np.arange(CELLS)
    found = characterize(session, everyone, everyone[:: CELLS // SAMPLE])[0]
    array.close()
    return found.restrict(USED)


def priced(preset: Preset, counts: Counts) -> Priced:
    """A chip with a cell a weight: a field over all of them costs a cell its share."""
    found, weights = characterized(preset), int(counts.levels[0].sum())
    one = found.reset_energy_j
    cell, field = (one, one * weights) if found.reset_scope is Scope.CELL else (one / weights, one)
    moves = [counts.transitions[counts.stage == s].sum(axis=0) for s in (1, 2, 3)]
    return Priced(
        preset,
        found,
        own=rank(found, counts, reset_j=cell, field_j=field),
        free=rank(found, counts, reset_j=0.0, field_j=0.0),
        moves=np.stack([counts.transitions.sum(axis=0), *moves]),
    )


def name(ranking: Ranking, pattern: int) -> str:
    return in_chip_states(ranking.patterns[pattern], USED)


def best(ranking: Ranking) -> int:
    """The pattern with the least update energy of the whole run, single-cell resets."""
    return int(ranking.update_j[:, :, 0].sum(axis=1).argmin())


def claims(chip: Priced) -> list[tuple[str, str, str]]:
    """(claim, numbers, verdict) of the chip, at its own reset energy and at zero."""
    return [
        row for ranking in (chip.own, chip.free) for row in (_lowest(chip, ranking), _below(chip, ranking))
    ]


def _lowest(chip: Priced, ranking: Ranking) -> tuple[str, str, str]:
    """Is the run's best pattern the lowest in every layer at the early, the middle and the final stage?"""
    energy = ranking.update_j[:, :, 1:]
    least, mine = energy.min(axis=0), energy[best(ranking)]
    dearer = np.where(least > 0, mine / np.where(least > 0, least, 1.0), 1.0) - 1.0
    same = dearer < 1e-9
    on_r0 = np.array([p[1] == 0 for p in ranking.patterns])
    zero = energy[on_r0].min(axis=0) <= least
    return (
        f"the best pattern stays lowest in every layer and stage ({_where(chip, ranking)})",
        f"{name(ranking, best(ranking))} in {same.sum()} of {same.size}, at worst {1 + dearer.max():.3g} times "
        f"the lowest; a pattern with 0 on R0 in {zero.sum()} of {same.size}",
        _yes(bool(same.all())),
    )


def _below(chip: Priced, ranking: Ranking) -> tuple[str, str, str]:
    layers = ranking.update_j[best(ranking), :, 0]
    batch_j, sample_j = layers.max() / ranking.steps[0], layers.max() / ranking.samples[0]
    return (
        f"it is below {quantity(PAPER_J)} in every layer ({_where(chip, ranking)})",
        f"highest layer {quantity(sample_j)} a sample, {quantity(batch_j)} a batch",
        f"{_yes(sample_j < PAPER_J)} a sample, {_yes(batch_j < PAPER_J)} a batch",
    )


def _where(chip: Priced, ranking: Ranking) -> str:
    return f"{chip.preset}, a reset {quantity(ranking.reset_j)}"


def table(chip: Priced, layers: Sequence[LayerInfo]) -> str:
    """Layer by stage: the lowest patterns and their energies; then the whole chip where a field resets all."""
    lines = [
        f"### Chip `{chip.preset}`",
        "",
        _about(chip),
        "",
        "| layer | stage | lowest E_w | a batch | a sample | lowest E_w, resets free | changes with a reset above | "
        "lowest E_a gated | a sample | lowest E_a row-activated | a sample |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [_row(chip, layers[i].name, i, s) for i in range(len(layers)) for s in range(len(STAGES))]
    return "\n".join([*lines, "", _whole_array(chip)])


def _about(chip: Priced) -> str:
    own, found = chip.own, chip.found
    scope = "" if found.reset_scope is Scope.CELL else (
        f", a weight's share of the field's {quantity(own.field_j)} (this chip's magnet reaches every cell: single-"
        "cell resets are a what-if)"
    )  # fmt: skip
    return (
        f"States R{', R'.join(map(str, USED))} of a simulated chip characterised first ({CELLS} cells, seed 0; reads "
        f"of {found.read.amplitude_v:g} V for {quantity(found.read.width_s, 's')}; every cell parameter is assumed). A "
        f"single-cell reset: {quantity(own.reset_j)}{scope}. Patterns are (R(−1), R(0), R(+1)); stages are of the "
        "first epoch. Changes: reset energies at which the lowest E_w goes over to another pattern, under the write "
        "policy for this chip's reset."
    )


def _row(chip: Priced, layer: str, i: int, s: int) -> str:
    own, samples = chip.own, chip.own.samples[s]
    update, gated, row = (e[:, i, s] for e in (own.update_j, own.gated_j, own.row_j))
    cells = (
        layer, STAGES[s], _cheapest(own, update), quantity(update.min() / own.steps[s]),
        quantity(update.min() / samples), _cheapest(chip.free, chip.free.update_j[:, i, s]),
        _changes(chip, chip.moves[s, i]), _cheapest(own, gated), quantity(gated.min() / samples),
        _cheapest(own, row), quantity(row.min() / samples),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _cheapest(ranking: Ranking, energy_j: Floats) -> str:
    return name(ranking, int(energy_j.argmin())) if energy_j.any() else "no transition"


def _changes(chip: Priced, moves: Ints) -> str:
    cost = chip.own.cost
    without = cost.pulse_j - cost.resets * chip.own.reset_j
    found = crossovers(moves, without, cost.resets, chip.own.patterns)
    return "; ".join(f"{quantity(c.reset_j)}: {in_chip_states(c.above, USED)}" for c in found) or "none"


def _whole_array(chip: Priced) -> str:
    lines = ["| one field resets the whole array | " + " | ".join(f"{s}, a batch" for s in STAGES) + " |",
             "|---|" + "---|" * len(STAGES)]  # fmt: skip
    for ranking in (chip.own, chip.free):
        cells = [
            f"{_cheapest(ranking, energy)} {quantity(energy.min() / steps)}"
            for energy, steps in zip(ranking.array_j.T, ranking.steps, strict=True)
        ]
        lines.append(f"| a field {quantity(ranking.field_j)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def activation(chip: Priced, last: Epoch, *, gated: bool) -> Floats:
    """E_a of an image by layer, joule, under the chip's cheapest pattern (updates and gated reads together)."""
    pattern = chip.own.patterns[chip.own.order[0]]
    return activation_energy(last.reads, chip.found.read_energy_j(), pattern, gated=gated) / last.samples


def shape(a: Floats, b: Floats) -> tuple[float, float]:
    """Spearman's (no ties) and Pearson's correlation."""
    ranks = np.argsort(np.argsort([a, b], axis=1), axis=1)
    return float(np.ravel(np.corrcoef(ranks))[1]), float(np.ravel(np.corrcoef(a, b))[1])


def shapes(chips: Sequence[Priced], last: Epoch, layers: Sequence[LayerInfo]) -> list[tuple[str, str, str]]:
    """The claim that AOR and E_a have the same shape over the layers, (claim, numbers, verdict) a chip and way."""
    rows = []
    for chip in chips:
        for gated in (True, False):
            energy_j = activation(chip, last, gated=gated)
            ranked, linear = shape(last.aor(layers), energy_j)
            rows.append((
                f"E_a by layer has the shape of AOR ({chip.preset}, {_way(gated)})",
                f"rank correlation {ranked:.2f}, Pearson {linear:.2f}; first layer {quantity(energy_j[0])}, last "
                f"{quantity(energy_j[-1])} (paper: 54–89 and 3–5 µJ)",
                "yes" if ranked > 0.999 else "no: another order of layers",
            ))  # fmt: skip
    return rows


def activation_table(chips: Sequence[Priced], last: Epoch, layers: Sequence[LayerInfo]) -> str:
    """E_a of an image beside AOR, by layer, in the last epoch."""
    columns = [(chip, gated) for chip in chips for gated in (True, False)]
    heads = [f"E_a {c.preset} {name(c.own, c.own.order[0])}, {_way(gated)}" for c, gated in columns]
    energies, aor = [activation(c, last, gated=gated) for c, gated in columns], last.aor(layers)
    lines = ["| layer | MACs | AOR | " + " | ".join(heads) + " |", "|---|---|---|" + "---|" * len(heads)]
    for i, layer in enumerate(layers):
        cells = " | ".join(quantity(e[i]) for e in energies)
        lines.append(f"| {layer.name} | {layer.macs / 1e6:.3g} M | {aor[i]:.3f} | {cells} |")
    return "\n".join(lines)


def _way(gated: bool) -> str:
    return "gated" if gated else "row-activated"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
