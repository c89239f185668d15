"""Virtual benches beside the one of `virtual_bench.py`: fast pulses, a source-meter alone, a 2700 as the matrix.

Each opens like `open_virtual_bench` and gives the same kind of Device. Where there is no matrix a probe moves
from cell to cell. `gaussmeter=True` closes the loop of the magnet with a Lake Shore 425.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400, Keithley2450
from pymeasure.instruments.kepco import KepcoBOP3612
from pymeasure.instruments.keysight import Keysight81160A
from pymeasure.instruments.lakeshore import LakeShore425

from quest_lab.clock import Clock
from quest_lab.device import Capabilities, Range, Scope
from quest_lab.fixture import SignalPath
from quest_lab.instruments import agilent33500, keithley2450, keysight81160a
from quest_lab.instruments.access import MatrixAccess
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.keithley2400 import SourceMeter2400
from quest_lab.instruments.keithley2700 import Keithley2700, MatrixSwitch2700
from quest_lab.instruments.kepco import KepcoMagnet
from quest_lab.instruments.lakeshore425 import Gaussmeter425
from quest_lab.instruments.magnet import FieldCalibration
from quest_lab.instruments.probe import MovedProbe
from quest_lab.instruments.visa import open_instrument
from quest_lab.sim import laboratories
from quest_lab.sim.skmtj import Preset
from quest_lab.sim.virtual import GENERATOR, MAGNET, METER, Laboratory
from quest_lab.virtual_bench import CELL_LIMIT_V, LONGEST_PULSE_S, READ, open_virtual_bench

LONGEST_THROUGH_TEE_S = 10e-6  # a bias tee droops: 1 % at 10 µs with a corner of 160 Hz (assumed)
SOURCE_METER_PATH = SignalPath(source_impedance_ohm=0.0)  # it regulates the volts at its terminals


def open_fast_bench(
    *,
    cells: int = 6,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "scaled",
    meter_noise: bool = True,
    gaussmeter: bool = False,
) -> tuple[BenchDevice, Clock]:
    """81160A and 2450 on one probe through a bias tee, and a Kepco magnet: pulses of 1.5 ns to 10 µs."""
    laboratory = laboratories.laboratory(
        laboratories.FAST,
        cells=cells,
        seed=seed,
        cells_file=cells_file,
        preset=preset,
        path=SignalPath(),
        meter_noise=meter_noise,
    )
    return control_fast(laboratory, SignalPath(), gaussmeter=gaussmeter), laboratory.world.clock


def open_source_meter_bench(
    *,
    cells: int = 6,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "lab",
    meter_noise: bool = True,
    gaussmeter: bool = False,
) -> tuple[BenchDevice, Clock]:
    """A 2450 that pulses and reads, and a Kepco magnet: pulses of 1 ms to 10 ms."""
    laboratory = laboratories.laboratory(
        laboratories.SOURCE_METER_ALONE,
        cells=cells,
        seed=seed,
        cells_file=cells_file,
        preset=preset,
        path=SOURCE_METER_PATH,
        meter_noise=meter_noise,
    )
    return control_source_meter(laboratory, gaussmeter=gaussmeter), laboratory.world.clock


def open_2700_bench(
    *,
    cells: int = 16,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "lab",
    meter_noise: bool = True,
) -> tuple[BenchDevice, Clock]:
    """33500, 2400 and Kepco around a 2700 with two 7709 matrix modules, 16 cells at most."""
    laboratory = laboratories.laboratory(
        laboratories.MATRIX_OF_7709,
        cells=cells,
        seed=seed,
        cells_file=cells_file,
        preset=preset,
        path=SignalPath(),
        meter_noise=meter_noise,
    )
    return control_2700(laboratory, SignalPath()), laboratory.world.clock


VIRTUAL_BENCHES: Mapping[str, Callable[..., tuple[BenchDevice, Clock]]] = {
    "virtual": open_virtual_bench,
    "virtual-fast": open_fast_bench,
    "virtual-source-meter": open_source_meter_bench,
    "virtual-2700": open_2700_bench,
}


def control_fast(
    laboratory: Laboratory,
    believed: SignalPath,
    *,
    calibration: FieldCalibration | None = None,
    gaussmeter: bool = False,
) -> BenchDevice:
    """Drivers on a laboratory of fast pulses; `believed` is the path the bench compensates for."""
    world, library = laboratory.world, laboratory.library
    pulser = keysight81160a.PulseGenerator81160A(
        open_instrument(Keysight81160A, laboratories.FAST_GENERATOR, library),
        limit_v=believed.open_v(CELL_LIMIT_V, 0.5 * world.array.model.r0_ohm),
    )
    meter = keithley2450.SourceMeter2450(open_instrument(Keithley2450, laboratories.SOURCE_METER, library))
    probe = MovedProbe(world.land, world.clock)
    access = MatrixAccess(pulser, meter, probe, wiring=world.wiring, path=believed)
    return _bench(
        laboratory,
        access,
        _magnet(laboratory, calibration, gaussmeter),
        lowest_v=keysight81160a.MINIMUM_OPEN_V,
        width_s=Range(keysight81160a.MINIMUM_WIDTH_S, LONGEST_THROUGH_TEE_S),
    )


def control_source_meter(
    laboratory: Laboratory, *, calibration: FieldCalibration | None = None, gaussmeter: bool = False
) -> BenchDevice:
    """A 2450 in both roles on a laboratory."""
    world, library = laboratory.world, laboratory.library
    meter = keithley2450.SourceMeter2450(
        open_instrument(Keithley2450, laboratories.SOURCE_METER, library), pulse_limit_v=CELL_LIMIT_V
    )
    probe = MovedProbe(world.land, world.clock)
    access = MatrixAccess(meter.pulses(), meter, probe, wiring=world.wiring, path=SOURCE_METER_PATH)
    return _bench(
        laboratory,
        access,
        _magnet(laboratory, calibration, gaussmeter),
        lowest_v=1e-3,
        width_s=Range(keithley2450.MINIMUM_WIDTH_S, LONGEST_PULSE_S),
    )


def control_2700(laboratory: Laboratory, believed: SignalPath) -> BenchDevice:
    """Drivers on a laboratory whose matrix is a 2700."""
    world, library = laboratory.world, laboratory.library
    pulser = agilent33500.PulseGenerator33500(
        open_instrument(Agilent33500, GENERATOR, library),
        limit_v=believed.open_v(CELL_LIMIT_V, 0.5 * world.array.model.r0_ohm),
    )
    meter = SourceMeter2400(open_instrument(Keithley2400, METER, library))
    matrix = open_instrument(Keithley2700, laboratories.MATRIX_2700, library)
    access = MatrixAccess(
        pulser,
        meter,
        MatrixSwitch2700(matrix, world.wiring, world.clock),
        wiring=world.wiring,
        path=believed,
    )
    return _bench(
        laboratory,
        access,
        _magnet(laboratory, None, gaussmeter=False),
        lowest_v=agilent33500.MINIMUM_OPEN_V,
        width_s=Range(agilent33500.MINIMUM_WIDTH_S, LONGEST_PULSE_S),
    )


def _magnet(laboratory: Laboratory, calibration: FieldCalibration | None, gaussmeter: bool) -> KepcoMagnet:
    clock, library = laboratory.world.clock, laboratory.library
    supply = open_instrument(KepcoBOP3612, MAGNET, library)
    if not gaussmeter:
        return KepcoMagnet(supply, calibration or FieldCalibration(), clock)
    probe = Gaussmeter425(open_instrument(LakeShore425, laboratories.GAUSSMETER, library), clock)
    return KepcoMagnet(supply, calibration or FieldCalibration(), clock, probe)


def _bench(
    laboratory: Laboratory, access: MatrixAccess, magnet: KepcoMagnet, *, lowest_v: float, width_s: Range
) -> BenchDevice:
    """The Device, set up. Sets are made at the law's own width where the pulser can give it."""
    array = laboratory.world.array
    limit_t = magnet.calibration.limit_t
    can = Capabilities(
        chip_id=array.chip_id,
        cells=array.cells,
        amplitude_v=Range(lowest_v, CELL_LIMIT_V),
        width_s=width_s,
        read=READ,
        read_amplitude_v=Range(0.01, READ.amplitude_v),
        reset=array.model.reset,
        reset_scope=Scope.ARRAY,
        set_width_s=min(max(array.model.t_ref_s, width_s.low), width_s.high),
        field_t=Range(-limit_t, limit_t),
    )
    device = BenchDevice(access, magnet, can, nominal_ohm=array.model.r0_ohm, release=laboratory.close)
    device.set_up()
    return device
