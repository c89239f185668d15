"""Progress off a terminal: few lines, and a time left that a run at constant speed keeps."""

import io

import pytest

from quest_lab.cli.progress import Bars, Lines, duration, progress


class Now:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def run_at_constant_speed(total: int, step_s: float, first: int = 0) -> list[str]:
    out, now = io.StringIO(), Now()
    lines = Lines(out, now=now, every_s=3.0)
    for done in range(first, total + 1):
        lines("replay", done, total)
        now.s += step_s
    return out.getvalue().splitlines()


def test_lines_come_at_most_every_three_seconds() -> None:
    assert len(run_at_constant_speed(1000, 0.01)) == 1 + 3 + 1  # start, at 3, 6 and 9 s, end


def test_the_time_left_is_that_of_constant_speed() -> None:
    assert run_at_constant_speed(100, 1.0)[1] == "replay: 3/100 (3 %), 1 min 37 s left"


def test_a_resumed_run_counts_only_its_own_speed() -> None:
    assert run_at_constant_speed(100, 1.0, first=90)[1] == "replay: 93/100 (93 %), 7 s left"


def test_the_end_is_said_once_with_the_time_it_took() -> None:
    out, now = io.StringIO(), Now()
    lines = Lines(out, now=now)
    lines("train", 0, 2)
    now.s = 75.0
    lines("train", 2, 2)
    lines("train", 2, 2)
    assert out.getvalue().splitlines() == ["train: 0/2", "train: 2/2, 1 min 15 s"]


def test_another_task_starts_its_own_clock() -> None:
    out, now = io.StringIO(), Now()
    lines = Lines(out, now=now)
    lines("baseline", 1, 1)
    now.s = 50.0
    lines("staircase", 0, 4)
    now.s = 54.0
    lines("staircase", 1, 4)
    assert out.getvalue().splitlines()[-1] == "staircase: 1/4 (25 %), 12 s left"


def test_nothing_to_do_is_done() -> None:
    out = io.StringIO()
    Lines(out, now=Now())("replay", 0, 0)
    assert out.getvalue() == "replay: 0/0, 0 s\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pipe_gets_lines_and_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with progress(io.StringIO()) as report:
        assert isinstance(report, Lines)
    terminal = Terminal()
    with progress(terminal) as report:
        assert isinstance(report, Bars)
        report("replay", 3, 7)
    assert "replay" in terminal.getvalue()
    assert "3/7" in terminal.getvalue()
