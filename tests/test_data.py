"""Loaders, on files written here byte by byte as the formats say."""

from __future__ import annotations

import gzip
import importlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc import data
from graphc.data import Augmentation, Images, Standardize
from graphc.errors import ArgumentError, DataError, MissingDependencyError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">4B{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def some_images(seed, count, size):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, size, size), np.uint8)
    return pixels, rng.integers(0, 10, count).astype(np.uint8)


def write_mnist(folder, counts=(20, 10), size=28, compress=False):
    """Write the four files; return what they hold."""
    arrays = [*some_images(1, counts[0], size), *some_images(2, counts[1], size)]
    for name, array in zip(MNIST_FILES, arrays, strict=True):
        content = idx_bytes(array)
        target = folder / (name + ".gz" if compress else name)
        target.write_bytes(gzip.compress(content) if compress else content)
    return arrays


def write_cifar(folder, count=4):
    """Write the six files; return their records."""
    rng = np.random.default_rng(3)
    records = {name: rng.integers(0, 256, (count, 3073), np.uint8) for name in CIFAR_FILES}
    for name, record in records.items():
        record[:, 0] %= 10
        (folder / name).write_bytes(record.tobytes())
    return records


def data_error(load, path):
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ------------------------------------------------------------------------- idx
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (0, 4), (2, 1, 3, 2)])
def test_idx_gives_back_what_was_written(tmp_path, code, shape):
    array = np.arange(np.prod(shape), dtype=code).reshape(shape)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    (tmp_path / "b").write_bytes(gzip.compress(idx_bytes(array)))
    for name in "ab":
        found = data.read_idx(tmp_path / name)
        assert found.dtype == array.dtype and found.dtype.isnative
        np.testing.assert_array_equal(found, array, strict=True)


def test_idx_message_says_how_much_is_missing(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(idx_bytes(np.zeros((3, 4), "u1"))[:-5])
    assert data_error(data.read_idx, path) == f"{path}: truncated: 7 of 12 bytes of data"


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_refuses_every_prefix(tmp_path, wrap):
    content = wrap(idx_bytes(np.arange(6, dtype="i2").reshape(2, 3)))
    path = tmp_path / "a"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert data_error(data.read_idx, path).startswith(str(path))


def test_idx_refuses_trailing_data(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(np.zeros(3, "u1")) + b"x")
    assert "more data" in data_error(data.read_idx, tmp_path / "a")


def test_idx_refuses_a_size_that_no_file_has(tmp_path):
    header = struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3)
    (tmp_path / "a").write_bytes(gzip.compress(header + bytes(100)))
    assert "claims" in data_error(data.read_idx, tmp_path / "a")


def test_idx_refuses_damaged_gzip(tmp_path):
    content = bytearray(gzip.compress(idx_bytes(np.arange(200, dtype="u1"))))
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a").write_bytes(content)
    assert "damaged" in data_error(data.read_idx, tmp_path / "a")


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"PK\x03\x04", b"\x00\x00\x07\x01", b"\x00\x00\x08\x00", b"\x00\x00\x08\xff"]
)
def test_idx_refuses_other_files(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert "not an IDX file" in data_error(data.read_idx, tmp_path / "a")


def test_idx_of_a_missing_file_or_a_folder(tmp_path):
    assert "No such file" in data_error(data.read_idx, tmp_path / "absent")
    assert "cannot be read" in data_error(data.read_idx, tmp_path)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=64))
def test_idx_of_any_bytes_is_an_array_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(content)
    try:
        assert isinstance(data.read_idx(path), np.ndarray)
    except DataError as error:
        assert "\n" not in str(error)


# ----------------------------------------------------------------------- mnist
@pytest.mark.parametrize("compress", [False, True])
def test_mnist(tmp_path, compress):
    train, train_labels, test, test_labels = write_mnist(tmp_path, compress=compress)
    mnist = data.load_mnist(tmp_path)
    assert mnist.image_shape == (1, 28, 28) and len(mnist.classes) == 10
    np.testing.assert_array_equal(mnist.train.pixels, train[:, None], strict=True)
    np.testing.assert_array_equal(mnist.test.pixels, test[:, None], strict=True)
    np.testing.assert_array_equal(mnist.train.labels, train_labels.astype(np.int64), strict=True)
    np.testing.assert_array_equal(mnist.test.labels, test_labels.astype(np.int64), strict=True)


def test_mnist_under_the_other_spelling(tmp_path):
    write_mnist(tmp_path)
    for name in MNIST_FILES:
        (tmp_path / name).rename(tmp_path / name.replace("-idx", ".idx"))
    assert len(data.load_mnist(tmp_path).train) == 20


@pytest.mark.parametrize("name", MNIST_FILES)
def test_mnist_names_the_missing_file(tmp_path, name):
    write_mnist(tmp_path)
    (tmp_path / name).unlink()
    assert name in data_error(data.load_mnist, tmp_path)


@pytest.mark.parametrize("name", MNIST_FILES)
@pytest.mark.parametrize("compress", [False, True])
def test_mnist_names_the_truncated_file(tmp_path, name, compress):
    write_mnist(tmp_path, compress=compress)
    path = tmp_path / (name + ".gz" if compress else name)
    path.write_bytes(path.read_bytes()[:-9])
    message = data_error(data.load_mnist, tmp_path)
    assert message.startswith(str(path)) and "truncated" in message


def test_mnist_refuses_swapped_files(tmp_path):
    write_mnist(tmp_path)
    images, labels, other = (tmp_path / name for name in (*MNIST_FILES[:2], "other"))
    images.rename(other), labels.rename(images), other.rename(labels)
    assert "not MNIST images" in data_error(data.load_mnist, tmp_path)


def replace(name, array):
    return lambda folder: (folder / name).write_bytes(idx_bytes(array))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(MNIST_FILES[1], np.zeros(19, "u1")), "19 labels for 20 images"),
        (replace(MNIST_FILES[1], np.full(20, 10, "u1")), "label 10 is not a digit"),
        (replace(MNIST_FILES[0], np.zeros((20, 28, 28), "i4")), "int32"),
        (replace(MNIST_FILES[0], np.zeros((0, 28, 28), "u1")), "holds no images"),
        (replace(MNIST_FILES[2], np.zeros((10, 28, 27), "u1")), "differ in size"),
    ],
)
def test_mnist_refuses_what_does_not_fit_together(tmp_path, change, message):
    write_mnist(tmp_path)
    change(tmp_path)
    assert message in data_error(data.load_mnist, tmp_path)


@pytest.mark.parametrize("load", [data.load_mnist, data.load_cifar10])
def test_a_path_that_is_no_folder(tmp_path, load):
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "absent"):
        assert "not a folder" in data_error(load, tmp_path / name)


# ----------------------------------------------------------------------- cifar
@pytest.mark.parametrize("inner", [".", "cifar-10-batches-bin"])
def test_cifar(tmp_path, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    records = write_cifar(folder)
    cifar = data.load_cifar10(tmp_path)
    assert cifar.image_shape == (3, 32, 32) and cifar.classes[3] == "cat"
    assert len(cifar.train) == 20 and len(cifar.test) == 4
    second = records["data_batch_2.bin"][1]  # the sixth image: a label, then red, green and blue planes
    assert cifar.train.labels[5] == second[0]
    np.testing.assert_array_equal(cifar.train.pixels[5, 1, 2], second[1 + 1024 + 64 : 1 + 1024 + 96])


@pytest.mark.parametrize("name", CIFAR_FILES)
def test_cifar_names_the_missing_file_and_the_truncated_one(tmp_path, name):
    write_cifar(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    message = data_error(data.load_cifar10, tmp_path)
    assert message.startswith(str(path)) and "truncated" in message
    path.unlink()
    assert name in data_error(data.load_cifar10, tmp_path)


def test_cifar_refuses_other_content(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_4.bin").write_bytes(bytes([200]) * 3073)
    assert "label 200" in data_error(data.load_cifar10, tmp_path)
    (tmp_path / "data_batch_4.bin").write_bytes(b"")
    assert "0 bytes" in data_error(data.load_cifar10, tmp_path)
    (tmp_path / "data_batch_4.bin").unlink()
    (tmp_path / "data_batch_4.bin").mkdir()
    assert "data_batch_4.bin" in data_error(data.load_cifar10, tmp_path)


def test_cifar_never_opens_the_version_with_pickles(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert "pickles" in data_error(data.load_cifar10, tmp_path)


# ---------------------------------------------------------------------- digits
def test_digits_hold_out_every_class_in_proportion():
    pytest.importorskip("sklearn")
    digits = data.load_digits(held_out=0.2, seed=7)
    assert len(digits.train) + len(digits.test) == 1797
    whole = np.bincount(np.concatenate([digits.train.labels, digits.test.labels]))
    np.testing.assert_allclose(np.bincount(digits.test.labels) / whole, 0.2, atol=0.003)
    again, other = (data.load_digits(held_out=0.2, seed=seed) for seed in (7, 8))
    np.testing.assert_array_equal(again.test.pixels, digits.test.pixels)
    assert not np.array_equal(other.test.labels, digits.test.labels)


def test_digits_without_scikit_learn(monkeypatch):
    def absent(name, *args):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match="graphc\\[demo\\]"):
        data.load_digits()


def test_a_broken_package_is_not_called_missing(monkeypatch):
    def broken(name, *args):
        raise ModuleNotFoundError("No module named 'joblib'", name="joblib")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="joblib"):
        data.load_digits()


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_stratified_split_is_a_partition(labels, share, seed):
    pixels = np.arange(len(labels)).reshape(-1, 1, 1, 1)
    images = Images(pixels, np.array(labels))
    train, test = data.stratified_split(images, share, seed)
    both = np.concatenate([train.pixels, test.pixels]).ravel()
    np.testing.assert_array_equal(np.sort(both), np.arange(len(labels)))
    for label in set(labels):
        assert (test.labels == label).sum() == round(share * labels.count(label))


# -------------------------------------------- preprocessing, augmentation, batches
def test_standardized_pixels_have_mean_zero_and_deviation_one():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, [[[[50]], [[256]]]], (5000, 2, 3, 4), np.uint8)
    centred = Standardize.fit(Images(pixels, np.zeros(5000, np.int64)))(pixels)
    assert centred.dtype == np.float32
    np.testing.assert_allclose(centred.mean(axis=(0, 2, 3), dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(centred.std(axis=(0, 2, 3), dtype=np.float64), 1, atol=1e-5)


def test_a_constant_channel_does_not_divide_by_zero():
    pixels = np.full((2, 1, 2, 2), 9, np.uint8)
    assert (Standardize.fit(Images(pixels, np.zeros(2, np.int64)))(pixels) == 0).all()


def test_no_images_cannot_be_standardized():
    with pytest.raises(DataError):
        Standardize.fit(Images(np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, np.int64)))


@given(seed=st.integers(0, 999), most=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_a_shifted_image_is_one_of_the_windows(seed, most):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, (4, 2, 5, 6), np.uint8)
    shifted = data.random_shift(pixels, rng, most)
    padded = np.pad(pixels, ((0, 0), (0, 0), (most, most), (most, most)))
    distances = range(2 * most + 1)
    for image, surround in zip(shifted, padded, strict=True):
        windows = [surround[:, y : y + 5, x : x + 6] for y in distances for x in distances]
        assert any(np.array_equal(image, window) for window in windows)


def test_flipping_mirrors_some_images_and_leaves_the_others():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 3, 4, 5), np.uint8)
    flipped = data.random_flip(pixels, np.random.default_rng(1))
    same = (flipped == pixels).all(axis=(1, 2, 3))
    mirrored = (flipped == pixels[..., ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all() and 70 < same.sum() < 130


@pytest.mark.parametrize("count", [0, 1, 7])
def test_augmentation_keeps_shape_dtype_and_its_input(count):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 4), np.uint8)
    before = pixels.copy()
    changed = Augmentation(shift=2, flip=True)(pixels, np.random.default_rng(0))
    assert changed.shape == pixels.shape and changed.dtype == pixels.dtype
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda pixels, rng: data.random_shift(pixels, rng, -1),
        lambda pixels, rng: data.random_flip(pixels, rng, 1.5),
        lambda pixels, rng: data.minibatches(3, 0, rng),
        lambda pixels, rng: data.stratified_split(Images(pixels, np.zeros(1, np.int64)), 1.0, 0),
    ],
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(ArgumentError):
        wrong(np.zeros((1, 1, 2, 2), np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize("count", [0, 1, 10])
def test_minibatches_visit_everything_once(count):
    batches = list(data.minibatches(count, 4, np.random.default_rng(0)))
    assert all(len(batch) == 4 for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(count))
