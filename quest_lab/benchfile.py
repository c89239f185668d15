"""The bench file: TOML that describes one bench completely, from instruments' addresses to the standing field.

Every mistake is a BadInput that names file, key, value and what is wanted; all mistakes are told at once.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    def with_twin(self, *, cells: int | None = None, seed: int | None = None) -> BenchFile:
        """The same bench with its first `cells` cells and another `seed` of its twin, which is another chip.

        Raises BadInput for more cells than are wired.
        """
        bench, wired = self.bench, self.bench.cells
        if cells is not None and not 1 <= cells <= wired:
            raise BadInput(f"cells={cells}: {self.path.name} wires {wired} cells (wiring.cells)")
        if (cells or wired, bench.twin.seed if seed is None else seed) == (wired, bench.twin.seed):
            return self
        count, seed = cells or wired, bench.twin.seed if seed is None else seed
        fewer = count if isinstance(bench.wiring.cells, int) else _written(bench.wiring.places[:count])
        changed = {
            "wiring": bench.wiring.model_copy(update={"cells": fewer}),
            "twin": bench.twin.model_copy(update={"seed": seed}),
            "chip": bench.chip.model_copy(update={"id": f"{bench.chip.id}-{count}-seed{seed}"}),
        }
        return replace(self, bench=bench.model_copy(update=changed))

    def at_addresses(self, addresses: Mapping[str, str]) -> str:
        """The text with its instruments at other addresses, over pyvisa-py: all else word for word.

        Raises BadInput where an address is written in a way that is not found.
        """
        text = self.text
        for before, after in {**addresses, self.bench.visa_library: "@py"}.items():
            text = text.replace(f'"{before}"', f'"{after}"').replace(f"'{before}'", f"'{after}'")
        moved = parse_bench(text, self.path).bench.devices.named()
        for role, section in self.bench.devices.named().items():
            if moved[role].address != addresses.get(section.address, section.address):
                raise BadInput(
                    f'{self.path}: devices.{role}.address={section.address!r}: want it in plain "quotes"'
                )
        return text


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


def _written(places: list[tuple[int, int]]) -> tuple[str, ...]:
    return tuple(f"{first}!{second}" for first, second in places)


def schema() -> dict[str, Any]:
    """JSON schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Bench.model_json_schema()}


def _problem(error: Any) -> str:
    """One line: key, value, what is wanted."""
    parts, model = _walk(error["loc"])
    key, kind = ".".join(parts), error["type"]
    if kind == "missing":
        return f"{key}: missing {'section' if model else 'key'}"
    if kind == "union_tag_not_found":
        return f"{key}.driver: missing key"
    if kind == "union_tag_invalid":
        ctx = error["ctx"]
        return f"{key}.driver={ctx['tag']!r}: want {ctx['expected_tags']}"
    if kind == "extra_forbidden":
        known = ", ".join(_keys(_walk(error["loc"][:-1])[1]))
        return f"{key}={error['input']!r}: unknown key; known here: {known}"
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        return (
            f"{key}={text}" if text.startswith(repr(error["input"])) else ": ".join(filter(None, (key, text)))
        )
    return f"{key}={error['input']!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _walk(loc: tuple[Any, ...]) -> tuple[list[str], type[BaseModel] | None]:
    """The keys of the file that pydantic's place means, without its own words for unions and functions in it,
    and the section that they name, if it is one."""
    keys: list[str] = []
    model: type[BaseModel] | None = Bench
    choice: list[type[BaseModel]] = []
    for part in map(str, loc):
        if picked := [one for one in choice if part in _drivers(one)]:
            model, choice = picked[0], []
            continue
        known = {f.alias or name: f.annotation for name, f in model.model_fields.items()} if model else {}
        if model is None and not part.isdigit():
            continue  # which kind of union, which function
        keys.append(part)
        choice = _sections(known.get(part))
        model = choice[0] if choice else None
    return keys, model


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections among the kinds of value that a key may have."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _sections(inner)]


def _drivers(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("driver")
    return get_args(field.annotation) if field else ()


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
