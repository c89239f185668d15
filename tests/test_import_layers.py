"""Who may import whom: the contracts of pyproject.toml hold, and each of them catches its violation."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("instruments", "protocols", "sim")
VIOLATIONS = {  # contract: file, what it must not say
    "layers": ("quest_lab/errors.py", "import quest_lab.policy"),
    "a protocol may not know what it drives": ("protocols/__init__.py", "from quest_lab.sim import chip"),
    "torch only in train": ("quest_lab/energy.py", "def f() -> None:\n    import torch"),
    "matplotlib only in report": ("quest_lab/cli/show.py", "import matplotlib.pyplot"),
    "instrument libraries only in instruments and the virtual bench's fronts": (
        "sim/chip.py",
        "from pyvisa import errors",
    ),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1", "COLUMNS": "200"},
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package laid out as one tree, as in the wheel: it needs no links (git on Windows makes none)."""
    leave = shutil.ignore_patterns("__pycache__", *MAPPED)
    shutil.copytree(ROOT / "quest_lab", tmp_path / "quest_lab", ignore=leave)
    for name in MAPPED:
        inside = tmp_path / "quest_lab" / name
        shutil.copytree(ROOT / name, inside, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_layers_hold(copy: Path) -> None:
    ran = lint_imports(copy)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_contract_catches_its_violation(copy: Path) -> None:
    for file, line in VIOLATIONS.values():
        inside = file if file.startswith("quest_lab") else f"quest_lab/{file}"
        with (copy / inside).open("a", encoding="utf-8") as source:
            source.write(f"\n{line}\n")
    ran = lint_imports(copy)
    broken = {name for name in VIOLATIONS if f"{name} BROKEN" in ran.stdout}
    assert broken == set(VIOLATIONS), ran.stdout


def test_every_contract_has_a_violation_here() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == set(VIOLATIONS)
