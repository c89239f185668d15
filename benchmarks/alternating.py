"""Variants in processes of their own, measured in turn (A B C A B C ...), so that slow phases of a machine hit all.

A variant is a command that runs `serve(work)`: it answers each line on its standard input with the seconds that one
call of `work` took (wall clock, and of all its threads), and at the end says how much memory it needed at most. Between
turns it waits and costs nothing. On a machine that others use too, the seconds of the threads say more.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def serve(work: Callable[[], object], **facts: object) -> None:
    """Child: call `work` once a line until the input ends; two calls before that compile and warm up."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    work()
    work()
    print(json.dumps(facts), file=answers)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        print(time.perf_counter() - wall, time.process_time() - cpu, file=answers)
    print(peak_mb(), file=answers)


def peak_mb() -> float:
    """Most memory this process had resident, in MB."""
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


@dataclass(slots=True)
class Variant:
    """A running variant: its seconds a turn, of the clock and of its threads; when closed, its peak memory."""

    name: str
    process: subprocess.Popen[str]
    facts: dict[str, object]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    @classmethod
    def start(cls, name: str, command: list[str]) -> Variant | None:
        """Start it and wait until it is warm; None, with a line of why, if it cannot run here."""
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            _, errors = process.communicate()
            print(f"skipped: {name}: {(errors.strip().splitlines() or ['no answer'])[-1]}", flush=True)
            return None
        return cls(name, process, json.loads(ready))

    def turn(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        wall, cpu = self.process.stdout.readline().split()
        self.wall_s.append(float(wall))
        self.cpu_s.append(float(cpu))

    def close(self) -> None:
        out, _ = self.process.communicate()
        self.peak_mb = float(out)

    def row(self, batch: int) -> str:
        """A line of the table: samples a second at the median and at the best turn, CPU ms a sample, memory."""
        median, best = quantile(self.wall_s, 0.5), min(self.wall_s)
        cpu_ms = 1e3 * quantile(self.cpu_s, 0.5) / batch
        return (
            f"| {self.name} | {batch / median:.0f} | {batch / best:.0f} | {cpu_ms:.1f} | {self.peak_mb:.0f} |"
        )


HEAD = "| | samples/s, median | best turn | CPU ms a sample | peak MB |\n|---|---|---|---|---|"


def alternate(commands: dict[str, list[str]], rounds: int) -> dict[str, Variant]:
    """Run `rounds` turns of every variant that starts."""
    started = [Variant.start(name, command) for name, command in commands.items()]
    variants = [variant for variant in started if variant is not None]
    for _ in range(rounds):
        for variant in variants:
            variant.turn()
    for variant in variants:
        variant.close()
    return {variant.name: variant for variant in variants}


def quantile(values: list[float], share: float) -> float:
    """Linear interpolation between the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def ratio(faster: Variant, slower: Variant) -> str:
    """How many times as fast, paired turn by turn: median and quartiles, by the clock; then by its threads' time."""
    wall = [b / a for a, b in zip(faster.wall_s, slower.wall_s, strict=True)]
    cpu = [b / a for a, b in zip(faster.cpu_s, slower.cpu_s, strict=True)]
    return (
        f"{quantile(wall, 0.5):.2f} ({quantile(wall, 0.25):.2f} to {quantile(wall, 0.75):.2f}), "
        f"by CPU time {quantile(cpu, 0.5):.2f} ({quantile(cpu, 0.25):.2f} to {quantile(cpu, 0.75):.2f})"
    )


def fastest(variants: list[Variant]) -> Variant:
    """The one with the least median time."""
    return min(variants, key=lambda variant: quantile(variant.wall_s, 0.5))


def machine() -> str:
    """The processor, its cores that this process may use, and how busy it is."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}"


def commit() -> str:
    """The commit that is measured, marked if the tree has changes."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def write_section(page: Path, title: str, text: str) -> None:
    """Put `text` under `## title` of a page of results, in place of what stood there."""
    old = page.read_text(encoding="utf-8") if page.exists() else "# Speed\n"
    head, *sections = old.split("\n## ")
    kept = [s for s in sections if not s.startswith(title + "\n")]
    page.write_text(
        "\n## ".join([head.rstrip() + "\n", *(s.rstrip() + "\n" for s in kept), f"{title}\n\n{text}"])
    )
