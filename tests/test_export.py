"""Exports read by nothing but json and pandas: the numbers of the ranking, units in the keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from quest_lab.bootstrap import resampled
from quest_lab.characterization import Characterization
from quest_lab.energy import count
from quest_lab.errors import BadInput
from quest_lab.export import Priced, check_target, export
from quest_lab.ranking import rank
from quest_lab.schedule import Schedule, synthesize
from quest_lab.sim.skmtj import SkMTJ

USED = (0, 3, 6)


@pytest.fixture(scope="module")
def priced(
    characterized: Callable[[SkMTJ], Characterization], tmp_path_factory: pytest.TempPathFactory
) -> Priced:
    found = characterized(SkMTJ.preset("scaled"))
    path = tmp_path_factory.mktemp("export") / "s.h5"
    with Schedule.open(synthesize(path, [(4, 4, 3, 3)], steps=6, change_rate=0.05, seed=2)) as schedule:
        counts = count(schedule)
    used = found.restrict(USED)
    replicas = [one.restrict(USED) for one in resampled(found, 5)]
    return Priced.of(used, USED, rank(used, counts, replicas=replicas))


@pytest.fixture(scope="module")
def document(priced: Priced, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    (path,) = export(tmp_path_factory.mktemp("json") / "m.json", priced)
    text = path.read_text(encoding="utf-8")
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_json_says_what_it_is(document: dict[str, Any], priced: Priced) -> None:
    assert (document["format"], document["version"]) == ("quest-lab energy matrices", 1)
    assert (document["chip_id"], document["reset_scope"]) == (priced.found.chip_id, "cell")
    assert (document["resamples"], document["sampled_cells"]) == (5, 240)


def test_json_holds_the_states(document: dict[str, Any], priced: Priced) -> None:
    assert [s["state"] for s in document["states"]] == [0, 3, 6]
    for state, ohm in zip(document["states"], priced.found.resistance_ohm, strict=True):
        assert state["resistance_ohm"] == ohm
        assert state["read_energy_j"] == pytest.approx(0.1**2 * 1e-8 / ohm)
        assert state["read_energy_low_j"] < state["read_energy_j"] < state["read_energy_high_j"]
    assert document["states"][0]["set_amplitude_v"] is None


def test_json_holds_both_matrices_with_intervals(document: dict[str, Any], priced: Priced) -> None:
    for k, scope in enumerate(("cell", "array")):
        matrix = document["matrices"][scope]
        energy = np.array(matrix["pulse_energy_j"], float)
        known = ~np.isnan(energy)
        assert np.array_equal(energy[known], priced.matrices.pulse_j[k][known])
        half = np.array(matrix["pulse_energy_high_j"], float) - energy
        assert priced.errors is not None
        np.testing.assert_allclose(
            half[known], (priced.errors.reach * priced.errors.pulse_j[k])[known], rtol=1e-6
        )
    assert document["matrices"]["array"]["pulse_energy_j"][2][0] is None  # no cell falls alone


def test_a_trainer_can_price_its_own_writes(document: dict[str, Any], priced: Priced) -> None:
    """From the document alone: the energy of the cheapest pattern, by QUEST's Algorithm 1."""
    assert priced.ranking is not None
    best = min(document["patterns"], key=lambda p: p["cell_rank"])
    place = {state["state"]: i for i, state in enumerate(document["states"])}
    energy = document["matrices"]["cell"]["pulse_energy_j"]
    one = energy[place[best["states"][0]]][place[best["states"][1]]]
    pattern = priced.ranking.patterns[priced.ranking.order[0]]
    assert one == priced.ranking.cost.pulse_j[pattern[0], pattern[1]]
    assert best["cell_sum_j"] == pytest.approx(best["cell_update_j"] + best["activation_gated_j"])
    assert best["cell_told_apart_from_best"] is False


def test_csv_holds_the_same(priced: Priced, tmp_path: Path) -> None:
    matrices, patterns = (pandas.read_csv(path) for path in export(tmp_path / "m.csv", priced))
    assert len(matrices) == 2 * 6
    row = matrices.set_index(["reset_scope", "state_from", "state_to"]).loc["cell", 6, 3]
    assert row["pulse_energy_j"] == pytest.approx(priced.matrices.cell.pulse_j[2, 1])
    assert row["resistance_to_ohm"] == pytest.approx(priced.found.resistance_ohm[1])
    assert priced.ranking is not None
    names = [",".join(f"R{USED[s]}" for s in p) for p in priced.ranking.patterns]
    assert patterns["pattern"].tolist() == names
    np.testing.assert_allclose(patterns["array_update_j"], priced.ranking.run_j[1])


def test_what_cannot_be_exported_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"m\.txt: want a name that ends with \.json or \.csv"):
        check_target(tmp_path / "m.txt", overwrite=False)
    (tmp_path / "m-patterns.csv").touch()
    with pytest.raises(BadInput, match=r"m-patterns\.csv: exists; --overwrite"):
        check_target(tmp_path / "m.csv", overwrite=False)
