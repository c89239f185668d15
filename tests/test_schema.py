"""The description of the run file agrees with itself and with the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quest_lab import run_tables, schema
from quest_lab.errors import BadInput
from quest_lab.run_tables import TABLES
from quest_lab.schema import Field, Result


def test_the_documentation_is_the_description() -> None:
    page = Path(__file__).parents[1] / "docs" / "run-file.md"
    assert page.read_text(encoding="utf-8") == run_tables.markdown(), (
        "run: python -m quest_lab.run_tables > docs/run-file.md"
    )


def test_an_event_is_eight_bytes() -> None:
    assert TABLES["applies"].dtype.itemsize == TABLES["reads"].dtype.itemsize == 8


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_quantities_have_units_and_all_columns_a_meaning(table: schema.Table) -> None:
    suffixes = {"_s": "s", "_j": "J", "_ohm": "ohm", "_v": "V"}
    for column in table.columns:
        assert column.meaning
        for suffix, unit in suffixes.items():
            if column.name.endswith(suffix):
                assert column.unit == unit, column.name


def test_only_a_replay_has_steps() -> None:
    assert TABLES["replay_steps"].belongs_to("replay")
    assert not TABLES["replay_steps"].belongs_to("characterize")


def field(size: int, dim: str = "x") -> Field:
    return Field(np.zeros(size), "V", "thing", (dim,))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Result("a b", {}), "'a b' is no plain name"),
        (lambda: Result("r", {"y": field(3)}, signal="z"), "'z' is none of its fields"),
        (lambda: Result("r", {"y": field(3)}, axes=("y",)), "need a signal"),
        (lambda: Result("r", {"y": field(3), "z": field(4)}), "'z' has 4 along 'x', not 3"),
        (lambda: Result("r", {"y": field(3), "z": field(4, "t")}, signal="y", axes=("z",)), "axis 'z'"),
        (lambda: Result("r", {"y": field(3)}, signal="y", axes=("y", ".")), "2 axes for a signal"),
        (lambda: Result("r", {}, attrs={"signal": "y"}), "'signal' is the file's own"),
        (lambda: Field(np.zeros((2, 2)), "V", "thing", ("x",)), "2 dimensions"),
        (lambda: Field(np.zeros(2), "V", "thing", ("x",), np.zeros(3)), "errors"),
        (lambda: Field(np.zeros(2), "V", "thing", ("x y",)), "'x y' is no plain name"),
    ],
)
def test_a_result_that_does_not_fit_together_is_refused(build: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build()  # type: ignore[operator]
