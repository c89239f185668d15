"""Where a run comes from: versions, commit, platform, command line. No user names, no machine's paths."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "h5py",
    "pandas",
    "xarray",
    "pymeasure",
    "pyvisa",
    "pyvisa-py",
    "torch",
)


def collect() -> dict[str, str]:
    """Texts to be kept in the file's provenance group."""
    return {
        "quest_lab_version": _version("quest-lab"),
        "git_commit": git_commit(),
        "python_version": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": json.dumps(_packages()),
        "argv": json.dumps([_without_folder(argument) for argument in sys.argv]),
    }


def utc_now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def settings_json(settings: Mapping[str, Any]) -> str:
    """`settings` as JSON; paths become text, NumPy numbers and arrays plain numbers and lists."""
    return json.dumps(dict(settings), default=_plain, ensure_ascii=False)


@functools.cache
def git_commit() -> str:
    """The commit this package runs from, "-dirty" if changed; empty unless it lies in its own checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@functools.cache
def _packages() -> dict[str, str]:
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _without_folder(argument: str) -> str:
    """An absolute path, alone or after `--option=`, as its last part."""
    option, equals, value = argument.rpartition("=")
    path: PurePath = PureWindowsPath(value) if os.name == "nt" else PurePath(value)
    return f"{option}{equals}{path.name}" if path.is_absolute() else argument


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    raise TypeError(f"settings: {value!r} ({type(value).__name__}) has no JSON form")
