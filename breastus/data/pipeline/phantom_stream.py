"""A stream of simulated images for pretraining: a seed in, batches with labels and masks out.

Each phantom is simulated once, while the network trains, and depends only on the seed and its
number. The stream contains lumps down to 2.4 mm; the data source `phantom` contains none below
4.4 mm. Its seeds never overlap with the source's seeds, so a network never learns from the source's
images beforehand.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from breastus.data.pipeline.mask_targets import lesion_area_targets
from breastus.labels import TARGETS, class_id
from breastus.phantoms.simulation import HALF_SIZES, finding_of, simulate_phantom

STREAM_HALF_SIZES = (1.2, HALF_SIZES[1])  # mm, half of a lump's longer side
SEED_OFFSET = 2**31  # larger than any seed in the settings


def phantom_labels(seed: int, count: int, *, target: str = "label") -> list[int]:
    """Return the class ids of the first `count` phantoms of a stream, by `training.target`."""
    return [class_id(finding_of(seed + SEED_OFFSET, i), target) for i in range(count)]


def phantom_dataset(
    *,
    seed: int,
    count: int,
    crop_and_resize: Callable,
    crop_and_resize_mask: Callable,
    size: int,
    augment: Callable | None,
    augment_masks: Callable | None,
    image_seed: Callable,
    normalize: Callable,
    grid: tuple[int, int] | None,
    target: str = "label",
    batch_size: int,
    parallel_calls: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Return the first phantoms of a stream in batches; the last batch may be smaller.

    Args:
        seed: seed of the stream.
        count: number of phantoms.
        crop_and_resize: function from an image, uint8 [H, W, 3], to uint8 [S, S, 3].
        crop_and_resize_mask: function (mask uint8 [H, W, 1], its image) to uint8 [S, S, 1].
        size: S in pixels.
        augment: function of images as for `training_dataset`, or None.
        augment_masks: function of masks as for `MaskTargets`, or None.
        image_seed: function (epoch, number) to the seed of `augment` and `augment_masks`.
        normalize: function from [B, S, S, 3], 0 to 255, to model inputs.
        grid: height and width, in cells, of the grid of lesion targets; None for labels only.
        target: the setting `training.target`.
        batch_size: phantoms per batch.
        parallel_calls: phantoms simulated at the same time.

    Returns:
        A dataset of (float32 [B, S, S, 3], targets). The targets are float32 [B, classes], or with
        a grid {"probabilities": float32 [B, classes], "lesion_logits": float32 [B, h, w, 2]}.
    """

    def simulate(index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        phantom = simulate_phantom(seed + SEED_OFFSET, int(index), half_sizes=STREAM_HALF_SIZES)
        label = class_id(phantom.finding, target)
        image = np.repeat(phantom.image[..., None], 3, axis=-1)
        return image, phantom.mask[..., None], np.int32(label)

    def example(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, mask, label = tf.numpy_function(
            simulate, [index], (tf.uint8, tf.uint8, tf.int32), stateful=False
        )
        image = tf.ensure_shape(image, [None, None, 3])
        mask = tf.ensure_shape(mask, [None, None, 1])
        return (
            tf.ensure_shape(crop_and_resize(image), [size, size, 3]),
            tf.ensure_shape(crop_and_resize_mask(mask, image), [size, size, 1]),
            tf.one_hot(tf.ensure_shape(label, []), len(TARGETS[target])),
            image_seed(tf.constant(0), index),
        )

    def batch(images, masks, targets, seeds):
        inputs = augment(images, seeds) if augment is not None else images
        inputs = normalize(tf.cast(inputs, tf.float32))
        if not grid:
            return inputs, targets
        if augment_masks is not None:
            masks = augment_masks(masks, seeds)
        known = tf.ones([tf.shape(masks)[0]])
        areas = lesion_area_targets(masks, known, (size // grid[0], size // grid[1]))
        return inputs, {"probabilities": targets, "lesion_logits": areas}

    phantoms = tf.data.Dataset.range(count, output_type=tf.int32)
    phantoms = phantoms.map(example, num_parallel_calls=parallel_calls).batch(batch_size)
    return phantoms.map(batch, num_parallel_calls=parallel_calls).prefetch(2)
