"""Phantoms that never come twice, simulated on the way to the network, with labels and masks.

As in `breastus.data.pipeline.batches`, what happens to an image is handed in as functions, and
everything is a function of the seed and a number: the same seed gives the same batches.

Small lumps are among them, down to 2.4 mm: the data source `phantom` ends at 4.4 mm. Their seeds
lie apart from those of that source, so that none of its images is learned from beforehand.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from breastus.data.pipeline.mask_targets import cell_targets
from breastus.labels import LABELS, label_id, label_of_finding
from breastus.phantoms.simulation import HALF_SIZES, finding_of, simulate_phantom

SMALL_AND_LARGE = (1.2, HALF_SIZES[1])  # mm, of half a lump's longer side
_APART = 2**31  # seeds of settings are below


def phantom_labels(seed: int, count: int) -> list[int]:
    """Return the class ids of the first `count` phantoms of a stream."""
    return [label_id(label_of_finding(finding_of(seed + _APART, i))) for i in range(count)]


def phantom_dataset(
    *,
    seed: int,
    count: int,
    geometry: Callable,
    mask_geometry: Callable,
    size: int,
    augment: Callable | None,
    move: Callable | None,
    image_seed: Callable,
    tone: Callable,
    grid: tuple[int, int] | None,
    batch_size: int,
    parallel_calls: int = tf.data.AUTOTUNE,
    ahead: int = 2,
) -> tf.data.Dataset:
    """Return the first phantoms of a stream in batches; the last may be smaller.

    Args:
        seed: of the stream.
        count: how many phantoms.
        geometry: image uint8 [H, W, 3] to uint8 [S, S, 3].
        mask_geometry: (mask uint8 [H, W, 1], its image) to uint8 [S, S, 1].
        size: S in pixels.
        augment: (uint8 [B, S, S, 3], seeds int32 [B, 2]) to the same shape and type, or None.
        move: (uint8 [B, S, S, 1], seeds) to masks that lie as their augmented images do, or None.
        image_seed: (epoch, number) to the seed that those two take.
        tone: [B, S, S, 3] of 0 to 255 to model input.
        grid: height and width, in cells, on which the lump is to be found; None: labels only.
        batch_size: phantoms a batch.
        parallel_calls: phantoms simulated at the same time.
        ahead: batches that wait for the model.

    Returns:
        A dataset of (float32 [B, S, S, 3], targets): float32 [B, classes], or with a grid
        {"probabilities": that, "evidence": float32 [B, h, w, 2]}.
    """

    def simulate(index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        phantom = simulate_phantom(seed + _APART, int(index), half_sizes=SMALL_AND_LARGE)
        label = label_id(label_of_finding(phantom.finding))
        image = np.repeat(phantom.image[..., None], 3, axis=-1)
        return image, phantom.mask[..., None], np.int32(label)

    def example(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, mask, label = tf.numpy_function(
            simulate, [index], (tf.uint8, tf.uint8, tf.int32), stateful=False
        )
        image = tf.ensure_shape(image, [None, None, 3])
        mask = tf.ensure_shape(mask, [None, None, 1])
        return (
            tf.ensure_shape(geometry(image), [size, size, 3]),
            tf.ensure_shape(mask_geometry(mask, image), [size, size, 1]),
            tf.one_hot(tf.ensure_shape(label, []), len(LABELS)),
            image_seed(tf.constant(0), index),
        )

    def batch(images, masks, targets, seeds):
        inputs = images if augment is None else augment(images, seeds)
        inputs = tone(tf.cast(inputs, tf.float32))
        if grid is None:
            return inputs, targets
        masks = masks if move is None else move(masks, seeds)
        known = tf.ones([tf.shape(masks)[0]])
        evidence = cell_targets(masks, known, (size // grid[0], size // grid[1]))
        return inputs, {"probabilities": targets, "evidence": evidence}

    phantoms = tf.data.Dataset.range(count, output_type=tf.int32)
    phantoms = phantoms.map(example, num_parallel_calls=parallel_calls).batch(batch_size)
    return phantoms.map(batch, num_parallel_calls=parallel_calls).prefetch(ahead)
