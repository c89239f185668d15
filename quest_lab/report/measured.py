"""Section of a measurement of one property: its findings with intervals, and its figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import xarray as xr
from matplotlib.figure import Figure

from quest_lab.findings import NAME, Finding, load_findings
from quest_lab.protocols.measurements import MEASUREMENTS
from quest_lab.report import measured_figures as draw
from quest_lab.report.numbers import three
from quest_lab.report.page import Numbers, Picture, Section, Text
from quest_lab.report.sources import Files, Source
from quest_lab.runfile import open_run

_FIGURES: dict[str, tuple[str, Callable[[xr.Dataset], Figure], str]] = {  # result, drawing, caption
    "yield": (
        "yield_map",
        draw.yield_map,
        "Every cell by what it is, in the order of its index, row by row. Short and open: beyond a window of "
        "resistance; stuck: reset and top pulse leave it the same.",
    ),
    "endurance": (
        "endurance",
        draw.endurance,
        "Left: share of cells that work at each look, with exact 95 % intervals, and the Weibull distribution fitted "
        "to lives between two looks. Right: median and 10 to 90 % of the cells that still work.",
    ),
    "retention": (
        "retention",
        draw.retention,
        "Share of programmed cells whose resistance has not moved, with exact 95 % intervals, by the amplitude that "
        "programmed them. Lines: thermal escape over normally spread barriers, as fitted.",
    ),
    "field-loop": (
        "field_loop",
        draw.field_loop,
        "Left: median resistance after (and, dashed, in) each field pulse; band: 10 to 90 % of the cells. Right: "
        "switching field of every cell on the two branches.",
    ),
    "disturb": (
        "disturb",
        draw.disturb,
        "Left: share of cells that have not moved after so many reads. Right: read noise of every cell.",
    ),
    "width": (
        "width_staircase",
        draw.width,
        "Width at which a cell first moves from R0, over the amplitude: thin lines single cells, dots their median. "
        "Dashed: the threshold law with the mean Delta and V0 of the cells' fits.",
    ),
    "half-select": (
        "half_select",
        draw.half_select,
        "Share of the written cells (crosses) whose cycles changed a cell of the crossbar, by what the watched "
        "cells held.",
    ),
}


def section(source: Source, files: Files) -> Section:
    """What was measured, in numbers and as a picture."""
    chip, title = files.chip(source), MEASUREMENTS[source.kind].title
    name, figure, caption = _FIGURES[source.kind]
    with open_run(source.path) as run:
        data = run.result(name).load() if {name, NAME} <= set(run.results) else None
    heading = f"{title} of chip {chip} ({source.path.name})"
    if data is None:
        return Section(
            heading, [Text(f"{source.path.name} ended as {source.status}, without a result.", True)]
        )
    found = load_findings(source.path)
    rows = [(f.what, _number(f.value, f.unit), _interval(f), f.note) for f in found]
    header = ("quantity", "value", "95 % interval", "from")
    table = Numbers(
        f"{title}, chip {chip}", header, rows, "Intervals are exact for shares and over cells for means."
    )
    caption = f"{caption} {files.assumed(source)}"
    picture = Picture(source.kind, f"{title}, chip {chip}", caption, partial(figure, data))
    return Section(heading, [picture, table], _summary(found))


def _summary(found: list[Finding]) -> str:
    return "; ".join(f"{f.what} {_number(f.value, f.unit)}" for f in found[:4])


def _number(value: float, unit: str) -> str:
    return "not known" if value != value else f"{_signed(value)} {unit}".rstrip()


def _interval(f: Finding) -> str:
    known = f.low == f.low and f.high == f.high
    return f"{_signed(f.low)} to {_signed(f.high)} {f.unit}".rstrip() if known else ""


def _signed(value: float) -> str:
    return three(value).replace("-", "−", 1)
