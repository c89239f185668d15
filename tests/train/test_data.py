"""Data sets: the digits' fixed split, CIFAR-10 and MNIST files made here byte by byte."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from quest_lab.errors import BadInput
from quest_lab.train.augment import augment
from quest_lab.train.data import load_dataset


def test_digits_hold_out_a_stratified_quarter() -> None:
    data = load_dataset("digits")
    assert (data.train_images.shape, data.test_images.shape) == ((1347, 1, 8, 8), (450, 1, 8, 8))
    assert np.bincount(data.test_labels).min() >= 43
    assert (data.train_images.min(), data.train_images.max()) == (0.0, 1.0)
    np.testing.assert_allclose(data.mean, data.train_images.mean(), rtol=1e-5)
    np.testing.assert_allclose(data.std, data.train_images.std(), rtol=1e-5)


def _cifar(folder: Path) -> None:
    for i in range(1, 6):
        record = bytes([i]) + bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([i]) * 1024
        (folder / f"data_batch_{i}.bin").write_bytes(record * 2)
    (folder / "test_batch.bin").write_bytes(bytes([9]) + bytes(range(256)) * 12)


def test_cifar10_reads_its_binary_layout(tmp_path: Path) -> None:
    _cifar(tmp_path)
    data = load_dataset("cifar10", tmp_path)
    assert data.train_labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert data.train_images[4, :, 7, 9].tolist() == [10, 20, 3]
    assert data.test_images[0, 0, 1, 2] == 34
    np.testing.assert_allclose(data.mean, np.array([10, 20, 3]) / 255, rtol=1e-5)
    assert (data.image_shape, data.class_names[9]) == ((3, 32, 32), "truck")


def test_cifar10_is_found_in_its_usual_inner_folder(tmp_path: Path) -> None:
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    _cifar(inner)
    assert len(load_dataset("cifar10", tmp_path).test_images) == 1


def test_missing_files_are_named_with_their_layout(tmp_path: Path) -> None:
    _cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(BadInput, match=r"lacks data_batch_3\.bin; wanted: .*1 label byte \+ 3072"):
        load_dataset("cifar10", tmp_path)


def test_a_folder_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--data DIR.*train-images-idx3-ubyte"):
        load_dataset("mnist")
    with pytest.raises(BadInput, match="want one of digits, cifar10, mnist"):
        load_dataset("faces", tmp_path)


def test_a_cut_cifar_file_is_refused(tmp_path: Path) -> None:
    _cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(BadInput, match="3000 bytes, want a multiple of 3073"):
        load_dataset("cifar10", tmp_path)


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def _mnist(folder: Path, *, packed: bool) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    labels = np.array([3, 1, 4, 1, 5, 9], np.uint8)
    for part in ("train", "t10k"):
        for name, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            raw = _idx(values)
            path = folder / f"{part}-{name}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(raw) if packed else raw)
    return images


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_reads_its_idx_files(tmp_path: Path, packed: bool) -> None:
    images = _mnist(tmp_path, packed=packed)
    data = load_dataset("mnist", tmp_path)
    assert np.array_equal(data.train_images[:, 0], images)
    assert data.test_labels.tolist() == [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("spoil", ["short", "foreign", "gzip"])
def test_a_spoilt_mnist_file_is_refused(tmp_path: Path, spoil: str) -> None:
    _mnist(tmp_path, packed=spoil == "gzip")
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' if spoil == 'gzip' else ''}"
    raw = path.read_bytes()
    path.write_bytes(b"GIF8" + raw[4:] if spoil == "foreign" else raw[:-100])
    with pytest.raises(BadInput, match="train-images-idx3-ubyte"):
        load_dataset("mnist", tmp_path)


def test_shifts_move_whole_images_by_at_most_what_was_said() -> None:
    images = np.zeros((40, 2, 5, 6), np.float32)
    images[:, :, 2, 3] = [1.0, 2.0]
    moved = augment(images, shift_pixels=1, flip=False, rng=np.random.default_rng(0))
    places = [tuple(np.argwhere(image[0])[0]) for image in moved]
    assert {*places} == {(y, x) for y in (1, 2, 3) for x in (2, 3, 4)}
    assert np.array_equal(moved[:, 1], 2 * moved[:, 0])


def test_flips_mirror_about_half() -> None:
    images = np.arange(4.0, dtype=np.float32).reshape(1, 1, 1, 4).repeat(200, 0)
    flipped = augment(images, shift_pixels=0, flip=True, rng=np.random.default_rng(0))
    mirrored = flipped[:, 0, 0, 0] == 3
    assert 60 < mirrored.sum() < 140
    assert np.array_equal(flipped[mirrored][0, 0, 0], [3, 2, 1, 0])
