"""An ArC ONE as a Device: the real driver on the virtual board, with a magnet beside it or alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pymeasure.instruments.kepco import KepcoBOP3612

from quest_lab.clock import Clock, WallClock
from quest_lab.device import Capabilities, FieldPulse, Operation, Range, ReadPulse, VoltagePulse
from quest_lab.instruments.arcone import MINIMUM_WIDTH_S, RESET_S, ArcOneAccess, Port, open_port
from quest_lab.instruments.bench import BenchDevice
from quest_lab.instruments.kepco import FieldCalibration, KepcoMagnet
from quest_lab.instruments.visa import open_instrument
from quest_lab.sim.arcone import READ_S
from quest_lab.sim.arcone_laboratory import ArcOneLaboratory, arcone_laboratory
from quest_lab.sim.serial_port import PseudoTerminal
from quest_lab.sim.virtual import MAGNET

CELL_LIMIT_V = 1.0
READ = ReadPulse(0.1, READ_S)
LONGEST_PULSE_S = 10e-3


def open_virtual_arcone(
    *, magnet: bool, cells: int = 16, seed: int = 0, cells_file: Path | None = None
) -> tuple[BenchDevice, Clock]:
    """An ArC ONE over simulated cells, set up and safe. `magnet`: Sk-MTJ cells, else domain walls."""
    laboratory = arcone_laboratory(magnet=magnet, cells=cells, seed=seed, cells_file=cells_file)
    return control(laboratory), laboratory.world.clock


def open_terminal_arcone(
    *, magnet: bool, cells: int = 16, seed: int = 0, reset_s: float = RESET_S
) -> tuple[BenchDevice, Clock]:
    """As `open_virtual_arcone`, in real time over a pseudo terminal: the way of a board on a cable.

    The board starts in a tenth of the `reset_s` that the driver waits: a busy machine may run it late.
    """
    laboratory = arcone_laboratory(
        magnet=magnet, cells=cells, seed=seed, clock=WallClock(), boot_s=0.1 * reset_s, strict=False
    )
    terminal = PseudoTerminal(laboratory.board)

    def release() -> None:
        terminal.close()
        laboratory.close()

    port = open_port(terminal.address, virtual=True)
    return control(laboratory, port, reset_s=reset_s, release=release), laboratory.world.clock


def control(
    laboratory: ArcOneLaboratory,
    port: Port | None = None,
    *,
    reset_s: float = RESET_S,
    release: Callable[[], None] | None = None,
) -> BenchDevice:
    """Drivers on a laboratory; `port` defaults to the one in process, `release` to closing the laboratory."""
    clock = laboratory.world.clock
    array = laboratory.world.array
    magnet = None
    if laboratory.has_magnet:
        supply = open_instrument(KepcoBOP3612, MAGNET, laboratory.library)
        magnet = KepcoMagnet(supply, FieldCalibration(), clock)
    access = ArcOneAccess(port or laboratory.port, clock, cells=array.cells, read=READ, reset_s=reset_s)
    device = BenchDevice(
        access,
        magnet,
        _capabilities(laboratory, magnet),
        nominal_ohm=array.model.r0_ohm,
        release=release or laboratory.close,
    )
    device.set_up()
    return device


def _capabilities(laboratory: ArcOneLaboratory, magnet: KepcoMagnet | None) -> Capabilities:
    model = laboratory.world.array.model
    limit_t = magnet.calibration.limit_t if magnet else 0.0
    return Capabilities(
        chip_id=laboratory.world.array.chip_id,
        cells=laboratory.world.array.cells,
        amplitude_v=Range(-CELL_LIMIT_V, CELL_LIMIT_V),
        width_s=Range(MINIMUM_WIDTH_S, LONGEST_PULSE_S),
        read=READ,
        read_amplitude_v=Range(0.01, READ.amplitude_v),
        reset=_reset(model.reset),
        reset_scope=model.reset_scope,
        set_width_s=max(model.t_ref_s, MINIMUM_WIDTH_S),
        field_t=Range(-limit_t, limit_t) if magnet else None,
    )


def _reset(wanted: Operation) -> Operation:
    """The cells' reset, no shorter than the board can pulse."""
    if isinstance(wanted, FieldPulse):
        return wanted
    return VoltagePulse(wanted.amplitude_v, max(wanted.width_s, MINIMUM_WIDTH_S))
