"""The trigger model of a Keithley 2450: numbered blocks, as far as pulses and simple loops need them.

Model 2450 Reference Manual, :TRIGger subsystem: a new block must follow the last one or replace one; LOAD "Empty"
clears them; :BRANch:COUNter goes back until its block has been passed so many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quest_lab.sim.scpi import Call, Command
from quest_lab.sim.scpi_arguments import ScpiError, boolean, keyword, number

MOST_BLOCKS = 255
LONGEST_DELAY_S, SHORTEST_DELAY_S = 1e4, 167e-9


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what it does and with which number (state, seconds, count); `target` of a branch."""

    kind: str
    value: float = 0.0
    target: int = 0


class TriggerModel:
    """Blocks by position, from 0, and the place where it runs."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._at = 0

    def run(self) -> Iterator[Block]:
        """The blocks in the order in which they are executed; branches are taken here."""
        passed: dict[int, int] = {}
        self._at = 0
        while self._at < len(self.blocks):
            block = self.blocks[self._at]
            if block.kind == "branch":
                passed[self._at] = passed.get(self._at, 0) + 1
                again = passed[self._at] < block.value
                if not again:
                    passed[self._at] = 0
                self._at = block.target - 1 if again else self._at + 1
                continue
            yield block
            self._at += 1

    def pulse_from_here(self, aperture_s: float) -> tuple[float, list[Block]] | None:
        """Seconds from this output on to the next output off, and the blocks up to that, if only delays and
        measurements, of `aperture_s` each, are between them.
        """
        width_s = 0.0
        for n, block in enumerate(self.blocks[self._at + 1 :], 1):
            if block.kind in ("delay", "measure"):
                width_s += block.value if block.kind == "delay" else aperture_s
                continue
            ends = block.kind == "output" and not block.value
            return (width_s, self.blocks[self._at + 1 : self._at + 1 + n]) if ends else None
        return None

    def commands(self) -> list[Command]:
        top = "TRIGger:BLOCk"
        return [
            Command("TRIGger:LOAD", write=self._load),
            Command(top + ":SOURce[:STATe]", write=lambda c: self._add(c, "output", 0.0, 1.0)),
            Command(
                top + ":DELay:CONStant",
                write=lambda c: self._add(c, "delay", SHORTEST_DELAY_S, LONGEST_DELAY_S),
            ),
            Command(top + ":MEASure", write=lambda c: self._add(c, "measure", 0.0, 0.0)),
            Command(top + ":BUFFer:CLEar", write=lambda c: self._add(c, "clear", 0.0, 0.0)),
            Command(top + ":BRANch:COUNter", write=self._branch),
            Command(top + ":LIST", query=lambda _: "\n".join(self._list()) or "Empty"),
        ]

    def _load(self, call: Call) -> None:
        keyword(call.one().strip("'\""), "EMPTY")
        self.blocks.clear()

    def _add(self, call: Call, kind: str, low: float, high: float) -> None:
        value = 0.0
        if kind == "output":
            if len(call.arguments) < 2:
                raise ScpiError(-109)
            value = float(boolean(call.arguments[1]))
        elif kind == "delay":
            if len(call.arguments) < 2:
                raise ScpiError(-109)
            value = number(call.arguments[1], low, high, unit="S")
        self._put(call, Block(kind, value))

    def _branch(self, call: Call) -> None:
        if len(call.arguments) != 3:
            raise ScpiError(-109)
        target = int(number(call.arguments[2], 1, len(self.blocks)))
        self._put(call, Block("branch", number(call.arguments[1], 1, 268435455), target))

    def _put(self, call: Call, block: Block) -> None:
        """Replace a block or append one."""
        if not call.arguments:
            raise ScpiError(-109)
        place = int(number(call.arguments[0], 1, min(len(self.blocks) + 1, MOST_BLOCKS)))
        self.blocks[place - 1 : place] = [block]

    def _list(self) -> list[str]:
        return [f"{i}) {block.kind}: {block.value:g}" for i, block in enumerate(self.blocks, 1)]
