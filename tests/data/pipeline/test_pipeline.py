"""Batches: each image once an epoch, the same by seed, and the same from any epoch on."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from breastus.augmentation.base import image_seed
from breastus.augmentation.policies import build_augmenter
from breastus.data.images import read_image
from breastus.data.pipeline.batches import (
    evaluation_dataset,
    steps_per_epoch,
    training_dataset,
)
from breastus.data.pipeline.image_cache import ImageCache, reraise_image_errors
from breastus.errors import ImageError
from breastus.training.sampling import epoch_order


@pytest.fixture
def paths(tmp_path, write_image):
    return [str(write_image(tmp_path / f"снимок {i}.png", i, 16, 16)) for i in range(7)]


def pixels(paths, *, cache_mb=1):
    return ImageCache(paths, crop_and_resize=lambda image: image, size=16, cache_mb=cache_mb)


def batches(paths, *, augment=True, cache_mb=1, **options):
    options = {"first_epoch": 0, "epochs": 2, "batch_size": 3, **options}
    seed = options.pop("seed", 0)
    return training_dataset(
        pixels(paths, cache_mb=cache_mb),
        list(range(7)),
        classes=7,
        augment=build_augmenter("study") if augment else None,
        order=epoch_order(list(range(7)), strategy="all", seed=seed)[0],
        image_seed=functools.partial(image_seed, seed),
        normalize=lambda x: x / 255.0,
        **options,
    )


def collect(dataset):
    parts = [(x.numpy(), y.numpy()) for x, y in dataset]
    targets = np.concatenate([y for _, y in parts])
    assert set(targets.ravel()) == {0.0, 1.0}
    return np.concatenate([x for x, _ in parts]), targets.argmax(axis=1)


def test_each_image_once_an_epoch_in_another_order(paths):
    sizes = [len(y) for _, y in batches(paths)]
    assert sizes == [3, 3, 1] * 2
    assert steps_per_epoch(7, 3) == 3
    _, labels = collect(batches(paths))
    assert sorted(labels[:7]) == sorted(labels[7:]) == list(range(7))
    assert list(labels[:7]) != list(labels[7:])


def test_labels_stay_with_their_images(paths):
    images, labels = collect(batches(paths, augment=False))
    expected = np.stack([read_image(path) for path in paths]) / 255.0
    np.testing.assert_allclose(images, expected[labels], atol=1e-6)
    again, order = collect(
        evaluation_dataset(
            pixels(paths),
            range(7),
            classes=7,
            normalize=lambda x: tf.cast(x, tf.float32),
            batch_size=4,
        )
    )
    assert list(order) == list(range(7))
    np.testing.assert_allclose(again / 255.0, expected, atol=1e-6)


def test_the_same_by_seed_and_cached_or_not(paths):
    first = collect(batches(paths))
    for other in (batches(paths), batches(paths, cache_mb=0)):
        np.testing.assert_array_equal(collect(other)[0], first[0])
        np.testing.assert_array_equal(collect(other)[1], first[1])
    assert not np.array_equal(collect(batches(paths, seed=1))[0], first[0])


def test_a_later_start_sees_what_an_early_one_sees(paths):
    images, labels = collect(batches(paths, epochs=4))
    late_images, late_labels = collect(batches(paths, first_epoch=2, epochs=4))
    np.testing.assert_array_equal(late_images, images[14:])
    np.testing.assert_array_equal(late_labels, labels[14:])


def test_augmentation_changes_from_epoch_to_epoch(paths):
    images, labels = collect(batches(paths))
    first, second = images[:7][np.argsort(labels[:7])], images[7:][np.argsort(labels[7:])]
    assert all(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_images_are_kept_only_when_they_fit(paths):
    assert pixels(paths, cache_mb=1).cached
    assert not pixels(paths, cache_mb=0).cached


def test_batches_are_cut_into_parts_with_weights_that_add_up(paths):
    whole = [(x.numpy(), y.numpy()) for x, y in batches(paths, batch_size=3)]
    cut = [
        tuple(map(np.asarray, part)) for part in batches(paths, batch_size=3, accumulation_steps=2)
    ]
    assert [len(y) for _, y, _ in cut] == [1, 2, 1, 2, 1, 1] * 2
    for number, (images, targets) in enumerate(whole):
        halves = cut[2 * number : 2 * number + 2]
        real = len(targets)  # a last batch of one image is filled up
        np.testing.assert_array_equal(np.concatenate([x for x, _, _ in halves])[:real], images)
        np.testing.assert_array_equal(np.concatenate([y for _, y, _ in halves])[:real], targets)
        # The mean of the parts' weighted means is the mean over the batch.
        of_target = np.mean([(w[:, None] * y).mean(axis=0) for _, y, w in halves], axis=0)
        np.testing.assert_allclose(of_target, targets.mean(axis=0), rtol=1e-6)


def test_mixing_gets_the_batch_with_the_seeds_of_its_images(paths):
    def mix(inputs, targets, seeds):
        return seeds, targets

    for (first, _), (again, _) in zip(
        batches(paths, mix=mix), batches(paths, mix=mix, augment=False), strict=True
    ):
        np.testing.assert_array_equal(first, again)
    seen = np.concatenate([x for x, _ in batches(paths, mix=mix)])
    assert len({tuple(seed) for seed in seen}) == 14


@pytest.mark.slow
def test_streaming_takes_no_more_memory_for_more_images(paths):
    code = """
import sys, functools, resource
import tensorflow as tf
from breastus.augmentation.base import image_seed
from breastus.data.pipeline.batches import training_dataset
from breastus.data.pipeline.image_cache import ImageCache
from breastus.training.sampling import epoch_order

paths = (sys.argv[1:] * 20000)[:20000]
labels = [number % 2 for number in range(20000)]
order, _ = epoch_order(labels, strategy="balanced", seed=0)
pixels = ImageCache(paths, crop_and_resize=lambda image: image, size=16, cache_mb=0)
assert not pixels.cached
dataset = training_dataset(
    pixels, labels, classes=2, order=order, augment=None,
    image_seed=functools.partial(image_seed, 0), normalize=lambda x: x,
    batch_size=50, first_epoch=0, epochs=1,
)
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
seen = []
for number, _ in enumerate(dataset):
    if number in (40, 399):
        seen.append(resident())
assert number == 399
print(seen[1] - seen[0])
"""
    found = subprocess.run(
        [sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True
    )
    # All of them decoded would be 15 MiB.
    assert float(found.stdout) < 6.0


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_a_file_that_was_removed_is_named(paths, cache_mb):
    Path(paths[4]).unlink()
    with pytest.raises(ImageError, match=r"снимок 4\.png cannot be opened"), reraise_image_errors():
        collect(batches(paths, cache_mb=cache_mb))


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_what_the_reader_reads_needs_no_decoder_in_the_graph(paths, cache_mb):
    whole = Path(paths[4]).read_bytes()
    Path(paths[4]).write_bytes(whole[:-12])  # without IEND, which TensorFlow's decoder refuses
    found = tf.function(pixels(paths, cache_mb=cache_mb).__call__)(tf.constant(4))
    np.testing.assert_array_equal(found, read_image(whole))


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["file", "callback"])
def test_a_failure_ends_the_process(tmp_path, write_image, failure):
    paths = [str(write_image(tmp_path / f"{i}.png", i, 400, 500)) for i in range(60)]
    if failure == "file":
        Path(paths[40]).unlink()
    code = """
import sys
import keras
import tensorflow as tf
from breastus.data.pipeline.batches import training_dataset
from breastus.data.pipeline.image_cache import ImageCache, reraise_image_errors

class Failing(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise ValueError("callback")

paths = sys.argv[1:]
images = ImageCache(
    paths, crop_and_resize=lambda image: image[:16, :16], size=16, cache_mb=0
)
batches = training_dataset(
    images, [0] * 60, classes=2, order=lambda epoch: tf.range(60), augment=None,
    image_seed=lambda epoch, draw: tf.stack([epoch, draw]), normalize=lambda x: x / 255.0,
    batch_size=4, first_epoch=0, epochs=50,
)
model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")])
model.compile(loss="categorical_crossentropy")
with reraise_image_errors():
    model.fit(batches, steps_per_epoch=15, epochs=50, verbose=0, callbacks=[Failing()])
"""
    if failure == "file":
        code = code.replace("if batch == 2", "if False")
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 1
    assert ("40.png cannot be opened" if failure == "file" else "ValueError") in done.stderr
