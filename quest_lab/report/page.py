"""What a report consists of, and its HTML page. Every text is escaped; nothing outside is asked for."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TypeAlias

from matplotlib.figure import Figure

from quest_lab.report.style import DPI

_SCREEN_DPI = 96.0  # a CSS inch
_NUMBER = re.compile(
    r"(?<=±) | (?=\S{1,3}$)"
)  # where a number must not part from its unit or from its plus-minus
_NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Picture:
    """A figure: `slug` names its file, `draw` makes it, when its turn has come."""

    slug: str
    title: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Numbers:
    """A table of texts; the first column is what the row is. `words`: the cells are words, not numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph. `warning` marks what makes the numbers around it incomplete."""

    text: str
    warning: bool = False


Block: TypeAlias = Picture | Numbers | Text


@dataclass(frozen=True)
class Section:
    """`finding` says in one sentence what came out; the summary collects them."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    finding: str = ""

    @property
    def pictures(self) -> list[Picture]:
        return [block for block in self.blocks if isinstance(block, Picture)]


def html(title: str, sections: Sequence[Section], pngs: Mapping[int, bytes], footer: str) -> Iterator[str]:
    """The page, piece by piece. `pngs`: the picture of each figure by its number, from 1."""
    yield _HEAD.format(title=escape(title))
    yield f"<header><h1>{escape(title)}</h1></header>\n"
    yield from _contents(sections)
    yield "<main>\n"
    figure = table = 0
    for i, section in enumerate(sections, 1):
        yield f'<section id="s{i}"><h2>{i} {escape(section.title)}</h2>\n'
        for block in section.blocks:
            if isinstance(block, Picture):
                figure += 1
                yield _figure(figure, block, pngs[figure])
            elif isinstance(block, Numbers):
                table += 1
                yield from _table(table, block)
            else:
                yield f"<p{' class=warning' if block.warning else ''}>{escape(block.text)}</p>\n"
        yield "</section>\n"
    yield f"</main>\n<footer><p>{escape(footer)}</p></footer>\n</body>\n</html>\n"


def _contents(sections: Sequence[Section]) -> Iterator[str]:
    yield '<nav aria-label="Contents"><h2>Contents</h2><ol>\n'
    figure = 0
    for i, section in enumerate(sections, 1):
        yield f'<li><a href="#s{i}">{escape(section.title)}</a>'
        links = []
        for picture in section.pictures:
            figure += 1
            links.append(f'<li><a href="#f{figure}">Figure {figure}: {escape(picture.title)}</a></li>')
        yield (f"<ul>{''.join(links)}</ul>" if links else "") + "</li>\n"
    yield "</ol></nav>\n"


def _figure(number: int, picture: Picture, png: bytes) -> str:
    source = base64.b64encode(png).decode("ascii")
    width = round(_SCREEN_DPI / DPI * int.from_bytes(png[16:20]))  # from the PNG's header: one scale for all
    alt = escape(f"Figure {number}: {picture.title}", quote=True)
    return (
        f'<figure id="f{number}"><img width="{width}" src="data:image/png;base64,{source}" alt="{alt}">\n'
        f"<figcaption><b>Figure {number}: {escape(picture.title)}.</b> {escape(picture.caption)}"
        "</figcaption></figure>\n"
    )


def _table(number: int, block: Numbers) -> Iterator[str]:
    yield f"<figure class=table><figcaption><b>Table {number}: {escape(block.title)}.</b> "
    yield f"{escape(block.note)}</figcaption>\n<div{' class=words' if block.words else ''}><table><thead><tr>"
    yield "".join(f"<th scope=col>{escape(name)}</th>" for name in block.header)
    yield "</tr></thead>\n<tbody>\n"
    for first, *rest in block.rows:
        cells = "".join(f"<td>{escape(_NUMBER.sub(_NO_BREAK, cell))}</td>" for cell in rest)
        yield f"<tr><th scope=row>{escape(first)}</th>{cells}</tr>\n"
    yield "</tbody></table></div></figure>\n"


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #222; background: #fff;
  max-width: 62rem; margin: 0 auto; padding: 1.5rem; }}
h1 {{ font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0 1rem; }}
h2 {{ font-size: 1.35rem; line-height: 1.3; border-bottom: 1px solid #ddd; padding-bottom: 0.25rem;
  margin: 2.5rem 0 1rem; }}
a {{ color: #0072b2; }}
nav {{ background: #f6f7f8; border-radius: 6px; padding: 0.75rem 1.25rem; font-size: 0.9rem; }}
nav h2 {{ font-size: 1rem; margin: 0 0 0.25rem; border: 0; }}
nav ol, nav ul {{ margin: 0.2rem 0; padding-left: 1.4rem; }}
figure {{ margin: 1.75rem 0; }}
figure img {{ display: block; max-width: 100%; height: auto; margin: 0 auto; }}
figcaption {{ font-size: 0.88rem; color: #444; margin: 0.6rem 0; }}
.table > div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }}
thead th {{ border-bottom: 2px solid #999; text-align: right; vertical-align: bottom; }}
thead th:first-child, tbody th {{ text-align: left; }}
tbody th {{ font-weight: normal; }}
td {{ text-align: right; }}
td, th {{ padding: 0.22rem 0.8rem 0.22rem 0; }}
.words td, .words th {{ text-align: left; vertical-align: top; }}
.words td:last-child {{ overflow-wrap: anywhere; min-width: 14rem; }}
tbody tr + tr > * {{ border-top: 1px solid #eee; }}
.warning {{ background: #fff4e0; border-left: 4px solid #d55e00; padding: 0.5rem 0.9rem; }}
footer {{ margin-top: 3rem; font-size: 0.85rem; color: #555; border-top: 1px solid #ddd; }}
@media print {{ nav {{ display: none; }} figure, table {{ break-inside: avoid; }} }}
</style>
</head>
<body>
"""
