"""`quest-lab validate`: what accuracy do the weights have once they are in the cells?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from quest_lab.characterization_file import load_characterization
from quest_lab.cli.common import chip_of, chosen_states, percent, print_table
from quest_lab.cli.dryrun import rehearse
from quest_lab.cli.options import AS_USUAL, BenchOptions
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern, level_count
from quest_lab.network import Network
from quest_lab.protocols.scores import Interval
from quest_lab.protocols.validate import validate
from quest_lab.protocols.validate_costs import Costs
from quest_lab.protocols.validate_plan import Plan, SoFar, ValidateSettings, plan_of, validated_so_far
from quest_lab.protocols.validate_rows import Validation
from quest_lab.runfile import open_run
from quest_lab.train.data import load_dataset


def run(*, device: str, out: Path, options: BenchOptions, **given: Any) -> None:
    once = partial(execute, device=device, options=options, **given)
    if options.dry_run:
        rehearse(device, once)
        return
    print_validation(once(out=out))
    print(f"validation: {out}")


def execute(
    *,
    device: str,
    weights: Path,
    characterization: Path,
    out: Path,
    states: tuple[int, ...] | None = None,
    data: Path | None = None,
    dataset: str | None = None,
    chip: Path | None = None,
    overwrite: bool = False,
    pattern: Pattern | None = None,
    settings: ValidateSettings | None = None,
    resume: bool = False,
    options: BenchOptions = AS_USUAL,
) -> Validation:
    """Program weights into the characterised chip, read them back, compare accuracies on held-out images.

    Raises BadInput, DeviceError, LimitExceeded; Interrupted leaves what `resume` goes on with.
    """
    network = Network.load(weights)
    network.check_integer(str(weights))
    if dataset is not None and dataset != network.dataset:
        raise BadInput(f"{weights}: was trained on {network.dataset!r}, not {dataset!r}")
    images = load_dataset(network.dataset, data)
    full = load_characterization(characterization)
    levels = level_count(network.bits)
    used = chosen_states(full, states, levels)
    pattern, settings = pattern or tuple(range(levels)), settings or ValidateSettings()
    plan = plan_of(network, full, used, pattern, settings)
    said = {"weights": weights.name, "levels_sha256": hashlib.sha256(network.levels.tobytes()).hexdigest(),
            "states": list(used), "pattern": list(pattern), **asdict(settings)}  # fmt: skip
    so_far = _so_far(out, plan) if resume else None
    with chip_of(
        characterization, device, chip=chip, out=out, kind="validation", overwrite=overwrite, settings=said,
        options=options, resume=resume,
    ) as session:  # fmt: skip
        return validate(
            session, network, images.test_images, images.test_labels, full, used, pattern, settings,
            resume=so_far,
        )  # fmt: skip


def _so_far(out: Path, plan: Plan) -> SoFar:
    with open_run(out, "validation") as run:
        return validated_so_far(run, plan)


def print_validation(found: Validation) -> None:
    """Accuracies with their intervals, the encodings that were left out, and what the errors cost."""
    tiles = f", in {found.tiles} tiles" if found.tiles > 1 else ""
    note = f"Pattern {found.pattern}; closed loop: {found.wrong} of {found.weights} weights read back wrong{tiles}"
    if found.truly_wrong is not None:
        note += f", {found.truly_wrong} by the simulator's true states"
    note += (
        f". On {found.rows[0].score.images} images; in brackets 95 % intervals (Wilson; against the ideal network "
        "paired, image by image). The analogue accuracy of decoded cells is not defined."
    )
    header = ("", "accuracy", "", "against the ideal network", "", "wrong weights")
    print_table("Accuracy on held-out images", header, [*_rows(found)], note=note)
    for reason in found.skipped:
        print(f"not done: {reason}; --tiles does it part after part")
    for one in found.costs:
        _print_costs(one)


def _rows(found: Validation) -> Iterator[tuple[str, ...]]:
    for row in (*found.rows, *found.controls):
        name = row.name if row in found.rows else f"read with the wrong pattern {row.name}"
        wrong = "" if row.wrong is None else f"{row.wrong}"
        score = row.score
        change = (
            ("", "") if row is found.rows[0] else (_points(score.change), _in_points(score.change_interval))
        )
        low, high = score.interval
        yield name, percent(score.accuracy), f"({100 * low:.2f} to {100 * high:.2f})", *change, wrong


def _print_costs(found: Costs) -> None:
    rows = [
        (part.errors, f"{part.wrong}", _points(part.only.change), _in_points(part.only.change_interval),
         _points(part.without.change), _in_points(part.without.change_interval))
        for part in (*found.by_layer, *found.by_kind)
    ]  # fmt: skip
    everything = found.everything
    rows.append(("all errors", f"{sum(part.wrong for part in found.by_layer)}", _points(everything.change),
                 _in_points(everything.change_interval), "", ""))  # fmt: skip
    header = ("errors of", "wrong weights", "only these", "", "all but these", "")
    note = f"Points of accuracy against the ideal network, on {everything.images} images; 95 % intervals, paired."
    print_table(f"What the errors cost: {found.read_back}", header, rows, note=note)


def _points(change: float) -> str:
    return f"{100 * change:+.2f}"


def _in_points(interval: Interval) -> str:
    return f"({100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"
