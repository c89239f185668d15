"""One training step with 2-bit quantisation beside the FP32 steps of SpikingJelly, snnTorch and Norse.

    python benchmarks/bench_train.py [--rounds 9] [--batch 64] [--peers-python PYTHON] [--write]

The network and step of benchmarks/peers.py: T = 4, batch norm on both sides, integrate and fire with hard reset,
threshold 1, Adam, random images. "convolutions alone" is a floor: the same convolutions, pooling and linear layer in
FP32, forward and backward, nothing else. "ours" is forward and backward pass and the update of the weights. "ours,
monitored" is a step of `quest_lab.train.loop.train` itself, with all that it does between two steps: batches drawn
and shifted, spikes and taps counted, losses checked, the epoch's sums and the schedule written.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alternating import PEERS, Variant, alternate, arguments, fastest, head, peers_of, publish, ratio, serve

if TYPE_CHECKING:  # the peers run in an environment of their own
    from quest_lab.train.config import TrainConfig
    from quest_lab.train.data import Dataset

TEXT, STEPS = "64M-128-128M-256-256M-F", 4
FLOOR, MONITORED = "convolutions alone", "ours, monitored"
BATCHES = 8  # in the training set, then they come again


def settings(batch: int) -> TrainConfig:
    from quest_lab.train.config import TrainConfig

    return TrainConfig(
        network=TEXT, batch_norm=True, theta=1.0, batch_size=batch, time_steps=STEPS, learning_rate=1e-3,
        epochs=1_000_000, threads=os.cpu_count() or 1, device="cpu",
    )  # fmt: skip


def images(batch: int) -> Dataset:
    """Random images with random labels."""
    import numpy as np

    from quest_lab.train.data import Dataset

    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(BATCHES * batch, 3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, len(pictures))
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    names = tuple("0123456789")
    return Dataset("random", names, pictures, labels, pictures[:batch], labels[:batch], zeros, ones)


def bare(batch: int) -> tuple[Callable[[], object], dict[str, object]]:
    """A step of the training run's model and optimizer, and the rates of the spikes that enter its layers."""
    import torch
    import torch.nn.functional as F

    from quest_lab.train.run import Run
    from quest_lab.train.workers import Workers

    torch.set_deterministic_debug_mode("error")  # as `train` sets it
    torch.utils.deterministic.fill_uninitialized_memory = False
    data = images(batch)
    run = Run.start(settings(batch), data, Workers(0, 1, torch.device("cpu")))
    entering = run.model.present(data.train_images[:batch])
    labels = torch.from_numpy(data.train_labels[:batch]).repeat(STEPS)

    def step() -> None:
        logits = run.model(entering).logits
        run.optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), labels).backward()
        run.optimizer.step()
        run.model.settle()

    step()
    rates = [float(spikes.to(torch.float32).mean()) for spikes in run.model(entering).entering]
    return step, {"entering": rates}


@contextmanager
def training(batch: int, folder: Path) -> Iterator[Callable[[], None]]:
    """`train` at work in a thread that waits after each step; what is given lets it take the next one."""
    from quest_lab.errors import Interrupted
    from quest_lab.train.loop import train

    go_on, done, ended = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
    failed: list[BaseException] = []

    def wait(*_: object) -> None:
        done.release()
        go_on.acquire()

    class Stop:
        def check(self) -> None:
            if ended.is_set():
                raise Interrupted("measured enough")

    def work() -> None:
        go_on.acquire()
        outputs = {"weights": folder / "weights.h5", "schedule": folder / "schedule.h5"}
        try:
            train(settings(batch), dataset=images(batch), progress=wait, stop=Stop(), **outputs)
        except BaseException as error:  # raised in the thread that waits
            failed.append(error)
            done.release()

    def step() -> None:
        go_on.release()
        done.acquire()
        if failed:
            raise failed[0]

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield step
    finally:
        ended.set()
        go_on.release()
        thread.join()


def work(name: str, batch: int) -> None:
    if name == "ours":
        step, facts = bare(batch)
        serve(step, **facts)
    elif name == MONITORED:
        with tempfile.TemporaryDirectory() as folder, training(batch, Path(folder)) as step:
            serve(step)
    else:
        import peers

        serve(peers.training_step(name, batch))


def claims(found: dict[str, Variant]) -> list[str]:
    """Speed and memory against the peers, the floor, and ours without monitors."""
    mine, floor, others = found["ours"], found[FLOOR], peers_of(found)
    rates = ", ".join(f"{rate:.2f}" for rate in mine.facts["entering"])
    lines = [f"- spikes an input and step in our quantised layers: {rates}"]
    if others:
        best, leanest = fastest(others), min(others, key=lambda v: v.peak_mb)
        faster, share = ratio(mine, best), mine.peak_mb / leanest.peak_mb
        lines += [
            f"- against {best.name}, the fastest peer: {faster} times as fast; goal 1.1, aim 1.25",
            f"- memory: {share:.0%} of {leanest.name}'s, the leanest peer; goal at most 65 %",
        ]
    return [
        *lines,
        f"- against the floor, {FLOOR}: {ratio(mine, floor)} times as fast; goal 0.9",
        f"- without monitors and schedule: {ratio(mine, found[MONITORED])} times as fast as with; goal at most 1.1",
    ]


def main() -> None:
    given = arguments(__doc__).parse_args()
    if given.worker:
        work(given.worker, given.batch)
        return
    before = head(__file__)
    ours = dict.fromkeys(("ours", MONITORED, FLOOR), sys.executable)
    commands = {
        name: [python, __file__, "--worker", name, "--batch", str(given.batch)]
        for name, python in (ours | dict.fromkeys(PEERS, given.peers_python)).items()
    }
    found = alternate(commands, given.rounds)
    publish("Training step", before, found, claims(found), given)


if __name__ == "__main__":
    main()
