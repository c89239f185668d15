"""A report: one page that stands alone, from any mix of files, and clear words where there is nothing."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from quest_lab.cli import main
from quest_lab.errors import BadInput
from quest_lab.quantity import prefix_for
from quest_lab.record import RunWriter
from quest_lab.report import make_report
from quest_lab.report.make import sections
from quest_lab.report.numbers import percent, quantity, short, three
from quest_lab.report.page import html
from quest_lab.report.sources import Files
from quest_lab.schedule import Schedule, synthesize


class Seen(HTMLParser):
    """What a browser would be asked to load, and the text that it would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self._texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        named = dict(attrs)
        self.ids.add(named.get("id") or "")
        for name in ("src", "href", "data", "action", "srcset"):
            if named.get(name):
                (self.images if tag == "img" else self.links).append(str(named[name]))

    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self._texts))


def undrawn(*files: Path) -> Seen:
    """A report whose pictures nobody draws."""
    return Seen("".join(html("", sections(Files.open(files)), dict.fromkeys(range(1, 99), b""), "")))


def words(*files: Path) -> str:
    return undrawn(*files).text


@pytest.fixture(scope="module")
def seen(scaled: Any, validation: Path, weights: Path) -> Seen:
    """The whole page of one chip; its pictures are drawn in test_pictures.py."""
    return undrawn(validation, *scaled.every, weights)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, scaled: Any, validation: Path) -> Path:
    """A page with its pictures."""
    return make_report([validation, scaled.replay], tmp_path_factory.mktemp("out") / "report")


@pytest.mark.parametrize(
    "words",
    [
        "Characterisation of chip scaled-600-seed1", "Training on synthetic at 2 bits", "Trained weights",
        "Mapping patterns and energy, chip scaled-600-seed1", "Replay on chip scaled-600-seed1",
        "Validation on chip scaled-600-seed1", "Provenance", "Summary",
    ],
)  # fmt: skip
def test_every_file_has_its_section(seen: Seen, words: str) -> None:
    assert seen.text.count(words) >= 2  # in the contents and at its place


@pytest.mark.parametrize(
    "title",
    [
        "Amplitude staircase and states", "Level histogram", "Resistance-state transition diagram (RSTD)",
        "First-try probability of every operation", "Loss and share of weights changed",
        "Transitions between weight levels", "Spike rates, sparsity and activation operation rate",
        "Energy matrices of the mapping patterns", "Update energy per layer and stage",
        "Update energy with an array-wide reset", "Activation energy per layer and stage",
        "How far patterns are above the cheapest one", "Energy against decoding error of the states",
        "Divergence of the replay", "Predicted and spent write energy", "Energy accounts of the replay",
        "Intended and read states", "Accuracy on held-out images",
    ],
)  # fmt: skip
def test_every_figure_has_number_title_and_caption(seen: Seen, title: str) -> None:
    caption = re.search(rf"Figure \d+: {re.escape(title)}[^.]*\. (.{{60}})", seen.text)
    assert caption is not None


def test_pictures_on_the_page_are_the_files_beside_it(page: Path) -> None:
    files = sorted(page.parent.glob("figure-*.png"))
    on_page = [
        base64.b64decode(source.removeprefix("data:image/png;base64,"))
        for source in Seen(page.read_text("utf-8")).images
    ]
    assert on_page == [path.read_bytes() for path in files]
    assert len(files) == 5


def test_pictures_decode_and_are_not_blank(page: Path) -> None:
    for source in Seen(page.read_text("utf-8")).images:
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert pixels.shape[0] > 300
        assert pixels.shape[1] > 400
        assert 0.01 < np.mean(pixels[..., :3].min(axis=2) < 0.9) < 0.98  # ink, and paper


def test_the_page_asks_for_nothing_outside(page: Path) -> None:
    seen = Seen(page.read_text("utf-8"))
    assert all(link.startswith("#") and link[1:] in seen.ids for link in seen.links)
    assert not seen.tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"https?:|@import|url\(", page.read_text("utf-8"))


def test_it_says_what_is_assumed_and_what_is_not_recoverable(seen: Seen) -> None:
    assert "simulated and their parameters assumed" in seen.text
    assert "Not recoverable from the public text of QUEST" in seen.text


def test_the_caption_counts_the_direct_changes_between_the_outer_levels(seen: Seen, scaled: Any) -> None:
    with Schedule.open(scaled.schedule) as schedule:
        ends = sum(int(np.sum(np.abs(step.new - step.old) == 2)) for step in schedule)
        assert f"{ends} of {schedule.writes} changes go −1 ↔ +1 directly" in seen.text


def test_without_wrong_cells_it_says_so_instead_of_drawing(seen: Seen) -> None:
    assert re.search(r"0 of 576 weights read back at another level", seen.text)
    assert "Map of wrong cells" not in seen.text


def test_restricted_states_come_from_the_files_that_use_them(seen: Seen) -> None:
    assert "the same cells used with (R0, R3, R6) only" in seen.text


def test_provenance_names_every_file_and_its_seed(seen: Seen) -> None:
    tail = seen.text[seen.text.rindex("Files of this report") :]
    for name in ("chip.h5", "energy.h5", "replay.h5", "validation.h5", "schedule.h5", "weights.h5"):
        assert name in tail
    assert '"' not in tail
    assert "cells: 600" in tail


def test_two_chips_stand_beside_each_other_under_their_names(scaled: Any, lab: Any) -> None:
    text = words(scaled.characterization, lab.characterization)
    for chip in ("scaled-600-seed1", "lab-600-seed1"):
        assert f"Amplitude staircase and states, chip {chip}." in text


def test_an_array_reset_is_said_to_be_one(lab: Any) -> None:
    text = words(lab.energy, lab.characterization)
    assert "This chip's field resets the whole array at 100 mJ" in text
    assert "(what if: this chip does not have such a reset)" in text


def test_a_lone_replay_makes_a_page_without_the_other_parts(scaled: Any) -> None:
    text = words(scaled.replay)
    assert "Divergence of the replay, chip scaled" in text
    assert "Amplitude staircase" not in text
    assert "Mapping patterns and" not in text


def test_a_run_that_broke_off_is_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "chip.h5"
    RunWriter.create(path, kind="characterization", title="", seed=0, settings={}).close("aborted")
    text = words(path)
    assert "chip.h5 ended as aborted, without a result" in text
    assert "Not complete: chip.h5" in text


def test_a_schedule_without_steps_is_said_to_have_none(tmp_path: Path) -> None:
    path = synthesize(tmp_path / "s.h5", [(2, 2, 3, 3)], steps=0, change_rate=0.1, seed=0)
    assert "holds no training step" in words(path)


def test_texts_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a<b>&.h5"
    settings = {"bench": "<script>alert(1)</script>"}
    RunWriter.create(path, kind="replay", title="<i>", seed=0, settings=settings).close()
    page = make_report([path], tmp_path / "report", title="<img src=x>")
    seen = Seen(page.read_text("utf-8"))
    assert not seen.tags & {"script", "img", "i"}
    assert "<script>alert(1)</script>" in seen.text
    assert "<img src=x>" in seen.text


def test_a_file_given_twice_is_shown_once(scaled: Any) -> None:
    assert words(scaled.energy, scaled.energy).count("Mapping patterns, cheapest first") == 1


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_a_foreign_or_truncated_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(content)
    with pytest.raises(BadInput, match=r"bad\.h5"):
        make_report([bad], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.h5: no such file"):
        make_report([tmp_path / "none.h5"], tmp_path / "report")


def test_a_run_of_a_kind_that_no_report_shows_is_refused(tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "x.h5", kind="session", title="", seed=0, settings={}).close()
    with pytest.raises(BadInput, match=r"x\.h5: a run of kind 'session'"):
        make_report([tmp_path / "x.h5"], tmp_path / "report")


def test_no_file_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file given"):
        make_report([], tmp_path)


def test_an_existing_report_is_kept_unless_told(validation: Path, weights: Path, tmp_path: Path) -> None:
    first = make_report([validation], tmp_path)
    before = first.read_bytes()
    with pytest.raises(BadInput, match=r"exists already \(overwrite it with --overwrite\)"):
        make_report([weights], tmp_path)
    assert first.read_bytes() == before


def test_overwriting_leaves_no_picture_of_the_old_report(
    validation: Path, weights: Path, tmp_path: Path
) -> None:
    make_report([validation], tmp_path)
    (tmp_path / "mine.png").write_bytes(b"kept")
    make_report([weights], tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png", "report.html"]


def test_a_file_in_place_of_the_folder_is_refused(weights: Path) -> None:
    with pytest.raises(BadInput, match="is a file; a report needs a folder"):
        make_report([weights], weights)


def test_the_same_files_give_the_same_page(validation: Path, tmp_path: Path) -> None:
    pages = [make_report([validation], tmp_path / name).read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_the_command_prints_where_the_page_is(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", str(weights), "--out", str(tmp_path / "report")])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'report' / 'report.html'}\n"


def test_the_command_line_loads_matplotlib_only_to_make_a_report() -> None:
    code = "import sys, quest_lab.cli, quest_lab.cli.report; raise SystemExit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (3.556e-12, "3.56 pJ"),
        (9.6e-10, "960 pJ"),
        (9.999e-13, "1.00 pJ"),
        (12.0, "12.0 J"),
        (np.nan, "not known"),
    ],
)
def test_energies_have_the_prefix_that_fits(value: float, text: str) -> None:
    assert quantity(value) == text


def test_numbers_in_matrices_stay_short() -> None:
    assert [short(x) for x in (9999, 12345, 250_000, 78_651_000)] == ["9999", "12.3k", "250k", "78.7M"]
    assert [three(x) for x in (0.0, 1.0, 99.96, 173.4, 1234.4)] == ["0", "1.00", "100", "173", "1234"]
    assert prefix_for([1e-9, np.nan, 3e-7]) == (1e-9, "nJ")
    assert [percent(x) for x in (0.0, 1.0, 0.99333, 0.00035)] == ["0 %", "100 %", "99.33 %", "0.035 %"]
