"""From the options of `quest-lab train` to a training configuration, and what beside it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quest_lab.train.checkpoint import Checkpoint
from quest_lab.train.config import TrainConfig, recipe
from quest_lab.train.configfile import read_settings


@dataclass(frozen=True, slots=True)
class Options:
    """What does not change the training: a characterisation for energies and its states in use, and practice."""

    energy: Path | None = None
    states: tuple[int, ...] | None = None
    resume: bool = False
    checkpoint_steps: int = 500
    tensorboard: bool = False


PLAIN = Options()


def settings(out: Path, config: Path | None, given: Mapping[str, Any], *, resume: bool) -> TrainConfig:
    """Options that were given, over those of the file `config`; the rest from the checkpoint in `out`, or from the
    data set's recipe.
    """
    said = ({} if config is None else read_settings(config)) | dict(given)
    if resume:
        return replace(Checkpoint.load(checkpoint_of(out)).config, **said)
    return replace(recipe(said.get("dataset", TrainConfig().dataset)), **said)


def checkpoint_of(out: Path) -> Path:
    return out / "checkpoint.h5"
