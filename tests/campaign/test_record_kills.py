"""Writers killed with SIGKILL, many times: every file opens, nothing acknowledged is lost."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign


def test_nothing_acknowledged_is_lost_in_many_kills(tmp_path: Path) -> None:
    """QUEST_LAB_KILLS kills (200)."""
    name = "test_record_kill"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    short = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(short)
    count = int(os.environ.get("QUEST_LAB_KILLS", "200"))
    survivors = short.kill_many(tmp_path, count)
    short.check(survivors)
    rows = sum(sum(survivor.acknowledged) for survivor in survivors)
    print(f"{count} kills, {count} files opened, {rows} acknowledged rows, 0 lost")
