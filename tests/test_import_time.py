"""`import quest_lab` and the command line's help stay light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "pandas", "xarray", "matplotlib", "pymeasure", "pyvisa", "serial", "scipy", "numba", "h5py"}


def loaded_by(code: str) -> set[str]:
    """Names of the top-level packages in sys.modules after `code`."""
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_by("import quest_lab; quest_lab.__version__; dir(quest_lab)")


def test_opening_files_loads_no_pandas_before_a_table_is_asked_for() -> None:
    loaded = loaded_by("import quest_lab; quest_lab.open_run")
    assert "h5py" in loaded
    assert not {"torch", "pandas", "xarray", "matplotlib", "pymeasure", "pyvisa"} & loaded


def test_a_session_loads_no_instrument_library() -> None:
    loaded = loaded_by("import quest_lab; quest_lab.open_bench")
    assert not {"torch", "pandas", "matplotlib", "pymeasure", "pyvisa"} & loaded


def test_an_unknown_name_is_an_attribute_error() -> None:
    import quest_lab

    with pytest.raises(AttributeError, match="open_ran"):
        quest_lab.open_ran  # type: ignore[attr-defined]  # noqa: B018
