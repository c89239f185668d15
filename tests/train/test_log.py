"""TensorBoard, where it is installed, and a clear word where it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from quest_lab.errors import BadInput
from quest_lab.train.log import TensorBoard

INSTALLED = importlib.util.find_spec("tensorboard") is not None


@pytest.mark.skipif(not INSTALLED, reason="tensorboard is not installed")
def test_tensorboard_gets_a_file(tmp_path: Path) -> None:
    TensorBoard(tmp_path).write({"epoch": 1, "loss": 0.5, "conv2.aor": 0.1})
    assert list(tmp_path.glob("events.*"))


@pytest.mark.skipif(INSTALLED, reason="tensorboard is installed")
def test_without_tensorboard_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"pip install 'quest-lab\[tensorboard\]'"):
        TensorBoard(tmp_path)
