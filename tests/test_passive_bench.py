"""A passive chip on an ArC ONE, from its bench file: refused with numbers, or characterised on its twin."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quest_lab
from quest_lab.benchfile import BenchFile, parse_bench
from quest_lab.crossbar import WriteScheme
from quest_lab.device import VoltagePulse
from quest_lab.errors import BadInput
from quest_lab.examples import example_benches
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.sim.passive import PassiveCells
from quest_lab.sim.twin import twin_laboratory

ARC_ONE = example_benches()["arc-one"]
WALLS = 'states = ["1 Mohm", "930 kohm", "870 kohm", "816 kohm", "769 kohm"]'
QUICK = CharacterizeSettings(confidence=0.3, repeats=2, max_cycles=1, step_v=0.025)
EVERYONE = np.arange(36)


def text(kind: str, *, lines: int = 6, states: str = WALLS) -> str:
    """The example with `lines` x `lines` cells from crosspoint 1!1 on; `kind`: the [topology] section."""
    places = ", ".join(f'"{word}!1:{word}!{lines}"' for word in range(1, lines + 1))
    file = ARC_ONE.read_text(encoding="utf-8")
    start, end = file.index("cells = ["), file.index("# ---- never exceeded")
    file = f"{file[:start]}cells = [{places}]\n\n[topology]\n{kind}\n\n{file[end:]}"
    return file.replace("[chip]", f"[chip]\n{states}", 1)


def passive(scheme: str, *more: str, lines: int = 6) -> str:
    return "\n".join(
        ['kind = "passive"', f'bias_scheme = "{scheme}"', f"rows = {lines}", f"columns = {lines}", *more]
    )


def bench(kind: str, *, lines: int = 6, states: str = WALLS) -> BenchFile:
    return parse_bench(text(kind, lines=lines, states=states), Path("my.toml"))


def test_a_floating_32x32_is_refused_before_anything_is_opened() -> None:
    states = f"states = [{', '.join(f'{chr(34)}{2000 + 100 * k} ohm{chr(34)}' for k in range(7))}]"
    said = (
        r'my\.toml: topology\.bias_scheme = "floating": in this 32x32 crossbar states 5 and 6 \(2500 and 2600 ohm\) '
        r"read 124\.58 and 124\.82 ohm at the terminals, 0\.63 sigma apart \(sigma = 0\.378 ohm\); "
        r"want at least 3 sigma"
    )
    with pytest.raises(BadInput, match=said):
        bench(passive("floating", lines=32), lines=32, states=states)
    assert bench(passive("grounded", lines=32), lines=32, states=states).bench.cells == 1024


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (passive("grounded", lines=5), r"want all 25 crosspoints of topology\.rows=5 x topology\.columns=5"),
        (passive("grounded", "meter_noise = 0.05"), r"states 3 and 4 .* sigma apart"),
        (passive("V/4"), r"topology\.bias_scheme='V/4'"),
    ],
)
def test_what_cannot_be_read_is_refused(kind: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        bench(kind)


def test_a_grounded_passive_chip_is_characterised_over_the_wire(tmp_path: Path) -> None:
    path = tmp_path / "passive.toml"
    path.write_text(text(passive("grounded")), encoding="utf-8")
    with quest_lab.open_bench(path, run=tmp_path / "run.h5") as session:
        assert session.device.capabilities.topology == "passive"
        found, _ = characterize(session, EVERYONE, EVERYONE[::5], QUICK)
    assert (found.states, found.stuck.size) == (5, 0)
    np.testing.assert_allclose(found.levels.mean, [0.0, 0.30, 0.57, 0.80, 1.0], atol=0.02)


def test_what_the_rule_lets_pass_and_the_chip_does_not_keep_is_measured(tmp_path: Path) -> None:
    """At V/2 the states differ enough before one background, but the other cells move a reading further."""
    path = tmp_path / "passive.toml"
    path.write_text(text(passive("V/2", "meter_noise = 0.0005")), encoding="utf-8")
    with (
        pytest.raises(BadInput, match=r"levels 3 and 4 read .* sigma of a read are left between them"),
        quest_lab.open_bench(path) as session,
    ):
        characterize(session, EVERYONE, EVERYONE, replace(QUICK, pulses_per_cell=200))


@pytest.mark.parametrize(("scheme", "disturbed"), [("V/2", 10), ("V/3", 0)])
def test_the_board_is_told_how_lines_stand_and_half_selected_cells_feel_it(
    tmp_path: Path, scheme: WriteScheme, disturbed: int
) -> None:
    path = tmp_path / "passive.toml"
    path.write_text(text(passive("grounded", f'write_scheme = "{scheme}"')), encoding="utf-8")
    with quest_lab.open_bench(path) as session:
        session.device.apply(VoltagePulse(0.99, 1e-6), EVERYONE)
        before = session.device.read(EVERYONE).resistance_ohm
        session.device.apply(VoltagePulse(-1.0, 1e-6), np.array([14]))
        moved = session.device.read(EVERYONE).resistance_ohm / before > 1.03  # one state is 6 %
    assert moved[14]
    assert np.sum(moved) - 1 == disturbed


def test_transistors_isolate_and_the_run_says_that_they_are_there(tmp_path: Path) -> None:
    path = tmp_path / "gated.toml"
    path.write_text(text('kind = "1T1R"'), encoding="utf-8")
    with quest_lab.open_bench(path, run=tmp_path / "run.h5") as session:
        before = session.device.read(EVERYONE[:1]).resistance_ohm[0]
        session.device.apply(VoltagePulse(0.85, 1e-6), EVERYONE[1:])
        after = session.device.read(EVERYONE[:1]).resistance_ohm[0]
    assert after == pytest.approx(before, rel=6 * 0.003)
    with quest_lab.open_run(tmp_path / "run.h5") as run:
        assert run.settings["topology"] == "1T1R"


def test_the_twin_of_a_passive_chip_is_on_lines() -> None:
    with closing(twin_laboratory(bench(passive("grounded", 'line_resistance = "2 ohm"')))) as laboratory:
        array = laboratory.world.array
        assert isinstance(array, PassiveCells)
        assert (array.crossbar.line_ohm, array.read_scheme, array.write_scheme) == (2.0, "grounded", "V/3")
