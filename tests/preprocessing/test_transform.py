"""The image transform gives the same pixels wherever it runs."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from breastus.config.schema import Config
from breastus.data.annotations.drawing import draw_annotations
from breastus.preprocessing.normalize import IMAGENET_MEAN, IMAGENET_STD
from breastus.preprocessing.transform import Transform


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("color", "annotations", "aspect"),
    [
        ("plain", "keep", "squash"),
        ("parula", "keep", "keep"),
        pytest.param("plain", "remove", "keep", marks=pytest.mark.slow),
        pytest.param("parula", "only", "squash", marks=pytest.mark.slow),
    ],
)
def test_same_result_eager_graph_dataset_bytes_and_pixels(speckle, color, annotations, aspect):
    transform = Transform(image_size=48, color=color, annotations=annotations, aspect=aspect)
    image = np.pad(draw_annotations(speckle(190, 220) // 2, 0), ((10, 0), (0, 30), (0, 0)))
    encoded = tf.constant([png(image)])

    eager = transform.normalize(transform.decode(encoded[0])[None]).numpy()
    graph = tf.function(transform.bytes_to_input)(encoded).numpy()
    batch = tf.constant(image[None])
    pixels, floats = (
        transform.normalize(transform.images_to_pixels(images)).numpy()
        for images in (batch, tf.cast(batch, tf.float32))
    )
    dataset = tf.data.Dataset.from_tensor_slices(encoded).map(transform.decode).batch(1)
    piped = transform.normalize(next(iter(dataset))).numpy()

    assert eager.shape == (1, 48, 48, 3)
    assert eager.dtype == np.float32
    for other in (graph, pixels, floats, piped):
        np.testing.assert_allclose(other, eager, atol=1e-6)


@pytest.mark.parametrize(("scaling", "low", "high"), [("unit", 0.0, 1.0), ("raw", 0.0, 255.0)])
@pytest.mark.parametrize("color", ["plain", "parula"])
def test_other_scalings_are_the_z_scores_moved(speckle, scaling, low, high, color):
    config = Config.from_dict({"preprocessing": {"scaling": scaling, "color": color}})
    image = tf.constant(speckle(30, 40)[None])
    scores = Transform(color=color).normalize(image).numpy()
    unit = scores * IMAGENET_STD + IMAGENET_MEAN
    found = Transform.from_config(config).normalize(image)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, low + (high - low) * unit, atol=1e-4)
    if color == "plain" and scaling == "raw":
        np.testing.assert_array_equal(found, image)


def test_floats_are_rounded_to_whole_levels_and_clipped(speckle):
    transform = Transform(image_size=32)
    image = speckle(60, 70)[None]
    image[0, 5:20, 5:20] = 255
    near = image + np.random.default_rng(0).uniform(-0.49, 0.49, image.shape)
    near[image == 255] = 300
    pixels = transform.images_to_pixels(tf.constant(image))
    floats = transform.images_to_pixels(tf.constant(near, tf.float32))
    np.testing.assert_array_equal(floats, pixels)


def test_images_of_a_batch_are_independent(speckle):
    transform = Transform(image_size=32)
    wide = np.pad(speckle(60, 60, seed=1), ((0, 0), (0, 40), (0, 0)))
    full = speckle(60, 100, seed=2)
    together = transform.images_to_pixels(tf.constant(np.stack([wide, full])))
    alone = transform.images_to_pixels(tf.constant(full[None]))
    np.testing.assert_array_equal(together[1], alone[0])


def test_trim_can_be_switched_off(speckle):
    image = np.pad(speckle(60, 60), ((0, 60), (0, 0), (0, 0)))
    trimmed = Transform(image_size=32).crop_and_resize(tf.constant(image))
    whole = Transform(image_size=32, trim=False).crop_and_resize(tf.constant(image))
    assert trimmed.numpy()[-1].mean() > 10
    assert whole.numpy()[-1].max() == 0


def test_annotations_are_kept_removed_or_all_that_is_left(speckle):
    image = speckle(200, 240) // 2
    marked = draw_annotations(image, 3)

    def seen(pixels, annotations):
        transform = Transform(image_size=96, annotations=annotations)
        return transform.crop_and_resize(tf.constant(pixels)).numpy()

    np.testing.assert_array_equal(seen(image, "remove"), seen(image, "keep"))
    bare, kept, removed = (seen(image, "keep"), seen(marked, "keep"), seen(marked, "remove"))
    assert np.abs(kept.astype(int) - bare).max() > 60
    assert np.abs(removed.astype(int) - bare).max() < 30
    assert seen(image, "only").max() == 0
    only = seen(marked, "only")
    drawn = np.abs(kept.astype(int) - bare).max(-1) > 60
    assert only[drawn].min() > 60
    assert (only == 0).mean() > 0.7


def test_annotations_alone_are_cropped_as_their_image_is(speckle):
    marked = np.pad(draw_annotations(speckle(200, 240) // 2, 3), ((0, 50), (0, 0), (0, 0)))
    transform = Transform(image_size=96, annotations="only")
    inner = transform.crop_and_resize(tf.constant(marked[:200])).numpy()
    whole = transform.crop_and_resize(tf.constant(marked)).numpy()
    np.testing.assert_array_equal(inner, whole)


def test_from_config_reads_the_settings():
    config = Config().override(
        [
            "model.image_size=64",
            "preprocessing.color=parula",
            "preprocessing.trim=false",
            "preprocessing.annotations=remove",
        ]
    )
    expected = Transform(image_size=64, color="parula", trim=False, annotations="remove")
    assert Transform.from_config(config) == expected
