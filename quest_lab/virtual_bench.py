"""The virtual bench as a Device: the real drivers, on the virtual laboratory (neither knows of the other)."""

from __future__ import annotations

from pathlib import Path

from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400
from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.clock import Clock
from quest_lab.device import Capabilities, Range, ReadPulse, Scope
from quest_lab.fixture import SignalPath
from quest_lab.instruments.access import MatrixAccess
from quest_lab.instruments.agilent33500 import MINIMUM_OPEN_V, MINIMUM_WIDTH_S, PulseGenerator33500
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.keithley2400 import SourceMeter2400
from quest_lab.instruments.keithley7001 import Keithley7001, MatrixSwitch7001
from quest_lab.instruments.kepco import FieldCalibration, KepcoMagnet
from quest_lab.instruments.visa import open_instrument
from quest_lab.sim.skmtj import Preset
from quest_lab.sim.virtual import GENERATOR, MAGNET, MATRIX, METER, Laboratory, virtual_laboratory

CELL_LIMIT_V = 1.0
READ = ReadPulse(0.1, 0.02)  # one power line cycle at 50 Hz, below the read disturb
LONGEST_PULSE_S = 10e-3


def open_virtual_bench(
    *,
    cells: int = 16,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "lab",
    buffered: bool = False,
    meter_noise: bool = True,
) -> tuple[BenchDevice, Clock]:
    """A bench over simulated cells, set up and safe. `buffered`: volts at the cell are exact, no divider."""
    path = SignalPath(buffered=buffered)
    laboratory = virtual_laboratory(
        cells=cells, seed=seed, cells_file=cells_file, preset=preset, path=path, meter_noise=meter_noise
    )
    return control(laboratory, path), laboratory.world.clock


def control(laboratory: Laboratory, believed: SignalPath) -> BenchDevice:
    """Drivers on a laboratory; `believed` is the path the bench compensates for."""
    world, clock, library = laboratory.world, laboratory.world.clock, laboratory.library
    lowest_ohm = 0.5 * world.array.model.r0_ohm
    pulser = PulseGenerator33500(
        open_instrument(Agilent33500, GENERATOR, library),
        limit_v=believed.open_v(CELL_LIMIT_V, lowest_ohm),
    )
    meter = SourceMeter2400(open_instrument(Keithley2400, METER, library))
    switch = MatrixSwitch7001(open_instrument(Keithley7001, MATRIX, library), world.wiring, clock)
    magnet = KepcoMagnet(open_instrument(KepcoBOP3612, MAGNET, library), FieldCalibration(), clock)
    access = MatrixAccess(pulser, meter, switch, wiring=world.wiring, path=believed)
    device = BenchDevice(
        access,
        magnet,
        _capabilities(laboratory, magnet),
        nominal_ohm=world.array.model.r0_ohm,
        release=laboratory.close,
    )
    device.set_up()
    return device


def _capabilities(laboratory: Laboratory, magnet: KepcoMagnet) -> Capabilities:
    model = laboratory.world.array.model
    limit_t = magnet.calibration.limit_t
    return Capabilities(
        chip_id=laboratory.world.array.chip_id,
        cells=laboratory.world.array.cells,
        amplitude_v=Range(MINIMUM_OPEN_V, CELL_LIMIT_V),
        width_s=Range(MINIMUM_WIDTH_S, LONGEST_PULSE_S),
        read=READ,
        read_amplitude_v=Range(0.01, READ.amplitude_v),
        reset=model.reset,
        reset_scope=Scope.ARRAY,
        set_width_s=model.t_ref_s,
        field_t=Range(-limit_t, limit_t),
    )
