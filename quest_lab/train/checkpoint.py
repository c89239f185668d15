"""Checkpoints: everything a training run needs to go on bit for bit, as plain arrays and JSON in HDF5.

Nothing in the file runs when it is read (no pickle). Layout (version 1):

    attributes   format = "quest-lab-checkpoint", version, config (JSON of TrainConfig), position (JSON: training
                 images, next epoch and batch, steps done), random (JSON: state of the numpy generator)
    model/, optimizer/, sums/, history/    arrays by name, see quest_lab.train.run and .history
    order        int64 (images,): the epoch's permutation of the training images
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quest_lab.errors import BadInput
from quest_lab.train.config import TrainConfig

FORMAT = "quest-lab-checkpoint"
VERSION = 1
_GROUPS = ("model", "optimizer", "sums", "history")
_WHERE = ("device", "threads")  # where it was computed: may differ, but then the last digits do too
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run between two steps: `batch` of `epoch` is next, `steps` are done."""

    config: TrainConfig
    images: int
    epoch: int
    batch: int
    steps: int
    random: Mapping[str, Any]
    order: NDArray[np.int64]
    model: Arrays
    optimizer: Arrays
    sums: Arrays
    history: Arrays

    def save(self, path: Path) -> None:
        """Write through `path`.part and rename: a kill leaves the checkpoint before or this one, whole."""
        part = path.with_name(path.name + ".part")
        with h5py.File(part, "w") as file:
            file.attrs.update(
                {"format": FORMAT, "version": VERSION, "config": json.dumps(asdict(self.config))}
            )
            position = {name: getattr(self, name) for name in ("images", "epoch", "batch", "steps")}
            file.attrs.update({"position": json.dumps(position), "random": _to_json(self.random)})
            file["order"] = self.order
            for group in _GROUPS:
                file.create_group(group)
                for name, values in getattr(self, group).items():
                    file[group][name] = values
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read `path`. Raises BadInput: missing, truncated, foreign, another version."""
        if not path.is_file():
            raise BadInput(f"{path}: no such file: there is no checkpoint to resume from")
        try:
            with h5py.File(path, "r") as file:
                return cls._read(path, file)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise BadInput(f"{path}: not a whole checkpoint ({error})") from error

    @classmethod
    def _read(cls, path: Path, file: Any) -> Checkpoint:
        if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
            found = f"format={file.attrs.get('format')!r}, version={file.attrs.get('version')}"
            raise BadInput(f"{path}: {found}, want {FORMAT!r}, version {VERSION}")
        groups: dict[str, Any] = {g: {name: item[()] for name, item in file[g].items()} for g in _GROUPS}
        return cls(
            config=TrainConfig(**json.loads(file.attrs["config"])),
            random=_from_json(file.attrs["random"]),
            order=file["order"][()],
            **json.loads(file.attrs["position"]),
            **groups,
        )

    def check(self, path: Path, config: TrainConfig, images: int) -> None:
        """Raise BadInput unless this is a checkpoint of `config` on that many training images."""
        mine, asked = asdict(self.config), asdict(config)
        for key in mine:
            if mine[key] != asked[key] and key not in _WHERE:
                raise BadInput(f"{path}: {key}={mine[key]!r} in the checkpoint, {asked[key]!r} asked for")
        if self.images != images:
            raise BadInput(f"{path}: of {self.images} training images, the data set has {images}")


def _to_json(state: Mapping[str, Any]) -> str:
    """A numpy generator's state; its integers are exact in JSON."""
    return json.dumps(state, default=lambda array: {"uint64": array.tolist()})


def _from_json(text: str) -> dict[str, Any]:
    def arrays(value: dict[str, Any]) -> Any:
        return np.array(value["uint64"], np.uint64) if value.keys() == {"uint64"} else value

    state: dict[str, Any] = json.loads(text, object_hook=arrays)
    return state
