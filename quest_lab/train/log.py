"""The log of a training run, one row an epoch: a CSV file always, TensorBoard if it is installed and asked for."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from quest_lab.errors import BadInput

Row: TypeAlias = Mapping[str, float]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """All epochs so far, through `path`.part: resumed, the log has every epoch once."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


class TensorBoard:
    """Writes rows as scalars into `folder`. Raises BadInput if TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BadInput(
                f"--tensorboard: not installed ({error}): pip install 'quest-lab[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(folder))

    def write(self, row: Row) -> None:
        """One epoch, `row["epoch"]` from 1. Names like conv2.aor go into one chart a quantity."""
        for name, value in row.items():
            layer, _, quantity = name.rpartition(".")
            tag = f"{quantity}/{layer}" if layer else name
            self._writer.add_scalar(tag, value, int(row["epoch"]))
        self._writer.flush()
