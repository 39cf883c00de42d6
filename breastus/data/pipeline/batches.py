"""Batches with `tf.data`: image caches and labels in, (model inputs, targets) out.

The functions that change an image (order, decode, augment, normalize) are arguments. No generator
here has a state: the order of an epoch and the seed of each image are functions of the seed, the
epoch and the draw. A run that resumes at epoch 7 therefore gets the batches that an uninterrupted
run gets.
"""

import functools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from breastus.data.pipeline.image_cache import ImageCache
from breastus.data.pipeline.mask_targets import MaskTargets

_PREFETCH = 2  # batches prepared ahead of the model


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches that hold each image once; the last one may be smaller."""
    return math.ceil(images / batch_size)


def training_dataset(
    images: ImageCache,
    labels: Sequence[int],
    *,
    classes: int,
    order: Callable,
    augment: Callable | None,
    image_seed: Callable,
    masks: MaskTargets | None = None,
    mix: Callable | None = None,
    normalize: Callable,
    **batching: int,
) -> tf.data.Dataset:
    """Return the batches of epochs `first_epoch` to `epochs - 1`, one epoch after the other.

    Args:
        images: training images.
        labels: class ids of the images.
        classes: number of classes.
        order: function (epoch) to the epoch's draws, int32 [n]; `draw % len(images)` is the image.
        augment: function (uint8 [B, S, S, 3], seeds int32 [B, 2]) to the same shape and type, or
            None.
        image_seed: function (epoch, draw) to the seed of `augment` and `mix`.
        masks: lesion masks of the images, if the network learns from them, or None.
        mix: function (model inputs, targets, seeds int32 [B, 2]) to other inputs and targets of
            the batch, such as Mixup or images with hidden patches; or None.
        normalize: function from [B, S, S, 3], 0 to 255, to model inputs.
        **batching: arguments of `epoch_batches` from `batch_size` on.

    Returns:
        A dataset of (float32 [B, S, S, 3], float32 [B, classes]), and with accumulation also
        weights float32 [B]. With masks the targets are {"probabilities": float32 [B, classes],
        "lesion_logits": float32 [B, h, w, 2]}, the latter as from `lesion_area_targets`.
    """
    labels = tf.constant(labels, tf.int32)

    def example(epoch: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        index, seed = draw % len(images), image_seed(epoch, draw)
        drawn = images(index), tf.one_hot(tf.gather(labels, index), classes), seed
        return (*drawn, *masks(index)) if masks is not None else drawn

    def batch(pixels: tf.Tensor, targets: tf.Tensor, seeds: tf.Tensor, *drawn: tf.Tensor) -> tuple:
        if augment is not None:
            pixels = augment(pixels, seeds)
        inputs = normalize(tf.cast(pixels, tf.float32))
        if masks is not None:
            targets = {"probabilities": targets, "lesion_logits": masks.targets(*drawn, seeds)}
        return mix(inputs, targets, seeds) if mix is not None else (inputs, targets)

    return epoch_batches(order, example, batch, **batching)


def epoch_batches(
    order: Callable,
    example: Callable,
    batch: Callable,
    *,
    batch_size: int,
    accumulation_steps: int = 1,
    first_epoch: int,
    epochs: int,
    parallel_calls: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Return the batches of several epochs from functions that make examples and batches.

    No batch spans two epochs; the last batch of an epoch may be smaller. With gradient accumulation
    each batch is cut into parts of nearly equal size. Their weights make the mean of the parts'
    losses equal to the mean over the batch. If a last batch has fewer images than parts, copies of
    its first image with weight 0 fill it up.

    Args:
        order: function (epoch) to the epoch's draws, int32 [n].
        example: function (epoch, draw) to the tensors of one example.
        batch: function from the tensors of a batch, each [B, ...], to (inputs, targets).
        batch_size: images per batch.
        accumulation_steps: number of parts that each batch is cut into.
        first_epoch: 0, or the epoch at which a resumed run continues.
        epochs: one past the last epoch.
        parallel_calls: images decoded, and batches augmented, at the same time.
    """

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        examples = tf.data.Dataset.from_tensor_slices(order(epoch)).map(
            lambda draw: example(epoch, draw), num_parallel_calls=parallel_calls
        )
        batches = examples.batch(batch_size).map(batch, num_parallel_calls=parallel_calls)
        if accumulation_steps == 1:
            return batches
        return batches.flat_map(functools.partial(_split_batch, accumulation_steps))

    batches = tf.data.Dataset.from_tensor_slices(tf.range(first_epoch, epochs)).flat_map(one_epoch)
    return batches.prefetch(_PREFETCH)


def evaluation_dataset(
    images: ImageCache,
    labels: Sequence[int] | None = None,
    *,
    classes: int = 0,
    normalize: Callable,
    batch_size: int,
    parallel_calls: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Return the images once, in order, as (float32 [B, S, S, 3], float32 [B, classes]).

    Without class ids (`labels`), the batches are the model inputs alone.
    """
    indices = tf.data.Dataset.range(len(images), output_type=tf.int32)
    pixels = indices.map(images, num_parallel_calls=parallel_calls)
    if labels is None:
        return pixels.batch(batch_size).map(normalize).prefetch(_PREFETCH)
    targets = tf.data.Dataset.from_tensor_slices(tf.constant(labels, tf.int32))
    batches = tf.data.Dataset.zip(pixels, targets).batch(batch_size)
    batches = batches.map(lambda image, label: (normalize(image), tf.one_hot(label, classes)))
    return batches.prefetch(_PREFETCH)


def _split_batch(parts: int, inputs, targets) -> tf.data.Dataset:
    """Return a batch as `parts` batches with weights whose mean loss averages to the batch's."""
    size = tf.shape(tf.nest.flatten(inputs)[0])[0]
    missing = tf.maximum(parts - size, 0)
    filled = tf.nest.map_structure(
        lambda whole: tf.concat([whole, tf.repeat(whole[:1], missing, axis=0)], 0),
        (inputs, targets),
    )
    end = tf.maximum(size, parts) * tf.range(parts + 1) // parts

    def part(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rows = slice(end[number], end[number + 1])
        count = end[number + 1] - end[number]
        # A batch's mean loss is the sum over its images divided by `size`, a part's mean loss is
        # divided by `count`, and the optimizer divides the sum of the parts' gradients by `parts`.
        weight = tf.cast(count * parts, tf.float32) / tf.cast(size, tf.float32)
        real = tf.cast(tf.range(rows.start, rows.stop) < size, tf.float32)
        return (*tf.nest.map_structure(lambda whole: whole[rows], filled), weight * real)

    return tf.data.Dataset.range(parts, output_type=tf.int32).map(part)
