"""A campaign leaves a page of what it measured in the folder QUEST_LAB_RESULTS (the Makefile's: docs/results)."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


@pytest.fixture
def publish() -> Callable[[str, str, str], None]:
    """publish(name, title, text) writes <folder>/<name>.md, with command, commit and machine above the text."""

    def write(name: str, title: str, text: str) -> None:
        folder = os.environ.get("QUEST_LAB_RESULTS")
        print(f"\n{title}\n{text}")
        if folder is None:
            return
        about = (
            f"`make campaign`, commit {_commit()}, Python {platform.python_version()}, {platform.machine()}, "
            f"{os.cpu_count()} cores. Written by `tests/campaign`; not edited by hand."
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.md").write_text(f"# {title}\n\n{about}\n\n{text}\n", encoding="utf-8")

    return write
