"""`quest-lab train --on`: the chip that the weights live in while they are trained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quest_lab.cli.common import (
    accounts,
    chip_of,
    energy,
    load_restricted,
    percent,
    print_table,
)
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.errors import BadInput
from quest_lab.layers import FP32, Topology
from quest_lab.mapping import in_chip_states, level_count
from quest_lab.placement import Placement
from quest_lab.protocols.life import of_array_steps
from quest_lab.runfile import open_run
from quest_lab.runstart import on_disk
from quest_lab.schema import Status
from quest_lab.session import Session
from quest_lab.train.chip import KIND, ChipWeights, Past
from quest_lab.train.config import TrainConfig
from quest_lab.train.data import Dataset

RUN_FILE = "cells.h5"


@dataclass(frozen=True, slots=True)
class OnChip:
    """A bench, the characterisation of its chip, a file of simulated cells, how both are used; the run file's name."""

    device: str
    characterization: Path
    chip: Path | None = None
    open_loop: bool = False
    bench: BenchOptions = AS_USUAL
    name: str = RUN_FILE


@contextmanager
def on_chip(
    on: OnChip,
    config: TrainConfig,
    data: Dataset,
    out: Path,
    *,
    states: tuple[int, ...] | None,
    overwrite: bool,
    resume: bool,
) -> Iterator[tuple[Session, ChipWeights]]:
    """The chip opened for a training, its results in the run file at the end.

    Raises BadInput, before the chip is touched, if its cells do not suffice for the levels or the weights.
    """
    if config.bits == FP32:
        raise BadInput(f"bits={config.bits}: an FP32 network has no levels that {on.device} could hold")
    if (processes := int(os.environ.get("WORLD_SIZE", 1))) > 1:
        raise BadInput(f"{processes} processes: in the loop one process trains, for there is one chip")
    found, used = load_restricted(on.characterization, states, level_count(config.bits))
    layers = Topology.parse(config.network, data.image_shape, len(data.class_names)).layers()
    placement = Placement.on(found, sum(layer.size for layer in layers))
    past = Past.of(out / on.name, found) if resume else None
    settings = {
        "states": list(used),
        "bits": config.bits,
        "weights": placement.weights,
        "open_loop": on.open_loop,
    }
    with chip_of(
        on.characterization, on.device, chip=on.chip, out=out / on.name, kind=KIND, overwrite=overwrite,
        settings=settings, options=on.bench, resume=resume,
    ) as session:  # fmt: skip
        steps = config.epochs * (len(data.train_images) // config.batch_size)
        left = steps if past is None or not past.rows["step"] else steps - int(past.rows["step"][-1])
        of_array_steps(session, found, placement.cells, left).check(session)
        cells = ChipWeights(session, found, placement, config.bits, closed_loop=not on.open_loop, past=past)
        yield session, cells
        if session.run is not None:
            session.run.add_results(cells.results())
    print_loop(cells, in_chip_states(cells.pattern, used))


def refuse_cut_off(out: Path) -> None:
    """Raise BadInput if the training in `out` was cut off in the loop: it cannot go on without its cells."""
    run_file = on_disk(out / RUN_FILE)
    if not run_file.exists():
        return
    with open_run(run_file) as run:
        if run.status != Status.COMPLETE:
            raise BadInput(f"{run.path}: was trained in the loop: say --on and --characterization again")


def print_loop(cells: ChipWeights, pattern: str) -> None:
    """What the cells went through, every account for itself."""
    pulses, wrong, weights = cells.pulses, int(cells.wrong.sum()), cells.wrong.size
    writes = int(cells.total("writes_intended"))
    missed = int(cells.total("writes_wrong"))
    rows = [
        ("weights, one cell each", f"{weights}"),
        ("writes, the initial load included", f"{writes} ({writes / weights:.1f} a weight)"),
        ("writes that did not end in the target", f"{missed} ({percent(missed / writes)})"),
        ("pulses a cell, mean and most", f"{pulses.mean():.1f}, {pulses.max()}"),
        (
            "weights whose cell does not hold what was asked for at the end",
            f"{wrong} ({percent(wrong / weights)})",
        ),
        *accounts(cells.total),
        ("spent in vain by writes that were cut off", energy(cells.total("resume_energy_j"))),
    ]
    print_table(f"In the loop, levels on {pattern}", ("", "value"), rows)
