"""Keys of a bench file that are right alone and wrong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quest_lab import datasheets
from quest_lab.benchdevices import Board, Probe, Pulser2450, Pulser81160A
from quest_lab.benchtopology import indistinct, misplaced
from quest_lab.examples import BIPOLAR

if TYPE_CHECKING:
    from quest_lab.benchmodel import Bench


def contradictions(bench: Bench) -> Iterator[str]:
    """What is wrong, in words that name keys and values."""
    yield from _path(bench)
    yield from _places(bench)
    yield from _limits(bench)
    yield from _life(bench)
    yield from _reset(bench)
    yield from _field(bench)
    yield from _topology(bench)


def _path(bench: Bench) -> Iterator[str]:
    path, pulses = bench.signal_path, bench.devices.pulses()
    if isinstance(pulses, Board):
        if path is not None:
            yield "signal_path: a board's volts are volts at the cell; want no such section"
        return
    if path is None:
        yield "signal_path: missing section"
        return
    load = path.displayed_load_ohm
    if isinstance(pulses, Pulser81160A) and load == "infinite":
        low, high = datasheets.LOAD_81160A_OHM.low, datasheets.LOAD_81160A_OHM.high
        yield f'signal_path.displayed_load = "infinite": an 81160A is told {low:g} to {high:g} ohm'
    if isinstance(pulses, Pulser2450) and (load != "infinite" or path.source_impedance_ohm):
        yield (
            "signal_path: a 2450 regulates the volts at its terminals; want source_impedance = "
            '"0 ohm" and no displayed_load'
        )


def _places(bench: Bench) -> Iterator[str]:
    wiring, grid, switch = bench.wiring, bench.grid, bench.devices.switch
    counted = isinstance(wiring.cells, int)
    if counted != isinstance(switch, Probe):
        want = "how many cells there are" if counted is False else f"places like {grid.words}"
        yield f"wiring.cells={wiring.cells!r}: want {want} with this switch"
        return
    for first, second in wiring.places:
        if not (1 <= first <= grid.firsts and 1 <= second <= grid.seconds):
            yield (
                f"wiring.cells: '{first}!{second}': want {grid.words}, {grid.words.split('!')[0]}s 1 to "
                f"{grid.firsts}, {grid.words.split('!')[-1]}s 1 to {grid.seconds}"
            )
    rows = {"pulser_row", "meter_row"}
    if isinstance(switch, Probe) or switch is None:
        for row in sorted(rows & wiring.model_fields_set):
            yield f"wiring.{row}: only a matrix has rows"
        return
    for row in sorted(rows):
        if not 1 <= getattr(wiring, row) <= grid.rows:
            yield f"wiring.{row}={getattr(wiring, row)}: a {switch.driver} has rows 1 to {grid.rows}"
    if wiring.pulser_row == wiring.meter_row:
        yield f"wiring: pulser_row and meter_row are both {wiring.pulser_row}: they would be joined"


def _limits(bench: Bench) -> Iterator[str]:
    limits, sheet, chip = bench.limits, bench.devices.pulses().sheet, bench.chip
    if bench.read.amplitude_v > limits.read_amplitude_v:
        yield (
            f"read.amplitude={bench.read.amplitude_v:g} V: above limits.read_amplitude="
            f"{limits.read_amplitude_v:g} V"
        )
    if chip.set_amplitude_v[1] > limits.amplitude_v:
        yield (
            f"chip.set_amplitude={chip.set_amplitude_v[1]:g} V: above limits.amplitude={limits.amplitude_v:g} V"
        )
    for key, low, high in (
        ("limits.width=", *limits.width_s),
        (f"what a {sheet.name} gives, ", sheet.width_s.low, sheet.width_s.high),
    ):
        if not low <= chip.set_width_s <= high:
            yield f"chip.set_width={chip.set_width_s:g} s: outside {key}{low:g} to {high:g} s"
    if chip.set_width_s < (narrowest_s := bench.path.narrowest_s):
        yield (
            f"chip.set_width={chip.set_width_s:g} s: below {narrowest_s:g} s, two rise times of "
            f"signal_path.bandwidth={bench.path.bandwidth_hz:g} Hz"
        )


def _life(bench: Bench) -> Iterator[str]:
    limits = bench.limits
    if bench.chip.ledger is None and (limits.pulses_per_cell or limits.energy_per_cell_j):
        yield "limits.pulses_per_cell, limits.energy_per_cell: need chip.ledger, which counts"


def _reset(bench: Bench) -> Iterator[str]:
    reset, sheet, limits = bench.chip.reset, bench.devices.pulses().sheet, bench.limits
    if (reset is None) == (bench.field is None):
        yield "chip.reset and field.reset: want one of them, the pulse or the field that empties the cells"
    bipolar = bench.twin.preset in BIPOLAR
    if bipolar != (reset is not None):
        empties = "chip.reset" if bipolar else "field.reset"
        yield f'twin.preset = "{bench.twin.preset}": such cells are emptied by {empties}'
    if reset is None:
        return
    if not sheet.bipolar:
        yield f"chip.reset: a {sheet.name} gives pulses of one polarity on this bench"
    if not -limits.amplitude_v <= reset.amplitude_v < 0.0:
        yield (
            f"chip.reset.amplitude={reset.amplitude_v:g} V: want below 0 V and at least "
            f"-{limits.amplitude_v:g} V (limits.amplitude)"
        )
    allowed = bench.pulse_width_s()
    if not allowed.low <= reset.width_s <= allowed.high:
        yield f"chip.reset.width={reset.width_s:g} s: outside {allowed.low:g} to {allowed.high:g} s"


def _field(bench: Bench) -> Iterator[str]:
    field, standing_t = bench.field, bench.conditions.bias_field_t
    if (field is None) != (bench.devices.magnet is None):
        yield "devices.magnet and field: a bench has both or neither"
    if field is None or bench.devices.magnet is None:
        return
    reach_t, reset_t = bench.highest_field_t(), field.reset.field_t
    if abs(reset_t) > reach_t * (1 + 1e-9):
        yield (
            f"field.reset.field={reset_t:g} T: above {reach_t:g} T, the least of "
            "limits.field and devices.magnet.limits.current times field.tesla_per_ampere"
        )
    if standing_t * reset_t > 0.0 and abs(standing_t) >= abs(reset_t):
        yield f"conditions.bias_field={standing_t:g} T: would empty the cells as field.reset={reset_t:g} T does"
    supply = bench.devices.magnet.limits
    needed_v = reach_t / field.tesla_per_ampere * field.coil_resistance_ohm
    if needed_v > supply.voltage_v * (1 + 1e-9):
        yield (
            f"devices.magnet.limits.voltage={supply.voltage_v:g} V: the highest field of this bench needs "
            f"{needed_v:.4g} V in field.coil_resistance={field.coil_resistance_ohm:g} ohm"
        )
    meter = bench.devices.gaussmeter
    if meter is not None and meter.full_scale_t < reach_t + abs(standing_t):
        yield (
            f"devices.gaussmeter.full_scale={meter.full_scale_t:g} T: does not hold "
            f"{reach_t + abs(standing_t):g} T, the highest field of this bench"
        )


def _topology(bench: Bench) -> Iterator[str]:
    if bench.topology.kind != "passive":
        return
    yield from indistinct(bench.topology, bench.chip.states_ohm)
    if bench.devices.board is None:
        yield (
            'topology.kind = "passive": a matrix leaves the lines of a crossbar unbiased; want a board that '
            "drives them"
        )
        return
    yield from misplaced(bench.topology, bench.wiring.places)
