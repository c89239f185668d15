"""A fault at each message of a small piece of work, on each bench: all off afterwards, nothing fired twice."""

from contextlib import nullcontext

import numpy as np
import pytest

from quest_lab.clock import VirtualClock
from quest_lab.device import ReadPulse, VoltagePulse
from quest_lab.errors import DeviceError, LimitExceeded
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.sim.wire import Fault, FaultKind

CELLS = np.arange(2)
READ = ReadPulse(0.1, 0.02)
NAMES = ["fast-pulse", "source-meter", "slow-matrix-2700", "small-magnet"]


def count_messages(lab, fault_at=-1, kind=FaultKind.NONE):
    """Counts messages on all wires from now on; the one of this number meets the fault."""
    seen = []

    def watch(wire):
        send = wire.send

        def counted(message):
            if len(seen) == fault_at:
                wire.faults.append(Fault(kind))
            seen.append(message)
            send(message)

        wire.send = counted

    for wire in lab.wires.values():
        watch(wire)
    return seen


def work(bench):
    bench.apply(bench.capabilities.reset, CELLS)
    bench.apply(VoltagePulse(0.6, bench.capabilities.set_width_s), CELLS, then_read=True)


@pytest.fixture
def run(virtual, drive):
    return lambda name, fault_at, kind: run_on(virtual(name, cells=2), drive, fault_at, kind)


def run_on(file_and_lab, drive, fault_at, kind):
    """The world and the messages sent, after a fault at one message, and safe state."""
    file, lab = file_and_lab
    bench = drive(file, lab)
    seen = count_messages(lab, fault_at, kind)
    failed = False
    try:
        work(bench)
    except DeviceError:
        failed = True
    during = seen.copy()
    bench.safe_state()
    lab.close()
    return lab.world, during, failed


@pytest.mark.parametrize("kind", [FaultKind.REPLY_LOST, FaultKind.CLOSED])
@pytest.mark.parametrize("name", NAMES)
def test_a_fault_at_any_message_leaves_all_off_and_fires_nothing_twice(run, name, kind):
    _, messages, failed = run(name, -1, kind)
    assert not failed
    for at, message in enumerate(messages):
        world, _, failed = run(name, at, kind)
        assert failed or "?" not in message, message  # a lost set point is sent once more
        assert world.outputs_off, at
        assert world.violations == [], at
        fired = [d.cell for d in world.delivered]
        assert len(fired) == len(set(fired)), at
    assert len(messages) > 25
    assert sum("?" in message for message in messages) >= 8


@pytest.mark.parametrize("name", NAMES)
def test_no_amplitude_and_no_width_put_more_than_the_limit_on_a_cell(virtual, drive, name):
    file, lab = virtual(name, cells=2)
    bench, random = drive(file, lab), np.random.default_rng(1)
    can = bench.capabilities
    for amplitude_v, log_width in zip(random.uniform(-3, 3, 200), random.uniform(-10, 1, 200), strict=True):
        inside = can.amplitude_v.low <= amplitude_v <= can.amplitude_v.high
        inside &= can.width_s.low <= 10**log_width <= can.width_s.high
        with nullcontext() if inside else pytest.raises(LimitExceeded):
            bench.apply(VoltagePulse(float(amplitude_v), float(10**log_width)), CELLS, then_read=True)
    assert 0 < len(lab.world.delivered) < 400
    assert max(abs(d.volts) for d in lab.world.delivered) <= 1.0 + 1e-9
    assert lab.world.violations == []
    bench.close()


def walk(device):
    """A staircase with verify reads; resistances in the order of the reads."""
    everyone = np.arange(4)
    device.apply(device.capabilities.reset, everyone)
    out = [device.read(everyone, READ).resistance_ohm]
    for amplitude_v in np.arange(0.28, 0.52, 0.01):
        device.apply(VoltagePulse(float(amplitude_v), 1e-3), everyone)
        out.append(device.read(everyone, READ).resistance_ohm)
    return np.array(out)


def test_source_meter_bench_and_simulated_chip_with_one_seed_are_the_same_chip(virtual, drive):
    bench = drive(*virtual("source-meter", cells=4, seed=7))
    chip = SimulatedChip(CellArray(SkMTJ.preset("lab"), 4, seed=7), VirtualClock())
    assert walk(bench) == pytest.approx(walk(chip), rel=1e-8)
    bench.close()
    chip.close()
