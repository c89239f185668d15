"""What the benchmarks measure of ours works, and a variant that fails says so; nothing is timed here."""

from __future__ import annotations

import sys
from pathlib import Path

import bench_inference
import bench_train
import pytest
from alternating import alternate, write_section

from quest_lab.schedule import Schedule

SERVES = "from alternating import serve; serve(lambda: sum(range(1000)), entering=[0.5], leaving=0.1)"


def child(code: str) -> list[str]:
    folder = str(Path(bench_train.__file__).parent)
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r}); {code}"]


def test_the_bare_step_trains() -> None:
    _, facts = bench_train.bare(2)  # takes a step, then looks at the spikes
    assert len(facts["entering"]) == 4


def test_the_monitored_step_is_trains_own_and_writes_its_schedule(tmp_path: Path) -> None:
    with bench_train.training(2, tmp_path) as step:
        step()
    with Schedule.open(tmp_path / "schedule.h5") as schedule:
        assert len(schedule) == 1


def test_a_failure_of_the_monitored_step_comes_out(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").touch()
    with bench_train.training(2, tmp_path) as step, pytest.raises(Exception, match=r"weights\.h5: exists"):
        step()


def test_the_inference_fires_at_the_rate_asked_for() -> None:
    run, facts = bench_inference.ours(0.15, 2)
    run()
    assert facts["leaving"] == pytest.approx(0.15, abs=0.05)


def test_variants_are_measured_in_turn_and_reported() -> None:
    names = ("ours", "ours, monitored", "convolutions alone", "Norse")
    found = alternate({name: child(SERVES) for name in names}, 3)
    assert [len(v.wall_s) for v in found.values()] == [3] * 4
    assert "Norse, the fastest peer" in "\n".join(bench_train.claims(found))
    del found["ours, monitored"], found["convolutions alone"]
    found["ours"].facts["entering"] = 0.5
    assert "Norse, the fastest peer" in "\n".join(bench_inference.claims(found))


@pytest.mark.parametrize(
    "late", ["", "serve = __import__('alternating').serve; serve(iter((1, 2)).__next__); "]
)
def test_a_variant_that_fails_ends_the_benchmark_with_its_reason(late: str) -> None:
    with pytest.raises(SystemExit, match=r"ours: .*(no such thing|StopIteration)"):
        alternate({"ours": child(late + "raise ValueError('no such thing')")}, 1)


def test_a_peer_that_is_not_installed_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert alternate({"Norse": child("import not_installed_here")}, 1) == {}
    assert "skipped: Norse" in capsys.readouterr().out


def test_a_section_of_the_page_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text("# Speed\n\nprose\n\n## A\n\nold\n\n## B\n\nkept\n")
    write_section(page, "A", "new\n")
    assert page.read_text() == "# Speed\n\nprose\n\n## B\n\nkept\n\n## A\n\nnew\n"
