"""The command line's frame: exit codes, messages, options, what --help loads."""

import errno
import io
import keyword
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import typer

from quest_lab.cli import app, main
from quest_lab.cli.frame import debug_first, exit_on_failure
from quest_lab.errors import BadInput, DeviceError, Interrupted, LimitExceeded
from quest_lab.train.config import TrainConfig

HEAVY = ("torch", "pandas", "matplotlib", "pymeasure", "pyvisa", "numba")
COMMANDS = (
    "demo",
    "characterize",
    "measure",
    "energy",
    "train",
    "import",
    "replay",
    "validate",
    "report",
    "show",
    "diff",
)


def ends_with(error: BaseException, *, debug: bool = False) -> tuple[object, str]:
    """Exit code and stderr of a command that fails with `error`."""
    err = io.StringIO()
    with pytest.raises(SystemExit) as end, exit_on_failure(debug=debug, stderr=err):
        raise error
    return end.value.code, err.getvalue()


def quest_lab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from quest_lab.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("run.h5: no such run"), 2),
        (LimitExceeded("width_s=0.002: above 1e-3 s"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "chip.h5"), 2),
        (DeviceError("Keithley 2400 does not answer"), 1),
        (ValueError("surprise"), 1),
        (MemoryError(), 1),
        (OSError(errno.ENOSPC, "No space left on device", "run.h5"), 1),
        (Interrupted("after step 7"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_failure_has_its_exit_code_and_one_line(error: BaseException, code: int) -> None:
    got, stderr = ends_with(error)
    assert got == code
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr


def test_the_message_is_the_errors_own() -> None:
    assert ends_with(BadInput("bits=5: above 4 bits"))[1] == "error: bits=5: above 4 bits\n"


def test_a_full_disk_names_the_file() -> None:
    stderr = ends_with(OSError(errno.ENOSPC, "No space left on device", "run.h5"))[1]
    assert stderr == "error: run.h5: the disk is full\n"


def test_training_without_torch_says_what_to_install() -> None:
    stderr = ends_with(ModuleNotFoundError("No module named 'torch'", name="torch"))[1]
    assert "quest-lab[train]" in stderr


def test_debug_shows_the_traceback_before_the_message() -> None:
    stderr = ends_with(BadInput("no such run"), debug=True)[1]
    assert stderr.startswith("Traceback")
    assert stderr.endswith("error: no such run\n")


def test_no_failure_passes_through_silently() -> None:
    err = io.StringIO()
    with exit_on_failure(debug=False, stderr=err):
        pass
    assert err.getvalue() == ""


def test_debug_may_stand_anywhere() -> None:
    assert debug_first(["show", "a.h5", "--debug"]) == ["--debug", "show", "a.h5"]
    assert debug_first(["show", "a.h5"]) == ["show", "a.h5"]


def test_ctrl_c_in_a_command_exits_130(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "def run(**_): raise KeyboardInterrupt\n"
        "sys.modules['quest_lab.cli.show'] = m = types.ModuleType('quest_lab.cli.show')\n"
        "m.run = run\n"
    )
    ended = quest_lab("show", "run.h5", PYTHONPATH=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["characterize", "bogus", "--out", "x.h5"],
        ["characterize", "scaled", "--out", "x.h5", "--cells", "0"],
        ["train", "--out", "x", "--time-steps", "0"],
        ["train", "--out", "x", "--lr", "nan"],
        ["train", "--out", "x", "--batch", "0"],
        ["replay", "lab", "s.h5", "--characterization", "c.h5", "--out", "x.h5", "--states", "0,0"],
        ["replay", "lab", "s.h5", "--characterization", "c.h5", "--out", "x.h5", "--states", "0;3"],
    ],
)
def test_usage_errors_are_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "Error: " in capsys.readouterr().err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from quest_lab import __version__

    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"quest-lab {__version__}\n")


def test_the_commands_are_those_of_the_documentation() -> None:
    group: Any = typer.main.get_command(app)
    assert tuple(group.commands) == (*COMMANDS, "sim", "bench")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_an_example_that_parses(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    example = " ".join(capsys.readouterr().out.partition("Example: quest-lab ")[2].split())
    called: list[dict[str, Any]] = []
    _replace_body(monkeypatch, command, called)
    with pytest.raises(SystemExit) as end:
        main(example.split())
    assert (end.value.code, len(called)) == (0, 1)


def _replace_body(monkeypatch: pytest.MonkeyPatch, command: str, called: list[dict[str, Any]]) -> None:
    """Let the command's body only note what it was called with: the words are tested, not the work."""
    module = command + "_" * keyword.iskeyword(command)
    body = types.ModuleType(f"quest_lab.cli.{module}")
    body.run = lambda **given: called.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, body.__name__, body)


def test_options_reach_the_body_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    _replace_body(monkeypatch, "replay", called)
    with pytest.raises(SystemExit):
        main(["replay", "lab", "s.h5", "--characterization=c.h5", "--out=r.h5", "--states=3,0,6"])
    assert called[0]["device"] == "lab"
    assert called[0]["states"] == (3, 0, 6)
    assert called[0]["out"] == Path("r.h5")


def test_training_options_reach_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[dict[str, Any]] = []
    _replace_body(monkeypatch, "train", called)
    with pytest.raises(SystemExit):
        main(["train", "--out=trained", "--bits=3", "--batch=16", "--lr=0.01", "--dataset=mnist", "--flip"])
    expected = TrainConfig(bits=3, batch_size=16, learning_rate=0.01, dataset="mnist", flip=True)
    assert called[0]["config"] == expected


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom quest_lab.cli import main\n"
        "for words in ([], *([c] for c in sys.argv[1:])):\n"
        "    try: main([*words, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0, words\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code, *COMMANDS], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]", ran.stderr


def test_a_console_without_the_character_gets_a_question_mark() -> None:
    shown = quest_lab("show", "\u03bc\u03a9.h5", "--nonsense-\u03a9", PYTHONIOENCODING="cp1252")
    assert shown.returncode == 2
    assert "--nonsense-?" in shown.stderr
