"""Two runs compared: what counts as the same story, what does not, and what is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from quest_lab import diff, events
from quest_lab.changes import changes
from quest_lab.characterization import Characterization
from quest_lab.device import ReadPulse
from quest_lab.diff import Decoder, Parity, compare, first_table_difference
from quest_lab.errors import BadInput
from quest_lab.estimates import Estimate
from quest_lab.record import RunWriter, open_run, part_of
from quest_lab.schema import Kind, Op, Origin, Outcome
from quest_lab.sim.skmtj import SkMTJ

CELLS, NOISE = 3, 0.01
READ = ReadPulse(0.1, 1e-6)
LEVELS_OHM = np.array([1000.0, 2000.0])
DECODER = Decoder(np.full(CELLS, 1000.0), np.full(CELLS, 2000.0), np.array([0.5]), NOISE)
Step = tuple[float, Sequence[int], Sequence[int]]  # volts (0: a read), cells, states that a read finds

PLAIN: list[Step] = [
    (0, [0, 1, 2], [0, 0, 0]),
    (0.6, [0, 1, 2], []),
    (0, [0, 1, 2], [1, 1, 0]),
    (0.7, [2], []),
    (0, [2], [1]),
]
ONE_BY_ONE: list[Step] = [(v, [c], [s[i]] if s else []) for v, cs, s in PLAIN for i, c in enumerate(cs)]


def write(path: Path, steps: list[Step], factor: float = 1.0, outcome: Outcome = Outcome.DONE) -> Path:
    """A run of these steps; every resistance read is off by `factor`, the last call ends as `outcome`."""
    with RunWriter.create(path, kind="session", title="", seed=0, settings={"cells": CELLS}) as run:
        for i, (volts, cells, states) in enumerate(steps):
            values = np.array(LEVELS_OHM[list(states)] * factor) if states else np.full(len(cells), 1e-12)
            how = outcome if i == len(steps) - 1 else Outcome.DONE
            kind, op = (Kind.APPLY, Op.VOLTAGE) if volts else (Kind.READ, Op.NONE)
            run.call(kind, op, how, Origin.NONE, volts or 0.1, 1e-6, float(i), np.array(cells), values)
    return path


@pytest.fixture
def compared(tmp_path: Path) -> Callable[..., Parity]:
    """compared(steps, ...) against PLAIN."""

    def run(steps: list[Step], **more: object) -> Parity:
        folder = Path(mkdtemp(dir=tmp_path))
        paths = write(folder / "a.h5", PLAIN), write(folder / "b.h5", steps, **more)  # type: ignore[arg-type]
        with open_run(paths[0]) as a, open_run(paths[1]) as b:
            return compare((a, b), (DECODER, DECODER))

    return run


@pytest.mark.parametrize("chunk", [1 << 20, 2])
def test_grouping_into_calls_is_no_difference(
    compared: Callable[..., Parity], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "CHUNK", chunk)
    monkeypatch.setattr(diff, "CHUNK", chunk)
    found = compared(ONE_BY_ONE)
    assert found.equal
    assert found.events == (11, 11)
    assert found.reads == 7


@pytest.mark.parametrize("chunk", [1 << 20, 2])
def test_one_flipped_state_is_found_and_named(
    compared: Callable[..., Parity], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "CHUNK", chunk)
    monkeypatch.setattr(diff, "CHUNK", chunk)
    found = compared([*PLAIN[:2], (0, [0, 1, 2], [1, 0, 0]), *PLAIN[3:]])
    assert (found.different_cells, found.other_sequence, found.beyond) == (1, 1, 1)
    assert found.first is not None
    assert (found.first.cell, found.first.event, found.first.calls) == (1, 2, (2, 2))
    assert found.first.what == (
        "read at 0.1 V for 1e-06 s: 2000 ohm, R1",
        "read at 0.1 V for 1e-06 s: 1000 ohm, R0",
    )


@pytest.mark.parametrize(("sigmas", "equal"), [(3.9, True), (4.1, False)])
def test_reads_agree_within_four_sigma(compared: Callable[..., Parity], sigmas: float, equal: bool) -> None:
    found = compared(PLAIN, factor=1 + sigmas * NOISE)
    assert found.equal is equal
    assert found.other_sequence == 0
    assert found.farthest_sigmas == pytest.approx(sigmas, rel=1e-4)


def test_another_amplitude_is_a_difference(compared: Callable[..., Parity]) -> None:
    found = compared([*PLAIN[:3], (0.71, [2], []), PLAIN[4]])
    assert found.first is not None
    assert (found.first.cell, found.first.event) == (2, 3)
    assert found.first.what == ("pulse of 0.7 V for 1e-06 s", "pulse of 0.71 V for 1e-06 s")


def test_the_earliest_difference_is_named_not_that_of_the_lowest_cell(
    compared: Callable[..., Parity],
) -> None:
    found = compared([PLAIN[0], (0.6, [0, 1], []), (0.61, [2], []), (0, [0, 1, 2], [0, 1, 0]), *PLAIN[3:]])
    assert found.first is not None
    assert (found.first.cell, found.different_cells) == (2, 2)


def test_a_run_that_ends_early_is_different(compared: Callable[..., Parity]) -> None:
    found = compared(PLAIN[:4])
    assert found.first is not None
    assert (found.first.cell, found.first.event, found.first.calls) == (2, 4, (4, None))
    assert found.first.what[1] == "nothing more"


def test_a_read_that_failed_is_no_event_and_an_ambiguous_pulse_another(
    compared: Callable[..., Parity],
) -> None:
    assert compared([*PLAIN, (0, [0], [1])], outcome=Outcome.FAILED).equal
    pulse: Step = (0.7, [0], [])
    found = compared([*PLAIN, pulse], outcome=Outcome.AMBIGUOUS)
    assert found.first is not None
    assert found.first.what == ("nothing more", "pulse of 0.7 V for 1e-06 s (ambiguous)")


def test_a_run_cut_off_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", PLAIN)
    cut = RunWriter.create(tmp_path / "b.h5", kind="session", title="", seed=0, settings={"cells": CELLS})
    values = LEVELS_OHM[[0, 0, 0]]
    cut.call(Kind.READ, Op.NONE, Outcome.DONE, Origin.NONE, 0.1, 1e-6, 0.0, np.arange(3), values)
    cut.flush()
    left = part_of(tmp_path / "b.h5").read_bytes()
    cut.close()
    (tmp_path / "b.h5").unlink()
    part_of(tmp_path / "b.h5").write_bytes(left)
    with open_run(tmp_path / "a.h5") as a, open_run(tmp_path / "b.h5") as b:
        found = compare((a, b), (DECODER, DECODER))
    assert found.events == (11, 3)
    assert found.first is not None
    assert (found.first.cell, found.first.event) == (0, 1)


def test_event_tables_are_compared_to_the_last_bit(tmp_path: Path) -> None:
    a, b, c = (write(tmp_path / f"{n}.h5", s, f) for n, s, f in (
        ("a", PLAIN, 1.0), ("b", PLAIN, 1.0), ("c", PLAIN, 1.0 + 1e-6)))  # fmt: skip
    with open_run(a) as first, open_run(b) as same, open_run(c) as other:
        assert first_table_difference((first, same)) is None
        found = first_table_difference((first, other))
    assert found is not None
    assert (found.table, found.column, found.row) == ("reads", "resistance_ohm", 0)


def test_other_grouping_makes_other_tables(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.h5", PLAIN), write(tmp_path / "b.h5", [*PLAIN, (0.7, [0], [])])
    with open_run(a) as first, open_run(b) as longer:
        found = first_table_difference((first, longer))
    assert found is not None
    assert (found.table, found.column, found.row, found.values) == ("calls", "rows", 5, ("5", "6"))


def test_chips_of_different_size_cannot_be_compared(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.h5", PLAIN), tmp_path / "b.h5"
    RunWriter.create(b, kind="session", title="", seed=0, settings={"cells": 4}).close()
    with open_run(a) as first, open_run(b) as other, pytest.raises(BadInput, match=r"3 cells, .*4: not"):
        compare((first, other), (DECODER, DECODER))


def test_changes_are_told_in_standard_errors(characterized: Callable[[SkMTJ], Characterization]) -> None:
    found = characterized(SkMTJ.preset("scaled"))
    assert not any(change.sigmas for change in changes(found, found))
    r0, landing = found.estimates["r0_ohm"], found.estimates["set_probability"]
    dearer = Estimate(r0.value + 20.0, r0.low + 10.0, r0.high + 30.0)
    worse = Estimate(*(end.copy() for end in (landing.value, landing.low, landing.high)))
    worse.value[1, 0], worse.low[1, 0], worse.high[1, 0] = 0.5, 0.45, 0.55
    after = replace(found, estimates={**found.estimates, "r0_ohm": dearer, "set_probability": worse})
    one, other = (change for change in changes(found, after) if change.sigmas)
    assert (one.what, one.unit) == ("R0", "ohm")
    assert one.sigmas == pytest.approx(
        20.0 / np.hypot(r0.half_width / 1.96, (r0.half_width + 10.0) / 1.96), rel=1e-4
    )
    assert other.what == "set R1 lands, from R0"
    assert other.sigmas < -5


def test_a_changed_set_amplitude_is_as_uncertain_as_its_threshold(
    characterized: Callable[[SkMTJ], Characterization],
) -> None:
    found = characterized(SkMTJ.preset("scaled"))
    moved = replace(found, set_v=found.set_v + np.array([0.0, 0.01, 0, 0, 0, 0]))
    (only,) = (change for change in changes(found, moved) if change.sigmas)
    error = found.estimates["threshold_mean_v"].half_width[1] / 1.96
    assert only.what == "set pulse of R2"
    assert only.sigmas == pytest.approx(0.01 / (np.sqrt(2) * error), rel=1e-4)


def test_another_number_of_states_is_all_there_is_to_say(
    characterized: Callable[[SkMTJ], Characterization],
) -> None:
    found = characterized(SkMTJ.preset("scaled"))
    (only,) = changes(found, found.restrict((0, 3, 6)))
    assert (only.what, only.values) == ("states", (7, 3))
