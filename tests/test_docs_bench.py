"""docs/first-bench.md as a new user follows it: every command and the script run, and the messages are as printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from quest_lab.benchfile import parse_bench
from quest_lab.benchtopology import Topology
from quest_lab.cli import main
from quest_lab.crossbar import Crossbar
from quest_lab.errors import BadInput

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "first-bench.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.S)
SHORT = ["--set", "max_cycles=15"]  # the user has more time


def run(commands: str, environment: dict[str, str]) -> None:
    """As a shell does: a block of nothing but quest-lab in this process, which has started already."""
    lines = [shlex.split(line) for line in commands.splitlines()]
    if any(words[0] != "quest-lab" or {">", "&"} & set(words) for words in lines):
        subprocess.run(["bash", "-e", "-c", commands], env=environment, check=True, timeout=300)
        return
    for words in lines:
        with pytest.raises(SystemExit) as end:
            main(words[1:] + SHORT * (words[1] == "characterize"))
        assert end.value.code == 0


@pytest.mark.skipif(os.name == "nt", reason="the page's commands are for a POSIX shell")
def test_every_command_of_the_page_works_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    example = tmp_path / "examples" / "benches" / "slow-matrix.toml"
    text = example.read_text(encoding="utf-8")  # four cells instead of 16: the user has more time
    example.write_text(text.replace('["1!1:1!10", "2!1:2!6"]', '["1!1:1!4"]'), encoding="utf-8")
    commands = [text for kind, text in BLOCKS if kind == "sh"]
    assert "".join(commands).count("quest-lab ") == 11
    program = tmp_path / "bin" / "quest-lab"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -c 'from quest_lab.cli import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    for block in commands:
        run(block, environment)
    said = capfd.readouterr()
    assert said.out.count("all as the file says") == 3
    assert re.search(r"^equal: \d+ events of 4 cells$", said.out, flags=re.M)
    assert "pulser   > *IDN?" in said.err
    assert "QUEST_LAB_NO_HARDWARE is set" in said.err
    assert "bench file my-bench.toml, SHA-256" in said.out
    (script,) = (text for kind, text in BLOCKS if kind == "python")
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(ran.stdout.strip("[]\n").split()) == 4


def test_the_mistakes_of_the_page_are_told_in_these_words() -> None:
    (words,) = (text for kind, text in BLOCKS if not kind and "has no unit" in text)
    text = (ROOT / "examples" / "benches" / "slow-matrix.toml").read_text(encoding="utf-8")
    text = text.replace('amplitude = "1.0 V"', "amplitude = 1.0\nvolts = 3").replace('"20 ms"', '"20 V"')
    with pytest.raises(BadInput) as refused:
        parse_bench(text, Path("my-bench.toml"))
    assert sorted(str(refused.value).splitlines()) == sorted(words.splitlines())


def test_the_topology_of_the_page_is_one() -> None:
    (words,) = (text for kind, text in BLOCKS if kind == "toml")
    said = Topology.model_validate(tomllib.loads(words)["topology"])
    assert said.crossbar() == Crossbar(6, 6, line_ohm=2.0)


def test_every_section_is_in_the_pages_table() -> None:
    from quest_lab.benchmodel import Bench

    table = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert all(any(f"`{name}`" in row or f"[{name}" in row for row in table) for name in Bench.model_fields)
