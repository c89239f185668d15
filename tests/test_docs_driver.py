"""docs/write-a-driver.md: its pieces of code stand in the files that it names, its commands work."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
from pathlib import Path

import pytest

from quest_lab.cli import main

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


def test_its_commands_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
    short = ["--set", "max_cycles=15"]  # the user has more time
    for words in map(shlex.split, commands.splitlines()):
        with pytest.raises(SystemExit) as end:
            main(words[1:] + short * (words[1] == "characterize"))
        assert end.value.code == 0
    said = capsys.readouterr().out
    assert "yokogawa_gs200" in said
    assert "States of skmtj-die-8" in said
