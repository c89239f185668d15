"""A session: a device with its clock, a way to stop, a way to tell progress, and the run it is booked in.

`open_bench` is the one place that turns a name into a device, and the one place that switches it off again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quest_lab.budget import Budget, Budgeted, open_ledger
from quest_lab.clock import Clock, VirtualClock
from quest_lab.device import Cells, Device
from quest_lab.errors import BadInput, Interrupted
from quest_lab.examples import PRESETS, Preset, example_benches
from quest_lab.limits import Limited, Limits
from quest_lab.record import Recorded, RunWriter
from quest_lab.recovery import Leftover, leftovers
from quest_lab.recovery import recover as read_in_doubt

_STOPPING = b"\nstopping after the write-read pair in hand; once more stops at once\n"


class Stop:
    """A wish to stop, set from anywhere: another thread, a signal handler."""

    def __init__(self) -> None:
        self.requested = False  # a plain bool: setting it is safe even inside a signal handler

    def request(self) -> None:
        self.requested = True

    def check(self) -> None:
        """Raise Interrupted if someone asked; call it between one write-read pair and the next."""
        if self.requested:
            raise Interrupted("stopped on request; what was done is recorded")


class Progress(Protocol):
    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` steps of `what`."""
        ...


def no_progress(what: str, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass
class Session:
    """What a protocol needs, and all it may know."""

    device: Device
    clock: Clock
    stop: Stop = field(default_factory=Stop)
    progress: Progress = no_progress
    seed: int = 0
    run: RunWriter | None = None
    truth: Callable[[Cells], NDArray[np.int8]] | None = None  # true states, where the cells are simulated
    pulses_left: Callable[[Cells], NDArray[np.int64]] | None = (
        None  # of each cell's life, where a ledger counts
    )
    energy_left_j: Callable[[Cells], NDArray[np.float64]] | None = None


_Opener: TypeAlias = Callable[[int, int, Path | None], tuple[Device, Clock]]


def _open_chip(preset: Preset) -> _Opener:
    def open_(cells: int, seed: int, cells_file: Path | None) -> tuple[Device, Clock]:
        from quest_lab.sim.chip import SimulatedChip
        from quest_lab.sim.presets import cells_of

        clock = VirtualClock()
        chip_id = f"{preset}-{cells}-seed{seed}"
        array = cells_of(preset, cells, seed=seed, path=cells_file, chip_id=chip_id)
        return SimulatedChip(array, clock), clock

    return open_


BENCHES: Mapping[str, tuple[_Opener, int]] = {  # simulated chips by name: opener, cells by default
    preset: (_open_chip(preset), 4096) for preset in PRESETS
}


@contextmanager
def open_bench(
    name: str | Path,
    *,
    cells: int | None = None,
    seed: int | None = None,
    cells_file: Path | str | None = None,
    run: Path | str | RunWriter | None = None,
    kind: str = "session",
    title: str = "",
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    each_call: bool = False,
    limits: Limits | None = None,
    progress: Progress = no_progress,
    hardware: bool = False,
    log_wire: bool | None = None,
    ledger: Path | str | None = None,
    budget: Budget | None = None,
    recover: bool = False,
    dry_run: bool = False,
) -> Iterator[Session]:
    """A session on the bench `name`; outputs are off and everything is closed however the block is left.

    `name`: one of BENCHES, or a bench file by its path (`.toml`) or, of the examples, by its name: then its
    simulated twin, or with `hardware=True` its instruments, if they answer as the file says. `cells` (of a bench
    file, at most those wired) and `seed` go before what a bench file says of its twin; elsewhere the seed is 0
    by default. `run`: a path starts a run file (of `kind`, `title`, `settings`) and finishes it, or with
    `resume` goes on with one that was cut off; a RunWriter stays its owner's. A run that is refused (BadInput) before
    any cell is reached leaves no file. `each_call`: a kill loses no call on a simulated chip either. `log_wire`: keep
    every exchange with the instruments in the run's `visa` table (default: on hardware). `ledger`: counts what each
    cell gets (default: on hardware the bench file's `chip.ledger`), up to `budget` (default: the bench file's).
    `recover`: cells that a cut-off run at `run` left in doubt are read first; without it such a run is in the way.
    `dry_run`: the simulated twin stands for the bench file's instruments and chip, and no ledger is debited. Raises
    BadInput for an unknown name, naming the known ones.
    """
    chosen = _choose(name, cells, seed, hardware=hardware, dry_run=dry_run)
    if budget is not None and not (ledger or chosen.ledger):
        raise BadInput("budget: needs a ledger, which counts what each cell gets")
    stop, seed = Stop(), chosen.seed
    with ExitStack() as stack:
        left: list[Leftover] = []
        if isinstance(run, Path | str):
            if not resume:
                left = leftovers(Path(run), chosen.said.get("chip_id"), recover=recover)
            said = {**chosen.said, "seed": seed, **(settings or {})}
            if resume:
                run = RunWriter.resume(run, kind=kind, seed=seed, settings=said)
            else:
                run = RunWriter.create(
                    run, kind=kind, title=title, seed=seed, settings=said, overwrite=overwrite,
                    origin=chosen.origin,
                )  # fmt: skip
            stack.enter_context(run)
        wire = run if (hardware if log_wire is None else log_wire) else None
        bare, clock = chosen.open(None if cells_file is None else Path(cells_file), wire)
        stack.enter_context(stop_on_signals(stop, bare))  # left last: none may cut switching off short
        stack.callback(switch_off, bare)
        device: Device = Limited(bare, limits)
        if chosen.limits is not None:
            device = Limited(device, chosen.limits)
        pulses_left = energy_left_j = None
        if path := ledger or chosen.ledger:
            can = device.capabilities
            counted = stack.enter_context(open_ledger(Path(path), can.chip_id, can.cells))
            device = budgeted = Budgeted(device, counted, budget or chosen.budget)
            pulses_left, energy_left_j = budgeted.pulses_left, budgeted.energy_left_j
        if run is not None:
            if each_call and device.capabilities.simulated:
                run.keep_each_call()
            device = Recorded(device, run, clock)
            read_in_doubt(device, run, left)
        truth = getattr(bare, "true_states", None)
        yield Session(device, clock, stop, progress, seed, run, truth, pulses_left, energy_left_j)


def is_bench_file(name: str) -> bool:
    """Whether a bench's name means a file."""
    return name.endswith(".toml")


@dataclass(frozen=True)
class _Chosen:
    """A bench, not open yet: how to open it, its seed, what a run says of it, its own limits."""

    open: Callable[[Path | None, RunWriter | None], tuple[Device, Clock]]
    seed: int
    said: Mapping[str, Any]
    origin: Mapping[str, str] = field(default_factory=dict)
    limits: Limits | None = None
    budget: Budget | None = None
    ledger: Path | None = None


def _choose(
    name: str | Path, cells: int | None, seed: int | None, *, hardware: bool, dry_run: bool
) -> _Chosen:
    """The bench of this name, or of the bench file at this path."""
    name, examples = str(name), example_benches()
    if cells is not None and cells < 1:
        raise BadInput(f"cells={cells}: a bench needs at least 1 cell")
    if is_bench_file(name) or name in examples:
        path = examples.get(name, Path(name))
        return _choose_file(path, bench_name(name), cells, seed, hardware=hardware, dry_run=dry_run)
    if name not in BENCHES:
        known = ", ".join(sorted([*BENCHES, *examples]))
        raise BadInput(f"bench {name!r}: not known; there are {known}, and bench files (.toml)")
    if hardware or dry_run:
        option = "--hardware" if hardware else "--dry-run"
        raise BadInput(f"bench {name!r}: is simulated; {option} needs a bench file")
    opener, default_cells = BENCHES[name]
    count, seed = default_cells if cells is None else cells, seed or 0
    return _Chosen(lambda path, _run: opener(count, seed, path), seed, {"bench": name, "cells": count})


def bench_name(name: str) -> str:
    """A bench as runs call it: a bench file without its folder."""
    return Path(name).name if is_bench_file(name) else name


def _choose_file(
    path: Path, name: str, cells: int | None, seed: int | None, *, hardware: bool, dry_run: bool
) -> _Chosen:
    from quest_lab.benches import bench_budget, bench_limits, chip_id, ledger_of, open_file_bench
    from quest_lab.benchfile import load_bench

    file = load_bench(path)
    wired = file.bench.cells
    if hardware and cells not in (None, wired):
        raise BadInput(f"cells={cells}: {file.path.name} wires {wired} cells, and all of them are there")
    file = file if hardware else file.with_twin(cells=cells, seed=seed)
    conditions = file.bench.conditions

    def open_(cells_file: Path | None, run: RunWriter | None) -> tuple[Device, Clock]:
        if cells_file is not None and hardware and not dry_run:
            raise BadInput(f"{cells_file}: a file of simulated cells has no meaning on hardware")
        heard = None if run is None else run.wire
        log = None if run is None else run.path.with_name(run.path.name + ".watchdog.log")
        if dry_run:
            return open_file_bench(file, cells_file=cells_file, heard=heard, posing=hardware)
        return open_file_bench(file, hardware=hardware, cells_file=cells_file, heard=heard, log=log)

    said = {
        "bench": name,
        "cells": file.bench.cells,
        "hardware": hardware,
        "chip_id": chip_id(file.bench, hardware=hardware),
        "temperature_k": conditions.temperature_k,
        "bias_field_t": conditions.bias_field_t,
        "topology": file.bench.topology.kind,
    }
    chosen_seed = file.bench.twin.seed if seed is None else seed
    ledger = ledger_of(file) if hardware and not dry_run else None
    return _Chosen(
        open_, chosen_seed, said, file.provenance(), bench_limits(file), bench_budget(file), ledger
    )


def switch_off(device: Device) -> None:
    """Outputs off, then close; the second happens even if the first fails."""
    try:
        device.safe_state()
    finally:
        device.close()


@contextmanager
def stop_on_signals(stop: Stop, device: Device | None = None) -> Iterator[None]:
    """First Ctrl-C (SIGTERM, SIGHUP): ask to stop. Second: outputs off, KeyboardInterrupt. Third: as before.

    Only in the main thread, where Python delivers signals; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        before.clear()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if not stop.requested:
            stop.request()
            os.write(2, _STOPPING)  # print may be in use where the signal struck
            return
        restore()
        with suppress(Exception):  # whatever the device says now, the user wants out
            if device is not None:
                device.safe_state()
        raise KeyboardInterrupt

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
