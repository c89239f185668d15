"""`quest-lab energy`: a schedule's energy under every mapping pattern."""

from __future__ import annotations

from pathlib import Path

from quest_lab.characterization import Characterization
from quest_lab.cli.characterize import print_matrix
from quest_lab.cli.common import energy, load_restricted, print_table
from quest_lab.cli.rates import last_epoch_activity, print_comparison
from quest_lab.cmos import compare
from quest_lab.energy import count
from quest_lab.mapping import in_chip_states, level_count
from quest_lab.ranking import Ranking, rank, to_results
from quest_lab.record import RunWriter
from quest_lab.schedule import Schedule


def run(
    *,
    characterization: Path,
    schedule: Path,
    out: Path | None,
    overwrite: bool,
    states: tuple[int, ...] | None = None,
) -> None:
    found, used = load_restricted(characterization, states, _levels(schedule))
    ranking = execute(found=found, used=used, schedule=schedule, out=out, overwrite=overwrite)
    print_matrix(found, used)
    print_ranking(ranking, used, found)
    with Schedule.open(schedule) as source:
        rates = last_epoch_activity(source)
        print_comparison(compare([layer.macs for layer in source.layers], rates.aor, rates.rate_in))
    if out is not None:
        print(f"energies: {out}")


def _levels(schedule: Path) -> int:
    with Schedule.open(schedule) as source:
        return level_count(source.header.bits)


def execute(
    *, found: Characterization, used: tuple[int, ...], schedule: Path, out: Path | None, overwrite: bool
) -> Ranking:
    with Schedule.open(schedule) as source:
        ranking = rank(found, count(source))
        layers = [layer.name for layer in source.layers]
    if out is None:
        return ranking
    settings = {"chip_id": found.chip_id, "schedule": schedule.name, "states": list(used)}
    with RunWriter.create(
        out, kind="energy", title="Energy of every mapping pattern", seed=0, settings=settings,
        overwrite=overwrite,
    ) as writer:  # fmt: skip
        for i, result in enumerate(to_results(ranking, layers)):
            writer.add_result(result, default=i == 1)
    return ranking


def print_ranking(ranking: Ranking, used: tuple[int, ...], found: Characterization, most: int = 12) -> None:
    """Patterns from cheapest to dearest; where the optimum changes with the reset energy."""
    order = ranking.order
    if len(order) > most:
        order = [*order[: most // 2], *order[-most // 2 :]]
    batches, samples = ranking.steps[0], ranking.samples[0]
    rows = [
        (
            in_chip_states(ranking.patterns[p], used),
            energy(ranking.update_j[p, :, 0].sum() / batches), energy(ranking.update_j[p, :, 0].sum() / samples),
            energy(ranking.array_j[p, 0] / batches),
            energy(ranking.read_j[p] / samples), energy(ranking.row_j[p, :, 0].sum() / samples),
        )
        for p in order
    ]  # fmt: skip
    header = (
        "low..high level",
        "E_w / batch",
        "E_w / sample",
        "array E_w / batch",
        "E_a gated / sample",
        "E_a row / sample",
    )
    note = (
        f"Whole run. E_w: single-cell resets of {energy(ranking.reset_j)}; array E_w: resets of the whole array, "
        f"{energy(ranking.field_j)} each; this chip's scope: {ranking.scope}. A read: {found.read.amplitude_v:g} V "
        f"for {found.read.width_s:g} s. Order: update under the chip's scope plus gated activation."
    )
    print_table(f"{len(ranking.patterns)} mapping patterns, best first", header, rows, note=note)
    for change in ranking.changes:
        print(
            f"update energy: with a reset above {energy(change.reset_j)}, "
            f"{in_chip_states(change.above, used)} is cheaper than {in_chip_states(change.below, used)}"
        )
