"""Makes a report: identifies the files, draws one picture after the other, writes page and pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from quest_lab import __version__
from quest_lab.errors import BadInput
from quest_lab.protocols.measurements import MEASUREMENTS
from quest_lab.report import (
    cells,
    looped,
    measured,
    patterns,
    replayed,
    sources,
    style,
    trained,
    training,
    validated,
    weights,
)
from quest_lab.report.page import Numbers, Section, Text, html
from quest_lab.report.sources import Files, Source

PAGE = "report.html"
_OURS = re.compile(r"figure-\d\d-[a-z-]+\.png")
_ASSUMED = (
    "Assumed: every parameter of a simulated cell (resistances, amplitudes, widths, spreads, noise, the energy of "
    "a reset); no public number of the Sk-MTJ exists, and they are inputs that can be changed. Not recoverable "
    "from the public text of QUEST (arXiv 2504.00679): its T, network widths, epochs and learning rate, accuracy "
    "per bit width, energies and numbering of patterns; so no figure here is laid over one of the paper. Energies "
    "of cells are computed or measured at the cell; what instruments spend is not among them."
)
_MAKERS: dict[str, Callable[[Source, Files], Section]] = {
    sources.CHARACTERIZATION: cells.section,
    **dict.fromkeys(MEASUREMENTS, measured.section),
    sources.SCHEDULE: training.section,
    sources.TRAINING: trained.section,
    sources.IN_THE_LOOP: looped.section,
    sources.WEIGHTS: weights.section,
    sources.ENERGY: patterns.section,
    sources.REPLAY: replayed.section,
    sources.VALIDATION: validated.section,
}


def make_report(
    files: Sequence[Path | str],
    out_dir: Path | str,
    *,
    overwrite: bool = False,
    title: str = "quest-lab report",
) -> Path:
    """Write report.html and a PNG of each figure into `out_dir`; returns the page.

    `files`: run files (characterization, measurements, training, energy, replay, validation), schedules and
    weights, any mix. With `overwrite` the pictures of an earlier report in that folder are removed. Raises BadInput
    for a file that is none of these, or when a report is there already; then nothing is written.
    """
    out = Path(out_dir)
    _check_folder(out, overwrite)
    found = Files.open([Path(file) for file in files])
    parts = sections(found)
    with style.use():
        pictures = [picture for part in parts for picture in part.pictures]
        pngs = {i: style.png(picture.draw()) for i, picture in enumerate(pictures, 1)}
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    for i, picture in enumerate(pictures, 1):
        (out / f"figure-{i:02d}-{picture.slug}.png").write_bytes(pngs[i])
    part_file = out / f"{PAGE}.part"
    with part_file.open("w", encoding="utf-8", newline="\n") as page:
        page.writelines(html(title, parts, pngs, f"Made by quest-lab {__version__}."))
    return part_file.replace(out / PAGE)


def sections(files: Files) -> list[Section]:
    """The sections of the page; their pictures are not drawn yet."""
    parts = [_MAKERS[source.kind](source, files) for source in files.sources]
    return [_summary(parts), *parts, _provenance(files)]


def _summary(parts: Sequence[Section]) -> Section:
    """What came out, part by part, and what no reader should take for measured."""
    rows = [(part.title, part.finding) for part in parts if part.finding]
    findings = [Numbers("What came out", ("part", "finding"), rows, words=True)] if rows else []
    return Section("Summary", [*findings, Text(_ASSUMED)])


def _provenance(files: Files) -> Section:
    rows = [source.about for source in files.sources]
    unfinished = [source.path.name for source in files.sources if not source.complete]
    out = Section("Provenance", [Numbers("Files of this report", sources.ABOUT, rows, words=True)])
    if unfinished:
        out.blocks.insert(0, Text(f"Not complete: {', '.join(unfinished)}. Their numbers are partial.", True))
    return out


def _check_folder(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; a report needs a folder")
    there = next(iter([*filter(Path.exists, [out / PAGE]), *_ours(out)]), None)
    if there is not None and not overwrite:
        raise BadInput(f"{there}: exists already (overwrite it with --overwrite)")


def _ours(out: Path) -> Iterator[Path]:
    """Pictures of an earlier report."""
    if out.is_dir():
        yield from (path for path in sorted(out.iterdir()) if _OURS.fullmatch(path.name))


def _clear(out: Path) -> None:
    for path in [*_ours(out)]:
        path.unlink()
