"""An epoch of VGG6 replayed on a chip of 1.14 M cells: what arrives, and twenty kills with resume."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import poisson, t

from quest_lab.beliefs import write_model
from quest_lab.characterization import Characterization
from quest_lab.clock import VirtualClock
from quest_lab.layers import Topology
from quest_lab.mapping import to_states
from quest_lab.protocols.characterize import CharacterizeSettings, characterize
from quest_lab.protocols.replay import replay
from quest_lab.protocols.replay_costs import COSTS
from quest_lab.protocols.replayed import Replay
from quest_lab.runfile import open_run
from quest_lab.schedule import Schedule, synthesize
from quest_lab.session import Session
from quest_lab.sim.cells import CellArray
from quest_lab.sim.chip import SimulatedChip
from quest_lab.sim.skmtj import SkMTJ
from quest_lab.write_costs import interval

pytestmark = pytest.mark.campaign

VGG6 = Topology.parse("64-64M-128-128M-256-256-A", (3, 32, 32), 10)
SPARE = 8000  # cells: some never answer
KILLS, SEED, CHIPS = 20, 0, 10
STATES = {2: (0, 3, 6), 3: (0, 1, 2, 3, 4, 5, 6)}
ACCOUNTS = ("spent_energy_j", "verify_energy_j", "field_energy_j", "inference_gated_energy_j", "pulses", "resets",
            "writes_wrong", "diverged")  # fmt: skip
POOLED = ("spent_energy_j", "pulses")
QUIET = dict.fromkeys(("d_cell", "xi_pulse", "r0_spread", "tmr_spread", "residual_states", "read_noise"), 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("epoch")


@pytest.fixture(scope="module", params=[2, 3])
def schedule(request: pytest.FixtureRequest, folder: Path) -> Iterator[Schedule]:
    with Schedule.open(synthesized(folder, request.param)) as opened:
        yield opened


def synthesized(folder: Path, bits: int) -> Path:
    """195 batches that change one weight in a hundred each."""
    path = folder / f"schedule{bits}.h5"
    if not path.exists():
        shapes = [layer.shape for layer in VGG6.layers()]
        synthesize(path, shapes, steps=195, change_rate=0.01, seed=SEED, bits=bits)
    return path


def replayed(
    model: SkMTJ, schedule: Schedule, seed: int = SEED
) -> tuple[Replay, Characterization, np.ndarray]:
    """On a chip of its own; the cells' true states last."""
    cells, clock = schedule.weights + SPARE, VirtualClock()
    array = CellArray(model, cells, seed=seed)
    session = Session(SimulatedChip(array, clock), clock, seed=seed)
    settings = CharacterizeSettings()
    found, _ = characterize(session, np.arange(cells), np.arange(0, cells, cells // 256), settings)
    used = found.restrict(STATES[schedule.header.bits])
    pattern = tuple(range(used.states))
    out = replay(session, schedule, used, pattern)
    true = array.states(used.cells[: schedule.weights])
    array.close()
    return out, used, true


def test_without_noise_the_chip_ends_in_the_schedules_states(schedule: Schedule) -> None:
    out, used, true = replayed(SkMTJ.preset("scaled", **QUIET), schedule)
    wanted = to_states(schedule.final_levels, tuple(range(used.states)))
    assert np.array_equal(out.read, wanted)
    assert used.fold is not None
    assert np.array_equal(used.fold[true], wanted)


def test_with_noise_the_writes_cost_and_diverge_as_the_policy_expects(
    schedule: Schedule, publish: Callable[[str, str, str], None]
) -> None:
    began = time.monotonic()
    out, used, _ = replayed(SkMTJ.preset("scaled"), schedule)
    lasted, bits = time.monotonic() - began, schedule.header.bits
    page = _page(schedule, out, used, lasted)
    chips = [out] + [replayed(SkMTJ.preset("scaled"), schedule, SEED + i)[0] for i in range(1, CHIPS)]
    title = f"An epoch of VGG6 on simulated cells, {bits} bits"
    publish(f"replay-epoch-{bits}-bit", title, "\n".join([page, *_over_chips(chips)]))
    for name in COSTS:
        _, low, high = interval(out.expected[name])
        if name != "writes_wrong":
            assert 0.998 * low <= out.total(name) <= 1.002 * high, name
    for one in chips:
        _, low, high = interval(one.expected["writes_wrong"])
        assert poisson.ppf(0.001, low) <= one.total("writes_wrong") <= poisson.ppf(0.999, high)
    for name in POOLED:
        apart, error = _ratio(chips, name)
        assert abs(apart) <= error + 1e-4, name  # costs are told to four digits


def _ratio(chips: list[Replay], name: str) -> tuple[float, float]:
    """Observed over expected, less one, summed over the chips, and the reach of its interval (jackknife over chips;
    that of four such, POOLED at 2 and 3 bits, together 95 %)."""
    pairs = np.array([(out.total(name), out.expected[name][0]) for out in chips])
    whole, others = pairs.sum(axis=0), pairs.sum(axis=0) - pairs
    each, n = others[:, 0] / others[:, 1], len(chips)
    error = np.sqrt((n - 1) / n * ((each - each.mean()) ** 2).sum())
    return float(whole[0] / whole[1]) - 1.0, float(t.ppf(1.0 - 0.05 / 8, n - 1) * error)


def _over_chips(chips: list[Replay]) -> list[str]:
    rows = [
        "",
        f"## {len(chips)} chips",
        "",
        "Each with its own cells and characterisation.",
        "",
        "| chip seed | energy of writes (µJ): expected | observed | writes wrong: expected | observed | "
        "weights that differ at the end |",
        "|---|---|---|---|---|---|",
    ]
    for i, out in enumerate(chips):
        joule, wrong = (interval(out.expected[name]) for name in ("spent_energy_j", "writes_wrong"))
        rows.append(
            f"| {SEED + i} | {1e6 * joule[0]:.4f} ({1e6 * joule[1]:.4f} to {1e6 * joule[2]:.4f}) "
            f"| {1e6 * out.total('spent_energy_j'):.4f} | {wrong[0]:.3g} ({wrong[1]:.3g} to {wrong[2]:.3g}) "
            f"| {out.total('writes_wrong'):.0f} | {out.diverged} |"
        )
    told = (f"{name} {100 * apart:+.3f} ± {100 * error:.3f} %"
            for name in POOLED for apart, error in [_ratio(chips, name)])  # fmt: skip
    return [
        *rows,
        "",
        f"Observed less expected, all chips together (95 % for all four of 2 and 3 bits): {', '.join(told)}.",
    ]


def _page(schedule: Schedule, out: Replay, used: Characterization, lasted: float) -> str:
    by_law = write_model(used).lasting
    model = (
        "a threshold law learned from 256 characterised cells; the intervals are 95 % intervals of what these "
        "cells leave open, on top of which come the chances of this replay"
        if by_law
        else "shares counted on 256 characterised cells, without interval"
    )
    rows = [
        f"{schedule.weights} weights in five layers (VGG6), {schedule.steps} synthesised batches, one weight in a "
        f"hundred changed in each; preset `scaled`, states {STATES[schedule.header.bits]}, chip seed {SEED}. "
        "Every cell parameter is assumed.",
        "",
        f"Expected: {model}.",
        "",
        "| writes after the initial load | expected | 95 % interval | observed |",
        "|---|---|---|---|",
    ]
    for name, unit in COSTS.items():
        mean, low, high = interval(out.expected[name])
        rows.append(
            f"| {name} {f'({unit})' if unit else ''} | {mean:.5g} | {low:.5g} to {high:.5g} | {out.total(name):.5g} |"
        )
    rows += [
        "",
        f"- writes: {out.total('writes_intended'):.0f}, each of one cell",
        f"- weights that differ from the schedule at the end: {out.diverged}",
        f"- characterisation and replay took {lasted:.0f} s",
        "",
        "| layer | weights | writes | write energy (nJ) | differ at the end |",
        "|---|---|---|---|---|",
    ]
    for layer in out.by_layer(schedule.layers):
        rows.append(
            f"| {layer.name} | {layer.weights} | {layer.writes:.0f} | {layer.write_j * 1e9:.1f} "
            f"| {layer.diverged:.0f} |"
        )
    return "\n".join(rows)


@dataclass(frozen=True)
class End:
    """How a replay ended: states read, true states, accounts of the steps, and of its resumes."""

    read: np.ndarray
    steps: dict[str, np.ndarray]
    resumes: dict[str, np.ndarray]


@dataclass(frozen=True)
class Kill:
    """What came of one: the step that was cut off (-1: the load), cells in doubt, weights that ended elsewhere, whether
    the accounts of the cut step and how many of the others differ, and the energy of the `resume` account."""

    step: int
    doubt: int
    elsewhere: int
    cut_differs: bool
    others: int
    resume_j: float


@pytest.fixture(scope="module")
def chip(folder: Path) -> Path:
    """A characterised chip in a file, and its characterisation beside it."""
    cells = sum(layer.size for layer in VGG6.layers()) + SPARE
    quest_lab(
        "characterize", "scaled", "--cells", cells, "--sample", 256, "--chip", folder / "fresh.cells", "--out",
        folder / "chip.h5",
    ).wait()  # fmt: skip
    return folder / "fresh.cells"


def quest_lab(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from quest_lab.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start(work: Path, chip: Path, schedule: Path, *more: str) -> subprocess.Popen[bytes]:
    if not (work / "chip.cells").exists():
        shutil.copy(chip, work / "chip.cells")
    return quest_lab(
        "replay", "scaled", schedule, "--characterization", chip.with_name("chip.h5"), "--chip",
        work / "chip.cells", "--out", work / "run.h5", *more,
    )  # fmt: skip


def wait_for_rows(work: Path) -> None:
    part = work / "run.h5.part"
    while not part.exists() or part.stat().st_size < 1 << 20:
        time.sleep(0.01)


def end(work: Path) -> End:
    with open_run(work / "run.h5") as run:
        assert run.status == "complete"
        read = run.result("final_states")["read"].to_numpy()
        return End(read, run.columns("replay_steps"), run.columns("resumes"))


def test_twenty_kills_and_resumes_end_as_if_nothing_had_happened(
    folder: Path, chip: Path, publish: Callable[[str, str, str], None]
) -> None:
    schedule = synthesized(folder, 2)
    (whole := folder / "whole").mkdir()
    process = start(whole, chip, schedule)
    wait_for_rows(whole)
    began = time.monotonic()
    assert process.wait() == 0
    lasted, undisturbed = time.monotonic() - began, end(whole)
    times, rows = random.Random(SEED), []
    while len(rows) < KILLS:
        (work := folder / "killed").mkdir()
        process = start(work, chip, schedule)
        wait_for_rows(work)
        time.sleep(times.uniform(0.0, 0.9) * lasted)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (work / "run.h5.part").exists():  # else it was done already
            assert start(work, chip, schedule, "--resume").wait() == 0
            rows.append(compare(undisturbed, end(work)))
        shutil.rmtree(work)
    publish("replay-resume", "An epoch of VGG6, killed with SIGKILL and resumed", _kills(rows, lasted))
    assert all(row.elsewhere == row.others == 0 for row in rows)


def compare(want: End, got: End) -> Kill:
    """Accounts are the same to 1e-5: a cell in doubt is read once more, and shows other noise until its next pulse."""
    (first,), (doubt,), (resume_j,) = (got.resumes[n] for n in ("first", "pulses_in_doubt", "read_energy_j"))
    wanted, had = (np.stack([each.steps[a] for a in ACCOUNTS]).astype(np.float64) for each in (want, got))
    differ = np.any(np.abs(wanted - had) > 1e-5 * wanted, axis=0)
    cut = int(np.searchsorted(got.steps["calls"], first, side="right"))
    return Kill(
        step=int(got.steps["step"][cut]),
        doubt=int(doubt),
        elsewhere=int(np.count_nonzero(want.read != got.read)),
        cut_differs=bool(differ[cut]),
        others=int(np.delete(differ, cut).sum()),
        resume_j=float(resume_j),
    )


def _kills(rows: list[Kill], lasted: float) -> str:
    lines = [
        f"{len(rows)} replays through the command line, each killed once at a random time (seed {SEED}) of its "
        f"{lasted:.0f} s of writing, then resumed with `--resume` on the same cells. Accounts of a step: "
        f"{', '.join(f'`{name}`' for name in ACCOUNTS)}, equal to 1e-5.",
        "",
        "| kill | cut step (-1: initial load) | cells in doubt | weights that ended elsewhere | cut step's accounts "
        "| other steps whose accounts differ | energy in the `resume` account (pJ) |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {i + 1} | {row.step} | {row.doubt} | {row.elsewhere} | {'differ' if row.cut_differs else 'equal'} | "
        f"{row.others} | {1e12 * row.resume_j:.2f} |"
        for i, row in enumerate(rows)
    ]
    return "\n".join(lines)
