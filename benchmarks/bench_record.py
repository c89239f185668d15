"""How fast a run file books events, beside one h5py write of the same bytes.

Prints rows per second and the share of the plain write's speed; `python benchmarks/bench_record.py`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from quest_lab.record import RunWriter
from quest_lab.schema import Kind, Op, Origin, Outcome

EVENTS = 4_000_000
REPEATS = 5


def plain(path: Path, cells: np.ndarray, energies: np.ndarray) -> float:
    """Seconds for the same 8 bytes an event, in one write of each column, flushed."""
    with h5py.File(path, "w") as file:
        start = time.perf_counter()
        file["cell"] = cells.astype(np.uint32)
        file["energy_j"] = energies.astype(np.float32)
        file.flush()
        return time.perf_counter() - start


def booked(path: Path, cells: np.ndarray, energies: np.ndarray, batch: int) -> float:
    """Seconds to book calls of `batch` cells each, flushed; making the file is not counted."""
    with RunWriter.create(path, kind="bench", title="", seed=0, settings={}) as run:
        start = time.perf_counter()
        for first in range(0, len(cells), batch):
            some, spent = cells[first : first + batch], energies[first : first + batch]
            run.call(Kind.APPLY, Op.VOLTAGE, Outcome.DONE, Origin.COMPUTED, 0.5, 1e-8, 0.0, some, spent)
        run.flush()
        return time.perf_counter() - start


def best(action: Callable[[Path], float], folder: Path) -> float:
    """Best of some runs, each into a new file."""
    times = []
    for number in range(REPEATS):
        times.append(action(folder / f"{number}.h5"))
        (folder / f"{number}.h5").unlink()
    return min(times)


def main() -> None:
    print(f"{'cells a call':>14} {'events/s':>12} {'MB/s':>8} {'of one write':>13}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for batch, events in ((1, 300_000), (64, 2_000_000), (10_000, EVENTS), (1_000_000, EVENTS)):
            cells = np.arange(events) % 1_000_000
            energies = np.full(events, 1e-12)
            one = best(lambda p, c=cells, e=energies: plain(p, c, e), folder)  # type: ignore[misc]
            own = best(lambda p, c=cells, e=energies, b=batch: booked(p, c, e, b), folder)  # type: ignore[misc]
            print(f"{batch:>14} {events / own:>12.3g} {events * 8e-6 / own:>8.0f} {one / own:>13.3f}")


if __name__ == "__main__":
    main()
