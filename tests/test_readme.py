"""What the README shows works as pasted."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from quest_lab.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_bench_script_runs_as_pasted(tmp_path: Path) -> None:
    (script,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    ohms = [int(value) for value in re.findall(r"V: (\d+) ohm", done.stdout)]
    assert len(ohms) == 7
    assert ohms == sorted(ohms)
    assert (tmp_path / "first.h5").exists()


COMMANDS = [
    line.partition("#")[0].strip()
    for line in "\n".join(blocks("sh")).splitlines()
    if line.startswith("quest-lab")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shown_is_understood(line: str) -> None:
    _, name, *words = shlex.split(line)
    group: Any = typer.main.get_command(app)
    group.commands[name].make_context(name, words)


def test_the_whole_way_is_shown() -> None:
    assert [shlex.split(line)[1] for line in COMMANDS] == [
        "train", "characterize", "energy", "replay", "validate", "report", "show"
    ]  # fmt: skip


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_local_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
