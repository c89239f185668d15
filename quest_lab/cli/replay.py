"""`quest-lab replay`: write a schedule to the cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.cli.common import (
    accounts,
    check_cells_kept,
    chip_of,
    energy,
    load_restricted,
    percent,
    print_resumes,
    print_table,
    quantity,
)
from quest_lab.cli.dryrun import rehearse
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.energy import count
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern, in_chip_states, level_count
from quest_lab.placement import Placement
from quest_lab.policy import Objective
from quest_lab.protocols.replay import replay_tiles
from quest_lab.protocols.replay_costs import COST_NAMES, COSTS
from quest_lab.protocols.replay_results import to_results
from quest_lab.protocols.replay_resume import replayed_so_far
from quest_lab.protocols.replayed import Replay
from quest_lab.protocols.resume import resumable
from quest_lab.ranking import rank
from quest_lab.schedule import STAGES, Schedule
from quest_lab.seeds import generator
from quest_lab.write_costs import interval


@dataclass(frozen=True)
class Replayed:
    """A replay and the pattern it used, in the chip's own states."""

    done: Replay
    pattern: str


def run(*, device: str, out: Path, options: BenchOptions, **given: Any) -> None:
    once = partial(execute, device=device, options=options, **given)
    if options.dry_run:
        rehearse(device, once)
        return
    print_replay(once(out=out))
    print_resumes(out)
    print(f"replay: {out}")


def execute(
    *,
    device: str,
    schedule: Path,
    characterization: Path,
    out: Path,
    states: tuple[int, ...] | None = None,
    chip: Path | None = None,
    steps: int | None = None,
    overwrite: bool = False,
    stage: str | None = None,
    sample: int | None = None,
    tiles: bool = False,
    objective: Objective = "energy",
    resume: bool = False,
    pattern: Pattern | None = None,
    options: BenchOptions = AS_USUAL,
) -> Replayed:
    """Write a schedule to the cells of the characterised chip, by default with the pattern that is cheapest for it.

    Raises BadInput, DeviceError, LimitExceeded; Interrupted leaves what `resume` goes on with.
    """
    if resume:
        check_cells_kept(device, chip, options)
    with Schedule.open(schedule) as source:
        if sample is not None and tiles:
            raise BadInput("--sample and --tiles: want one of them")
        first, steps = _steps_of(source, stage, steps)
        found, used = load_restricted(characterization, states, level_count(source.header.bits))
        if pattern is None:
            ranking = rank(found, count(source))
            pattern = ranking.patterns[ranking.order[0]]
        placements = _placements(found, source, sample, tiles=tiles)
        settings = {"schedule": schedule.name, "states": list(used), "pattern": list(pattern), "first": first,
                    "steps": steps, "sample": sample, "tiles": len(placements), "objective": objective}  # fmt: skip
        so_far: list[Replay] = []
        log = None
        if resume:
            so_far, log = replayed_so_far(
                out, source, found, pattern, placements, first=first, objective=objective
            )
        with chip_of(
            characterization, device, chip=chip, out=out, kind="replay", overwrite=overwrite, settings=settings,
            options=options, resume=resume, each_call=True,
        ) as opened:  # fmt: skip
            session = resumable(opened, log, hardware=options.hardware, found=found)
            done = replay_tiles(
                session, source, found, pattern, placements, first=first, steps=steps, resume=so_far,
                objective=objective,
            )  # fmt: skip
            if session.run is not None:
                session.run.add_results(to_results(done, source.layers))
    return Replayed(done, in_chip_states(pattern, used))


def _steps_of(source: Schedule, stage: str | None, steps: int | None) -> tuple[int, int]:
    """First step and number of steps: of a stage (QUEST's early, middle, final batches) or of all."""
    if stage is None:
        return 0, source.steps if steps is None else min(steps, source.steps)
    mine = np.flatnonzero(source.stages == STAGES.index(stage))
    if not mine.size:
        raise BadInput(f"{source.path}: has no step of stage {stage!r}")
    whole = int(mine[-1] - mine[0]) + 1
    return int(mine[0]), whole if steps is None else min(steps, whole)


def _placements(
    found: Characterization, source: Schedule, sample: int | None, *, tiles: bool
) -> list[Placement]:
    if sample is not None:
        rng = generator(source.header.seed, "replay sample")
        return [Placement.sample(found, source.layers, sample, rng)]
    return Placement.tiles(found, source.weights) if tiles else [Placement.on(found, source.weights)]


def print_replay(result: Replayed) -> None:
    """Divergence and the energy accounts, kept apart."""
    done = result.done
    writes = int(done.total("writes_intended"))
    wrong = int(done.total("writes_wrong"))
    rows = [
        ("training steps replayed", f"{len(done.steps['step']) - 1}"),
        ("weights", f"{done.read.size}"),
        ("writes", f"{writes}"),
        ("writes that did not end in the target", f"{wrong} ({percent(wrong / max(writes, 1))})"),
        (
            "weights that differ from the schedule at the end",
            f"{done.diverged} ({percent(done.diverged / done.read.size)})",
        ),
        ("write energy predicted", energy(float(np.nansum(done.steps["predicted_energy_j"][1:])))),
        *accounts(done.total),
        ("inference reads, gated", energy(done.total("inference_gated_energy_j"))),
        ("inference reads, row-activated", energy(done.total("inference_row_energy_j"))),
        ("initial load: write energy", energy(done.steps["spent_energy_j"][0])),
    ]
    print_table(f"Replay with pattern {result.pattern}", ("", "value"), rows)
    if done.expected:
        costs = [(COST_NAMES.get(name, name), quantity(mean, unit), f"{quantity(low, unit)} to {quantity(high, unit)}",
                  quantity(done.total(name), unit))
                 for name, unit in COSTS.items() for mean, low, high in [interval(done.expected[name])]]  # fmt: skip
        print_table(
            f"Cost of the writes, expected from the {done.model}",
            ("", "expected", "95 % interval", "observed"),
            costs,
        )
