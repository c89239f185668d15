"""Variants in processes of their own, measured in turn (A B C A B C ...), so that slow phases of a machine hit all.

A variant is a command that runs `serve(work)`: it answers each line on its standard input with the seconds that one
call of `work` took (wall clock, and of all its threads), and at the end says how much memory it needed at most. Between
turns it waits and costs nothing. On a machine that others use too, the seconds of the threads say more. A peer that is
not installed is left out; anything else that fails ends the benchmark with what it said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PEERS = ("SpikingJelly", "snnTorch", "Norse")
PAGE = Path(__file__).parents[1] / "docs" / "results" / "speed.md"


def arguments(doc: str) -> argparse.ArgumentParser:
    """What both benchmarks take; the hidden ones are for their variants."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--peers-python", default=sys.executable, help="of an environment with the peers")
    parser.add_argument("--write", action="store_true", help=f"also into {PAGE.name}")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


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
    said: IO[str]
    facts: dict[str, object]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    @classmethod
    def start(cls, name: str, command: Sequence[str]) -> Variant | None:
        """Start it and wait until it is warm; None, with a line of why, if it is a peer that is not installed."""
        said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        )
        variant = cls(name, process, said, {})
        assert process.stdout is not None
        ready = process.stdout.readline()
        if ready:
            variant.facts = json.loads(ready)
            return variant
        why = variant.last_words()
        if name in PEERS and why.startswith("ModuleNotFoundError"):
            print(f"skipped: {name}: {why}", flush=True)
            return None
        raise SystemExit(f"{name}: {why}")

    def turn(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: {self.last_words()}")
        wall, cpu = answer.split()
        self.wall_s.append(float(wall))
        self.cpu_s.append(float(cpu))

    def close(self) -> None:
        out, _ = self.process.communicate()
        if not out:
            raise SystemExit(f"{self.name}: {self.last_words()}")
        self.said.close()
        self.peak_mb = float(out)

    def last_words(self) -> str:
        """The last line of a process that has ended on its standard error."""
        self.process.communicate()
        with self.said as said:
            said.seek(0)
            return (said.read().strip().splitlines() or [f"ended with code {self.process.returncode}"])[-1]

    def row(self, batch: int) -> str:
        """A line of the table: samples a second at the median and at the best turn, CPU ms a sample, memory."""
        median, best = quantile(self.wall_s, 0.5), min(self.wall_s)
        cpu_ms = 1e3 * quantile(self.cpu_s, 0.5) / batch
        return (
            f"| {self.name} | {batch / median:.0f} | {batch / best:.0f} | {cpu_ms:.1f} | {self.peak_mb:.0f} |"
        )


HEAD = "| | samples/s, median | best turn | CPU ms a sample | peak MB |\n|---|---|---|---|---|"


def alternate(commands: dict[str, list[str]], rounds: int) -> dict[str, Variant]:
    """Run `rounds` turns of every variant, peers that are not installed left out. Raises SystemExit if one fails."""
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


def peers_of(found: dict[str, Variant]) -> list[Variant]:
    return [found[name] for name in PEERS if name in found]


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


def publish(
    title: str, head: str, found: dict[str, Variant], claims: list[str], given: argparse.Namespace
) -> None:
    """Print the table and what follows from it; with --write also into the page, under `title`.

    `head`: the script and the state of the machine before it ran.
    """
    rows = "\n".join(v.row(given.batch) for v in found.values())
    text = f"{head}\n\n{HEAD}\n{rows}\n\n" + "\n".join(claims) + "\n"
    print(text)
    if given.write:
        write_section(PAGE, title, text)


def head(script: str) -> str:
    """What is measured, where and of which commit; to be asked before it starts."""
    return f"`python benchmarks/{Path(script).name}`, commit {commit()}. {machine()}."


def write_section(page: Path, title: str, text: str) -> None:
    """Put `text` under `## title` of a page of results, in place of what stood there."""
    old = page.read_text(encoding="utf-8") if page.exists() else "# Speed\n"
    head, *sections = old.split("\n## ")
    kept = [s for s in sections if not s.startswith(title + "\n")]
    page.write_text(
        "\n## ".join([head.rstrip() + "\n", *(s.rstrip() + "\n" for s in kept), f"{title}\n\n{text}"])
    )
