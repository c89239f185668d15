"""docs/write-a-driver.md: its pieces of code stand in the files that it names, its commands work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "write-a-driver.md").read_text(encoding="utf-8")
PIECES = re.findall(r"^ *```(?:python|text|toml) (\S+)\n(.*?)^ *```", PAGE, flags=re.S | re.M)


@pytest.mark.parametrize(("name", "piece"), PIECES, ids=[name for name, _ in PIECES])
def test_every_piece_of_code_stands_in_its_file(name: str, piece: str) -> None:
    text = textwrap.dedent((ROOT / name).read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line.strip() for line in piece.splitlines()]
    assert any(lines[i : i + len(wanted)] == wanted for i in range(len(lines)))


def test_every_file_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:quest_lab|instruments|sim|tests|examples)/[\w/.-]+\.\w+)`", PAGE))
    assert len(PIECES) == 9
    assert len(named) > 12
    assert all((ROOT / name).is_file() for name in named)


@pytest.mark.skipif(os.name == "nt", reason="the page's commands are for a POSIX shell")
def test_its_commands_work(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
    program = f"quest-lab() {{ '{sys.executable}' -c 'from quest_lab.cli import main; main()' \"$@\"; }}\n"
    done = subprocess.run(
        ["bash", "-e", "-c", program + commands],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "yokogawa_gs200" in done.stdout
    assert "States of skmtj-die-8" in done.stdout
