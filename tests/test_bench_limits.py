"""No path past a limit: whatever is asked of whatever bench file, no cell ever sees more volts than it allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quest_lab.benches import bench_limits, control, site_of
from quest_lab.benchfile import BenchFile, parse_bench
from quest_lab.device import Device, FieldPulse, Operation, ReadPulse, VoltagePulse
from quest_lab.errors import QuestLabError
from quest_lab.limits import Limited
from quest_lab.sim.cells import CellArray
from quest_lab.sim.laboratory import Laboratory
from quest_lab.sim.twin import twin_laboratory

SLOW = Path(__file__).parents[1] / "examples" / "benches" / "slow-matrix.toml"
CELLS = 4
LIMITS_V = st.floats(0.2, 3.0)
SERIES_OHM = st.floats(0.0, 3000.0)


@st.composite
def files(draw: st.DrawFn) -> BenchFile:
    """The slow bench with other limits, another path and another load."""
    read_v = draw(st.floats(0.02, 0.15))
    reach_v = draw(LIMITS_V)
    loads = st.one_of(st.just("infinite"), st.floats(1.0, 1e4).map(lambda ohm: f"{ohm} ohm"))
    changes = [
        ('["1!1:1!10", "2!1:2!6"]', f'["1!1:1!{CELLS}"]'),
        ('amplitude = "1.0 V"', f'amplitude = "{reach_v} V"'),
        ('["0.35 V", "0.85 V"]', f'["{0.1 * reach_v} V", "{0.8 * reach_v} V"]'),
        ('read_amplitude = "0.1 V"', f'read_amplitude = "{read_v} V"'),
        ('[read]\namplitude = "0.1 V"', f'[read]\namplitude = "{read_v} V"'),
        ("attenuation = 1.0", f"attenuation = {draw(st.floats(0.05, 1.0))}"),
        ('source_impedance = "50 ohm"', f'source_impedance = "{draw(SERIES_OHM)} ohm"'),
        ('series_resistance = "0 ohm"', f'series_resistance = "{draw(SERIES_OHM)} ohm"'),
        ('displayed_load = "infinite"', f'displayed_load = "{draw(loads)}"'),
        ("buffered = false", f"buffered = {str(draw(st.booleans())).lower()}"),
        ('energy = "1 uJ"', 'energy = "1 J"'),
        ("seed = 1", f"seed = {draw(st.integers(0, 1000))}"),
    ]
    own = draw(st.none() | st.floats(0.1, 10.0))
    changes.append(('{ open_circuit = "1.0 V" }', "{}" if own is None else f'{{ open_circuit = "{own} V" }}'))
    text = SLOW.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return parse_bench(text, SLOW)


SHARE = st.floats(0.05, 1.2) | st.sampled_from([0.5, 0.9, 0.99, 1.0]) | st.floats(-4.0, 12.0)  # of the limit
WIDTHS_S = st.sampled_from([1e-7, 1e-6, 1e-4, 1e-2]) | st.floats(5e-8, 2e-2)
PULSES = st.builds(VoltagePulse, SHARE, WIDTHS_S)
FIELDS = st.builds(FieldPulse, st.floats(-0.3, 0.3), st.floats(1e-4, 2e-2))
READS = st.builds(ReadPulse, st.floats(-0.3, 0.3).filter(bool), st.floats(1e-4, 0.3))
SOME = st.lists(st.integers(0, CELLS - 1), unique=True, min_size=1)
STEPS = st.lists(st.tuples(PULSES | PULSES | FIELDS | READS, SOME, st.booleans()), min_size=4, max_size=12)


class Witness:
    """Every voltage that a cell of this laboratory feels, from pulses, reads and sources left on."""

    def __init__(self, array: CellArray) -> None:
        self.pulses_v: list[float] = []
        self.reads_v: list[float] = []
        pulse, bias, read = array.pulse, array.bias, array.read

        def on_pulse(cells: np.ndarray, volts: float, width_s: float) -> np.ndarray:
            self.pulses_v.append(volts)
            return pulse(cells, volts, width_s)

        def on_bias(cells: np.ndarray, volts: float, seconds: float) -> None:
            self.reads_v.append(volts)
            bias(cells, volts, seconds)

        def on_read(cells: np.ndarray, at: ReadPulse, field_t: float = 0.0) -> np.ndarray:
            self.reads_v.append(at.amplitude_v)
            return read(cells, at, field_t)

        array.pulse, array.bias, array.read = on_pulse, on_bias, on_read  # type: ignore[method-assign]


@contextmanager
def controlled(file: BenchFile) -> Iterator[tuple[Laboratory, Witness, Device]]:
    laboratory = twin_laboratory(file)
    witness = Witness(laboratory.world.array)
    device, _ = control(file, site_of(file, laboratory))
    try:
        yield laboratory, witness, device
    finally:
        device.close()


def do(device: Device, step: Operation | ReadPulse, cells: list[int], then_read: bool) -> None:
    """Do it or be refused: either is fine here."""
    everyone = np.arange(CELLS) if isinstance(step, FieldPulse) else np.array(cells)
    with suppress(QuestLabError):
        if isinstance(step, ReadPulse):
            device.read(everyone, step)
        else:
            device.apply(step, everyone, then_read=then_read)


@given(files(), STEPS, st.booleans())
@settings(max_examples=60)
def test_no_cell_ever_sees_more_volts_than_the_file_allows(
    file: BenchFile, steps: list[tuple[Operation | ReadPulse, list[int], bool]], limited: bool
) -> None:
    """Through the limits of the file and, without them, by the bench alone."""
    with controlled(file) as (laboratory, witness, bare):
        device = Limited(bare, bench_limits(file)) if limited else bare
        most, read_v = file.bench.limits.amplitude_v, file.bench.limits.read_amplitude_v
        for step, cells, then_read in steps:
            if isinstance(step, VoltagePulse):
                step = VoltagePulse(step.amplitude_v * most, step.width_s)
            do(device, step, cells, then_read)
        assert all(abs(d.volts) <= most * (1 + 1e-9) for d in laboratory.world.delivered)
        assert all(abs(volts) <= most * (1 + 1e-9) for volts in witness.pulses_v)
        assert all(abs(volts) <= read_v * (1 + 1e-9) for volts in witness.reads_v)
        assert not [v for v in laboratory.world.violations if " V " in v]


@given(files(), st.floats(0.5, 12.0))
@settings(max_examples=15)
def test_not_even_by_the_generators_own_words(file: BenchFile, shown_v: float) -> None:
    """A level asked of the instrument past every layer of ours: its own limit keeps the cells, open ones too."""
    with controlled(file) as (laboratory, _, _device):
        wire = laboratory.wires[file.bench.devices.pulser.address]
        wire.send(f"SOUR1:VOLT:HIGH {shown_v}")
        open_v = wire.instrument.channels[1].values["high"]  # type: ignore[attr-defined]
        at_open_cell_v = laboratory.world.path.cell_v(open_v, lambda _: 1e12)
        assert at_open_cell_v <= file.bench.limits.amplitude_v * (1 + 1e-9)


@given(files())
@settings(max_examples=15)
def test_what_the_bench_says_it_can_do_it_can(file: BenchFile) -> None:
    """The highest amplitude of its capabilities reaches the cells, as asked."""
    with controlled(file) as (laboratory, _, device):
        highest_v = device.capabilities.amplitude_v.high
        device.read(np.arange(CELLS))
        device.apply(VoltagePulse(highest_v, 1e-6), np.arange(CELLS))
        volts = [d.volts for d in laboratory.world.delivered]
        np.testing.assert_allclose(volts, highest_v, rtol=0.2)  # the reads are at another bias
        assert len(volts) == CELLS
