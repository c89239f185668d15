"""Run files: what goes in comes out, viewers open it, and nothing is overwritten or misread."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from quest_lab import open_run, schema
from quest_lab.errors import BadInput, Interrupted
from quest_lab.record import RunWriter
from quest_lab.run_tables import TABLES
from quest_lab.schema import Field, Result


def create(path: Path, kind: str = "replay", **more: Any) -> RunWriter:
    return RunWriter.create(path, kind=kind, title="a title", seed=7, settings={"a": 1}, **more)


def _kind(table: schema.Table) -> str:
    return table.kinds[0] if table.kinds else "replay"


def random_columns(table: schema.Table, rows: int) -> dict[str, np.ndarray]:
    """Values over each type's whole range, but for the fill."""
    random = np.random.default_rng(1)
    columns = {}
    for column in table.columns:
        dtype = np.dtype(column.dtype)
        if dtype.kind == "f":
            columns[column.name] = random.normal(size=rows).astype(dtype)
        elif dtype.kind == "S":
            columns[column.name] = random.choice(np.array(["µ Ω", "", "x" * 8]), rows)
        else:
            info = np.iinfo(dtype)
            columns[column.name] = random.integers(info.min + 1, info.max, rows, dtype)
    return columns


@pytest.mark.parametrize("rows", [1, 3, 16_385, 40_000])
@pytest.mark.parametrize("name", [t.name for t in TABLES.values() if t.spill is None])
def test_a_table_comes_back_as_it_went_in(tmp_path: Path, name: str, rows: int) -> None:
    given = random_columns(TABLES[name], rows)
    with create(tmp_path / "run.h5", kind=_kind(TABLES[name])) as run:
        run.append(name, **{column: values[:1] for column, values in given.items()})
        run.append(name, **{column: values[1:] for column, values in given.items()})
    with open_run(tmp_path / "run.h5") as read:
        table = read.table(name)
    for column in TABLES[name].columns:
        assert table[column.name].dtype == np.dtype(column.dtype)
        np.testing.assert_array_equal(table[column.name], given[column.name])


@pytest.mark.parametrize("text", ["", "short", "µΩ" * 500, "x" * 256, "a" + "€" * 171])
def test_texts_of_any_length_come_back_whole(tmp_path: Path, text: str) -> None:
    with create(tmp_path / "run.h5") as run:
        run.mark("before", "one")
        run.mark("phase", text)
        run.wire("pulser", "write", text)
    with open_run(tmp_path / "run.h5") as read:
        assert read.marks[["name", "text"]].to_numpy().tolist() == [["before", "one"], ["phase", text]]
        wire = read.table("visa").drop(columns="wall_time_s").to_numpy().tolist()
        assert wire == [["pulser", "write", text]]


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    with create(tmp_path / "run.h5") as run, pytest.raises(BadInput, match="65 bytes, the column holds 64"):
        run.mark("x" * 65)


def test_values_stand_for_all_rows_and_updates_reach_disk_and_memory(tmp_path: Path) -> None:
    with create(tmp_path / "run.h5") as run:
        run.append("reads", cell=np.arange(4), resistance_ohm=0.0)
        run.flush()
        run.append("reads", cell=np.arange(4, 8), resistance_ohm=0.0)
        run.update("reads", "resistance_ohm", 2, np.arange(2.0, 6.0))
    with open_run(tmp_path / "run.h5") as read:
        assert read.reads["resistance_ohm"].tolist() == [0, 0, 2, 3, 4, 5, 0, 0]


def test_head_and_provenance_come_back(tmp_path: Path) -> None:
    settings = {"path": Path("cells.bin"), "states": (0, 3, 6), "confidence": np.float64(0.5)}
    with RunWriter.create(tmp_path / "r.h5", kind="replay", title="t", seed=3, settings=settings):
        pass
    with open_run(tmp_path / "r.h5") as read:
        assert (read.kind, read.title, read.seed, read.status) == ("replay", "t", 3, "complete")
        assert read.settings == {"path": "cells.bin", "states": [0, 3, 6], "confidence": 0.5}
        assert json.loads(read.provenance["packages"])["numpy"] == np.__version__
        assert read.start_time <= read.end_time


def test_provenance_tells_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/home/me/bin/quest-lab", "--out=/home/me/a.h5", "/home/me/b", "-x=1"])
    with create(tmp_path / "r.h5"):
        pass
    with open_run(tmp_path / "r.h5") as read:
        assert json.loads(read.provenance["argv"]) == ["quest-lab", "--out=a.h5", "b", "-x=1"]
        assert "/" not in "".join(read.provenance.values()).replace("Linux/", "")


STAIRCASE = Result(
    "staircase",
    {
        "amplitude": Field(np.linspace(0.3, 0.8, 6), "V", "pulse amplitude", ("amplitude",)),
        "resistance": Field(np.arange(6.0), "ohm", "resistance", ("amplitude",), np.full(6, 0.1)),
        "energy": Field(np.arange(6.0) ** 2, "J", "energy", ("amplitude",)),
        "names": Field(np.array(["µ", "b"]), "", "names", ("name",)),
        "wrong": Field(np.array([[True, False]]), "", "wrong", ("one", "name")),
        "cells": Field(np.array(16), "", "cells", ()),
    },
    title="Staircase",
    signal="resistance",
    axes=("amplitude",),
    auxiliary=("energy",),
    attrs={"preset": "scaled", "cells": 16, "spread": 0.02, "closed": True},
)
COLLECTION = Result("numbers", {"best": Field(np.array(3.0), "J", "best energy", ())})


def with_results(path: Path, kind: str = "replay") -> Path:
    with create(path, kind=kind) as run:
        run.add_result(COLLECTION)
        run.add_result(STAIRCASE)
    return path


def test_a_result_comes_back_as_a_dataset(tmp_path: Path) -> None:
    with open_run(with_results(tmp_path / "run.h5")) as read:
        assert set(read.results) == {"staircase", "numbers"}
        dataset, numbers = read.result("staircase"), read.result("numbers")
    assert float(numbers["best"]) == 3.0
    assert list(dataset.coords) == ["amplitude"]
    for name, field in STAIRCASE.fields.items():
        assert dataset[name].dims == field.dims
        assert dataset[name].attrs == {"units": field.unit, "long_name": field.long_name}
        np.testing.assert_array_equal(dataset[name], field.values)
    np.testing.assert_array_equal(dataset["resistance_errors"], STAIRCASE.fields["resistance"].errors)
    assert {name: dataset.attrs[name] for name in STAIRCASE.attrs} == dict(STAIRCASE.attrs)
    assert dataset.attrs["title"] == "Staircase"


def test_a_result_added_before_a_kill_is_there(tmp_path: Path) -> None:
    run = create(tmp_path / "run.h5")
    run.add_result(STAIRCASE)
    shutil.copy(tmp_path / "run.h5.part", tmp_path / "copy.h5")
    with open_run(tmp_path / "copy.h5") as read:
        assert read.results == ["staircase"]
    run.close()


def test_the_same_result_twice_is_refused(tmp_path: Path) -> None:
    with create(tmp_path / "run.h5") as run:
        run.add_result(STAIRCASE)
        with pytest.raises(BadInput, match="'staircase': already in"):
            run.add_result(STAIRCASE)


def test_silx_plots_the_default_result(tmp_path: Path) -> None:
    nxdata = pytest.importorskip("silx.io.nxdata")
    with h5py.File(with_results(tmp_path / "run.h5")) as file:
        plot = nxdata.get_default(file)
        assert plot.is_valid
        assert (plot.signal_name, plot.axes_names) == ("resistance (ohm)", ["pulse amplitude (V)"])
        assert plot.errors is not None
        assert plot.auxiliary_signals_names == ["energy (J)"]
        assert plot.title == "Staircase"


def test_nexusformat_plots_the_default_result(tmp_path: Path) -> None:
    nexus = pytest.importorskip("nexusformat.nexus")
    root = nexus.nxload(with_results(tmp_path / "run.h5"))
    plot = root.plottable_data
    assert (plot.nxname, plot.nxsignal.nxname) == ("staircase", "resistance")
    assert [axis.nxname for axis in plot.nxaxes] == ["amplitude"]
    assert plot.nxerrors is not None


def test_the_result_named_default_wins(tmp_path: Path) -> None:
    other = Result("other", {"y": Field(np.arange(2.0), "V", "y", ("x",))}, signal="y")
    with create(tmp_path / "run.h5") as run:
        run.add_result(STAIRCASE)
        run.add_result(other, default=True)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["entry/results"].attrs["default"] == "other"


@pytest.mark.parametrize("kind", ["replay", "validation", "in-the-loop"])
def test_every_dataset_of_tables_and_results_has_unit_and_name(tmp_path: Path, kind: str) -> None:
    seen = []
    with h5py.File(with_results(tmp_path / "run.h5", kind)) as file:
        for name in (*[t.name for t in TABLES.values() if t.belongs_to(kind)], "results/staircase"):
            for column, item in file["entry"][name].items():
                if column != "title":
                    assert {"units", "long_name"} <= set(item.attrs), (name, column)
                    seen.append(column)
    assert len(seen) > 40


@pytest.mark.parametrize(
    ("error", "status"),
    [(Interrupted("x"), "aborted"), (KeyboardInterrupt(), "aborted"), (ValueError("x"), "failed")],
)
def test_a_run_left_by_an_error_says_so_and_is_readable(
    tmp_path: Path, error: BaseException, status: str
) -> None:
    run = create(tmp_path / "run.h5")
    run.append("reads", cell=1, resistance_ohm=2000.0)
    with pytest.raises(type(error)), run:
        raise error
    with open_run(tmp_path / "run.h5") as read:
        assert (read.status, len(read.reads)) == (status, 1)


def test_a_part_file_opens_under_either_name(tmp_path: Path) -> None:
    run = create(tmp_path / "run.h5")
    run.append("reads", cell=1, resistance_ohm=2000.0)
    run.flush()
    (tmp_path / "cut").mkdir()
    shutil.copy(tmp_path / "run.h5.part", tmp_path / "cut" / "run.h5.part")
    run.close()
    for name in ("run.h5", "run.h5.part"):
        with open_run(tmp_path / "cut" / name) as read:
            assert (read.status, len(read.reads)) == ("running", 1)


def test_rows_torn_by_a_kill_are_dropped(tmp_path: Path) -> None:
    with create(tmp_path / "run.h5") as run:
        run.append("reads", cell=np.arange(5), resistance_ohm=2000.0)
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["entry/status"][()] = b"running"
        file["entry/reads/cell"].resize((9,))
        file["entry/reads/resistance_ohm"].resize((7,))
        file["entry/reads/cell"][5] = 5
    with open_run(tmp_path / "run.h5") as read:
        assert read.reads["cell"].tolist() == [0, 1, 2, 3, 4]


def test_simulated_rows_are_on_disk_a_quarter_second_later(tmp_path: Path) -> None:
    now = [0.0]
    run = create(tmp_path / "run.h5", monotonic=lambda: now[0])
    run.append("reads", cell=1, resistance_ohm=1.0)
    assert run.acknowledged.get("reads", 0) == 0
    now[0] = 0.26
    run.append("reads", cell=2, resistance_ohm=1.0)
    assert run.acknowledged["reads"] == 2
    run.close()


def test_an_existing_file_is_refused_and_kept_until_the_new_one_is_done(tmp_path: Path) -> None:
    with_results(tmp_path / "run.h5")
    with pytest.raises(BadInput, match=r"run.h5: exists already"):
        create(tmp_path / "run.h5")
    run = create(tmp_path / "run.h5", overwrite=True)
    with open_run(tmp_path / "run.h5") as old:
        assert "staircase" in old.results
    run.close()
    with open_run(tmp_path / "run.h5") as new:
        assert new.results == []


def test_a_part_left_by_another_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.h5.part").write_bytes(b"left")
    with pytest.raises(BadInput, match=r"run.h5.part: exists already"):
        create(tmp_path / "run.h5")
    create(tmp_path / "run.h5", overwrite=True).close()


def test_a_run_that_another_process_writes_is_neither_opened_nor_overwritten(tmp_path: Path) -> None:
    run = create(tmp_path / "run.h5")
    code = """
import sys
from quest_lab.errors import BadInput
from quest_lab.record import RunWriter, open_run
create = lambda path: RunWriter.create(path, kind="x", title="", seed=0, settings={}, overwrite=True)
for act in (open_run, create):
    try:
        act(sys.argv[1])
    except BadInput as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "run.h5")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 2
    assert "a run is still writing it" in said[0]
    assert "another process is writing it" in said[1]
    run.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        create(tmp_path / "none" / "run.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "empty"), (b"time,volt\n" * 99, "no HDF5 file")],
)
def test_what_is_no_hdf5_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.h5").write_bytes(content)
    with pytest.raises(BadInput, match=rf"run.h5: .*{message}"):
        open_run(tmp_path / "run.h5")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path: Path, share: float) -> None:
    data = with_results(tmp_path / "run.h5").read_bytes()
    (tmp_path / "run.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadInput, match=r"run.h5: truncated"):
        open_run(tmp_path / "run.h5")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("entry/settings", "/entry/settings is missing"),
        ("entry/calls/clock_s", "/entry/calls/clock_s is missing"),
        ("entry", "/entry/title is missing"),
    ],
)
def test_a_file_without_a_part_of_it_is_named(tmp_path: Path, path: str, message: str) -> None:
    with h5py.File(with_results(tmp_path / "run.h5"), "r+") as file:
        del file[path]
    with pytest.raises(BadInput, match=message):
        open_run(tmp_path / "run.h5")


def test_foreign_and_future_files_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(BadInput, match="no run file: root attribute quest_lab_format is None"):
        open_run(tmp_path / "foreign.h5")
    with h5py.File(with_results(tmp_path / "run.h5"), "r+") as file:
        file.attrs["quest_lab_format_version"] = 99
    with pytest.raises(BadInput, match="quest_lab_format_version=99"):
        open_run(tmp_path / "run.h5")


def test_a_run_of_another_kind_than_wanted_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "run.h5").close()
    with pytest.raises(BadInput, match=r"run.h5: is a run of kind 'replay', not 'validation'"):
        open_run(tmp_path / "run.h5", "validation")


def test_a_table_or_result_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with create(tmp_path / "run.h5", kind="characterize") as run:
        with pytest.raises(BadInput, match=r"'replay_steps': a run of kind 'characterize' has only"):
            run.append("replay_steps", step=1)
        with pytest.raises(BadInput, match=r"want columns \['cell', 'resistance_ohm'\], got \['cell'\]"):
            run.append("reads", cell=1)
        with pytest.raises(BadInput, match="different lengths"):
            run.append("reads", cell=[1, 2], resistance_ohm=[1.0, 2.0, 3.0])
    with open_run(tmp_path / "run.h5") as read:
        with pytest.raises(BadInput, match="no table 'replay_steps'"):
            read.table("replay_steps")
        with pytest.raises(BadInput, match=r"no result 'x'; it has \[\]"):
            read.result("x")
