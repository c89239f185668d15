"""From a bench file and its open instruments to the Device: the one place that turns keys into adapters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from quest_lab.benchdevices import Matrix, Pulser2450, Pulser33500, Pulser81160A
from quest_lab.benchfile import BenchFile
from quest_lab.benchmodel import Bench
from quest_lab.clock import Clock
from quest_lab.device import (
    Capabilities,
    FieldPulse,
    Operation,
    Range,
    ReadPulse,
    Scope,
    VoltagePulse,
)
from quest_lab.errors import BadInput, LimitExceeded
from quest_lab.instruments.access import MatrixAccess
from quest_lab.instruments.agilent33500 import PulseGenerator33500
from quest_lab.instruments.arcone import ArcOneAccess
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.connect import Instruments, Site
from quest_lab.instruments.keithley2400 import SourceMeter2400
from quest_lab.instruments.keithley2450 import SourceMeter2450
from quest_lab.instruments.keithley2700 import MatrixSwitch2700
from quest_lab.instruments.keithley7001 import MatrixSwitch7001
from quest_lab.instruments.kepco import FieldCalibration, KepcoMagnet
from quest_lab.instruments.keysight81160a import PulseGenerator81160A
from quest_lab.instruments.lakeshore425 import Gaussmeter425
from quest_lab.instruments.probe import MovedProbe
from quest_lab.instruments.roles import CellAccess, PulseSource, ReadsBack
from quest_lab.instruments.yokogawa_gs200 import YokogawaMagnet

MAGNETS: Mapping[str, type[KepcoMagnet] | type[YokogawaMagnet]] = {
    "kepco_bop": KepcoMagnet,
    "yokogawa_gs200": YokogawaMagnet,
}


@dataclass(frozen=True, slots=True)
class Assembly:
    """The device and its roles by name. Nothing is set up yet."""

    device: BenchDevice
    roles: Mapping[str, ReadsBack]


def assemble(
    file: BenchFile, instruments: Instruments, site: Site, *, release: Callable[[], None] | None = None
) -> Assembly:
    """The device of a bench file over open instruments. BadInput for limits that no instrument can keep."""
    bench = file.bench
    access: CellAccess
    if bench.devices.board is not None:
        access = board = _board(bench, instruments["board"], site.clock)
        roles: dict[str, ReadsBack] = {"board": board}
    else:
        access, roles = _single_cells(file, instruments, site)
    magnet = _magnet(bench, instruments, site.clock)
    device = BenchDevice(
        access,
        magnet,
        _capabilities(bench, site.chip_id),
        nominal_ohm=bench.chip.resistance_ohm[1],  # before its first read a cell gets rather less than more
        sound_ohm=_sound_ohm(bench),
        release=release,
    )
    return Assembly(device, roles | ({"magnet": magnet} if magnet else {}))


def _board(bench: Bench, port: Any, clock: Clock) -> ArcOneAccess:
    section = bench.devices.board
    if section is None:
        raise ValueError("a bench without a board")
    return ArcOneAccess(
        port,
        clock,
        wiring=bench.joined(),
        read=ReadPulse(bench.read.amplitude_v, bench.read.width_s),
        reset_s=section.reset_s,
        firmware=section.identity,
        write_scheme=bench.topology.write_scheme,
    )


def _single_cells(
    file: BenchFile, instruments: Instruments, site: Site
) -> tuple[MatrixAccess, dict[str, ReadsBack]]:
    bench = file.bench
    meter = _meter(bench, instruments["meter"])
    pulser, told = _pulser(file, instruments.get("pulser"), meter)
    switch = _switch(bench, instruments.get("switch"), site)
    access = MatrixAccess(pulser, meter, switch, wiring=bench.joined(), path=bench.path.signal_path())
    return access, {**told, "meter": meter, "switch": switch}


def _meter(bench: Bench, driver: Any) -> SourceMeter2400 | SourceMeter2450:
    section, pulser = bench.devices.meter, bench.devices.pulser
    if section is None:
        raise ValueError("a bench without a meter")
    limits = {
        "limit_v": bench.limits.read_amplitude_v,
        "limit_a": section.limits.compliance_a,
        "line_hz": section.mains_hz,
    }
    if section.driver == "keithley2400":
        return SourceMeter2400(driver, **limits)
    if isinstance(pulser, Pulser2450):
        limits |= {"pulse_limit_v": bench.limits.amplitude_v, "pulse_limit_a": pulser.limits.compliance_a}
    return SourceMeter2450(driver, **limits)


def _pulser(
    file: BenchFile, driver: Any, meter: SourceMeter2400 | SourceMeter2450
) -> tuple[PulseSource, dict[str, ReadsBack]]:
    """The pulser, and what of it can be read back beside the meter."""
    section, limit_v = file.bench.devices.pulser, _open_limit_v(file.bench)
    load = file.bench.path.displayed_load_ohm
    load_ohm = math.inf if isinstance(load, str) else load
    with _naming(file, "devices.pulser.limits.open_circuit"):
        if isinstance(section, Pulser33500):
            agilent = PulseGenerator33500(driver, limit_v=limit_v, load_ohm=load_ohm)
            return agilent, {"pulser": agilent}
        if isinstance(section, Pulser81160A):
            keysight = PulseGenerator81160A(driver, limit_v=limit_v, load_ohm=load_ohm)
            return keysight, {"pulser": keysight}
    if not isinstance(meter, SourceMeter2450):
        raise ValueError("a meter that cannot pulse")
    return meter.pulses(), {}


def _open_limit_v(bench: Bench) -> float:
    """The pulser's open-circuit limit: with it, not even an open cell sees more than limits.amplitude."""
    section, highest_v = bench.devices.pulses(), bench.limits.amplitude_v / bench.path.attenuation
    highest_v = min(highest_v, section.sheet.open_v.high)
    own_v = section.limits.open_circuit_v if isinstance(section, Pulser33500 | Pulser81160A) else None
    return min(own_v or highest_v, highest_v)


def _switch(bench: Bench, driver: Any, site: Site) -> MatrixSwitch7001 | MatrixSwitch2700 | MovedProbe:
    section = bench.devices.switch
    if section is None:
        raise ValueError("a bench without a switch")
    if not isinstance(section, Matrix):
        return MovedProbe(site.move, site.clock, settle_s=section.settle_s)
    make = MatrixSwitch7001 if section.driver == "keithley7001" else MatrixSwitch2700
    return make(driver, bench.joined(), site.clock, settle_s=section.settle_s)


def _magnet(bench: Bench, instruments: Instruments, clock: Clock) -> KepcoMagnet | YokogawaMagnet | None:
    field, section, meter = bench.field, bench.devices.magnet, bench.devices.gaussmeter
    if field is None or section is None:
        return None
    calibration = FieldCalibration(
        tesla_per_ampere=field.tesla_per_ampere,
        coil_ohm=field.coil_resistance_ohm,
        limit_a=bench.highest_field_t() / field.tesla_per_ampere,
        compliance_v=section.limits.voltage_v,
        ramp_a_per_s=field.ramp_a_per_s,
        ramp_step_a=field.ramp_step_a,
        settle_s=field.settle_s,
        polarity=field.polarity,
        standing_t=bench.conditions.bias_field_t,
    )
    make = MAGNETS[section.driver]
    if meter is None:
        return make(instruments["magnet"], calibration, clock)
    probe = Gaussmeter425(instruments["gaussmeter"], clock, full_scale_t=meter.full_scale_t)
    return make(instruments["magnet"], calibration, clock, probe)


def _capabilities(bench: Bench, chip_id: str) -> Capabilities:
    """What the bench can do for any sound cell: volts at the cell after the divider of its least resistance."""
    limits, field_t, crossbar = bench.limits, bench.highest_field_t(), bench.topology.crossbar()
    return Capabilities(
        chip_id=chip_id,
        cells=bench.cells,
        amplitude_v=_amplitudes(bench),
        width_s=bench.pulse_width_s(),
        read=ReadPulse(bench.read.amplitude_v, bench.read.width_s),
        read_amplitude_v=Range(min(0.01, bench.read.amplitude_v), limits.read_amplitude_v),
        reset=_reset(bench),
        reset_scope=Scope.ARRAY if bench.chip.reset is None else Scope.CELL,
        set_width_s=bench.chip.set_width_s,
        set_amplitude_v=Range(*bench.chip.set_amplitude_v),
        topology=bench.topology.kind,
        lines=None if crossbar is None else (crossbar.rows, crossbar.columns),
        field_t=Range(-field_t, field_t) if field_t else None,
        reads_in_field=bool(field_t),
    )


def _sound_ohm(bench: Bench) -> Range:
    """What a read of a sound cell can give; in a passive crossbar other paths lie beside the cell."""
    low_ohm, high_ohm = bench.chip.resistance_ohm
    return Range(0.0 if bench.topology.kind == "passive" else low_ohm, high_ohm)


def _amplitudes(bench: Bench) -> Range:
    sheet, path = bench.devices.pulses().sheet, bench.path.signal_path()
    reach_v = _open_limit_v(bench) * path.attenuation
    reach_v /= 1.0 + path.in_series_ohm / bench.chip.resistance_ohm[0]
    highest_v = min(reach_v, bench.limits.amplitude_v)
    return Range(-highest_v if sheet.bipolar else sheet.open_v.low * path.attenuation, highest_v)


def _reset(bench: Bench) -> Operation | None:
    """A pulse of the other polarity for bipolar cells, the magnet's field for the others."""
    if bench.chip.reset is not None:
        return VoltagePulse(bench.chip.reset.amplitude_v, bench.chip.reset.width_s)
    return None if bench.field is None else FieldPulse(bench.field.reset.field_t, bench.field.reset.width_s)


@contextmanager
def _naming(file: BenchFile, key: str) -> Iterator[None]:
    """A driver's refusal names the file's key."""
    try:
        yield
    except LimitExceeded as error:
        raise BadInput(f"{file.path}: {key}: {error}") from None
