"""From the options of `quest-lab train` to a training configuration, and what beside it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quest_lab.cli.intheloop import OnChip
from quest_lab.cli.options import BenchOptions
from quest_lab.errors import BadInput
from quest_lab.train.checkpoint import Checkpoint
from quest_lab.train.config import TrainConfig, recipe
from quest_lab.train.configfile import read_settings


@dataclass(frozen=True, slots=True)
class Options:
    """What is no setting of the network: chips for energies and in the loop, states in use, and practice."""

    energy: Path | None = None
    states: tuple[int, ...] | None = None
    resume: bool = False
    checkpoint_steps: int = 500
    tensorboard: bool = False
    on: OnChip | None = None


PLAIN = Options()


def settings(out: Path, config: Path | None, given: Mapping[str, Any], *, resume: bool) -> TrainConfig:
    """Options that were given, over those of the file `config`; the rest from the checkpoint in `out`, or from the
    data set's recipe.
    """
    said = ({} if config is None else read_settings(config)) | dict(given)
    if resume:
        return replace(Checkpoint.load(checkpoint_of(out)).config, **said)
    return replace(recipe(said.get("dataset", TrainConfig().dataset)), **said)


def chip_in_loop(
    device: str | None,
    characterization: Path | None,
    *,
    chip: Path | None,
    open_loop: bool,
    bench: BenchOptions,
) -> OnChip | None:
    """The chip of --on. Raises BadInput: no characterisation of it, or options that mean nothing without it."""
    if device is not None and characterization is not None:
        return OnChip(device, characterization, chip, open_loop, bench)
    if device is not None:
        raise BadInput(f"--on {device}: needs --characterization RUN.h5, of that chip")
    meant = {
        "--characterization": characterization, "--chip": chip, "--open-loop": open_loop, "--hardware": bench.hardware,
        "--log-wire": bench.log_wire, "--recover": bench.recover, "--dry-run": bench.dry_run,
    }  # fmt: skip
    for name, value in meant.items():
        if value:
            raise BadInput(f"{name}: needs a chip to train on (--on DEVICE)")
    return None


def checkpoint_of(out: Path) -> Path:
    return out / "checkpoint.h5"
