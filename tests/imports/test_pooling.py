"""Poolings taken into the weights beside them, against torch's pooling and convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quest_lab.blocks import Window
from quest_lab.errors import BadInput
from quest_lab.imports.pooling import Pool

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(5, 3, 3, 3))
IMAGE = torch.from_numpy(RNG.normal(size=(2, 3, 8, 9)))


def _pooled(x: Tensor, tile: tuple[int, int], *, average: bool) -> Tensor:
    return F.avg_pool2d(x, tile) * (1 if average else tile[0] * tile[1])


def _moved(x: Tensor, weight: np.ndarray, window: Window) -> Tensor:
    return F.conv2d(x, torch.from_numpy(weight), stride=window.stride, padding=window.pad(weight.shape[2]))


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("window", [Window(), Window(1, 0), Window(2, 2), Window(2)])
def test_a_pooling_before_a_convolution(window: Window, average: bool) -> None:
    image = IMAGE[..., :8]
    weight, moves = Pool((2, 2), average, (3, 8, 8)).into_next(WEIGHT, window)
    want = _moved(_pooled(image, (2, 2), average=average), WEIGHT, window)
    assert np.allclose(_moved(image, weight, moves), want)


def test_a_dropped_column_stays_dropped_where_no_padding_meets_it() -> None:
    weight, moves = Pool((2, 2), True, (3, 8, 9)).into_next(WEIGHT, Window(1, 0))
    want = _moved(_pooled(IMAGE, (2, 2), average=True), WEIGHT, Window(1, 0))
    assert np.allclose(_moved(IMAGE, weight, moves)[..., : want.shape[3]], want)
    assert moves.places(9, 6) == want.shape[3]


def test_a_dropped_column_where_padding_would_be_is_refused() -> None:
    with pytest.raises(BadInput, match="drops the last row or column of 9"):
        Pool((2, 2), True, (3, 8, 9)).into_next(WEIGHT, Window())


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("window", [Window(), Window(1, 0), Window(2, 2)])
def test_a_pooling_after_a_convolution(window: Window, average: bool) -> None:
    weight, moves = Pool((2, 2), average, (5, 8, 9)).into_last(WEIGHT, window)
    want = _pooled(_moved(IMAGE, WEIGHT, window), (2, 2), average=average)
    assert np.allclose(_moved(IMAGE, weight, moves), want)


@pytest.mark.parametrize("tile", [(2, 2), (3, 2), (4, 9)])
def test_a_pooling_before_a_linear_layer(tile: tuple[int, int]) -> None:
    pool = Pool(tile, True, (3, 8, 9))
    weight = RNG.normal(size=(4, int(np.prod(pool.after))))
    want = _pooled(IMAGE, tile, average=True).flatten(1).numpy() @ weight.T
    assert np.allclose(IMAGE.flatten(1).numpy() @ pool.into_linear(weight).T, want)


def test_tiles_that_are_no_squares_are_refused_beside_a_convolution() -> None:
    with pytest.raises(BadInput, match="tiles of 2x3 beside a convolution; want square ones"):
        Pool((2, 3), True, (3, 8, 9)).into_next(WEIGHT, Window())
