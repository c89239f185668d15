"""Cells with a memory: files that survive their program, keyed draws, stuck cells."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quest_lab.device import ReadPulse
from quest_lab.errors import BadInput
from quest_lab.examples import Preset
from quest_lab.sim.cells import CellArray
from quest_lab.sim.presets import cells_of
from quest_lab.sim.skmtj import SkMTJ

MODEL = SkMTJ.preset("scaled")
AT = MODEL.read
LADDER = (0.5, 0.6, 0.55, 0.7)

_VICTIM = """
import sys, numpy as np
from pathlib import Path
from quest_lab.sim.cells import CellArray
from quest_lab.sim.skmtj import SkMTJ
chip = CellArray(SkMTJ.preset("scaled"), 64, seed=3, path=Path(sys.argv[1]))
cells = np.arange(64)
for i in range(10**9):
    chip.pulse(cells, 0.5 + 0.05 * (i % 5), 2e-8)
    chip.read(cells, chip.model.read)
    print(i, flush=True)
"""


@pytest.fixture
def chip() -> Iterator[CellArray]:
    array = CellArray(MODEL, 64, seed=3)
    yield array
    array.close()


def counters(chip: CellArray) -> tuple[np.ndarray, np.ndarray]:
    return chip._columns.pulses.copy(), chip._columns.reads.copy()


def test_cells_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "chip.cells"
    with subprocess.Popen([sys.executable, "-c", _VICTIM, str(path)], stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        rounds = [victim.stdout.readline() for _ in range(12)]
        victim.send_signal(signal.SIGKILL)
        rounds += victim.stdout.read().splitlines()
    done = len(rounds)
    again = CellArray(MODEL, 64, seed=3, path=path)
    pulses, reads = counters(again)
    assert np.all((pulses >= done) & (pulses <= done + 1))
    assert np.all(np.where(pulses == done, reads == 1, reads <= 1))  # since the last pulse
    assert np.all(again.states(np.arange(64)) >= 4)  # it went up to 0.7 V
    assert np.all(again.read(np.arange(64), AT) > 1500)
    again.close()


def test_a_reopened_chip_goes_on_where_it_stopped(tmp_path: Path, chip: CellArray) -> None:
    cells, path = np.arange(64), tmp_path / "deep" / "chip.cells"
    for volts in LADDER:
        kept = CellArray(MODEL, 64, seed=3, path=path)
        spent, ohm = kept.pulse(cells, volts, 2e-8), kept.read(cells, AT)
        kept.close()
        assert np.array_equal(spent, chip.pulse(cells, volts, 2e-8))
        assert np.array_equal(ohm, chip.read(cells, AT))


@pytest.mark.parametrize(("model", "cells", "seed", "chip_id", "key"), [
    (MODEL, 65, 3, "x", "cells"),
    (MODEL, 64, 4, "x", "seed"),
    (MODEL, 64, 3, "y", "chip_id"),
    (SkMTJ.preset("scaled", sign=-1), 64, 3, "x", "model"),
])  # fmt: skip
def test_another_chips_file_is_refused(
    tmp_path: Path, model: SkMTJ, cells: int, seed: int, chip_id: str, key: str
) -> None:
    path = tmp_path / "chip.cells"
    CellArray(MODEL, 64, seed=3, path=path, chip_id="x").close()
    before = path.read_bytes()
    with pytest.raises(BadInput, match=rf"chip\.cells: {key} is"):
        CellArray(model, cells, seed=seed, path=path, chip_id=chip_id)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"{}", b"\xff\xfe text", b"\0" * 8192])
def test_a_foreign_or_unfinished_file_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not a file of simulated cells"):
        CellArray(MODEL, 64, seed=3, path=path)
    assert path.read_bytes() == content


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chip.cells"
    CellArray(MODEL, 64, seed=3, path=path).close()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="truncated"):
        CellArray(MODEL, 64, seed=3, path=path)


def test_a_folder_is_no_chip(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a file"):
        CellArray(MODEL, 64, seed=3, path=tmp_path)


@pytest.mark.parametrize(("cells", "seed"), [(0, 0), (-4, 0), (4, -1), (4, 2**63)])
def test_impossible_chips_are_refused(cells: int, seed: int) -> None:
    with pytest.raises(BadInput, match=r"want 0|at least 1"):
        CellArray(MODEL, cells, seed=seed)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_grouping_of_cells_change_nothing(order: list[int], cut: int) -> None:
    whole, parts = CellArray(MODEL, 12, seed=9), CellArray(MODEL, 12, seed=9)
    cells, mixed = np.arange(12), np.array(order)
    for volts in LADDER:
        spent, ohm = whole.pulse(cells, volts, 2e-8), whole.read(cells, AT)
        for some in (mixed[:cut], mixed[cut:]):
            assert np.array_equal(parts.pulse(some, volts, 2e-8), spent[some])
        one_by_one = [parts.read(np.array([cell]), AT)[0] for cell in mixed]
        assert np.array_equal(one_by_one, ohm[mixed])
    whole.close()
    parts.close()


def test_many_cells_at_once_draw_what_few_draw() -> None:
    many, few = CellArray(MODEL, 20_000, seed=2), CellArray(MODEL, 20_000, seed=2)
    cells = np.arange(20_000)
    spent, ohm = many.pulse(cells, 0.6, 2e-8), many.read(cells, AT)
    some = np.array([19_999, 5, 12_345])
    assert np.array_equal(few.pulse(some, 0.6, 2e-8), spent[some])
    assert np.array_equal(few.read(some, AT), ohm[some])
    many.close()
    few.close()


@pytest.mark.parametrize("preset", ["scaled", "domain-wall", "memristor"])
def test_one_read_more_changes_the_noise_up_to_the_next_pulse(preset: Preset) -> None:
    chips = [cells_of(preset, 64, seed=3, path=None, chip_id="x") for _ in range(2)]
    cells, at = np.arange(64), chips[0].model.read
    noise = [chips[0].read(cells, at) for _ in range(4)]
    assert np.array_equal(chips[1].read(cells, at), noise[0])
    assert np.unique(np.stack(noise), axis=0).shape == (4, 64)
    for chip in chips:
        chip.pulse(cells, 0.55, 1e-8)
    assert np.array_equal(*(chip.read(cells, at) for chip in chips))
    for chip in chips:
        chip.close()


def test_a_seed_makes_the_chip(chip: CellArray) -> None:
    same, other = CellArray(MODEL, 64, seed=3), CellArray(MODEL, 64, seed=4)
    cells = np.arange(64)
    assert np.array_equal(chip.resistance(cells, 0.1), same.resistance(cells, 0.1))
    assert not np.any(chip.resistance(cells, 0.1) == other.resistance(cells, 0.1))
    same.close()
    other.close()


def test_stuck_cells_neither_rise_nor_fall(chip: CellArray) -> None:
    chip.pulse(np.array([1]), 0.85, 2e-8)
    chip.stick(np.array([0, 1]))
    chip.pulse(np.arange(3), 0.85, 2e-8)
    assert chip.states(np.arange(3)).tolist() == [0, 6, 6]
    chip.field(np.arange(3), 0.1, 10e-3)
    assert chip.states(np.arange(3)).tolist() == [0, 6, 0]


def test_a_landing_keeps_its_residual_until_the_next_landing(chip: CellArray) -> None:
    cells = np.arange(64)
    chip.pulse(cells, 0.5, 2e-8)
    before = chip.resistance(cells, 0.1)
    chip.pulse(cells, 0.4, 2e-8)
    assert np.array_equal(chip.resistance(cells, 0.1), before)
    chip.pulse(cells, 0.85, 2e-8)
    assert not np.any(chip.resistance(cells, 0.1) == before)


def test_unequal_steps_move_the_resistances_of_their_states(chip: CellArray) -> None:
    uneven = CellArray(SkMTJ.preset("scaled", offset_states=(0.5, 0, -0.25, 0, 0, 0)), 64, seed=3)
    cells = np.arange(64)
    step = uneven._columns.tmr.astype(float) / 6 / (1 + (0.1 / 0.5) ** 2)
    for array in (chip, uneven):
        array.pulse(cells, 0.6, MODEL.t_ref_s)
    apart = (uneven.resistance(cells, 0.1) - chip.resistance(cells, 0.1)) / uneven._columns.r0_ohm
    third = chip.states(cells) == 3
    np.testing.assert_allclose(apart[third], -0.25 * step[third], rtol=1e-5)
    assert third.sum() > 50
    uneven.close()


def test_a_temporary_chip_leaves_no_file() -> None:
    array = CellArray(MODEL, 8, seed=0)
    path = array.path
    assert path.exists()
    array.close()
    array.close()
    assert not path.exists()


def test_a_read_far_below_threshold_is_no_event(chip: CellArray) -> None:
    chip.read(np.arange(64), ReadPulse(0.1, 1e-8))
    assert counters(chip)[0].max() == 0


HOLD = """
import sys
from pathlib import Path
from quest_lab.sim.cells import CellArray
from quest_lab.sim.skmtj import SkMTJ
held = CellArray(SkMTJ.preset("lab"), 2, seed=1, path=Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_cells_that_another_program_drives_are_refused_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "chip.cells"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match=r"chip\.cells: another program drives these cells"):
            CellArray(SkMTJ.preset("lab"), 2, seed=1, path=path)
        holder.kill()
    CellArray(SkMTJ.preset("lab"), 2, seed=1, path=path).close()
