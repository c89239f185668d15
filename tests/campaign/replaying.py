"""A replay in a process of its own, to be killed: `python replaying.py SCHEDULE FOUND CELLS OUT`.

After every flush it prints how many rows of each table are acknowledged, and `done` at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quest_lab.characterization_file import load_characterization
from quest_lab.protocols.replay import replay
from quest_lab.record import RunWriter
from quest_lab.schedule import Schedule
from quest_lab.session import open_bench

TABLES = ("calls", "applies", "reads", "replay_steps")


class Telling(RunWriter):
    """A run file that says what it has acknowledged."""

    def flush(self) -> None:
        super().flush()
        print(*(self.acknowledged[t] for t in TABLES), flush=True)


def main(schedule: str, found: str, cells: str, out: str) -> None:
    with (
        Telling.create(Path(out), kind="replay", title="", seed=0, settings={}) as run,
        Schedule.open(schedule) as source,
        open_bench("scaled", cells=source.weights, seed=0, cells_file=cells, run=run) as session,
    ):
        replay(session, source, load_characterization(found).restrict((0, 3, 6)), (1, 0, 2))
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
