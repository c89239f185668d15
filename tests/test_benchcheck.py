"""bench check: a sound bench passes, each fault is a wrong row, and nothing is pulsed or left on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from quest_lab.benchcheck import Finding, check_bench
from quest_lab.benchfile import load_bench
from quest_lab.cli import main
from quest_lab.examples import example_benches
from quest_lab.instruments.connect import Site
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.twin import twin_laboratory
from quest_lab.sim.wire import Fault, FaultKind

SLOW = Path(__file__).parents[1] / "examples" / "benches" / "slow-matrix.toml"
FILE = load_bench(SLOW)
PULSER, METER, MATRIX = (getattr(FILE.bench.devices, role).address for role in ("pulser", "meter", "switch"))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """The twin that the next check opens, within reach."""
    made = twin_laboratory(FILE)
    site = Site(made.library, made.world.clock, "c", lambda: None)
    monkeypatch.setattr("quest_lab.benchcheck.open_site", lambda *_a, **_k: site)
    yield made
    made.close()


def wrong() -> list[Finding]:
    return [finding for finding in check_bench(FILE) if not finding.right]


def test_a_sound_bench_has_nothing_wrong(lab: Laboratory) -> None:
    found = check_bench(FILE)
    assert [f for f in found if not f.right] == []
    assert sum(f.what.startswith("cell ") for f in found) == 16
    assert lab.world.violations == []


@pytest.mark.parametrize("name", sorted(example_benches()))
def test_the_twin_of_every_example_is_sound(name: str) -> None:
    file = load_bench(example_benches()[name])
    found = check_bench(file)
    assert [f for f in found if not f.right] == []
    assert sum(f.what.startswith("cell ") for f in found) == file.bench.cells
    assert sum("arcone" in f.what or " at " in f.what for f in found) >= len(file.bench.devices.named())


def test_nothing_is_pulsed_and_nothing_stays_on(lab: Laboratory) -> None:
    check_bench(FILE)
    assert not lab.world.delivered
    assert lab.world.outputs_off
    assert not lab.world.array.states(np.arange(16)).any()


def test_one_wrong_identity_ends_it_after_all_were_asked(lab: Laboratory) -> None:
    lab.wires[METER].instrument.scpi.identity = "ACME,1,2,3"
    (finding,) = wrong()
    assert finding.what == f"meter: keithley2400 at {METER}"
    assert "ACME,1,2,3" in finding.found
    assert {message for wire in lab.wires.values() for message in wire.sent} == {"*IDN?"}


def _changed_limit(lab: Laboratory) -> None:
    lab.wires[PULSER].instrument.channels[1].set_limit = lambda *_: None  # type: ignore[attr-defined]


def _another_load(lab: Laboratory) -> None:
    lab.wires[PULSER].instrument.channels[1].set_load = lambda *_: None  # type: ignore[attr-defined]


def _silent_matrix(lab: Laboratory) -> None:
    lab.wires[MATRIX].faults.append(Fault(FaultKind.REPLY_LOST, "CLOS:STAT?"))


@pytest.mark.parametrize(
    ("break_it", "what", "found"),
    [
        (_changed_limit, "pulser: high limit", "10 V"),
        (_another_load, "set up", "displayed load reads back as 50.0 ohm, not infinity"),
        (_silent_matrix, "switch: read back", "7001: read back"),
    ],
)
def test_settings_that_do_not_stand_are_found(
    lab: Laboratory, break_it: Callable[[Laboratory], None], what: str, found: str
) -> None:
    break_it(lab)
    findings = {f.what: f.found for f in wrong()}
    assert found in findings[what]
    assert lab.world.outputs_off


def test_a_cell_of_another_resistance_is_named_with_its_place(lab: Laboratory) -> None:
    resistance = lab.world.array.read
    lab.world.array.read = lambda cells, at, _field_t=0.0: (
        resistance(cells, at) * (3.0 if cells[0] == 11 else 1.0)
    )  # type: ignore[method-assign]
    (finding,) = wrong()
    assert (finding.what, finding.wanted) == ("cell 11 at 2!2", "1400 to 3600 ohm")


def test_the_command_says_what_failed_and_exits_with_1(
    lab: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.wires[METER].instrument.scpi.identity = "ACME,1,2,3"
    with pytest.raises(SystemExit) as end:
        main(["bench", "check", str(SLOW)])
    told = capsys.readouterr()
    assert end.value.code == 1
    assert "wrong: meter: keithley2400" in told.err
    assert "WRONG" in told.out
