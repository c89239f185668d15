"""No picture of a report has clipped labels, labels over each other, or empty axes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from quest_lab.protocols.scores import Judge
from quest_lab.protocols.validate_costs import costs
from quest_lab.protocols.validate_results import cost_results
from quest_lab.record import RunWriter
from quest_lab.report import style
from quest_lab.report.make import sections
from quest_lab.report.page import Picture
from quest_lab.report.sources import Files
from quest_lab.schedule import synthesize
from quest_lab.schema import Field, Result

_SLACK_PX = 1.0


def faults(figure: Figure) -> list[str]:
    """What is wrong with the figure, in words; empty if nothing is."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in _texts(figure)]
    clipped = [f"{text!r} is clipped" for text, box in boxes if not _inside(box, figure.bbox)]
    over = [f"{boxes[i][0]!r} over {boxes[j][0]!r}" for i, j in _overlapping([box for _, box in boxes])]
    empty = [f"axes {axes.get_title()!r} are empty" for axes in figure.axes if not axes.has_data()]
    return clipped + over + empty


def _texts(figure: Figure) -> Iterator[Text]:
    every = [part for part in figure.findobj() if hasattr(part, "xaxis")]  # secondary axes are no Axes
    hidden = {id(label) for axes in every for label in _ticks_out_of_view(axes)}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            yield text


def _ticks_out_of_view(axes: Any) -> Iterator[Text]:
    """matplotlib keeps labels of ticks that it does not draw; an axis switched off draws none."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        slack = 1e-9 * (high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low - slack <= tick.get_loc() <= high + slack or not axes.axison:
                yield from (tick.label1, tick.label2)


def _inside(box: Bbox, page: Bbox) -> bool:
    return bool(
        box.x0 >= page.x0 - _SLACK_PX and box.y0 >= page.y0 - _SLACK_PX
        and box.x1 <= page.x1 + _SLACK_PX and box.y1 <= page.y1 + _SLACK_PX
    )  # fmt: skip


def _overlapping(boxes: list[Bbox]) -> list[list[int]]:
    """The pairs of boxes that share more than slack."""
    low, high = (np.array([getattr(box, end) for box in boxes]) for end in ("min", "max"))
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)  # (boxes, boxes, x and y)
    pairs: list[list[int]] = np.argwhere(np.triu((shared > _SLACK_PX).all(-1), 1)).tolist()
    return pairs


def pictures(*files: Path) -> list[Picture]:
    found = [picture for part in sections(Files.open(files)) for picture in part.pictures]
    assert found
    return found


def wrong_in(*files: Path) -> list[str]:
    """Faults of every picture of these files."""
    with style.use():
        return [f"{p.slug}: {fault}" for p in pictures(*files) for fault in faults(p.draw())]


def test_two_bits_on_cells_reset_one_by_one(scaled: Any, validation: Path, weights: Path) -> None:
    assert wrong_in(*scaled.every, validation, weights) == []


def test_two_bits_on_an_array_reset_as_a_whole(lab: Any) -> None:
    assert wrong_in(lab.energy, lab.replay) == []


def test_three_bits_on_seven_states(three_bits: Any) -> None:
    assert wrong_in(three_bits.schedule, three_bits.energy) == []


def test_many_layers_and_one_step(tmp_path: Path) -> None:
    shapes = [(4, 4, 3, 3)] * 9
    assert wrong_in(synthesize(tmp_path / "s.h5", shapes, steps=1, change_rate=0.1, seed=0)) == []


def test_a_replay_that_diverges(tmp_path: Path) -> None:
    path = tmp_path / "replay.h5"
    with RunWriter.create(path, kind="replay", title="", seed=0, settings={"states": [0, 3, 6]}) as run:
        for step in range(-1, 80):
            run.append("replay_steps", **{name: [value] for name, value in replay_row(step).items()})
    slugs = [picture.slug for picture in pictures(path)]
    assert (wrong_in(path), slugs) == ([], ["divergence", "energy-balance", "accounts"])


def replay_row(step: int) -> dict[str, float]:
    energies = ("predicted", "spent", "verify", "inference_gated", "inference_row", "field")
    counts = {"tile": 0, "calls": 0, "step": step, "epoch": 0, "batch": step, "writes_intended": 120000,
              "writes_wrong": step % 7, "pulses": 9, "resets": 3, "time_s": 1e-6,
              "diverged": 1000 * max(0, step - 40)}  # fmt: skip
    return {
        **counts,
        **{f"{name}_energy_j": (0.0 if name == "field" else 1e-9) for name in energies},
    }


@pytest.mark.parametrize("wrong", [1, 40])
def test_a_map_of_wrong_cells(tmp_path: Path, wrong: int) -> None:
    path, cells = tmp_path / "validation.h5", np.zeros(900, np.int8)
    cells[np.linspace(0, 880, wrong).astype(int)], cells[890:] = 1, -1
    write_validation(path, cells.reshape(30, 30))
    assert [picture.slug for picture in pictures(path)] == ["accuracy", "wrong-cells"]
    assert wrong_in(path) == []


def write_validation(path: Path, cells: np.ndarray, *more: Result) -> None:
    names = np.array(["ideal integer network", "decoded read-back, closed loop"])
    numbers = {
        "accuracy": [1.0, 0.0], "low": [0.9, 0.0], "high": [1.0, 0.1], "change": [0.0, -1.0],
        "change_low": [-0.1, -1.0], "change_high": [0.1, -0.9], "wrong": [-1, 40], "row": [0, 1],
    }  # fmt: skip
    fields = {name: Field(np.array(values), "", name, ("row",)) for name, values in numbers.items()}
    fields["row_name"] = Field(names, "", "what", ("row",))
    attrs = {"wrong_weights": int((cells == 1).sum()), "weights": int((cells >= 0).sum()), "tiles": 2,
             "images": 40, "skipped": ""}  # fmt: skip
    wrong = {"wrong": Field(cells, "", "1: wrong", ("row", "column"))}
    with RunWriter.create(path, kind="validation", title="", seed=0, settings={}) as run:
        run.add_result(Result("accuracy", fields, signal="accuracy", axes=("row",), attrs=attrs))
        run.add_result(Result("wrong_cells", wrong, signal="wrong"))
        for result in more:
            run.add_result(result)


@pytest.mark.parametrize("most", [1, 60])
def test_what_the_errors_of_ten_layers_cost(tmp_path: Path, random_network: Any, most: int) -> None:
    network, rng = random_network("4" + "-4" * 10 + "-A", bits=3), np.random.default_rng(0)
    read, stuck = network.levels.copy(), rng.random(network.levels.size) < 0.01
    read[rng.choice(read.size, most, replace=False)] = 3
    images = rng.random((30, 1, 6, 6)).astype(np.float32)
    found = costs(
        "closed loop", network, read, stuck, Judge(network, images, network.infer(images).predictions)
    )
    path = tmp_path / "validation.h5"
    write_validation(path, np.zeros((30, 30), np.int8), *cost_results([found], network))
    assert [picture.slug for picture in pictures(path)] == ["accuracy", "costs", "layer-confusion"]
    assert wrong_in(path) == []


def test_labels_are_moved_apart_in_their_order() -> None:
    moved = style.apart([0.0, 5.0, 5.1, 5.2, 9.0], 1.0)
    assert np.all(np.diff(moved) >= 1.0 - 1e-12)
    np.testing.assert_allclose(moved, [0.0, 4.1, 5.1, 6.1, 9.0])


def test_the_check_itself_finds_faults() -> None:
    figure = Figure(figsize=(2, 2))
    figure.add_axes((0.2, 0.2, 0.6, 0.6))
    figure.text(0.99, 0.5, "out of the page")
    figure.text(0.3, 0.9, "one")
    figure.text(0.3, 0.9, "two")
    found = " | ".join(faults(figure))
    assert "'out of the page' is clipped" in found
    assert "'one' over 'two'" in found
    assert "are empty" in found
