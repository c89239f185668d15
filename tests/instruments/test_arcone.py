"""The ArC ONE driver: bytes against a transcript written by hand, limits, and what goes wrong on the line."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from quest_lab.benchfile import BenchFile
from quest_lab.clock import VirtualClock
from quest_lab.device import FieldPulse, ReadPulse, VoltagePulse
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.fixture import Wiring
from quest_lab.instruments.arcone import ArcOneAccess, decimal, open_port
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.visa import NO_HARDWARE
from quest_lab.sim.domain_wall import DomainWall
from quest_lab.sim.domain_wall_cells import DomainWallArray
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.wire import Fault, FaultKind

Virtual = Callable[..., tuple[BenchFile, Laboratory]]
Drive = Callable[..., BenchDevice]
FORTY = ("1!1:1!16", '1!1:1!32", "2!1:2!8')  # more than one wordline holds
SOME = np.array([0, 1, 2, 3])
PULSE = VoltagePulse(0.8, 1e-6)
LOST = (FaultKind.REPLY_LOST, FaultKind.REPLY_LATE, FaultKind.GARBAGE, FaultKind.COMMAND_LOST)


@pytest.fixture
def lab(virtual: Virtual) -> Laboratory:
    return virtual("arc-one", FORTY)[1]


@pytest.fixture
def bench(lab: Laboratory, example: Callable[..., BenchFile], drive: Drive) -> BenchDevice:
    return drive(example("arc-one", FORTY), lab)


def written(lab: Laboratory, start: int) -> bytes:
    """What went over the line since write number `start`."""
    return b"".join(data for _, data in lab.port.sent[start:])


class Script:
    """A port that answers what a transcript says, and keeps what it is sent."""

    def __init__(self, *replies: bytes) -> None:
        self.sent, self._replies = b"", list(replies)

    def write(self, data: bytes, /) -> int:
        self.sent += data
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        whole = self._replies.pop(0)
        if whole[size:]:
            self._replies.insert(0, whole[size:])
        return whole[:size]

    def reset_input_buffer(self) -> None: ...
    def close(self) -> None: ...


def test_the_bytes_are_those_of_the_protocol() -> None:
    port = Script(b"\x05\x00\x02\x00", b"1\n", struct.pack("<f", 1234.5), b"\x00\x00\x80\x3f")
    access = ArcOneAccess(port, VirtualClock(), wiring=Wiring(1024, 32, 32), read=ReadPulse(0.2, 1e-3))
    access.set_up()
    assert port.sent == b"00\n" * 8 + b"999\n" + b"0\n50\n32\n32\n1\n0\n0\n0.200000\n"
    port.sent = b""
    assert access.read(33, ReadPulse(0.2, 1e-3)) == 1234.5
    assert access.pulse_and_read(1023, -0.75, 2e-6, 1e3, ReadPulse(-0.1, 1e-3)) == 1.0
    assert port.sent == (
        b"1\n2\n2\n"  # cell 33: word 2, bit 2
        b"01\n3\n-0.100000\n"  # below 0 V: mode 3
        b"3\n32\n32\n-0.750000\n0.000002\n"
    )


def test_writes_are_at_least_a_millisecond_apart(bench: BenchDevice, lab: Laboratory) -> None:
    bench.apply(PULSE, SOME, then_read=True)
    bench.safe_state()
    bench.read(SOME)
    times = np.array([when for when, _ in lab.port.sent])
    assert np.diff(times).min() >= 1e-3 * (1 - 1e-9)
    assert lab.world.violations == []


def test_a_pulse_and_its_read_are_one_exchange(bench: BenchDevice, lab: Laboratory) -> None:
    start = len(lab.port.sent)
    applied = bench.apply(PULSE, SOME[:2], then_read=True)
    assert written(lab, start) == b"3\n1\n1\n0.800000\n0.000001\n3\n1\n2\n0.800000\n0.000001\n"
    np.testing.assert_allclose(
        applied.expect_reading().resistance_ohm, lab.world.array.resistance(SOME[:2], 0.1), rtol=0.015
    )


def test_the_board_reaches_the_states_that_the_cells_alone_reach(bench: BenchDevice, lab: Laboratory) -> None:
    cells, twin = np.arange(40), DomainWallArray(DomainWall(), 40, seed=1)
    for volts in (0.5, 0.7, -0.6, 0.6, -0.5, 0.8):
        applied = bench.apply(VoltagePulse(volts, 1e-6), cells, then_read=True)
        twin.pulse(cells, volts, 1e-6)
        ohm = twin.read(cells, ReadPulse(0.1, 1e-3))
        assert np.array_equal(lab.world.array.states(cells), twin.states(cells))
        np.testing.assert_allclose(applied.expect_reading().resistance_ohm, ohm, rtol=1e-6)
    twin.close()


@pytest.mark.parametrize("width_s", [1.5e-6, 1e-7, 0.4e-6, 2.0000004e-6, 10e-9])
def test_a_width_that_six_decimals_do_not_hold_is_refused(
    bench: BenchDevice, lab: Laboratory, width_s: float
) -> None:
    start = len(lab.port.sent)
    with pytest.raises(LimitExceeded, match="width_s"):
        bench.apply(VoltagePulse(0.8, width_s), SOME)
    assert len(lab.port.sent) == start


@pytest.mark.parametrize("amplitude_v", [12.000001, -13.0, 0.1234567])
def test_an_amplitude_beyond_the_board_is_refused(lab: Laboratory, amplitude_v: float) -> None:
    access = ArcOneAccess(lab.port, lab.world.clock, wiring=Wiring(40, 32, 32), read=ReadPulse(0.1, 1e-3))
    with pytest.raises(LimitExceeded, match="amplitude_v"):
        access.pulse(0, amplitude_v, 1e-6, 1e6)
    assert lab.port.sent == []


def test_whole_microseconds_survive() -> None:
    assert [decimal("w", n * 1e-6, "s") for n in (1, 3, 7, 1_000_000)] == [
        "0.000001", "0.000003", "0.000007", "1.000000"
    ]  # fmt: skip


def test_other_reads_than_the_boards_are_refused(bench: BenchDevice, lab: Laboratory) -> None:
    start = len(lab.port.sent)
    with pytest.raises(LimitExceeded, match="decides that itself"):
        bench.read(SOME, ReadPulse(0.1, 2e-3))
    assert len(lab.port.sent) == start


@pytest.mark.parametrize("lines", [(33, 32), (32, 33)])
def test_a_board_has_32_lines_each_way(lines: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="32 wordlines and 32 bitlines"):
        ArcOneAccess(Script(), VirtualClock(), wiring=Wiring(4, *lines), read=ReadPulse(0.1, 1e-3))


def test_without_a_magnet_there_is_no_field(bench: BenchDevice) -> None:
    with pytest.raises(LimitExceeded, match="no magnet"):
        bench.apply(FieldPulse(0.1, 0.01), SOME)


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("then_read", [True, False])
def test_no_reading_after_a_pulse_leaves_that_cell_ambiguous(
    bench: BenchDevice, lab: Laboratory, kind: FaultKind, then_read: bool
) -> None:
    contains = "0.000001" if kind is FaultKind.COMMAND_LOST else "3 1 3 "
    passed = [Fault(FaultKind.NONE, contains, 2)] if kind is FaultKind.COMMAND_LOST else []
    lab.port.faults += [*passed, Fault(kind, contains)]
    with pytest.raises(DeviceError, match=r"cell 2: pulse 0.8 V") as caught:
        bench.apply(PULSE, SOME, then_read=then_read)
    assert caught.value.delivered.tolist() == [0, 1]
    assert caught.value.ambiguous.tolist() == [2]
    given = [d.cell for d in lab.world.delivered]
    assert given == ([0, 1] if kind is FaultKind.COMMAND_LOST else [0, 1, 2])  # never fired again
    assert lab.world.outputs_off


@pytest.mark.parametrize("kind", LOST)
def test_the_cell_in_doubt_can_be_read_next_and_later_answers_are_not_shifted(
    bench: BenchDevice, lab: Laboratory, kind: FaultKind
) -> None:
    lab.port.faults.append(Fault(kind, "0.000001"))
    with pytest.raises(DeviceError):
        bench.apply(PULSE, SOME[:1], then_read=True)
    lab.port.faults.clear()
    pulses = len(lab.world.delivered)
    for cells in (SOME, SOME[::-1]):
        ohm = bench.read(cells).resistance_ohm
        np.testing.assert_allclose(ohm, lab.world.array.resistance(cells, 0.1), rtol=0.015)
    assert len(lab.world.delivered) == pulses  # a half-sent pulse is ended as none


def test_a_line_lost_before_the_last_field_is_no_pulse(bench: BenchDevice, lab: Laboratory) -> None:
    lab.port.faults.append(Fault(FaultKind.CLOSED, "0.800000"))
    with pytest.raises(DeviceError, match="port is closed") as caught:
        bench.apply(PULSE, SOME)
    assert caught.value.delivered.size == caught.value.ambiguous.size == 0
    bench.read(SOME)
    assert not lab.world.delivered


def test_a_read_that_fails_half_way_hands_over_what_it_has(bench: BenchDevice, lab: Laboratory) -> None:
    lab.port.faults.append(Fault(FaultKind.GARBAGE, "1 1 3"))
    with pytest.raises(DeviceError, match="cell 2: read: unreadable reply ffffffff") as caught:
        bench.read(SOME)
    assert caught.value.partial is not None
    assert caught.value.partial.cells.tolist() == [0, 1]


def test_another_board_on_the_line_is_not_used(bench: BenchDevice, lab: Laboratory) -> None:
    bench.safe_state()
    lab.board.firmware = (8, 2)
    with pytest.raises(DeviceError, match=r"firmware 8\.2 answers, not 8\.1"):
        bench.apply(PULSE, SOME)
    assert not lab.world.delivered


def test_safe_state_is_a_reset_without_a_question(bench: BenchDevice, lab: Laboratory) -> None:
    start = len(lab.port.sent)
    bench.safe_state()
    assert written(lab, start) == b"00\n" * 8
    bench.close()
    bench.close()
    assert lab.port.closed


def test_a_magnet_beside_the_board_resets_its_cells(virtual: Virtual, drive: Drive) -> None:
    file, laboratory = virtual("arc-one-magnet", cells=6)
    bench, everyone = drive(file, laboratory), np.arange(6)
    bench.apply(VoltagePulse(0.85, 1e-6), everyone)
    assert np.all(laboratory.world.array.states(everyone) == 6)
    assert isinstance(bench.capabilities.reset, FieldPulse)
    bench.apply(bench.capabilities.reset, everyone)
    assert not laboratory.world.array.states(everyone).any()
    assert laboratory.world.violations == []
    bench.close()
    assert laboratory.world.outputs_off


def test_the_domain_walls_reset_is_a_pulse_the_board_can_give(bench: BenchDevice) -> None:
    assert bench.capabilities.reset == replace(DomainWall().reset, width_s=1e-6)


def test_no_hardware_is_opened_where_none_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_HARDWARE, "1")
    with pytest.raises(DeviceError, match=NO_HARDWARE):
        open_port(os.devnull)


def test_a_port_that_is_not_there_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NO_HARDWARE, raising=False)
    with pytest.raises(DeviceError, match="no-such-port: cannot be opened"):
        open_port("no-such-port")
