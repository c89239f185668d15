"""The bench file: TOML that describes one bench completely, from instruments' addresses to the standing field.

Every mistake is a BadInput that names file, key, value and what is wanted; all mistakes are told at once.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from quest_lab.benchmodel import Bench
from quest_lab.errors import BadInput


@dataclass(frozen=True, slots=True)
class BenchFile:
    """A bench file as read: where, its verbatim text, and what it says."""

    path: Path
    text: str
    bench: Bench

    @property
    def sha256(self) -> str:
        """Hash of the verbatim text, as sha256sum gives it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def provenance(self) -> dict[str, str]:
        """What a run keeps of it."""
        return {
            "bench_file": self.text,
            "bench_file_name": self.path.name,
            "bench_file_sha256": self.sha256,
        }


def load_bench(path: Path | str) -> BenchFile:
    """Read a bench file. Raises BadInput that names each wrong key with its value."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such bench file")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: no UTF-8 text: {error}") from None
    return parse_bench(text, path)


def parse_bench(text: str, path: Path) -> BenchFile:
    """The bench that `text` describes; `path` is for messages."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: no TOML: {error}") from None
    try:
        return BenchFile(path, text, Bench.model_validate(told))
    except ValidationError as error:
        problems = [_problem(problem) for problem in error.errors(include_url=False)]
        raise BadInput("\n".join(f"{path}: {p}" for p in dict.fromkeys(problems))) from None


def schema() -> dict[str, Any]:
    """JSON schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Bench.model_json_schema()}


def _problem(error: Any) -> str:
    """One line: key, value, what is wanted."""
    loc = [part for part in error["loc"] if not str(part).startswith(("function-", "literal["))]
    key, kind = ".".join(map(str, loc)), error["type"]
    if kind == "missing":
        return f"{key}: missing {'section' if _is_section(loc) else 'key'}"
    if kind == "extra_forbidden":
        return f"{key}={error['input']!r}: unknown key; known here: {', '.join(_keys(loc[:-1]))}"
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        return (
            f"{key}={text}" if text.startswith(repr(error["input"])) else ": ".join(filter(None, (key, text)))
        )
    return f"{key}={error['input']!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _section(loc: list[Any]) -> type[BaseModel] | None:
    """The model that a key of the file stands for."""
    model: type[BaseModel] = Bench
    for part in loc:
        known = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in known:
            return None
        annotation = known[part].annotation
        options = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type)]
        nested = [a for a in options if issubclass(a, BaseModel)]
        if not nested:
            return None
        model = nested[0]
    return model


def _is_section(loc: list[Any]) -> bool:
    return _section(loc) is not None


def _keys(loc: list[Any]) -> list[str]:
    model = _section(loc)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
