"""The virtual ArC ONE against bytes written by hand: no driver of ours in between."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import numpy as np
import pytest

from quest_lab.benchfile import BenchFile
from quest_lab.clock import RunningClock
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.server import serving

Virtual = Callable[..., tuple[BenchFile, Laboratory]]
FORTY = ("1!1:1!16", '1!1:1!32", "2!1:2!8')  # more than one wordline holds
CONFIGURE = b"0\n50\n32\n32\n1\n0\n0\n0.100000\n"


@pytest.fixture
def lab(virtual: Virtual) -> Laboratory:
    return virtual("arc-one", FORTY)[1]


def say(lab: Laboratory, text: bytes) -> bytes:
    """Send it line by line, a millisecond apart, as one should."""
    reply = b""
    for line in text.splitlines(keepends=True):
        lab.world.clock.sleep(1e-3)
        reply += lab.board.receive(line)
    return reply


def state(lab: Laboratory, cell: int) -> int:
    return int(lab.world.array.states(np.array([cell]))[0])


def test_a_board_says_who_it_is_and_when_it_is_ready(lab: Laboratory) -> None:
    assert say(lab, b"999\n") == b"\x08\x00\x01\x00"  # major 8, minor 1, little-endian uint16
    assert say(lab, CONFIGURE) == b"1\n"


def test_a_read_is_four_bytes_of_a_little_endian_float(lab: Laboratory) -> None:
    reply = say(lab, CONFIGURE + b"1\n2\n8\n")
    assert reply[:2] == b"1\n"
    (ohm,) = struct.unpack("<f", reply[2:])
    cell = np.array([39])  # word 2, bit 8
    assert ohm == pytest.approx(lab.world.array.resistance(cell, 0.1)[0], rel=0.015)
    assert len(reply) == 6


def test_pulse_then_read_in_one_exchange(lab: Laboratory) -> None:
    say(lab, CONFIGURE)
    before = struct.unpack("<f", say(lab, b"1\n1\n4\n"))[0]
    after = struct.unpack("<f", say(lab, b"3\n1\n4\n0.800000\n0.000001\n"))[0]
    assert (state(lab, 3), state(lab, 2), state(lab, 4)) == (4, 0, 0)
    assert before / after == pytest.approx(1.3, rel=0.05)  # 30 % more conductance over the track
    assert [(d.cell, d.volts, d.width_s) for d in lab.world.delivered] == [(3, 0.8, 1e-6)]
    assert lab.world.violations == []
    assert lab.world.outputs_off


def test_a_selected_crosspoint_is_pulsed_without_an_answer(lab: Laboratory) -> None:
    assert say(lab, b"02\n1\n6\n04\n0.6\n0.00001\n") == b""
    assert state(lab, 5) == 2


def test_read_all_answers_row_by_row(lab: Laboratory) -> None:
    say(lab, CONFIGURE)
    ohm = np.frombuffer(say(lab, b"2\n1\n2\n8\n"), "<f4")
    cells = np.array([*range(8), *range(32, 40)])
    np.testing.assert_allclose(ohm, lab.world.array.resistance(cells, 0.1), rtol=0.02)


def test_a_width_below_a_microsecond_is_none(lab: Laboratory) -> None:
    say(lab, b"02\n1\n1\n04\n0.8\n0.000000\n")
    assert state(lab, 0) == 0
    assert not lab.world.delivered


def test_writes_that_follow_too_closely_are_dropped(lab: Laboratory) -> None:
    lab.world.clock.sleep(1.0)
    assert lab.board.receive(b"999\n") != b""
    lab.world.clock.sleep(0.4e-3)
    assert lab.board.receive(b"999\n") == b""
    assert "dropped" in lab.world.violations[0]


def test_a_reset_board_hears_nothing_for_two_seconds_and_forgets(lab: Laboratory) -> None:
    say(lab, CONFIGURE + b"00\n")
    lab.world.clock.sleep(1.9)
    assert say(lab, b"999\n") == b""
    lab.world.clock.sleep(0.2)
    assert say(lab, b"999\n") != b""
    assert say(lab, b"1\n1\n1\n") == b""
    assert "reads are not configured" in lab.world.violations[-1]


@pytest.mark.parametrize(("text", "what"), [
    (b"3\n33\n1\n0.5\n0.000001\n", "lines are 1 to 32"),
    (b"3\n1\n0\n0.5\n0.000001\n", "lines are 1 to 32"),
    (b"3\n1\n1\n-12.5\n0.000001\n", "beyond 12.0 V"),
    (b"01\n1\n-0.1\n1\n1\n1\n", "needs mode 3"),
    (b"04\n0.5\n0.000001\n", "no crosspoint selected"),
    (b"77\n", "unknown command '77'"),
    (b"3\n1\n1\nhigh\n0.000001\n", "could not convert"),
])  # fmt: skip
def test_what_a_board_cannot_do_is_noted_and_does_nothing(lab: Laboratory, text: bytes, what: str) -> None:
    assert say(lab, CONFIGURE + text) == b"1\n"
    assert what in lab.world.violations[-1]
    assert not lab.world.delivered


def test_a_negative_read_in_its_own_mode(lab: Laboratory) -> None:
    (ohm,) = struct.unpack("<f", say(lab, b"01\n3\n-0.100000\n1\n1\n1\n"))
    assert ohm == pytest.approx(lab.world.array.resistance(np.array([0]), 0.1)[0], rel=0.015)


def test_a_line_without_a_cell_reads_open(lab: Laboratory) -> None:
    say(lab, CONFIGURE)
    assert struct.unpack("<f", say(lab, b"1\n32\n32\n"))[0] > 1e9


def test_cells_beside_a_magnet_are_not_reset_by_a_pulse(virtual: Virtual) -> None:
    """Sk-MTJ cells: a pulse raises, a negative one does nothing: they need the field."""
    _, laboratory = virtual("arc-one-magnet", cells=4)
    say(laboratory, CONFIGURE + b"3\n1\n1\n0.85\n0.000001\n")
    assert state(laboratory, 0) == 6
    say(laboratory, b"3\n1\n1\n-1.0\n0.000001\n")
    assert state(laboratory, 0) == 6


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo terminals on this system")
def test_any_program_can_open_the_pseudo_terminal(virtual: Virtual) -> None:
    _, laboratory = virtual("arc-one", cells=4, clock=RunningClock())
    with serving(laboratory, terminals=True) as server:
        place = server.places[laboratory.virtual_board.address]  # type: ignore[union-attr]  # this one has a board
        line = os.open(str(place.terminal), os.O_RDWR | os.O_NOCTTY)
        os.write(line, b"999\n")
        assert os.read(line, 4) == b"\x08\x00\x01\x00"
        os.close(line)
