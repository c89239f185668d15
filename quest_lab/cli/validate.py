"""`quest-lab validate`: what accuracy do the weights have once they are in the cells?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quest_lab.characterization_file import load_characterization
from quest_lab.cli.common import AS_USUAL, BenchOptions, chip_of, default_states, percent, print_table
from quest_lab.cli.dryrun import rehearse
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern, level_count
from quest_lab.network import Network
from quest_lab.protocols.validate import Validation, validate
from quest_lab.train.data import load_dataset


def run(*, device: str, out: Path, options: BenchOptions, **given: Any) -> None:
    if options.dry_run:
        rehearse(
            device, lambda **temporary: execute(device=device, options=options, **{**given, **temporary})
        )
        return
    print_validation(execute(device=device, out=out, options=options, **given))
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
    options: BenchOptions = AS_USUAL,
) -> Validation:
    network = Network.load(weights)
    network.check_integer(str(weights))
    if dataset is not None and dataset != network.dataset:
        raise BadInput(f"{weights}: was trained on {network.dataset!r}, not {dataset!r}")
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
        options=options,
    ) as session:
        return validate(session, network, images.test_images, images.test_labels, full, used, pattern)


def print_validation(found: Validation) -> None:
    rows = [(name, percent(value)) for name, value in found.accuracy.items()]
    rows += [(f"read with the wrong pattern {p}", percent(value)) for p, value in found.misread.items()]
    note = f"Pattern {found.pattern}; closed loop: {found.wrong} of {found.weights} weights read back wrong"
    if found.truly_wrong is not None:
        note += f", {found.truly_wrong} by the simulator's true states"
    print_table("Accuracy on held-out images", ("", "accuracy"), rows, note=note)
