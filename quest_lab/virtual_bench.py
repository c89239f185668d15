"""The virtual bench as a Device: the real drivers, on the virtual laboratory (neither knows of the other).

The drivers reach the instruments in process or over a front that `quest-lab sim serve` offers everyone: raw
sockets, serial lines over sockets, pseudo-terminals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400
from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.clock import Clock
from quest_lab.device import Capabilities, Range, ReadPulse, Scope
from quest_lab.errors import BadInput
from quest_lab.fixture import SignalPath, Wiring
from quest_lab.instruments.access import MatrixAccess
from quest_lab.instruments.agilent33500 import MINIMUM_OPEN_V, MINIMUM_WIDTH_S, PulseGenerator33500
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.keithley2400 import SourceMeter2400
from quest_lab.instruments.keithley7001 import Keithley7001, MatrixSwitch7001
from quest_lab.instruments.kepco import FieldCalibration, KepcoMagnet
from quest_lab.instruments.remote_clock import RemoteClock
from quest_lab.instruments.visa import open_instrument
from quest_lab.sim.array import Model
from quest_lab.sim.server import FIRST_PORT, LOOPBACK, Place, serving
from quest_lab.sim.skmtj import Preset, SkMTJ
from quest_lab.sim.virtual import GENERATOR, MAGNET, MATRIX, METER, Laboratory, virtual_laboratory
from quest_lab.sim.visa import VirtualLibrary

T = TypeVar("T")
Front: TypeAlias = Literal["in process", "tcp", "serial", "terminal"]
"""How the drivers reach the instruments: VISA library in process, TCPIP::SOCKET, ASRLsocket, ASRL of a path."""

CELL_LIMIT_V = 1.0
READ = ReadPulse(0.1, 0.02)  # one power line cycle at 50 Hz, below the read disturb
LONGEST_PULSE_S = 10e-3
INSTRUMENTS = (GENERATOR, METER, MATRIX, MAGNET)  # in the order of their ports


@dataclass(frozen=True, slots=True)
class Chip:
    """What the bench knows of the chip in it."""

    model: Model
    cells: int
    chip_id: str


@dataclass(frozen=True, slots=True)
class Reach:
    """How the drivers reach the instruments: an address for each, a VISA library, and the clock they wait on."""

    addresses: Mapping[str, str]
    library: VirtualLibrary | str
    clock: Clock
    opened: list[Any] = field(default_factory=list)

    def instrument(self, driver: Callable[..., T], address: str) -> T:
        """The driver's instrument, over whatever leads to it."""
        found = open_instrument(driver, self.addresses[address], self.library, hardware=False)
        self.opened.append(found)
        return found

    def everything_arrived(self) -> None:
        """Ask each instrument, so that all that was written to it before has been executed."""
        for instrument in self.opened:
            instrument.ask("*OPC?")

    def close(self) -> None:
        """Close what was opened."""
        for instrument in self.opened:
            instrument.adapter.close()


def open_virtual_bench(
    *,
    cells: int = 16,
    seed: int = 0,
    cells_file: Path | None = None,
    preset: Preset = "lab",
    buffered: bool = False,
    meter_noise: bool = True,
    front: Front = "in process",
) -> tuple[BenchDevice, Clock]:
    """A bench over simulated cells, set up and safe. `buffered`: volts at the cell are exact, no divider.

    `front`: other than in process, a thread serves the instruments on free loopback ports until it is closed.
    """
    path = SignalPath(buffered=buffered)
    laboratory = virtual_laboratory(
        cells=cells, seed=seed, cells_file=cells_file, preset=preset, path=path, meter_noise=meter_noise
    )
    if front == "in process":
        return control(laboratory, path), laboratory.world.clock
    return control_served(laboratory, path, front)


def control(laboratory: Laboratory, believed: SignalPath) -> BenchDevice:
    """Drivers on a laboratory; `believed` is the path the bench compensates for."""
    reach = Reach({a: a for a in INSTRUMENTS}, laboratory.library, laboratory.world.clock)
    return _bench(reach, _chip(laboratory), laboratory.world.wiring, believed, laboratory.close)


def control_served(
    laboratory: Laboratory, believed: SignalPath, front: Front
) -> tuple[BenchDevice, RemoteClock]:
    """As `control`, with a thread that serves the laboratory between it and the drivers."""
    kept = ExitStack()
    with ExitStack() as stack:
        stack.callback(laboratory.close)
        server = stack.enter_context(serving(laboratory, terminals=front == "terminal"))
        clock = _clock(server.clock, front)
        stack.callback(clock.close)
        reach = Reach(_addresses(server.places, front), "@py", clock)
        if front == "terminal":  # what is written to a pseudo-terminal comes out of it some time later
            clock.barrier = reach.everything_arrived
        bench = _bench(reach, _chip(laboratory), laboratory.world.wiring, believed, kept.close)
        kept.push(stack.pop_all())
    return bench, clock


def open_served_bench(
    front: Literal["tcp", "serial"] = "tcp",
    *,
    host: str = LOOPBACK,
    port: int = FIRST_PORT,
    cells: int = 16,
    seed: int = 0,
    preset: Preset = "lab",
    buffered: bool = False,
) -> tuple[BenchDevice, RemoteClock]:
    """The bench of `quest-lab sim serve` in another process; say the cells, seed and preset that it was told.

    Raises DeviceError if no virtual laboratory answers there.
    """
    places = {a: Place("", host, port + i) for i, a in enumerate(INSTRUMENTS)}
    clock = _clock(Place("", host, port + len(INSTRUMENTS)), front)
    chip = Chip(SkMTJ.preset(preset), cells, f"virtual-{cells}-seed{seed}")
    reach = Reach(_addresses(places, front), "@py", clock)
    try:
        return _bench(reach, chip, Wiring(cells), SignalPath(buffered=buffered), clock.close), clock
    except BaseException:
        clock.close()
        raise


def _bench(
    reach: Reach, chip: Chip, wiring: Wiring, believed: SignalPath, release: Callable[[], None]
) -> BenchDevice:
    try:
        device = _drivers(reach, chip, wiring, believed, release)
        device.set_up()
    except BaseException:
        reach.close()
        raise
    return device


def _drivers(
    reach: Reach, chip: Chip, wiring: Wiring, believed: SignalPath, release: Callable[[], None]
) -> BenchDevice:
    limit_v = believed.open_v(CELL_LIMIT_V, 0.5 * chip.model.r0_ohm)
    pulser = PulseGenerator33500(reach.instrument(Agilent33500, GENERATOR), limit_v=limit_v)
    meter = SourceMeter2400(reach.instrument(Keithley2400, METER))
    switch = MatrixSwitch7001(reach.instrument(Keithley7001, MATRIX), wiring, reach.clock)
    magnet = KepcoMagnet(reach.instrument(KepcoBOP3612, MAGNET), FieldCalibration(), reach.clock)
    access = MatrixAccess(pulser, meter, switch, wiring=wiring, path=believed)
    capabilities = _capabilities(chip, magnet)
    return BenchDevice(access, magnet, capabilities, nominal_ohm=chip.model.r0_ohm, release=release)


def _chip(laboratory: Laboratory) -> Chip:
    array = laboratory.world.array
    return Chip(array.model, array.cells, array.chip_id)


def _clock(place: Place, front: Front) -> RemoteClock:
    return RemoteClock(_address(place, front))


def _addresses(places: Mapping[str, Place], front: Front) -> dict[str, str]:
    return {address: _address(place, front) for address, place in places.items()}


def _address(place: Place, front: Front) -> str:
    address = {"tcp": place.tcp, "serial": place.serial, "terminal": place.terminal}[front]
    if address is None:
        raise BadInput(f"front={front!r}: this system has no pseudo-terminals; serial works everywhere")
    return address


def _capabilities(chip: Chip, magnet: KepcoMagnet) -> Capabilities:
    limit_t = magnet.calibration.limit_t
    return Capabilities(
        chip_id=chip.chip_id,
        cells=chip.cells,
        amplitude_v=Range(MINIMUM_OPEN_V, CELL_LIMIT_V),
        width_s=Range(MINIMUM_WIDTH_S, LONGEST_PULSE_S),
        read=READ,
        read_amplitude_v=Range(0.01, READ.amplitude_v),
        reset=chip.model.reset,
        reset_scope=Scope.ARRAY,
        set_width_s=chip.model.t_ref_s,
        field_t=Range(-limit_t, limit_t),
    )
