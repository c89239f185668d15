"""A coil on a bipolar supply: current slews to its set point at volts over inductance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coil:
    """A magnet around the whole chip. All values assumed."""

    tesla_per_ampere: float = 0.02
    slew_a_per_s: float = 3600.0  # 36 V over 10 mH
    coil_ohm: float = 0.4
    standing_t: float = 0.0  # of something else than the coil, always there


class Magnet:
    """Current of the coil over time, piecewise linear; times in seconds are given by the caller."""

    def __init__(self, coil: Coil) -> None:
        self.coil = coil
        self.target_a = 0.0
        self._from_a, self._set_at, self._arrives = 0.0, 0.0, 0.0

    def current_a(self, now: float) -> float:
        """Current at `now`."""
        if now >= self._arrives:
            return self.target_a
        share = (now - self._set_at) / (self._arrives - self._set_at)
        return self._from_a + share * (self.target_a - self._from_a)

    def field_t(self, now: float) -> float:
        """Field at the chip at `now`."""
        return self.current_a(now) * self.coil.tesla_per_ampere + self.coil.standing_t

    def flat_top_s(self, now: float) -> float:
        """How long the current has been at its set point."""
        return max(now - self._arrives, 0.0)

    def aim(self, target_a: float, now: float, ramp_s: float = 0.0) -> None:
        """Move towards `target_a` from wherever the current is, in no less than `ramp_s`."""
        if target_a == self.target_a:
            return
        self._from_a = self.current_a(now)
        self._set_at, self.target_a = now, target_a
        self._arrives = now + max(abs(target_a - self._from_a) / self.coil.slew_a_per_s, ramp_s)

    def cut(self, now: float) -> None:
        """The supply's output opens: no current any more."""
        self._from_a = self.target_a = 0.0
        self._set_at = self._arrives = now
