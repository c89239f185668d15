"""Options of `quest-lab validate` as people write them, into what a validation asks for."""

from __future__ import annotations

from quest_lab.errors import BadInput
from quest_lab.policy import Objective
from quest_lab.protocols.validate_plan import ValidateSettings
from quest_lab.quantity import si


def settings_of(
    *,
    analogue: str | None,
    wait: str | None,
    read_at: str | None,
    open_loop: bool,
    tiles: bool,
    images: int | None,
    objective: Objective = "energy",
) -> ValidateSettings:
    """The options as people write them: reference,differential or none; 1 h; 0.05 V,0.1 V."""
    chosen = None if analogue is None else tuple(x for x in analogue.split(",") if x != "none")
    volts = () if read_at is None else tuple(_si("--read-at", text, "V") for text in read_at.split(","))
    wait_s = None if wait is None else _si("--wait", wait, "s")
    return ValidateSettings(chosen, open_loop, tiles, wait_s, volts, images, objective=objective)


def _si(option: str, text: str, unit: str) -> float:
    try:
        return si(text, unit)
    except ValueError as error:
        raise BadInput(f"{option} {text!r}: {error}") from None
