"""One training step with 2-bit quantisation beside the FP32 steps of SpikingJelly, snnTorch and Norse.

    python benchmarks/bench_train.py [--rounds 9] [--batch 64] [--peers-python PYTHON] [--write]

The network and step of benchmarks/peers.py: T = 4, batch norm on both sides, integrate and fire with hard reset,
threshold 1, Adam, random images. "convolutions alone" is a floor: the same convolutions, pooling and linear layer in
FP32, forward and backward, nothing else. "ours, monitored" also counts spikes and taps and writes the schedule.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from alternating import HEAD, Variant, alternate, commit, fastest, machine, ratio, serve, write_section

TEXT, STEPS = "64M-128-128M-256-256M-F", 4
PAGE = Path(__file__).parents[1] / "docs" / "results" / "speed.md"
PEERS = ("SpikingJelly", "snnTorch", "Norse")
FLOOR = "convolutions alone"


def ours(batch: int, folder: str | None) -> tuple[Callable[[], object], dict[str, object]]:
    """One step as quest_lab.train takes it; with its monitors and schedule, in `folder`, if given."""
    import numpy as np
    import torch

    from quest_lab.layers import Topology
    from quest_lab.schedule import Header, ScheduleWriter, stage_of
    from quest_lab.train import loop
    from quest_lab.train.config import TrainConfig
    from quest_lab.train.model import SpikingVGG

    config = TrainConfig(network=TEXT, batch_norm=True, theta=1.0, batch_size=batch, time_steps=STEPS)
    topology = Topology.parse(TEXT, (3, 32, 32), 10)
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    model = SpikingVGG(topology, config, zeros, ones, np.random.default_rng(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    done = 0
    writer = None
    if folder is not None:
        header = Header(2, STEPS, batch, "random", 0, TEXT)
        writer = ScheduleWriter(Path(folder) / "schedule.h5", header, topology.layers(), model.levels())
        writer.__enter__()

    def step() -> object:
        nonlocal done
        optimizer.zero_grad(set_to_none=True)
        passed = model(images)
        loss = loop._loss(passed.logits, labels)
        loss.backward()
        optimizer.step()
        if writer is not None:
            counts = loop._count(passed, topology.layers())
            stage = stage_of(0, done, 1000)
            writer.append(
                model.levels(), epoch=0, batch=done, samples=batch, stage=stage, loss=loss.item(), **counts
            )
            done += 1
        return passed

    rates = [float(spikes.to(torch.float32).mean()) for spikes in step().entering]
    return step, {"entering": rates}


def work(name: str, batch: int) -> None:
    if name.startswith("ours"):
        with tempfile.TemporaryDirectory() as folder:
            step, facts = ours(batch, folder if "monitored" in name else None)
            serve(step, **facts)
        return
    import peers

    serve(peers.training_step(name, batch))


def report(found: dict[str, Variant], batch: int, command: str, state: str) -> str:
    lines = [
        f"`{command}`, commit {commit()}. {state}.",
        "",
        HEAD,
        *(v.row(batch) for v in found.values()),
        "",
    ]
    mine, others = found["ours"], [found[name] for name in PEERS if name in found]
    rates = ", ".join(f"{rate:.2f}" for rate in mine.facts["entering"])
    lines.append(f"- spikes an input and step in our quantised layers: {rates}")
    if others:
        best, leanest = fastest(others), min(others, key=lambda v: v.peak_mb)
        lines.append(
            f"- against {best.name}, the fastest peer: {ratio(mine, best)} times as fast; goal 1.1, aim 1.25"
        )
        share = mine.peak_mb / leanest.peak_mb
        lines.append(f"- memory: {share:.0%} of {leanest.name}'s, the leanest peer; goal at most 65 %")
    if FLOOR in found:
        lines.append(f"- against the floor, {FLOOR}: {ratio(mine, found[FLOOR])} times as fast; goal 0.9")
    if "ours, monitored" in found:
        lines.append(
            f"- without monitors and schedule: {ratio(mine, found['ours, monitored'])} times as fast as with; goal 1.1"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--peers-python", default=sys.executable, help="of an environment with the peers")
    parser.add_argument("--write", action="store_true", help=f"also into {PAGE.name}")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.worker, given.batch)
        return
    state = machine()
    interpreters = {
        "ours": sys.executable,
        "ours, monitored": sys.executable,
        FLOOR: sys.executable,
        **dict.fromkeys(PEERS, given.peers_python),
    }
    commands = {
        name: [python, __file__, "--worker", name, "--batch", str(given.batch)]
        for name, python in interpreters.items()
    }
    text = report(alternate(commands, given.rounds), given.batch, "python benchmarks/bench_train.py", state)
    print(text)
    if given.write:
        write_section(PAGE, "Training step", text)


if __name__ == "__main__":
    main()
