"""A chip's life: a ledger of the pulses and energy that each cell has got, debited before anything is fired.

The ledger is a file per chip: a header of 4096 bytes (JSON), then pulses (uint64) and energies (float64, joule)
of all cells, little-endian. It is mapped into memory, so every count survives the program's death; it goes to
the disk when the session ends. Reads are not counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quest_lab.device import (
    Applied,
    Capabilities,
    Cells,
    Device,
    FieldPulse,
    Floats,
    Operation,
    Reading,
    ReadPulse,
    as_cells,
)
from quest_lab.errors import BadInput, DeviceError, LimitExceeded

VERSION = 1
HEADER_BYTES = 4096
_FORMAT = "quest-lab ledger"
_PULSES, _ENERGY = np.dtype("<u8"), np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a cell may get in its life; None leaves it free. `where` completes a key: "{} in bench.toml".

    Before a pulse its energy is taken as V^2 t / R at R = `energy_at_ohm`, a cell's least resistance.
    """

    pulses: int | None = None
    energy_j: float | None = None
    where: str = "{}"
    energy_at_ohm: float = np.inf


class Ledger:
    """What each cell of a chip has got: `pulses` and `energy_j`, shape (cells,). Open it with `open_ledger`."""

    def __init__(self, path: Path, chip_id: str, pulses: NDArray[np.uint64], energy_j: Floats) -> None:
        self.path, self.chip_id = path, chip_id
        self.pulses, self.energy_j = pulses, energy_j


@contextmanager
def open_ledger(path: Path, chip_id: str, cells: int) -> Iterator[Ledger]:
    """The chip's ledger, for this process alone; made if it is not there.

    Raises BadInput if it is another chip's, or no ledger; DeviceError if another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(path.name + ".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DeviceError(f"{path}: another quest-lab process is debiting this ledger") from None
    try:
        if not path.exists():
            _create(path, chip_id, cells)
        _check(path, _header(path), chip_id, cells)
        ledger = _mapped(path, chip_id, cells, "r+")
        yield ledger
        for counts in (ledger.pulses, ledger.energy_j):
            counts.flush()  # type: ignore[union-attr]  # memory-mapped
    finally:
        lock.release()


def read_ledger(path: Path) -> Ledger:
    """What a ledger says now, also while a session debits it. Raises BadInput."""
    if not path.is_file():
        raise BadInput(f"{path}: no such ledger; the chip's first session on hardware makes it")
    header = _header(path)
    return _mapped(path, header["chip_id"], header["cells"], "r")


class Budgeted:
    """A Device that debits `ledger` before each pulse and refuses what would exceed `budget`.

    What is known not to have been given is credited back; what may have been given stays debited.
    """

    def __init__(self, device: Device, ledger: Ledger, budget: Budget | None = None) -> None:
        self._device, self._ledger, self._budget = device, ledger, budget or Budget()

    @property
    def capabilities(self) -> Capabilities:
        return self._device.capabilities

    def pulses_left(self, cells: Cells) -> NDArray[np.int64]:
        """Pulses that each of `cells` may still get; the largest number where nothing limits them."""
        if self._budget.pulses is None:
            return np.full(len(cells), np.iinfo(np.int64).max)
        return np.maximum(self._budget.pulses - self._ledger.pulses[cells].astype(np.int64), 0)

    def energy_left_j(self, cells: Cells) -> Floats:
        """Energy in joule that each of `cells` may still get; infinite where nothing limits it."""
        if self._budget.energy_j is None:
            return np.full(len(cells), np.inf)
        return np.maximum(self._budget.energy_j - self._ledger.energy_j[cells], 0.0)

    def apply(self, operation: Operation, cells: Cells, *, then_read: bool = False) -> Applied:
        """As the device, or LimitExceeded before anything is sent. A field counts as a pulse of every cell."""
        cells = as_cells(cells, self.capabilities.cells)
        expected_j = self._expected_j(operation)
        self._check(cells, expected_j)
        self._debit(cells, 1, expected_j)
        try:
            applied = self._device.apply(operation, cells, then_read=then_read)
        except BadInput:  # refused before the wire
            self._debit(cells, -1, -expected_j)
            raise
        except DeviceError as error:
            spared = cells[~np.isin(cells, np.concatenate([error.delivered, error.ambiguous]))]
            self._debit(spared, -1, -expected_j)
            raise
        if not isinstance(operation, FieldPulse):
            self._ledger.energy_j[cells] += np.nan_to_num(applied.energy_j, nan=expected_j) - expected_j
        return applied

    def read(self, cells: Cells, at: ReadPulse | None = None) -> Reading:
        return self._device.read(cells, at)

    def safe_state(self) -> None:
        self._device.safe_state()

    def close(self) -> None:
        self._device.close()

    def _expected_j(self, operation: Operation) -> float:
        if isinstance(operation, FieldPulse):
            return 0.0  # it is the magnet's, not the cell's
        return operation.amplitude_v**2 * operation.width_s / self._budget.energy_at_ohm

    def _debit(self, cells: Cells, pulses: int, energy_j: float) -> None:
        counts = self._ledger.pulses
        counts[cells] = (counts[cells].astype(np.int64) + pulses).astype(_PULSES)
        self._ledger.energy_j[cells] += energy_j

    def _check(self, cells: Cells, more_j: float) -> None:
        ledger, budget = self._ledger, self._budget
        if budget.pulses is not None and (over := cells[ledger.pulses[cells] >= budget.pulses]).size:
            raise self._exceeded(over[0], f"{ledger.pulses[over[0]]} pulses given, 1 more asked", "pulses",
                                 f"{budget.pulses}")  # fmt: skip
        if budget.energy_j is None:
            return
        over = cells[ledger.energy_j[cells] + more_j > budget.energy_j]
        if over.size:
            given = f"{ledger.energy_j[over[0]]:g} J given, up to {more_j:g} J more asked"
            raise self._exceeded(over[0], given, "energy", f"{budget.energy_j:g} J")

    def _exceeded(self, cell: Any, what: str, key: str, limit: str) -> LimitExceeded:
        where = self._budget.where.format(f"limits.{key}_per_cell = {limit}")
        return LimitExceeded(f"cell {cell}: {what}, {where} (ledger {self._ledger.path.name})")


def _create(path: Path, chip_id: str, cells: int) -> None:
    """Whole or not at all: written beside it, then renamed."""
    header = json.dumps({"format": _FORMAT, "version": VERSION, "chip_id": chip_id, "cells": cells})
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(header.encode().ljust(HEADER_BYTES, b"\n"))
        file.write(bytes(cells * (_PULSES.itemsize + _ENERGY.itemsize)))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(HEADER_BYTES)
    try:
        header = json.loads(text)
        known = header["format"] == _FORMAT and header["version"] == VERSION
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise BadInput(f"{path}: no ledger of version {VERSION}")
    size = HEADER_BYTES + header["cells"] * (_PULSES.itemsize + _ENERGY.itemsize)
    if path.stat().st_size != size:
        raise BadInput(f"{path}: damaged ledger: {path.stat().st_size} bytes, not {size}")
    return dict(header)


def _check(path: Path, header: dict[str, Any], chip_id: str, cells: int) -> None:
    if header["chip_id"] != chip_id:
        raise BadInput(f"{path}: is the ledger of chip {header['chip_id']}, not of {chip_id}")
    if header["cells"] != cells:
        raise BadInput(f"{path}: counts {header['cells']} cells, the chip has {cells}")


def _mapped(path: Path, chip_id: str, cells: int, mode: Any) -> Ledger:
    pulses = np.memmap(path, _PULSES, mode, HEADER_BYTES, (cells,))
    energy_j = np.memmap(path, _ENERGY, mode, HEADER_BYTES + cells * _PULSES.itemsize, (cells,))
    return Ledger(path, chip_id, pulses, energy_j)
