"""What can go wrong, in four kinds: bad input, a limit, a device, an interruption.

Every message names the file or key, the value, the limit and its unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quest_lab.device import Cells, Reading


class QuestLabError(Exception):
    """Base of every error quest-lab raises on purpose."""


class BadInput(QuestLabError):
    """A file, key or value that a user gave is missing or wrong (exit code 2)."""


class LimitExceeded(BadInput):
    """An operation was refused before it reached the device."""


class Interrupted(QuestLabError):
    """The user asked to stop (exit code 130). The pair in hand was finished and recorded."""


class Diverged(QuestLabError):
    """A training run whose loss, weights or gradients are no finite numbers any more."""


class DeviceError(QuestLabError):
    """A device failed part of the way through a call.

    ``delivered``: cells that got the operation. ``ambiguous``: cells that may or may not have got it;
    they must be read before anything else is decided. ``partial``: readings taken before the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        delivered: Cells | None = None,
        ambiguous: Cells | None = None,
        partial: Reading | None = None,
    ) -> None:
        super().__init__(message)
        empty = np.empty(0, np.int64)
        self.delivered: Cells = empty if delivered is None else delivered
        self.ambiguous: Cells = empty if ambiguous is None else ambiguous
        self.partial = partial


class UnsoundRead(DeviceError):
    """A read gave `ohm` (0: too little to tell, infinite: too much), which no sound cell has.

    It is of the cell after those of `partial`.
    """

    def __init__(self, message: str, *, ohm: float, partial: Reading | None = None) -> None:
        super().__init__(message, partial=partial)
        self.ohm = ohm
