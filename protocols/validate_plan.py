"""What a validation is to write and read back: encodings, placements, read voltages, a wait."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from quest_lab.characterization import Characterization
from quest_lab.device import ReadPulse
from quest_lab.errors import BadInput
from quest_lab.mapping import Pattern
from quest_lab.network import Network
from quest_lab.policy import Objective
from quest_lab.protocols.validate_baselines import Baselines, baselines_so_far
from quest_lab.protocols.validate_encodings import ANALOGUE, Analogue, Decoded, Differential, Reference
from quest_lab.protocols.validate_kept import Key, TileRead, tiles_so_far
from quest_lab.protocols.validate_tiles import Programming, ReadBack
from quest_lab.record import Run


@dataclass(frozen=True, slots=True)
class ValidateSettings:
    """What to do. `analogue`: encodings beside decoded, None for those that fit on the chip; `images`: as many are
    drawn of the held-out ones (None: all), and at most `cost_images` of them to tell which errors cost what."""

    analogue: tuple[str, ...] | None = None
    open_loop: bool = True
    tiles: bool = False
    wait_s: float | None = None
    read_at_v: tuple[float, ...] = ()
    images: int | None = None
    cost_images: int = 1000
    objective: Objective = "energy"

    def __post_init__(self) -> None:
        if unknown := set(self.analogue or ()) - set(ANALOGUE):
            raise BadInput(f"analogue encoding {min(unknown)!r}: want {' or '.join(ANALOGUE)}")
        if self.wait_s is not None and not 0 < self.wait_s < np.inf:
            raise BadInput(f"wait_s={self.wait_s}: want a finite time above 0 s")
        if not all(0 < v < np.inf for v in self.read_at_v) or len(set(self.read_at_v)) < len(self.read_at_v):
            raise BadInput(f"read_at_v={self.read_at_v}: want different finite amplitudes above 0 V")
        if self.images is not None and self.images < 1:
            raise BadInput(f"images={self.images}: want at least 1")


AS_USUAL = ValidateSettings()


@dataclass(frozen=True)
class Plan:
    """The programmings of a validation, the first of them decoded and closed loop, and the `reads` at voltages whose
    baselines have to be measured. `skipped`: encodings left out, and why."""

    full: Characterization
    programmings: tuple[Programming, ...]
    reads: tuple[ReadPulse, ...]
    skipped: tuple[str, ...]

    def with_baselines(self, ohm: Baselines) -> tuple[Programming, ...]:
        """The programmings, read-backs at other voltages with their baselines, shape (reads, 2, cells)."""

        def known(read_back: ReadBack) -> ReadBack:
            if read_back.at not in self.reads:
                return read_back
            return replace(read_back, baselines_ohm=ohm[self.reads.index(read_back.at)])

        return tuple(
            replace(one, read_backs=[known(read_back) for read_back in one.read_backs])
            for one in self.programmings
        )


@dataclass(frozen=True)
class SoFar:
    """What a validation that was cut off has in its run file."""

    tiles: dict[Key, TileRead]
    baselines: Baselines | None


def validated_so_far(run: Run, plan: Plan) -> SoFar:
    """The whole tiles and the baselines of a validation that was cut off."""
    counts = [len(one.read_backs) for one in plan.programmings]
    return SoFar(tiles_so_far(run, counts), baselines_so_far(run, plan.full, plan.reads))


def plan_of(
    network: Network,
    full: Characterization,
    used: tuple[int, ...],
    pattern: Pattern,
    settings: ValidateSettings = AS_USUAL,
) -> Plan:
    """What is to be written and read back. Raises BadInput where pattern or weights do not fit on the cells."""
    found, nominal = full.restrict(used), full.read
    reads = tuple(
        ReadPulse(v, nominal.width_s) for v in settings.read_at_v if not np.isclose(v, nominal.amplitude_v)
    )
    times = (0.0,) if settings.wait_s is None else (0.0, settings.wait_s)
    read_backs = [ReadBack(at, waited_s) for waited_s in times for at in (nominal, *reads)]
    decoded = Decoded(found, pattern)
    placements = decoded.placements(network, tiles=settings.tiles)
    programmings = [Programming(decoded, placements, read_backs, objective=settings.objective)]
    if settings.open_loop:
        programmings.append(Programming(decoded, placements, read_backs[:1], closed_loop=False))
    skipped = []
    for name in ANALOGUE if settings.analogue is None else settings.analogue:
        try:
            encoding = _analogue(name, network, full, found, pattern)
            placements = encoding.placements(network, tiles=settings.tiles)
        except BadInput as why:
            if settings.analogue is not None:
                raise
            skipped.append(f"{name}: {why}")
            continue
        programmings.append(Programming(encoding, placements, read_backs, objective=settings.objective))
    return Plan(full, tuple(programmings), reads, tuple(skipped))


def _analogue(
    name: str, network: Network, full: Characterization, found: Characterization, pattern: Pattern
) -> Analogue:
    return Reference.of(found, pattern) if name == "reference" else Differential.of(full, network.bits)
