"""docs/measurements.md: its commands run in order, and what they print and draw is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from quest_lab.cli import main
from quest_lab.examples import example_benches
from quest_lab.protocols.measurements import MEASUREMENTS
from quest_lab.runfile import open_run

PAGE = (Path(__file__).parents[1] / "docs" / "measurements.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()]
PASSIVE = (
    '[topology]\nkind = "passive"\nbias_scheme = "grounded"\nwrite_scheme = "V/2"\nrows = 3\ncolumns = 3\n'
)


def call(line: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(shlex.split(line)[1:])
    return end.value.code


def passive_bench() -> str:
    """The arc-one example with 3 x 3 domain walls on lines."""
    text = example_benches()["arc-one"].read_text(encoding="utf-8")
    start, end = text.index("cells = ["), text.index("# ---- never exceeded")
    places = ", ".join(f'"{word}!1:{word}!3"' for word in range(1, 4))
    text = f"{text[:start]}cells = [{places}]\n\n{PASSIVE}\n{text[end:]}"
    states = 'states = ["1 Mohm", "930 kohm", "870 kohm", "816 kohm", "769 kohm"]'
    return text.replace("[chip]", f"[chip]\n{states}", 1)


def test_every_command_of_the_page_works_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("passive.toml").write_text(passive_bench(), encoding="utf-8")
    assert [call(line) for line in COMMANDS] == [0] * len(COMMANDS)
    assert {shlex.split(line)[2] for line in COMMANDS if " measure " in line} == set(MEASUREMENTS)
    said = capsys.readouterr().out
    assert "equal: 0 of 8 quantities changed beyond 3 sigma" in said
    page = Path("report/report.html").read_text(encoding="utf-8")
    for measurement in MEASUREMENTS.values():
        assert f"{measurement.title}, chip" in page
    assert len(list(Path("report").glob("figure-*.png"))) == len(MEASUREMENTS)
    assert call("quest-lab measure yield lab --cells 1024 --out lab.h5") == 0
    assert call("quest-lab diff yield.h5 lab.h5") == 1
    with open_run("yield.h5") as run:
        assert run.result("yield_map")["kind"].sizes == {"cell": 1024}


def test_every_kind_is_in_the_pages_table() -> None:
    assert re.findall(r"^\| `([a-z-]+)`", PAGE, flags=re.M) == list(MEASUREMENTS)


def test_a_wrong_setting_ends_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call(f"quest-lab measure yield lab --cells 4 --out {tmp_path / 'y.h5'} --set read=3") == 2
    assert "yield knows reads=4" in capsys.readouterr().err
