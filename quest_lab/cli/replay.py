"""`quest-lab replay`: write a schedule to the cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.cli.common import chip_of, energy, load_restricted, percent, print_table
from quest_lab.energy import count
from quest_lab.mapping import Pattern, in_chip_states, level_count
from quest_lab.protocols.replay import Replay, replay, to_results
from quest_lab.ranking import rank
from quest_lab.schedule import Schedule


@dataclass(frozen=True)
class Replayed:
    """A replay and the pattern it used, in the chip's own states."""

    done: Replay
    pattern: str


def run(*, out: Path, **given: Any) -> None:
    result = execute(out=out, **given)
    print_replay(result)
    print(f"replay: {out}")


def execute(
    *,
    device: str,
    schedule: Path,
    characterization: Path,
    out: Path,
    states: tuple[int, ...] | None,
    chip: Path | None,
    steps: int | None,
    overwrite: bool,
    pattern: Pattern | None = None,
    hardware: bool = False,
    log_wire: bool | None = None,
) -> Replayed:
    with Schedule.open(schedule) as source:
        found, used = load_restricted(characterization, states, level_count(source.header.bits))
        if pattern is None:
            ranking = rank(found, count(source))
            pattern = ranking.patterns[ranking.order[0]]
        settings = {"schedule": schedule.name, "states": list(used), "pattern": list(pattern), "steps": steps}
        with chip_of(
            characterization,
            device,
            chip=chip,
            out=out,
            kind="replay",
            overwrite=overwrite,
            settings=settings,
            hardware=hardware,
            log_wire=log_wire,
        ) as session:
            done = replay(session, source, found, pattern, steps=steps)
            if session.run is not None:
                for i, result in enumerate(to_results(done)):
                    session.run.add_result(result, default=i == 0)
    return Replayed(done, in_chip_states(pattern, used))


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
        ("write energy spent", energy(done.total("spent_energy_j"))),
        ("verify reads", energy(done.total("verify_energy_j"))),
        ("reset fields (array)", energy(done.total("field_energy_j"))),
        ("inference reads, gated", energy(done.total("inference_gated_energy_j"))),
        ("inference reads, row-activated", energy(done.total("inference_row_energy_j"))),
        ("initial load: write energy", energy(done.steps["spent_energy_j"][0])),
    ]
    print_table(f"Replay with pattern {result.pattern}", ("", "value"), rows)
