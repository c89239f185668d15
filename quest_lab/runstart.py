"""How a run file begins: its head, what it may overwrite, and how one that was cut off is opened again.

The file is `name.h5.part` until it is closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from quest_lab import nexus, provenance, schema
from quest_lab.diskspace import check_free, disk_full
from quest_lab.errors import BadInput
from quest_lab.journal import journal_of
from quest_lab.schema import Status


def part_of(path: Path) -> Path:
    """The name of a run file while it is being written."""
    return path.with_name(path.name + ".part")


def on_disk(path: Path) -> Path:
    """`path`, or its name while it is being written if only that is there."""
    part = part_of(path)
    return part if part.exists() and not path.exists() else path


@contextmanager
def started(
    path: Path,
    kind: str,
    title: str,
    seed: int,
    settings: Mapping[str, Any],
    origin: Mapping[str, str],
    *,
    overwrite: bool,
) -> Iterator[h5py.File]:
    """A new `path`.part with its head; closed again only if the block cannot write. Raises BadInput, DiskFull."""
    _refuse_existing(path, overwrite)
    check_free(path, 0)
    texts = {
        "title": title or kind,
        "kind": kind,
        "start_time": provenance.utc_now(),
        "settings": provenance.settings_json(settings),
    }
    file = None
    try:
        file = h5py.File(part_of(path), "x")
        _write_head(file, texts, seed, origin)
        yield file
    except OSError as error:
        if file is not None:
            with suppress(OSError, RuntimeError):
                file.close()
        raise disk_full(path, error) from error


def reopened(path: Path, kind: str, seed: int, settings: Mapping[str, Any]) -> h5py.File:
    """The run at `path` that was killed or interrupted, without the results of an end that was not reached.

    Raises BadInput if there is none, if it is complete, or if kind, seed or a setting differ.
    """
    part = part_of(path)
    if path.exists() and not part.exists():
        _check_same(path, kind, seed, settings)
        path.replace(part)
    _check_same(part, kind, seed, settings)
    check_free(path, 0)
    file = h5py.File(part, "r+")
    file["entry/status"][()] = Status.RUNNING.value.encode()
    for result in list(file["entry/results"]):
        del file["entry/results"][result]
    file["entry/results"].attrs["default"] = ""
    return file


def _write_head(file: h5py.File, texts: Mapping[str, str], seed: int, origin: Mapping[str, str]) -> None:
    file.attrs.update({"NX_class": "NXroot", "default": "entry", "creator": "quest-lab"})
    file.attrs.update({"quest_lab_format": schema.FORMAT, "quest_lab_format_version": schema.FORMAT_VERSION})
    entry = nexus.make_group(file, "entry", "NXentry", default="results")
    nexus.write_texts(entry, texts)
    entry["seed"] = seed
    for name, value in (("status", Status.RUNNING.value), ("end_time", "")):  # fixed width: changed in place
        entry.create_dataset(name, data=value.encode(), dtype=h5py.string_dtype("utf-8", 32))
    nexus.write_texts(
        nexus.make_group(entry, "provenance", "NXcollection"), {**provenance.collect(), **origin}
    )
    nexus.make_group(entry, "results", "NXcollection", default="")


def _check_same(path: Path, kind: str, seed: int, settings: Mapping[str, Any]) -> None:
    """Raise BadInput unless `path` is an unfinished run of this kind, seed and settings."""
    if not path.is_file():
        raise BadInput(f"{path}: nothing to resume: no such file")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("quest_lab_format_version") != schema.FORMAT_VERSION:
                raise BadInput(f"{path}: no run file of format version {schema.FORMAT_VERSION}")
            texts = nexus.read_texts(file["entry"])
            was = {
                "kind": texts["kind"],
                "seed": int(file["entry/seed"][()]),
                **json.loads(texts["settings"]),
            }
    except BlockingIOError as error:
        raise BadInput(f"{path}: another process is writing it") from error
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: cannot be resumed: {error}") from error
    if texts["status"] == Status.COMPLETE:
        raise BadInput(f"{path}: is complete: nothing to resume")
    now = {"kind": kind, "seed": seed, **json.loads(provenance.settings_json(settings))}
    for name in {**was, **now}:
        if was.get(name) != now.get(name):
            raise BadInput(f"{path}: was begun with {name}={was.get(name)!r}, not {now.get(name)!r}")


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise BadInput(f"{path}: is a folder; want the name of a file")
    part = part_of(path)
    if path.exists() and not overwrite:
        raise BadInput(f"{path}: exists already: give another name, or --overwrite")
    if not part.exists():
        return
    if not overwrite:
        raise BadInput(f"{part}: exists already, left by a run that was cut off: move it, or --overwrite")
    try:
        h5py.File(part, "r").close()
    except BlockingIOError as error:
        raise BadInput(f"{part}: another process is writing it") from error
    except OSError:
        pass  # not a readable file: nothing to lose
    part.unlink()
    journal_of(path).unlink(missing_ok=True)
