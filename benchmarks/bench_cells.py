"""One pulse and one read of a million simulated cells, beside the same law in plain numpy and a memory copy.

    python benchmarks/bench_cells.py [--cells 1000000] [--rounds 9]

The variants alternate in one process (A B C A B C ...), so that slow phases of the machine hit all of them;
ratios are medians of paired ratios. Times depend on the machine, the ratios much less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from quest_lab.clock import VirtualClock
from quest_lab.device import FieldPulse, ReadPulse, VoltagePulse
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ, thresholds_v, tmr_at

PULSE, RESET = VoltagePulse(0.6, 20e-9), FieldPulse(0.1, 10e-3)


class PlainNumpy:
    """The same law, written as one would in numpy: float32 columns, a generator instead of keyed draws."""

    def __init__(self, model: SkMTJ, cells: int) -> None:
        self.model, self.rng = model, np.random.default_rng(1)
        z = self.rng.standard_normal((3, cells), np.float32)
        self.shift = np.float32(model.d_cell) * z[0]
        self.r0 = np.float32(model.r0_ohm) * (1 + np.float32(model.r0_spread) * z[1])
        self.tmr = np.float32(model.tmr) * (1 + np.float32(model.tmr_spread) * z[2])
        self.state, self.zeta = np.zeros(cells, np.uint8), np.zeros(cells, np.float32)

    def reset(self) -> None:
        self.state[:], self.zeta[:] = 0, 0

    def resistance(self, cells: np.ndarray, bias_v: float) -> np.ndarray:
        swing = self.tmr[cells] * np.float32(tmr_at(self.model, bias_v) / len(self.model.set_v))
        return self.r0[cells] * (1 + swing * (self.state[cells] + self.zeta[cells]))

    def pulse(self, cells: np.ndarray, pulse: VoltagePulse) -> np.ndarray:
        m = self.model
        energy = pulse.amplitude_v**2 * pulse.width_s / self.resistance(cells, pulse.amplitude_v)
        xi = np.float32(m.xi_pulse) * self.rng.standard_normal(cells.size, np.float32)
        scale = 1 + self.shift[cells] + xi
        reached = np.zeros(cells.size, np.uint8)
        for threshold in thresholds_v(m, pulse.width_s).astype(np.float32):
            reached += pulse.amplitude_v >= threshold * scale
        before = self.state[cells]
        moved = reached > before
        self.state[cells] = np.maximum(before, reached)
        landing = np.float32(m.residual_states) * self.rng.standard_normal(cells.size, np.float32)
        self.zeta[cells] = np.where(moved, landing, self.zeta[cells])
        return energy

    def read(self, cells: np.ndarray, at: ReadPulse) -> np.ndarray:
        noise = np.float32(self.model.read_noise) * self.rng.standard_normal(cells.size, np.float32)
        return self.resistance(cells, at.amplitude_v) * (1 + noise)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(title: str, cells: np.ndarray, total: int, rounds: int) -> None:
    model = SkMTJ.preset("scaled")
    chip = SimulatedChip(CellArray(model, total, seed=1), VirtualClock())
    plain, everyone = PlainNumpy(model, total), np.arange(total)
    columns = np.zeros(21 * cells.size, np.uint8)  # 21 bytes a cell: all columns of the simulated chip
    target = np.empty_like(columns)
    rows: dict[str, list[float]] = {
        k: [] for k in ("chip pulse", "numpy pulse", "chip read", "numpy read", "copy")
    }
    for i in range(rounds + 2):
        chip.apply(RESET, everyone)
        plain.reset()
        once = {
            "chip pulse": timed(lambda: chip.apply(PULSE, cells)),
            "numpy pulse": timed(lambda: plain.pulse(cells, PULSE)),
            "chip read": timed(lambda: chip.read(cells)),
            "numpy read": timed(lambda: plain.read(cells, model.read)),
            "copy": timed(lambda: np.copyto(target, columns)),
        }
        if i >= 2:  # the first rounds compile and warm up
            for name, seconds in once.items():
                rows[name].append(seconds)
    chip.close()
    print(f"\n{title}: {cells.size} of {total} cells, {rounds} rounds")
    for name, seconds in rows.items():
        print(
            f"  {name:12s} {np.median(seconds) * 1e3:8.2f} ms {cells.size / np.median(seconds) / 1e6:9.1f} M cells/s"
        )
    for what in ("pulse", "read"):
        ratio = np.median(np.array(rows[f"numpy {what}"]) / np.array(rows[f"chip {what}"]))
        floor = np.median(np.array(rows[f"chip {what}"]) / np.array(rows["copy"]))
        print(f"  {what}: {ratio:.1f} times as fast as plain numpy; {floor:.1f} memory copies")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    everyone = np.arange(given.cells)
    compare("all cells", everyone, given.cells, given.rounds)
    some = np.sort(np.random.default_rng(0).choice(given.cells, given.cells // 10, replace=False))
    compare("a random tenth", some, given.cells, given.rounds)


if __name__ == "__main__":
    main()
