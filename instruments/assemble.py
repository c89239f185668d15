"""From a bench file to drivers and a Device. Identities are compared before anything is sent that acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from pymeasure.instruments import Instrument
from pymeasure.instruments.agilent import Agilent33500
from pymeasure.instruments.keithley import Keithley2400
from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.benchdevices import Instrument as Section
from quest_lab.benchfile import BenchFile
from quest_lab.benchmodel import Bench, FieldSection, highest_field_t
from quest_lab.clock import Clock
from quest_lab.device import Capabilities, FieldPulse, Range, ReadPulse, Scope
from quest_lab.errors import BadInput, DeviceError, LimitExceeded
from quest_lab.instruments.access import MatrixAccess, all_off
from quest_lab.instruments.agilent33500 import MAXIMUM_OPEN_V, MINIMUM_OPEN_V, PulseGenerator33500
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.keithley2400 import SourceMeter2400
from quest_lab.instruments.keithley7001 import Keithley7001, MatrixSwitch7001
from quest_lab.instruments.kepco import FieldCalibration, KepcoMagnet
from quest_lab.instruments.roles import ReadsBack
from quest_lab.instruments.visa import Library, Line, open_instrument
from quest_lab.instruments.wiretap import Heard, hearing, tap

Instruments: TypeAlias = Mapping[str, Any]
"""Open pymeasure drivers by role."""

DRIVERS: Mapping[str, Callable[..., Any]] = {
    "agilent33500": Agilent33500,
    "keithley2400": Keithley2400,
    "keithley7001": Keithley7001,
    "kepco_bop": KepcoBOP3612,
}


@dataclass(frozen=True, slots=True)
class Assembly:
    """The device and its roles by name. Nothing is set up yet."""

    device: BenchDevice
    roles: Mapping[str, ReadsBack]


def confirm(role: str, section: Section, library: Library, heard: Heard | None = None) -> str:
    """Ask who is there, by a bare connection: some drivers send settings as soon as they exist.

    Raises DeviceError unless it is the instrument that the file names; nothing else is sent.
    """
    line = Line(role, open_instrument(_tapped(_bare, role, heard), section.address, library))
    try:
        found = line.identify()
    finally:
        line.close()
    if not matches(section.identity, found):
        raise DeviceError(
            f"devices.{role}: {found!r} answers at {section.address}, the bench file wants "
            f"identity = {section.identity!r}: not touched"
        )
    return found


def connect(role: str, driver: str, address: str, library: Library, heard: Heard | None = None) -> Any:
    """The driver of an instrument whose identity is confirmed. Raises DeviceError."""
    return open_instrument(_tapped(DRIVERS[driver], role, heard), address, library)


def _bare(address: str, **kwargs: Any) -> Any:
    ends = {"read_termination": "\n", "write_termination": "\n"}
    return Instrument(address, "unknown", includeSCPI=False, **ends, **kwargs)


def _tapped(driver: Callable[..., Any], role: str, heard: Heard | None) -> Callable[..., Any]:
    def make(address: str, **kwargs: Any) -> Any:
        if heard is None:
            return driver(address, **kwargs)
        with hearing(role, heard):
            instrument = driver(address, **kwargs)
        tap(instrument, role, heard)
        return instrument

    return make


def matches(identity: str, found: str) -> bool:
    """Whether the first comma-separated fields of an *IDN? reply are those of `identity`."""
    wanted = [field.strip() for field in identity.split(",")]
    return [field.strip() for field in found.split(",")][: len(wanted)] == wanted


def connect_all(file: BenchFile, library: Library, heard: Heard | None = None) -> dict[str, Any]:
    """Open all instruments of the file. Every identity is right before the first driver is made."""
    sections = file.bench.devices.named()
    opened: dict[str, Any] = {}
    for role, section in sections.items():
        confirm(role, section, library, heard)
    try:
        for role, section in sections.items():
            opened[role] = connect(role, section.driver, section.address, library, heard)
    except BaseException:
        disconnect(opened)
        raise
    return opened


def disconnect(instruments: Instruments) -> None:
    """Close the connections, all of them."""
    all_off([Line(role, instrument).close for role, instrument in instruments.items()])


def assemble(
    file: BenchFile,
    instruments: Instruments,
    clock: Clock,
    *,
    chip_id: str,
    release: Callable[[], None] | None = None,
) -> Assembly:
    """The device of a bench file over open instruments. BadInput for limits that no instrument can keep."""
    bench = file.bench
    pulser, limit_v = _pulser(file, instruments["pulser"])
    meter = SourceMeter2400(
        instruments["meter"],
        limit_v=bench.limits.read_amplitude_v,
        limit_a=bench.devices.meter.limits.compliance_a,
        line_hz=bench.devices.meter.mains_hz,
    )
    wiring = bench.wiring.wiring()
    switch = MatrixSwitch7001(instruments["switch"], wiring, clock, settle_s=bench.devices.switch.settle_s)
    magnet = _magnet(bench, instruments.get("magnet"), clock)
    access = MatrixAccess(pulser, meter, switch, wiring=wiring, path=bench.signal_path.signal_path())
    capabilities = _capabilities(bench, chip_id, limit_v)
    device = BenchDevice(
        access,
        magnet,
        capabilities,
        nominal_ohm=bench.chip.resistance_ohm[1],  # before its first read a cell gets rather less than more
        release=release,
    )
    roles: dict[str, ReadsBack] = {"pulser": pulser, "meter": meter, "switch": switch}
    return Assembly(device, roles | ({"magnet": magnet} if magnet else {}))


def _pulser(file: BenchFile, generator: Any) -> tuple[PulseGenerator33500, float]:
    """The pulser and its open-circuit limit: with it, not even an open cell sees more than limits.amplitude."""
    bench = file.bench
    highest_v = min(bench.limits.amplitude_v / bench.signal_path.attenuation, MAXIMUM_OPEN_V)
    limit_v = min(bench.devices.pulser.limits.open_circuit_v or highest_v, highest_v)
    load = bench.signal_path.displayed_load_ohm
    load_ohm = float("inf") if isinstance(load, str) else load
    with _naming(file, "devices.pulser.limits.open_circuit"):
        return PulseGenerator33500(generator, limit_v=limit_v, load_ohm=load_ohm), limit_v


def _magnet(bench: Bench, supply: Any, clock: Clock) -> KepcoMagnet | None:
    field, section = bench.field, bench.devices.magnet
    if field is None or section is None:
        return None
    calibration = FieldCalibration(
        tesla_per_ampere=field.tesla_per_ampere,
        coil_ohm=field.coil_resistance_ohm,
        limit_a=highest_field_t(bench) / field.tesla_per_ampere,
        compliance_v=section.limits.voltage_v,
        ramp_a_per_s=field.ramp_a_per_s,
        ramp_step_a=field.ramp_step_a,
        settle_s=field.settle_s,
        polarity=field.polarity,
    )
    return KepcoMagnet(supply, calibration, clock)


def _capabilities(bench: Bench, chip_id: str, limit_v: float) -> Capabilities:
    """What the bench can do for any sound cell: volts at the cell after the divider of its least resistance."""
    path, limits = bench.signal_path.signal_path(), bench.limits
    reach_v = limit_v * path.attenuation / (1.0 + path.in_series_ohm / bench.chip.resistance_ohm[0])
    limit_t = highest_field_t(bench)
    return Capabilities(
        chip_id=chip_id,
        cells=bench.wiring.wiring().cells,
        amplitude_v=Range(MINIMUM_OPEN_V * path.attenuation, min(reach_v, limits.amplitude_v)),
        width_s=Range(*limits.width_s),
        read=ReadPulse(bench.read.amplitude_v, bench.read.width_s),
        read_amplitude_v=Range(min(0.01, bench.read.amplitude_v), limits.read_amplitude_v),
        reset=_reset(bench.field),
        reset_scope=Scope.ARRAY,
        set_width_s=bench.chip.set_width_s,
        topology=bench.topology.kind,
        field_t=Range(-limit_t, limit_t) if limit_t else None,
    )


def _reset(field: FieldSection | None) -> FieldPulse | None:
    return None if field is None else FieldPulse(field.reset.field_t, field.reset.width_s)


@contextmanager
def _naming(file: BenchFile, key: str) -> Iterator[None]:
    """A driver's refusal names the file's key."""
    try:
        yield
    except LimitExceeded as error:
        raise BadInput(f"{file.path}: {key}: {error}") from None
