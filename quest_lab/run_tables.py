"""The tables of a run file, described once: what writer, reader and documentation agree on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

import numpy as np

from quest_lab.schema import Column, Kind, Op, Origin, Outcome, Table


def _codes(enum: type[IntEnum]) -> str:
    return ", ".join(f"{member.value} {member.name.lower()}" for member in enum)


_WALL = Column("wall_time_s", "f8", "s", "wall clock, seconds since 1970-01-01 UTC")
_PART = Column("part", "u2", "", "0, or 1, 2, ... where the text of the row before goes on")
_CALLS = Table(
    "calls",
    "One row per apply or read, in order. Its events are rows first .. first + count of applies or reads. "
    "A call that broke off is split: one row each for the cells that got it, may have got it, did not.",
    (
        Column("kind", "u1", "", _codes(Kind)),
        Column(
            "op", "u1", "", f"{_codes(Op)}; none for a read, field for one in the field of the call before"
        ),
        Column("outcome", "u1", "", f"{_codes(Outcome)}; an intent left open is ambiguous"),
        Column("origin", "u1", "", f"origin of the energies: {_codes(Origin)}"),
        Column("amplitude", "f8", "V or T", "volts at the cell, or tesla for a field"),
        Column("width_s", "f8", "s", "pulse width; a field's flat top"),
        Column("count", "u4", "", "number of cells"),
        Column("first", "u8", "", "row of the first event in applies or reads"),
        _WALL,
        Column("clock_s", "f8", "s", "the bench's clock: virtual time of a simulated world, else monotonic"),
    ),
    chunk=4096,
)
_CELL = Column("cell", "u4", "", "cell index")
_APPLIES = Table(
    "applies",
    "One row per cell and pulse.",
    (_CELL, Column("energy_j", "f4", "J", "energy spent in the cell; NaN where not known")),
    chunk=65536,
)
_READS = Table(
    "reads",
    "One row per cell and read.",
    (_CELL, Column("resistance_ohm", "f4", "ohm", "resistance at the cell; NaN where the read failed")),
    chunk=65536,
)
_MARKS = Table(
    "marks",
    "Notes along the run: phases, decisions, warnings.",
    (
        _WALL,
        _PART,
        Column("name", "S64", "", "kind of note"),
        Column("text", "S256", "", "the note", spill=True),
    ),
    chunk=256,
)
_VISA = Table(
    "visa",
    "Words on the instruments' wires, if the run was asked to keep them.",
    (
        _WALL,
        _PART,
        Column("instrument", "S64", "", "name of the instrument in the bench file"),
        Column("direction", "S8", "", "write (to the instrument) or read"),
        Column("message", "S256", "", "the words", spill=True),
    ),
    chunk=256,
)
_WRONG = Column("writes_wrong", "i8", "", "writes whose state read back differs from the intended one")
_PULSES = Column("pulses", "i8", "", "voltage pulses given")
_RESETS = Column(
    "resets", "i8", "", "resets given: of single cells, or of whole domains where the scope is array"
)
_SPENT_J = Column("spent_energy_j", "f8", "J", "write energy spent: pulses and resets of single cells")
_FIELD_J = Column("field_energy_j", "f8", "J", "energy of reset fields")
_REPLAY = Table(
    "replay_steps",
    "One row per step of a replayed schedule; the energy accounts are never mixed.",
    (
        Column("tile", "i4", "", "part of the weights that is on the cells; 0 where all are at once"),
        Column("step", "i8", "", "step of the schedule"),
        Column("epoch", "i4", "", "training epoch of the step"),
        Column("batch", "i4", "", "batch within the epoch"),
        Column("writes_intended", "i8", "", "weights the schedule changes in this step"),
        _WRONG,
        _PULSES,
        _RESETS,
        Column(
            "predicted_energy_j",
            "f8",
            "J",
            "write energy the policy predicts, without a domain's reset field",
        ),
        _SPENT_J,
        Column("verify_energy_j", "f8", "J", "energy of verify reads"),
        Column("time_s", "f8", "s", "pulses and verify reads of the step, one after the other"),
        Column("inference_gated_energy_j", "f8", "J", "inference reads, weight-0 cells not read"),
        Column("inference_row_energy_j", "f8", "J", "inference reads, the whole row biased"),
        _FIELD_J,
        Column("diverged", "i8", "", "weights whose last read state is not the schedule's, after the step"),
        Column("calls", "i8", "", "rows of `calls` after the step"),
    ),
    chunk=1024,
    kinds=("replay",),
)
_BASELINES = Table(
    "validation_baselines",
    "One row per cell and read voltage other than the characterised one.",
    (
        _CELL,
        Column("read_v", "f8", "V", "volts at the cell while it is read"),
        Column("baseline_ohm", "f8", "ohm", "mean of its reads at R0"),
        Column("top_ohm", "f8", "ohm", "mean of its reads at the top state"),
    ),
    chunk=16384,
    kinds=("validation",),
)
_VALIDATED = Table(
    "validation_cells",
    "One row per cell and read-back, kept before the next tile overwrites the cells.",
    (
        _CELL,
        Column("weight", "i8", "", "index of the weight in the network; -1: a cell of the reference column"),
        Column("read_back", "u1", "", "which read-back of the tile; the result `read_backs` lists them"),
        Column("intended", "i1", "", "state in use that was to be written"),
        Column("state", "i1", "", "state in use that the read decodes to"),
        Column("stuck", "u1", "", "1: the write gave up, and the cell never left the state it was in"),
        Column("resistance_ohm", "f8", "ohm", "resistance as read"),
    ),
    chunk=16384,
    kinds=("validation",),
)
_TILES = Table(
    "validation_tiles",
    "One row per tile whose read-backs are all kept; the energy accounts are never mixed.",
    (
        Column("programming", "u1", "", "which programming; the result `programmings` lists them"),
        Column("tile", "i4", "", "part of the weights that was on the cells"),
        Column("first", "u8", "", "row of its first cell in `validation_cells`"),
        Column("count", "u8", "", "rows in `validation_cells`, read-back after read-back"),
        Column(
            "truly_wrong", "i8", "", "cells not in their target by the simulator's true states; -1: not known"
        ),
        _PULSES,
        _RESETS,
        Column("write_energy_j", "f8", "J", "pulses and resets of single cells"),
        Column("verify_energy_j", "f8", "J", "verify reads and read-backs"),
        Column("field_energy_j", "f8", "J", "reset fields"),
    ),
    chunk=256,
    kinds=("validation",),
)
_LOOP = Table(
    "loop_steps",
    "One row per write of a training in the loop; the energy accounts are never mixed. A step that was done again "
    "after a resume has two rows; what resumes writes all weights again.",
    (
        Column("step", "i8", "", "optimizer steps done before the write; 0: the initial load"),
        Column("writes_intended", "i8", "", "weights that were asked to change, or all"),
        _WRONG,
        _PULSES,
        _RESETS,
        _SPENT_J,
        Column(
            "verify_energy_j", "f8", "J", "energy of verify reads, and once an epoch of a read of all cells"
        ),
        _FIELD_J,
        Column("resume_energy_j", "f8", "J", "spent before by a write that was cut off"),
        Column("diverged", "i8", "", "weights whose cell, as last read, does not hold what was asked for"),
        Column("calls", "i8", "", "rows of `calls` after the write"),
    ),
    chunk=1024,
    kinds=("in-the-loop",),
)
_TOLD_AGAIN = (
    "characterization",
    "yield",
    "endurance",
    "retention",
    "field-loop",
    "disturb",
    "width",
    "half-select",
    "replay",
)  # resumed by telling the protocol from the file what it asks
_RESUMES = Table(
    "resumes",
    "One row per resume of a run that was cut off: what was in doubt then.",
    (
        Column(
            "first", "i8", "", "rows of `calls` that held then; from here to `last`: reads of cells in doubt"
        ),
        Column("last", "i8", "", "first row of `calls` that the protocol asked for again"),
        Column("pulses_in_doubt", "i8", "", "pulses of a cell that may or may not have been given"),
        Column("reads_in_doubt", "i8", "", "reads of a cell that may have begun and gave no value"),
        Column("read_energy_j", "f8", "J", "energy spent to read the cells in doubt"),
        Column(
            "away_s", "f8", "s", "time that passed on the bench between the last call before and the resume"
        ),
        Column(
            "clock_ahead_s",
            "f8",
            "s",
            "to be added to `clock_s` from row `last` on: a simulated clock restarts",
        ),
    ),
    chunk=64,
    kinds=_TOLD_AGAIN,
    added=True,
)
_UNSOUND = Table(
    "unsound_reads",
    "One row per read of what no sound cell has; the call failed there.",
    (
        Column("read", "u8", "", "row in `reads`"),
        Column("resistance_ohm", "f8", "ohm", "0: too little to tell; infinite: too much"),
    ),
    chunk=1024,
    kinds=_TOLD_AGAIN,
    added=True,
)
_ALL = (
    _CALLS,
    _APPLIES,
    _READS,
    _MARKS,
    _VISA,
    _REPLAY,
    _BASELINES,
    _VALIDATED,
    _TILES,
    _LOOP,
    _RESUMES,
    _UNSOUND,
)
TABLES: Mapping[str, Table] = {table.name: table for table in _ALL}


def markdown() -> str:
    """The text of docs/run-file.md."""
    return "\n".join([_HEAD.strip(), *_table_sections(), _TAIL.strip(), ""])


def _table_sections() -> Iterator[str]:
    for table in TABLES.values():
        only = f" Only in runs of kind {', '.join(table.kinds)}." if table.kinds else ""
        yield f"\n### `/entry/{table.name}`\n\n{table.meaning}{only}\n"
        yield "| column | type | unit | meaning |\n|---|---|---|---|"
        for column in table.columns:
            yield f"| `{column.name}` | {np.dtype(column.dtype).name} | {column.unit} | {column.meaning} |"


_HEAD = """
# The run file

Written by `python -m quest_lab.run_tables` from the tables in `quest_lab/run_tables.py` that drive writer and reader.

Every run ends as one HDF5 file in NeXus shape: `import quest_lab; run = quest_lab.open_run("run.h5")`.
While it runs it is called `run.h5.part`. A killed run leaves that file; it opens like any other, with status
`running`, and holds everything that was acknowledged: after each flush (every call on hardware, at most
0.25 s apart on a simulated chip) and at each mark. Rows that were being written when the kill came are
dropped by the reader. `measure` and `characterize` keep what a simulated chip did since then in `run.h5.journal`, which
`--resume` puts into the file.

| path | what |
|---|---|
| `/` | `NX_class` NXroot, `default` entry, `quest_lab_format`, `quest_lab_format_version` |
| `/entry` | NXentry, `default` results; `title`, `kind`, `status` (running, complete, aborted, failed), \
`seed`, `settings` (JSON), `start_time`, `end_time` |
| `/entry/provenance` | versions, git commit, Python, platform, command line; on a bench file's bench \
`bench_file` (verbatim), `bench_file_name`, `bench_file_sha256` |
| `/entry/<table>` | the tables below, one dataset per column |
| `/entry/results` | NXcollection, `default` the result that viewers plot |
| `/entry/results/<name>` | NXdata (`signal`, `axes`, `auxiliary_signals`, `<name>_errors`) or NXcollection |

Every dataset of a table or a result has `@units` and `@long_name`. Text is UTF-8 of fixed width.

## Tables
"""

_TAIL = """

## Reading it without quest-lab

```python
import h5py

with h5py.File("run.h5") as file:
    reads = file["entry/reads"]
    cell, resistance_ohm = reads["cell"][:], reads["resistance_ohm"][:]
```

silx, nexusformat, h5web and other NeXus viewers open the file with the default result plotted. A file that is
being written is locked: look at it when it is done, or at a copy.
"""

if __name__ == "__main__":
    print(markdown(), end="")
