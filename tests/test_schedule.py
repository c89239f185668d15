"""The schedule file: what is written is read back, streamed, checked at open."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest

from quest_lab import schedule as sch
from quest_lab.errors import BadInput
from quest_lab.layers import layer_table

SHAPES = [(4, 3, 3, 3), (5, 4, 3, 3)]
LAYERS = layer_table([("a", SHAPES[0], (4, 4)), ("b", SHAPES[1], (2, 2))])
WEIGHTS, TAPS = 108 + 180, 27 + 36


def _header(bits: int = 2) -> sch.Header:
    return sch.Header(bits, 4, 16, "digits", 7, "3-4-5")


def _write(path: Path, snapshots: list[np.ndarray], *, status: str = "complete") -> Path:
    writer = sch.ScheduleWriter(path, _header(), LAYERS, snapshots[0])
    for i, levels in enumerate(snapshots[1:]):
        writer.append(
            levels,
            epoch=i // 3,
            batch=i % 3,
            samples=16,
            stage=sch.stage_of(i // 3, i % 3, 3),
            loss=float(i),
            taps=np.full(TAPS, i, np.int64),
            spikes_in=np.array([i, 2 * i]),
            spikes_out=np.array([3 * i, 2**40 + i]),
        )
    writer.close(status)
    return path


def _snapshots(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-1, 2, WEIGHTS).astype(np.int8) for _ in range(count)]


def test_every_write_is_the_difference_of_two_snapshots(tmp_path: Path) -> None:
    snapshots = _snapshots(6)
    with sch.Schedule.open(_write(tmp_path / "s.h5", snapshots)) as schedule:
        for step, (before, after) in zip(schedule, pairwise(snapshots), strict=True):
            assert {*zip(step.weight.tolist(), step.old.tolist(), step.new.tolist(), strict=True)} == {
                (i, a, b)
                for i, (a, b) in enumerate(zip(before.tolist(), after.tolist(), strict=True))
                if a != b
            }


def test_initial_levels_and_all_writes_give_the_final_levels(tmp_path: Path) -> None:
    snapshots = _snapshots(6)
    with sch.Schedule.open(_write(tmp_path / "s.h5", snapshots)) as schedule:
        levels = schedule.initial_levels.copy()
        for step in schedule:
            assert np.array_equal(levels[step.weight], step.old)
            levels[step.weight] = step.new
        assert np.array_equal(levels, schedule.final_levels)
        assert np.array_equal(levels, snapshots[-1])


def test_levels_at_any_step_are_the_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sch, "FLUSH_WRITES", 100)  # several blocks inside one small file
    snapshots = _snapshots(6)
    with sch.Schedule.open(_write(tmp_path / "s.h5", snapshots)) as schedule:
        assert all(np.array_equal(schedule.levels_at(t), levels) for t, levels in enumerate(snapshots))


@pytest.mark.parametrize(("steps_a_block", "writes_a_block"), [(1, 10**9), (3, 10**9), (64, 1), (64, 300)])
def test_blocks_do_not_change_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_a_block: int, writes_a_block: int
) -> None:
    path = _write(tmp_path / "s.h5", _snapshots(8))
    with sch.Schedule.open(path) as schedule:
        whole = list(schedule)
        monkeypatch.setattr(sch, "FLUSH_STEPS", steps_a_block)
        monkeypatch.setattr(sch, "FLUSH_WRITES", writes_a_block)
        for one, other in zip(whole, schedule, strict=True):
            assert (one.index, one.epoch, one.batch, one.loss) == (
                other.index,
                other.epoch,
                other.batch,
                other.loss,
            )
            assert all(
                np.array_equal(getattr(one, n), getattr(other, n))
                for n in ("weight", "old", "new", "taps", "spikes_out")
            )


def test_header_layers_and_large_counts_come_back(tmp_path: Path) -> None:
    with sch.Schedule.open(_write(tmp_path / "s.h5", _snapshots(4))) as schedule:
        assert (schedule.header, schedule.layers, schedule.steps) == (_header(), LAYERS, 3)
        assert [step.stage for step in schedule] == [1, 2, 3]
        assert [int(step.spikes_out[1]) for step in schedule] == [2**40, 2**40 + 1, 2**40 + 2]
        assert "backward reads are excluded" in schedule.convention


def test_stages_are_the_batches_of_the_paper() -> None:
    stages = [sch.stage_of(0, batch, 195) for batch in range(195)]
    assert [1 + i for i, s in enumerate(stages) if s == 1] == list(range(1, 11))
    assert [1 + i for i, s in enumerate(stages) if s == 2] == list(range(96, 106))
    assert [1 + i for i, s in enumerate(stages) if s == 3] == list(range(180, 191))
    assert sch.stage_of(1, 0, 195) == 0


@pytest.mark.parametrize("batches", [3, 10, 21, 400])
def test_short_and_long_epochs_have_every_stage(batches: int) -> None:
    assert {1, 2, 3} <= {sch.stage_of(0, batch, batches) for batch in range(batches)}


def test_reads_by_level_count_every_weight_of_a_tap() -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(-3, 4, WEIGHTS).astype(np.int8)
    taps = rng.integers(0, 2**33, TAPS)
    layer = LAYERS[1]
    want = dict.fromkeys(range(-3, 4), 0)
    for out in range(layer.shape[0]):
        for tap in range(layer.taps):
            want[int(levels[layer.offset + out * layer.taps + tap])] += int(taps[layer.taps_offset + tap])
    assert sch.reads_by_level(layer, taps, levels, 3).tolist() == list(want.values())


def _interrupt(writer: sch.ScheduleWriter, levels: np.ndarray) -> None:
    taps, spikes = np.zeros(TAPS, np.int64), np.zeros(2, np.int64)
    counts = {"taps": taps, "spikes_in": spikes, "spikes_out": spikes}
    with writer:
        writer.append(levels, epoch=0, batch=0, samples=1, stage=1, loss=0.0, **counts)
        raise KeyboardInterrupt


def test_an_interrupted_writer_leaves_a_readable_file(tmp_path: Path) -> None:
    snapshots = _snapshots(2)
    writer = sch.ScheduleWriter(tmp_path / "s.h5", _header(), LAYERS, snapshots[0])
    with pytest.raises(KeyboardInterrupt):
        _interrupt(writer, snapshots[1])
    with sch.Schedule.open(tmp_path / "s.h5") as schedule:
        assert (schedule.status, schedule.steps) == ("aborted", 1)
        assert np.array_equal(schedule.final_levels, snapshots[1])


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "s.h5", _snapshots(2))
    with pytest.raises(BadInput, match="exists already"):
        sch.ScheduleWriter(path, _header(), LAYERS, _snapshots(1)[0])
    sch.ScheduleWriter(path, _header(), LAYERS, _snapshots(1)[0], overwrite=True).close()
    with sch.Schedule.open(path) as schedule:
        assert schedule.steps == 0


def test_a_writer_refuses_levels_outside_its_bits(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"outside -1\.\.1"):
        sch.ScheduleWriter(tmp_path / "s.h5", _header(), LAYERS, np.full(WEIGHTS, 2, np.int8))


def _spoil(path: Path, what: str) -> None:
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:1500])
        return
    with h5py.File(path, "r+") as file:
        if what == "foreign":
            file.attrs["format"] = "something"
        elif what == "version":
            file.attrs["version"] = 2
        elif what == "level":
            file["writes/new"][5] = 3
        elif what == "weight":
            file["writes/weight"][5] = WEIGHTS
        elif what == "missing":
            del file["steps/taps"]
        elif what == "short":
            file["writes/old"].resize(3, axis=0)
        elif what == "writing":
            file.attrs["status"] = "writing"
        elif what == "layers":
            rows = file["layers"][()]
            rows["c_in"] += 1
            file["layers"][...] = rows


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", "truncated"),
        ("foreign", "format='something'"),
        ("version", "version=2"),
        ("level", r"writes/new\[5\]=3, want -1 to 1"),
        ("weight", r"writes/weight\[5\]=288, want 0 to 287"),
        ("missing", "steps/taps missing"),
        ("short", r"writes/old has shape \(3,\)"),
        ("writing", "status='writing'"),
        ("layers", "layers.offset"),
    ],
)
def test_a_spoilt_file_is_refused_by_name_and_key(tmp_path: Path, what: str, message: str) -> None:
    path = _write(tmp_path / "s.h5", _snapshots(4))
    _spoil(path, what)
    with pytest.raises(BadInput, match=message) as caught:
        sch.Schedule.open(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        sch.Schedule.open(tmp_path / "none.h5")


def test_a_synthetic_schedule_has_the_asked_change_rate_and_is_repeatable(tmp_path: Path) -> None:
    kwargs = {"steps": 20, "change_rate": 0.02, "seed": 5, "bits": 3}
    one = sch.synthesize(tmp_path / "a.h5", [(32, 32, 3, 3)], **kwargs)
    two = sch.synthesize(tmp_path / "b.h5", [(32, 32, 3, 3)], **kwargs)
    with sch.Schedule.open(one) as a, sch.Schedule.open(two) as b:
        assert 0.018 < a.writes / (20 * a.weights) < 0.022
        assert np.array_equal(a.final_levels, b.final_levels)
        assert all(np.all(np.abs(step.new - step.old) == 1) for step in a)
