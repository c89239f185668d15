"""`quest-lab validate`: what accuracy do the weights have once they are in the cells?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization
from quest_lab.cli.common import chip_of, default_states, percent, print_table
from quest_lab.cli.energy import in_use
from quest_lab.mapping import Pattern, all_patterns, level_count
from quest_lab.network import Network
from quest_lab.protocols.validate import Decoded, program_decoded, program_differential, wrong_map
from quest_lab.schema import Field, Result
from quest_lab.session import Session
from quest_lab.train.data import Dataset, load_dataset

MISREAD_PATTERNS = 6  # reading back with every other pattern is for 2 bits; 5039 of them tell nothing more


@dataclass(frozen=True)
class Validation:
    """Accuracies 0..1 by row name, in the order measured, and how many weights read back wrong."""

    accuracy: dict[str, float]
    wrong: int
    weights: int
    misread: dict[str, float]
    pattern: str


def run(*, out: Path, **given: Any) -> None:
    print_validation(execute(out=out, **given))
    print(f"validation: {out}")


def execute(
    *,
    device: str,
    weights: Path,
    characterization: Path,
    out: Path,
    states: tuple[int, ...] | None,
    data: Path | None,
    chip: Path | None,
    overwrite: bool,
    pattern: Pattern | None = None,
) -> Validation:
    network = Network.load(weights)
    images = load_dataset(network.dataset, data)
    full = load_characterization(characterization)
    levels = level_count(network.bits)
    used = default_states(full, levels) if states is None else tuple(sorted(states))
    pattern = pattern or tuple(range(levels))
    settings = {"weights": weights.name, "states": list(used), "pattern": list(pattern)}
    with chip_of(
        characterization,
        device,
        chip=chip,
        out=out,
        kind="validation",
        overwrite=overwrite,
        settings=settings,
    ) as session:
        return measure(session, network, images, full, used, pattern)


def measure(
    session: Session,
    network: Network,
    images: Dataset,
    full: Characterization,
    used: tuple[int, ...],
    pattern: Pattern,
) -> Validation:
    """Every row of the validation; results go into the session's run file."""
    found = full.restrict(used)

    def accuracy(of: Network) -> float:
        session.stop.check()
        return of.accuracy(images.test_images, images.test_labels)

    rows = {"ideal integer network": accuracy(network)}
    closed = program_decoded(session, network, found, pattern)
    rows["decoded read-back, closed loop"] = accuracy(network.with_levels(closed.levels))
    misread = _misread(network, closed, found.states, accuracy, used)
    opened = program_decoded(session, network, found, pattern, closed_loop=False)
    rows["decoded read-back, open loop"] = accuracy(network.with_levels(opened.levels))
    if session.device.capabilities.cells >= 2 * network.levels.size:
        raw, corrected = program_differential(session, network, full)
        rows["differential analogue, as read"] = accuracy(network.with_weights(raw))
        rows["differential analogue, baselines corrected"] = accuracy(network.with_weights(corrected))
    out = Validation(rows, int(closed.wrong.sum()), network.levels.size, misread, in_use(pattern, used))
    if session.run is not None:
        session.run.add_result(_accuracies(out), default=True)
        session.run.add_result(wrong_map(closed))
    return out


def _misread(
    network: Network,
    done: Decoded,
    states: int,
    accuracy: Callable[[Network], float],
    used: tuple[int, ...],
) -> dict[str, float]:
    """Accuracy if the read-back is decoded with each other pattern."""
    patterns = [p for p in all_patterns(len(done.pattern), states) if p != done.pattern]
    if len(patterns) >= MISREAD_PATTERNS:
        return {}
    return {in_use(p, used): accuracy(network.with_levels(done.misread(p))) for p in patterns}


def _accuracies(found: Validation) -> Result:
    names = [*found.accuracy, *(f"read with the wrong pattern {p}" for p in found.misread)]
    values = np.array([*found.accuracy.values(), *found.misread.values()])
    fields = {
        "accuracy": Field(values, "", "share of held-out images classified right", ("row",)),
        "row": Field(np.arange(values.size), "", "row", ("row",)),
        "row_name": Field(np.array(names), "", "what was evaluated", ("row",)),
    }
    about = {"wrong_weights": found.wrong, "weights": found.weights}
    return Result("accuracy", fields, title="Accuracies", signal="accuracy", axes=("row",), attrs=about)


def print_validation(found: Validation) -> None:
    rows = [(name, percent(value)) for name, value in found.accuracy.items()]
    rows += [(f"read with the wrong pattern {p}", percent(value)) for p, value in found.misread.items()]
    note = f"Pattern {found.pattern}; closed loop: {found.wrong} of {found.weights} weights read back wrong."
    print_table("Accuracy on held-out images", ("", "accuracy"), rows, note=note)
