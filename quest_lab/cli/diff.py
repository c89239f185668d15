"""`quest-lab diff`: do two runs tell the same story, and what changed between two characterisations or measurements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from quest_lab.changes import Change, changes, changes_of_findings
from quest_lab.characterization import Characterization
from quest_lab.characterization_file import NAME, load_characterization
from quest_lab.cli.common import print_table, quantity
from quest_lab.diff import (
    AGREEMENT_SIGMAS,
    TABLES,
    Decoder,
    Parity,
    check_comparable,
    compare,
    first_table_difference,
)
from quest_lab.errors import BadInput
from quest_lab.findings import NAME as FINDINGS
from quest_lab.findings import load_findings
from quest_lab.runfile import Run, open_run

DIFFERENT = 1
_LONGEST = 48  # letters of a setting on the console
_SHOWN = 3.0  # sigma from which on a change is pointed out


def run(*, paths: tuple[Path, Path], characterization: Path | None, events: bool) -> None:
    """Prints; raises SystemExit(1) if the runs are different."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(open_run(path)) for path in paths)
        runs = first, second
        check_comparable(runs)
        if FINDINGS in first.results and FINDINGS in second.results and not events:
            equal, verdict = _findings(runs)
        else:
            equal, verdict = _tables(runs) if events else _parity(runs, characterization)
        print_origins(runs)
        if NAME in first.results and NAME in second.results:
            print_changes(load_characterization(first.path), load_characterization(second.path))
    print(verdict)
    if not equal:
        raise SystemExit(DIFFERENT)


def _findings(runs: tuple[Run, Run]) -> tuple[bool, str]:
    """Two measurements are equal where no finding has changed beyond _SHOWN standard errors."""
    a, b = (load_findings(run.path) for run in runs)
    found = changes_of_findings(a, b)
    rows = [(c.what, *(quantity(v, c.unit) for v in c.values), _relative(c), _sigmas(c)) for c in found]
    note = (
        "sigma: standard error of the difference, from the 95 % intervals. Not compared, as only one run has it: "
        + (", ".join(sorted({f.what for f in a} ^ {f.what for f in b})) or "nothing")
        + "."
    )
    print_table(f"{runs[0].kind}: two runs", ("", *_names(runs), "change", "in sigma"), rows, note=note)
    changed = sum(abs(c.sigmas) > _SHOWN for c in found)
    word = "different" if changed else "equal"
    return not changed, f"{word}: {changed} of {len(found)} quantities changed beyond {_SHOWN:g} sigma"


def _parity(runs: tuple[Run, Run], given: Path | None) -> tuple[bool, str]:
    cells = check_comparable(runs)
    a, b = (Decoder.of(_characterization(run, given), cells) for run in runs)
    found = compare(runs, (a, b))
    print_parity(runs, found)
    return found.equal, _verdict(found)


def _tables(runs: tuple[Run, Run]) -> tuple[bool, str]:
    found = first_table_difference(runs)
    if found is None:
        rows = ", ".join(f"{runs[0].rows(table)} {table}" for table in TABLES)
        return True, f"equal to the last bit but for wall times: {rows}"
    where = f"{found.table}, row {found.row}, {found.column}"
    return False, f"different: {where}: {found.values[0]} and {found.values[1]}"


def _characterization(run: Run, given: Path | None) -> Characterization:
    """What decodes this run's reads: the file given, its own result, or the file that its settings name."""
    if given is None and NAME in run.results:
        return load_characterization(run.path)
    if given is None and "characterization" not in run.settings:
        raise BadInput(f"{run.path}: holds no characterisation and names none: give --characterization")
    path = given or run.path.parent / str(run.settings["characterization"])
    if not path.is_file():
        raise BadInput(f"{run.path}: its characterisation {path} is not there: give --characterization")
    found = load_characterization(path)
    states = run.settings.get("states")
    return found.restrict(tuple(states)) if states else found


def print_parity(runs: tuple[Run, Run], found: Parity) -> None:
    """Counts of what was compared and what differs."""
    rows: list[tuple[object, ...]] = [
        ("cells", found.cells, found.cells),
        ("status", runs[0].status, runs[1].status),
        ("events (pulses and reads of one cell)", *found.events),
        ("calls", runs[0].rows("calls"), runs[1].rows("calls")),
        ("cells with another sequence of operations and states", found.other_sequence, ""),
        (f"reads more than {AGREEMENT_SIGMAS:g} sigma apart", f"{found.beyond} of {found.reads}", ""),
        ("farthest two reads", f"{found.farthest_sigmas:.2f} sigma", ""),
    ]
    note = (
        f"sigma: {100 * found.sigma:.3g} % of the resistance, the read noise of the characterisations (the larger). "
        "Not compared: how events are grouped into calls, times."
    )
    print_table(f"{runs[0].kind}: two runs", ("", *_names(runs)), rows, note=note)


def _verdict(found: Parity) -> str:
    if found.first is None:
        return f"equal: {found.events[0]} events of {found.cells} cells"
    one, calls = found.first, ["-" if call is None else str(call) for call in found.first.calls]
    return (
        f"different: {found.different_cells} of {found.cells} cells; first cell {one.cell}, its event {one.event}\n"
        f"  run 1, call {calls[0]}: {one.what[0]}\n  run 2, call {calls[1]}: {one.what[1]}"
    )


def print_origins(runs: tuple[Run, Run]) -> None:
    """Settings and provenance that differ."""
    rows = [row for part in ("settings", "provenance") for row in _differing(part, runs)]
    if runs[0].seed != runs[1].seed:
        rows.insert(0, ("seed", str(runs[0].seed), str(runs[1].seed)))
    if rows:
        print_table("Settings and provenance that differ", ("", *_names(runs)), rows)


def _differing(part: str, runs: tuple[Run, Run]) -> Iterator[tuple[str, str, str]]:
    a, b = (getattr(run, part) for run in runs)
    for key in sorted((a.keys() | b.keys()) - {"bench_file"}):  # its SHA-256 says whether it differs
        if a.get(key) != b.get(key):
            yield f"{part}: {key}", _short(a.get(key)), _short(b.get(key))


def _short(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _names(runs: tuple[Run, Run]) -> tuple[str, str]:
    a, b = (run.path.name for run in runs)
    return (a, b) if a != b else (f"1: {a}", f"2: {b}")


def print_changes(a: Characterization, b: Characterization) -> None:
    """Both characterisations, quantity by quantity."""
    found = changes(a, b)
    if not any(c.sigmas for c in found):  # NaN, a change of unknown error, is a change
        print(f"the characterisations found the same: {len(found)} quantities")
        return
    rows = [(c.what, *(quantity(v, c.unit) for v in c.values), _relative(c), _sigmas(c)) for c in found]
    note = (
        "sigma: standard error of the difference, as if the two had measured different cells (of one chip's cells the "
        f"true one is smaller). Changes beyond {_SHOWN:g} sigma: {sum(abs(c.sigmas) > _SHOWN for c in found)} of "
        f"{len(found)}. Landings: each set operation from the state where they differ most."
    )
    print_table(
        "What the characterisations found", ("", "run 1", "run 2", "change", "in sigma"), rows, note=note
    )


def _relative(change: Change) -> str:
    before, after = change.values
    return f"{100 * (after - before) / before:+.2f} %" if before else f"{after - before:+.3g}"


def _sigmas(change: Change) -> str:
    return "not known" if change.sigmas != change.sigmas else f"{change.sigmas:+.1f}"
