"""Validation of a small network: what is written is what is read back, by levels and by conductances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quest_lab import open_run
from quest_lab.characterization import Characterization
from quest_lab.device import Floats
from quest_lab.errors import BadInput, Interrupted
from quest_lab.mapping import to_levels
from quest_lab.network import Network
from quest_lab.protocols.validate import program_decoded, validate
from quest_lab.protocols.validate_encodings import Differential
from quest_lab.protocols.validate_results import wrong_map
from quest_lab.protocols.validate_tiles import Programming, ReadBack, program
from quest_lab.record import RunWriter
from quest_lab.session import Session
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ

Make = Callable[..., Session]
Networks = Callable[..., Network]
Restricted = Callable[..., Characterization]
SCALED = SkMTJ.preset("scaled")


def differential(session: Session, small: Network, found: Characterization) -> tuple[Floats, Floats]:
    encoding = Differential.of(found, small.bits)
    placements = encoding.placements(small, tiles=False)
    programming = Programming(encoding, placements, [ReadBack(found.read)])
    return program(session, small.levels, [programming])[0].analogue()


@pytest.mark.parametrize("preset", ["scaled", "lab"])
@pytest.mark.parametrize("pattern", [(1, 0, 2), (2, 1, 0)])
def test_without_noise_the_levels_come_back(
    network: Networks,
    session_on: Make,
    restricted: Restricted,
    noise_free: Callable[[str], SkMTJ],
    preset: str,
    pattern: tuple[int, ...],
) -> None:
    quiet, small = noise_free(preset), network()
    done = program_decoded(session_on(quiet), small, restricted(quiet), pattern)
    assert np.array_equal(done.levels(), small.levels)


def test_three_bits_use_all_seven_states(
    network: Networks,
    session_on: Make,
    characterized: Callable[..., Characterization],
    noise_free: Callable[[str], SkMTJ],
) -> None:
    quiet, small = noise_free("scaled"), network(bits=3)
    done = program_decoded(session_on(quiet), small, characterized(quiet), (3, 2, 1, 0, 4, 5, 6))
    assert np.array_equal(done.levels(), small.levels)


def test_a_wrong_pattern_reads_other_levels(
    network: Networks, session_on: Make, restricted: Restricted
) -> None:
    small = network()
    done = program_decoded(session_on(SCALED), small, restricted(SCALED), (1, 0, 2))
    assert np.mean(to_levels(done.states(), (1, 0, 2)) == small.levels) > 0.99
    swapped = to_levels(done.states(), (2, 0, 1))  # -1 and +1 exchanged
    assert np.mean(swapped == -small.levels) > 0.99


def test_wrong_cells_are_those_that_differ(
    network: Networks, session_on: Make, restricted: Restricted
) -> None:
    session, small = session_on(SCALED), network()
    assert isinstance(session.device, SimulatedChip)
    session.device.array.stick(np.arange(30))
    session.truth = session.device.true_states
    done = program_decoded(session, small, restricted(SCALED), (1, 0, 2))
    want = np.flatnonzero(small.levels[:30] != 0)  # stuck at R0, which holds level 0
    wrong = done.levels() != small.levels
    assert np.flatnonzero(wrong[:30]).tolist() == want.tolist()
    assert np.flatnonzero(done.stuck & wrong).tolist() == want.tolist()
    assert done.truly_wrong == want.size
    picture = wrong_map(done).fields["wrong"].values
    assert picture.ravel()[:108].tolist() == wrong.tolist()
    assert set(picture.ravel()[108:].tolist()) <= {-1}


def test_open_loop_writes_are_worse_than_verified_ones(
    network: Networks, session_on: Make, characterized: Callable[..., Characterization]
) -> None:
    small, found, wrong = network(bits=3), characterized(SCALED), []
    for closed_loop in (True, False):
        done = program_decoded(
            session_on(SCALED), small, found, (3, 2, 1, 0, 4, 5, 6), closed_loop=closed_loop
        )
        wrong.append(int((done.levels() != small.levels).sum()))
    assert wrong[0] <= 3
    assert wrong[1] > wrong[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_without_noise_pairs_are_proportional_to_the_levels(
    network: Networks,
    session_on: Make,
    characterized: Callable[..., Characterization],
    noise_free: Callable[[str], SkMTJ],
    sign: int,
) -> None:
    quiet = replace(noise_free("scaled"), sign=sign)
    raw, corrected = differential(session_on(quiet), network(), characterized(quiet))
    np.testing.assert_allclose(raw, network().levels, atol=1e-5)
    np.testing.assert_allclose(corrected, network().levels, atol=1e-5)


def test_baselines_correct_the_spread_between_cells(
    network: Networks, session_on: Make, characterized: Callable[..., Characterization]
) -> None:
    small = network()
    raw, corrected = differential(session_on(SCALED), small, characterized(SCALED))
    assert np.corrcoef(raw, small.levels)[0, 1] > 0.9
    assert np.std(corrected - small.levels) < 0.1 < np.std(raw - small.levels)


def test_seven_levels_in_pairs_are_monotone(
    network: Networks,
    session_on: Make,
    characterized: Callable[..., Characterization],
    noise_free: Callable[[str], SkMTJ],
) -> None:
    """Conductance is not linear in the state: the weight bends, by less than a level."""
    quiet, small = noise_free("scaled"), network(bits=3)
    raw, _ = differential(session_on(quiet), small, characterized(quiet))
    mean = [raw[small.levels == v].mean() for v in range(-3, 4)]
    assert np.all(np.diff(mean) > 0.5)
    assert np.abs(raw - small.levels).max() < 0.5


def test_too_few_states_or_cells_are_refused_before_a_pulse(
    network: Networks, session_on: Make, restricted: Restricted
) -> None:
    session, found = session_on(SCALED), restricted(SCALED)
    with pytest.raises(BadInput, match="need 4 states, the cells have 3"):
        differential(session, network(bits=3), found)
    with pytest.raises(BadInput, match="want 7 different states below 3"):
        program_decoded(session, network(bits=3), found, (0, 1, 2, 3, 4, 5, 6))
    with pytest.raises(BadInput, match="has 100 with a baseline"):
        program_decoded(session, network(), restricted(SCALED, 100), (1, 0, 2))
    assert session.clock.now() == 0.0
    with pytest.raises(BadInput, match="the device is simulated-50"):
        program_decoded(session_on(SCALED, 50), network(), found, (1, 0, 2))


def test_a_stop_is_heard(network: Networks, session_on: Make, restricted: Restricted) -> None:
    session = session_on(SCALED)
    session.stop.request()
    with pytest.raises(Interrupted):
        program_decoded(session, network(), restricted(SCALED), (1, 0, 2))


def test_validate_measures_every_row(
    network: Networks,
    session_on: Make,
    characterized: Callable[..., Characterization],
    tmp_path: Path,
) -> None:
    small, images = network(), np.random.default_rng(3).random((40, 1, 4, 4)).astype(np.float32)
    labels = small.infer(images).predictions
    with RunWriter.create(tmp_path / "v.h5", kind="validation", title="", seed=0, settings={}) as run:
        session = replace(session_on(SCALED), run=run)
        found = validate(session, small, images, labels, characterized(SCALED), (0, 3, 6), (1, 0, 2))
    assert found.accuracy["ideal integer network"] == 1.0
    assert found.accuracy["decoded read-back, closed loop"] > 0.9
    assert len(found.accuracy) == 7
    assert len(found.misread) == 5
    with open_run(tmp_path / "v.h5") as again:
        stored = again.result("accuracy")
        assert stored["accuracy"].values.tolist() == [*found.accuracy.values(), *found.misread.values()]
        assert stored["row_name"].values[0] == "ideal integer network"
