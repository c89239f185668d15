"""ArC ONE array board: the bytes of its serial line on one side, the world's cells on the other.

Commands and fields are lines of decimal text; a command acts when its last field has come. Replies are
little-endian float32, or a line of text. Written from the command table in docs/arc-one.md. Assumed: that the
board ignores what it cannot carry out, that it grounds all lines between commands, and the time of one reading.
"""

from __future__ import annotations

import math
import struct
from collections import deque

from quest_lab.crossbar import WriteScheme
from quest_lab.sim.passive import PassiveCells
from quest_lab.sim.world import Source, World

LINES = 32
MAXIMUM_V = 12.0
BOOT_S = 2.0
CLOSEST_WRITES_S = 0.5e-3
READ_S = 1e-3
TICK_S = 1e-6  # pulse widths are whole microseconds
FOUR_POINT_NEGATIVE = 3
SNEAK_PATH: dict[int, WriteScheme] = {0: "V/3", 1: "V/2"}
_FIELDS = {"00": 0, "0": 7, "01": 2, "999": 0, "02": 2, "1": 2, "3": 4, "04": 2, "2": 3}


class ArcOne:
    """The board. `strict`: drop writes that follow too closely, which only a virtual clock can tell fairly."""

    def __init__(
        self,
        world: World,
        *,
        firmware: tuple[int, int] = (8, 1),
        strict: bool = True,
        boot_s: float = BOOT_S,
        read_s: float = READ_S,
    ) -> None:
        self.world, self.firmware = world, firmware
        self.commands: deque[str] = deque(maxlen=1000)  # carried out, fields joined by blanks, newest last
        self.executed = 0
        self._strict, self._boot_s, self._read_s = strict, boot_s, read_s
        self._line = b""
        self._fields: list[str] = []
        self._last_write = self._up_at = -math.inf
        self._read_v: float | None = None  # None: not configured since the last reset
        self._mode = 0
        self._selected: tuple[int, int] | None = None

    def receive(self, data: bytes) -> bytes:
        """One write from the client; returns what the board answers to it."""
        now = self.world.clock.now()
        close = now < self._last_write + CLOSEST_WRITES_S
        self._last_write = now
        if now < self._up_at:
            return b""
        if close and self._strict:
            self.world.violate(f"ArC ONE: {data!r} follows within {CLOSEST_WRITES_S} s and is dropped")
            return b""
        *lines, self._line = (self._line + data).split(b"\n")
        return b"".join(self._take(line.decode("ascii", "replace").strip()) for line in lines)

    def _take(self, line: str) -> bytes:
        """One more line: a command's name or its next field."""
        self._fields.append(line)
        name, *fields = self._fields
        if name not in _FIELDS:
            self._fields = []
            self.world.violate(f"ArC ONE: unknown command {name!r}")
            return b""
        if len(fields) < _FIELDS[name]:
            return b""
        self._fields = []
        self.commands.append(" ".join((name, *fields)))
        self.executed += 1
        try:
            return self._carry_out(name, [float(field) for field in fields])
        except ValueError as error:
            self.world.violate(f"ArC ONE: {self.commands[-1]}: {error}")
            return b""

    def _carry_out(self, name: str, fields: list[float]) -> bytes:
        match name:
            case "00":
                self._reset()
            case "0":
                self._bias_lines(int(fields[5]))
                self._configure(fields[3], fields[6])
                return b"1\n"
            case "01":
                self._configure(*fields)
            case "999":
                return struct.pack("<HH", *self.firmware)
            case "02":
                self._selected = _crosspoint(*fields)
            case "1":
                return self._read(*_crosspoint(*fields))
            case "3":
                point = _crosspoint(*fields[:2])
                self._pulse(point, *fields[2:])
                return self._read(*point)
            case "04":
                if self._selected is None:
                    raise ValueError("no crosspoint selected")
                self._pulse(self._selected, *fields)
            case "2":
                words, bits = int(fields[1]), int(fields[2])
                return b"".join(self._read(w, b) for w in range(1, words + 1) for b in range(1, bits + 1))
        return b""

    def _reset(self) -> None:
        self._read_v, self._selected, self._line = None, None, b""
        self._up_at = self.world.clock.now() + self._boot_s

    def _bias_lines(self, sneak_path: int) -> None:
        """How the unselected lines of a passive crossbar stand during a pulse; isolated cells have none."""
        if sneak_path not in SNEAK_PATH:
            raise ValueError(f"sneak-path mode {sneak_path}: not one of {', '.join(map(str, SNEAK_PATH))}")
        if isinstance(self.world.array, PassiveCells):
            self.world.array.write_scheme = SNEAK_PATH[sneak_path]

    def _configure(self, mode: float, read_v: float) -> None:
        self._mode, self._read_v = int(mode), read_v

    def _pulse(self, point: tuple[int, int], volts: float, width_s: float) -> None:
        if abs(volts) > MAXIMUM_V:
            raise ValueError(f"{volts} V: beyond {MAXIMUM_V} V")
        ticks = round(width_s / TICK_S)
        if ticks < 1 or not volts:
            return
        world = self.world
        self._join(world.pulser, point)
        world.pulse(volts, ticks * TICK_S)
        self._part(world.pulser)

    def _read(self, word: int, bit: int) -> bytes:
        world, volts = self.world, self._read_v
        if volts is None:
            raise ValueError("reads are not configured")
        if volts < 0.0 and self._mode != FOUR_POINT_NEGATIVE:
            raise ValueError(f"reading at {volts} V needs mode {FOUR_POINT_NEGATIVE}")
        self._join(world.meter, (word, bit), volts)
        volts, ampere = world.measure(volts, math.inf, self._read_s)
        self._part(world.meter)
        return struct.pack("<f", volts / ampere)

    def _join(self, source: Source, point: tuple[int, int], volts: float = 0.0) -> None:
        word, bit = point
        self.world.switch(frozenset({(word, source.row, bit)}))
        self.world.clock.sleep(self.world.limits.relay_settle_s)
        self.world.drive(source, True, volts)

    def _part(self, source: Source) -> None:
        self.world.drive(source, False, 0.0)
        self.world.switch(frozenset())


def _crosspoint(word: float, bit: float) -> tuple[int, int]:
    if not (word in range(1, LINES + 1) and bit in range(1, LINES + 1)):
        raise ValueError(f"word {word:g}, bit {bit:g}: lines are 1 to {LINES}")
    return int(word), int(bit)
