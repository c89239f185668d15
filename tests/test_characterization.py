"""What a characterisation says: operations, decoding, diagram, states left out, the file and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from quest_lab.cellcounts import CellCounts
from quest_lab.characterization import Characterization
from quest_lab.characterization_file import load_characterization, to_result
from quest_lab.device import FieldPulse, Reading, ReadPulse, Scope, VoltagePulse
from quest_lab.errors import BadInput, DeviceError
from quest_lab.estimates import Estimate
from quest_lab.levels import Levels
from quest_lab.record import RunWriter
from quest_lab.separation import Separation

AT = ReadPulse(0.1, 1e-8)


def made_up(states: int = 3, **changes: Any) -> Characterization:
    """Cells 2, 5, 9 of resistance R0 = 1000, 2000, 3000 ohm, each up to 1.2 R0; levels equally spaced."""
    mean = np.linspace(0, 1, states)
    counts = np.zeros((states, 3, 2, states, states), np.int64)
    for op in range(states):
        for start in range(states):
            counts[op, 1, 0, start, op] = 90 if op == 0 or start < op else 0
            counts[op, 1, 0, start, start] += 10 * (start < op)
    base = np.array([1000.0, 2000.0, 3000.0])
    found = Characterization(
        chip_id="made up", set_v=0.5 + 0.1 * np.arange(states - 1), set_width_s=2e-8, reset=FieldPulse(0.1, 0.01),
        reset_scope=Scope.CELL, reset_energy_j=1e-12, read=AT,
        levels=Levels(mean, np.full(states, 0.05), (mean[1:] + mean[:-1]) / 2), resistance_ohm=2000 + 400 * mean,
        attempt_step_v=0.01, counts=counts, energy_j=np.full((states, 3, states), 3e-12),
        cells=np.array([2, 5, 9]), baseline_ohm=base, top_ohm=1.2 * base, sample=np.array([2, 9]),
        threshold_v=np.full((2, states - 1), 0.55), read_noise=0.003, stuck=np.array([7]), confidence=0.03,
        half_width=0.02, repeat_std=np.full(states, 0.02), threshold_repeat_v=0.005,
    )  # fmt: skip
    return replace(found, **changes)


def reading(cells: list[int], ohm: list[float]) -> Reading:
    return Reading(np.array(cells), np.array(ohm), np.zeros(len(ohm)), AT)


def test_operations_are_the_reset_and_shifted_set_pulses() -> None:
    found = made_up()
    assert found.operation(0, 2) == FieldPulse(0.1, 0.01)
    assert [found.operation(2, a) for a in range(3)] == [VoltagePulse(v, 2e-8) for v in (0.59, 0.6, 0.61)]


def test_each_cell_is_decoded_against_its_own_baseline() -> None:
    found = made_up()
    got = found.decode(reading([9, 2, 5], [3300.0, 1190.0, 2010.0]))
    assert got.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.position(reading([9, 2], [3300.0, 1190.0])), [0.5, 0.95])


def test_resistance_may_fall_with_the_state() -> None:
    base = np.array([1000.0, 2000.0, 3000.0])
    found = made_up(top_ohm=0.8 * base)
    assert found.decode(reading([2, 5, 9], [1005.0, 1800.0, 2420.0])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("cell", [0, 3, 10, 400])
def test_a_cell_without_a_baseline_is_named(cell: int) -> None:
    with pytest.raises(BadInput, match=f"no baseline, first cell {cell}"):
        made_up().decode(reading([2, cell], [1000.0, 1000.0]))


@pytest.mark.parametrize("ohm", [np.nan, np.inf, -5.0, 0.0])
def test_what_is_no_resistance_is_a_device_error(ohm: float) -> None:
    with pytest.raises(DeviceError, match=r"cell 5: .* ohm \(1 of 2 cells\)") as caught:
        made_up().decode(reading([2, 5], [1000.0, ohm]))
    assert caught.value.partial is not None


def test_an_edge_needs_half_at_the_lower_bound() -> None:
    found = made_up()
    counts = found.counts.copy()
    counts[2, 1, 0, 0] = [4, 0, 6]  # 6 of 10: above half, but not surely
    assert sorted(made_up().edges()) == [(0, 1, 1), (0, 2, 2), (1, 0, 0), (1, 2, 2), (2, 0, 0)]
    assert (0, 2, 2) not in replace(found, counts=counts).edges()
    assert binomtest(6, 10).proportion_ci(method="wilson").low < 0.5
    assert binomtest(90, 100).proportion_ci(method="wilson").low > 0.5


def test_the_one_indirect_edge_is_from_the_top_to_the_middle() -> None:
    """QUEST: exactly one transition of three states is not direct."""
    direct = {(start, to) for start, to, _ in made_up().edges()}
    assert {(i, j) for i in range(3) for j in range(3) if i != j} - direct == {(2, 1)}


def test_set_probabilities_are_shares_of_first_tries() -> None:
    share = made_up().set_probability()
    assert share[2, :2].tolist() == [0.9, 0.9]
    assert np.isnan(share[1, 2])


def test_left_out_states_read_as_the_nearest_used_one() -> None:
    found = made_up(7).restrict((0, 3, 6))
    positions = np.array([0, 1, 2, 3, 4, 5, 6]) / 6
    got = [int(found.decode(reading([5], [2000 * (1 + 0.2 * p)]))[0]) for p in positions]
    assert got == [0, 0, 1, 1, 1, 2, 2]
    assert found.fold is not None
    assert found.fold.tolist() == got
    assert found.set_v.tolist() == [0.5 + 0.1 * 2, 0.5 + 0.1 * 5]
    assert found.states == 3


def test_counts_of_left_out_states_are_added_where_they_decode() -> None:
    found = made_up(7)
    counts = found.counts.copy()
    counts[3, 1, 0, 0] = [1, 2, 4, 80, 8, 16, 32]
    used = replace(found, counts=counts).restrict((0, 3, 6))
    from_zero = np.array([1 + 2, 4 + 80 + 8, 16 + 32])
    from_one = np.array([0 + 10, 90, 0])  # R1 decodes as R0: its trials count too
    assert used.counts[1, 1, 0, 0].tolist() == (from_zero + from_one).tolist()
    assert used.counts.sum() == counts[[0, 3, 6]].sum()


def test_energies_are_those_of_the_used_states() -> None:
    found = made_up(7)
    energy = found.energy_j + np.arange(7) * 1e-13
    energy[3, 1, 3] = np.nan
    used = replace(found, energy_j=energy).restrict((0, 3, 6))
    assert used.energy_j[2, 1].tolist() == pytest.approx([3e-12, 3.3e-12, 3.6e-12])


def test_states_may_be_left_out_twice() -> None:
    twice, once = made_up(7).restrict((0, 3, 6)).restrict((0, 2)), made_up(7).restrict((0, 6))
    assert twice.set_v.tolist() == once.set_v.tolist()
    assert twice.fold is not None
    assert twice.fold.size == 7


@pytest.mark.parametrize("states", [(0,), (1, 3), (0, 3, 7), (0, 3, 3), (3, 0, 6)])
def test_states_that_cannot_be_used_are_refused(states: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="want ascending states from 0, below 7"):
        made_up(7).restrict(states)


def test_a_read_of_each_state_costs_v_squared_t_over_r() -> None:
    assert made_up().read_energy_j() == pytest.approx([0.01 * 1e-8 / r for r in (2000, 2200, 2400)])


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[n], b[n]) for n in a)
    if isinstance(a, Levels | CellCounts | Estimate | Separation):
        return all(same(getattr(a, one.name), getattr(b, one.name)) for one in fields(a))
    return bool(np.array_equal(a, b, equal_nan=True)) if isinstance(a, np.ndarray) else bool(a == b)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    found = made_up(4, threshold_v=np.array([[0.5, np.nan, 0.7], [0.4, 0.5, 0.6]]))
    with RunWriter.create(tmp_path / "c.h5", kind="characterize", title="", seed=0, settings={}) as run:
        run.add_result(to_result(found))
    again = load_characterization(tmp_path / "c.h5")
    for one in fields(Characterization):
        assert same(getattr(found, one.name), getattr(again, one.name)), one.name
        value = getattr(found, one.name)
        if isinstance(value, np.ndarray):
            assert value.dtype.kind == getattr(again, one.name).dtype.kind, one.name


def test_a_measured_one_comes_back_too(
    characterized: Callable[..., Characterization], tmp_path: Path
) -> None:
    from quest_lab.sim.skmtj import SkMTJ

    found = characterized(SkMTJ.preset("scaled"))
    with RunWriter.create(tmp_path / "c.h5", kind="characterize", title="", seed=0, settings={}) as run:
        run.add_result(to_result(found))
    again = load_characterization(tmp_path / "c.h5")
    assert all(same(getattr(found, f.name), getattr(again, f.name)) for f in fields(Characterization))


def test_a_run_without_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with RunWriter.create(path, kind="session", title="", seed=0, settings={}):
        pass
    with pytest.raises(BadInput, match=r"other\.h5: holds no result 'characterization'.*session"):
        load_characterization(path)
