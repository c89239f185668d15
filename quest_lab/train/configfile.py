"""A training run's settings in a TOML file: the fields of TrainConfig by their names, each optional."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from quest_lab.errors import BadInput
from quest_lab.train.config import TrainConfig

_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


def read_settings(path: Path) -> dict[str, Any]:
    """Settings of the file by name. Raises BadInput: missing, no TOML, an unknown key, a value that cannot be."""
    try:
        told = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"{path}: no TOML: {error}") from None
    kinds = {field.name: str(field.type) for field in fields(TrainConfig)}
    for name, value in told.items():
        if name not in kinds:
            raise BadInput(f"{path}: {name}={value!r}: unknown key; known here: {', '.join(kinds)}")
        if type(value) not in _KINDS[kinds[name]]:
            raise BadInput(f"{path}: {name}={value!r}: want {kinds[name]}")
    try:
        TrainConfig(**told)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    return told
