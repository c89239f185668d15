"""The world behind the virtual instruments: cells, wires, magnet, clock.

Instrument models call it with what leaves their terminals; it answers with what the physics says, and keeps
`violations`: bad practice that would wear or kill a real bench. Tests want that list empty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from quest_lab.clock import Clock
from quest_lab.device import Cells, Floats, ReadPulse
from quest_lab.fixture import Crosspoint, SignalPath, Wiring
from quest_lab.sim.array import SimulatedCells
from quest_lab.sim.magnet import Coil, Magnet

OPEN_CIRCUIT_OHM, SHORT_OHM = 1e12, 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these it is bad practice (read disturb, relays, breakdown). Assumed."""

    cell_v: float = 1.05
    read_v: float = 0.1
    read_on_s: float = 0.05
    relay_settle_s: float = 3e-3
    open_magnet_a: float = 0.01


@dataclass(frozen=True, slots=True)
class Delivered:
    """A pulse that really reached a cell."""

    at_s: float
    cell: int
    volts: float
    width_s: float


@dataclass(slots=True)
class Defects:
    """What is broken; may change at any time. A relay that sticks shows it when it should move next."""

    stuck_open: set[Crosspoint] = field(default_factory=set)
    stuck_closed: set[Crosspoint] = field(default_factory=set)
    open_cells: set[int] = field(default_factory=set)
    shorted_cells: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Source:
    """A source that may stand on the cells; its volts have acted on them up to `counted_to`."""

    row: int
    on: bool = False
    volts: float = 0.0
    on_since: float = 0.0
    counted_to: float = 0.0


class World:
    """State of the virtual laboratory. `path` is the true signal path, whatever the bench believes."""

    def __init__(
        self,
        array: SimulatedCells,
        clock: Clock,
        wiring: Wiring,
        *,
        path: SignalPath | None = None,
        coil: Coil | None = None,
        limits: Limits | None = None,
        meter_noise: np.random.Generator | None = None,
    ) -> None:
        self.array, self.clock, self.wiring = array, clock, wiring
        self.path = path or SignalPath()
        self.limits = limits or Limits()
        self.magnet = Magnet(coil or Coil())
        self.meter_noise = meter_noise
        self.defects = Defects()
        self.closed: frozenset[Crosspoint] = frozenset()
        self.probed: int | None = None  # the cell under the probe, where there is one instead of a matrix
        self.violations: list[str] = []
        self.delivered: deque[Delivered] = deque(maxlen=100_000)
        self.pulser, self.meter = Source(wiring.pulser_row), Source(wiring.meter_row)
        self._settled_at = 0.0
        self._lived_to_s = clock.now()
        self.magnet_on = False

    @property
    def outputs_off(self) -> bool:
        """Whether nothing is energised: sources off, matrix open, no current in the magnet."""
        quiet = not (self.pulser.on or self.meter.on or self.closed)
        return quiet and self.magnet.current_a(self.clock.now()) == 0.0

    def on_row(self, row: int) -> Cells:
        """Cells, open ones left out, that the matrix joins to this row; a probe joins its cell to every row."""
        joined = {self.wiring.cell(point) for point in self.closed if point[1] == row}
        cells = joined if self.probed is None else {self.probed}
        return np.array(sorted(c for c in cells - self.defects.open_cells if c is not None), np.int64)

    def switch(self, closed: frozenset[Crosspoint]) -> None:
        """The matrix now has exactly these relays closed, if none of them sticks."""
        closed = closed - self.defects.stuck_open | (self.closed & self.defects.stuck_closed)
        if closed == self.closed:
            return
        for name, source in (("pulser", self.pulser), ("meter", self.meter)):
            if source.on:
                self.violate(f"hot switching: matrix moved with the {name}'s output on")
            self._account(source)
        self.closed = closed
        self._settled_at = self.clock.now() + self.limits.relay_settle_s

    def land(self, cell: int) -> None:
        """The probe now stands on this cell: pulser and meter are both joined to it."""
        for name, source in (("pulser", self.pulser), ("meter", self.meter)):
            if source.on:
                self.violate(f"probe moved with the {name}'s output on")
            self._account(source)
        self.probed = cell
        self._settled_at = self.clock.now() + self.limits.relay_settle_s

    def drive(self, source: Source, on: bool, volts: float) -> None:
        """A source's output turns on or off, or its standing volts change (open-circuit volts)."""
        self._account(source)
        if on and not source.on:
            source.on_since = self.clock.now()
        source.on, source.volts = on, volts

    def pulse(
        self, open_v: float, width_s: float, limit_a: float = np.inf, path: SignalPath | None = None
    ) -> tuple[float, float]:
        """The pulser, on, gives one pulse of these open-circuit volts, or less where its current limits it.

        `path`: that of a source which does not take the pulser's. Returns volts at the cells and ampere.
        """
        self._account(self.pulser)
        cells = self.on_row(self.pulser.row)
        self._check_settled("pulse")
        if self.probed is not None and self.meter.on:
            self.violate("pulse while the meter's output is on")
        elif self.probed is None and self.on_row(self.meter.row).size:
            self.violate("pulse while the meter is connected")
        volts, ampere = open_v, 0.0
        if cells.size:
            ohm = self._parallel(cells)
            volts = (path or self.path).cell_v(open_v, ohm)
            if np.isfinite(limit_a):
                volts = float(np.clip(volts, -limit_a * ohm(volts), limit_a * ohm(volts)))
            ampere = volts / ohm(volts)  # the law's pulse energy is that of the state before it, too
            self._deliver(cells, volts, width_s)
        self.clock.sleep(width_s)
        self.pulser.counted_to = self.clock.now()
        return volts, ampere

    def measure(self, volts: float, limit_a: float, seconds: float) -> tuple[float, float]:
        """The meter, on, sources volts for `seconds`; returns volts and ampere at its terminals."""
        self._account(self.meter)
        cells = self.on_row(self.meter.row)
        self._account_magnet()
        self._check_settled("read")
        if self.pulser.on and self.on_row(self.pulser.row).size:
            self.violate("read while the pulser's output is on")
        ohm = self._parallel(cells)
        volts = float(np.clip(volts, -limit_a * ohm(volts), limit_a * ohm(volts)))
        ampere = volts / OPEN_CIRCUIT_OHM
        if cells.size:
            at, field_t = ReadPulse(volts, seconds), self.magnet.field_t(self.clock.now())
            ampere = float(np.sum(volts / self._shorted(cells, self.array.read(cells, at, field_t))))
        self.clock.sleep(seconds)
        self.meter.counted_to = self.clock.now()
        return volts, ampere

    def aim_magnet(self, on: bool, target_a: float, ramp_s: float = 0.0) -> None:
        """The magnet's supply is on or off and steers to this current, no faster than within `ramp_s`."""
        self._account_magnet()
        now = self.clock.now()
        if self.magnet_on and not on:
            if abs(ampere := self.magnet.current_a(now)) > self.limits.open_magnet_a:
                self.violate(f"magnet opened at {ampere:.3g} A")
            self.magnet.cut(now)
        elif on:
            self.magnet.aim(target_a, now, ramp_s)
        self.magnet_on = on

    def violate(self, what: str) -> None:
        """Note bad practice."""
        self.violations.append(f"{self.clock.now():.6f} s: {what}")

    def _deliver(self, cells: Cells, volts: float, width_s: float) -> None:
        if abs(volts) > self.limits.cell_v * (1 + 1e-9):
            self.violate(f"{volts:.4g} V at the cell: above {self.limits.cell_v} V")
        self._account_magnet()
        self.array.pulse(cells, volts, width_s)
        now = self.clock.now()
        self.delivered.extend(Delivered(now, int(cell), volts, width_s) for cell in cells)

    def _parallel(self, cells: Cells) -> Callable[[float], float]:
        if not cells.size:
            return lambda _: OPEN_CIRCUIT_OHM
        field_t = self.magnet.field_t(self.clock.now())
        return lambda volts: float(
            1.0 / np.sum(1.0 / self._shorted(cells, self.array.resistance(cells, volts, field_t)))
        )

    def _shorted(self, cells: Cells, ohm: Floats) -> Floats:
        """`ohm` of the cells, a short where there is one."""
        if not self.defects.shorted_cells:
            return ohm
        return np.where(np.isin(cells, list(self.defects.shorted_cells)), SHORT_OHM, ohm)

    def _account(self, source: Source) -> None:
        """Let the standing volts of a source act on its cells up to now."""
        now = self.clock.now()
        since, source.counted_to = source.counted_to, now
        if not source.on:
            return
        cells = self.on_row(source.row)
        if source is self.meter and cells.size:
            self._check_read(source, now)
        if cells.size and source.volts and now > since:
            direct = source is self.meter  # it sources and senses without the pulser's path
            volts = source.volts if direct else self.path.cell_v(source.volts, self._parallel(cells))
            self.array.bias(cells, volts, now - since)

    def _check_read(self, meter: Source, now: float) -> None:
        if abs(meter.volts) > self.limits.read_v * (1 + 1e-9):
            self.violate(f"read at {meter.volts:.4g} V: above {self.limits.read_v} V")
        if now - meter.on_since > self.limits.read_on_s:
            self.violate(f"meter on for {now - meter.on_since:.3g} s: longer than {self.limits.read_on_s} s")

    def _account_magnet(self) -> None:
        """Let time and the magnet's field act on all cells up to now."""
        now = self.clock.now()
        self.array.elapse(now - self._lived_to_s)
        self._lived_to_s = now
        field_t, flat_s = self.magnet.field_t(now), self.magnet.flat_top_s(now)
        if field_t and flat_s > 0.0:
            self.array.field(np.arange(self.array.cells), field_t, flat_s)

    def _check_settled(self, what: str) -> None:
        if self.clock.now() < self._settled_at - 1e-12:
            self.violate(f"{what} before the relays have settled")
