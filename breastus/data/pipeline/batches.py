"""From a table of images to batches, with `tf.data`: paths in, (images, targets) out.

Where a network learns from lesion masks too, targets are a dictionary: `probabilities`, one-hot,
and `evidence`, how much of each cell of a coarse grid the lesions cover.

What happens to an image is handed in as functions (order, decode, augment, tone): this file knows
about caching and batches only. Nothing here draws from a stateful generator: the order of an epoch
and the seed of an image in it are functions of the seed, the epoch and the draw. A run that starts
at epoch 7 therefore sees exactly what a run that came to epoch 7 sees.
"""

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from breastus.data.images import ImageFile
from breastus.errors import ImageError

if TYPE_CHECKING:
    from breastus.data.pipeline.mask_targets import MaskTargets


class Pixels:
    """The decoded images of a table, kept in memory when they fit, else decoded when asked for.

    Args:
        paths: image files.
        decode: file bytes (scalar string tensor) to uint8 [S, S, C].
        size: S in pixels.
        cache_mb: images are kept when all of them together take at most so many MiB.
        channels: C.
        read: one of the paths to a file's bytes.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        decode: Callable,
        size: int,
        cache_mb: int,
        channels: int = 3,
        read: Callable[[str], bytes] = lambda path: ImageFile.read(path).encoded,
    ):
        self._decode = decode
        self._load = read
        self._shape = (size, size, channels)
        self._paths = tf.constant([str(path) for path in paths], tf.string)
        self._cache = None
        if len(self) * math.prod(self._shape) <= cache_mb * 2**20:
            self._cache = tf.constant(self._decode_all())

    def __len__(self) -> int:
        return int(self._paths.shape[0])

    @property
    def cached(self) -> bool:
        """Whether the images are kept in memory."""
        return self._cache is not None

    def __call__(self, index: tf.Tensor) -> tf.Tensor:
        """Return image `index` as uint8 [S, S, C]."""
        if self._cache is not None:
            return tf.gather(self._cache, index)
        return self._read(tf.gather(self._paths, index))

    def _read(self, path: tf.Tensor) -> tf.Tensor:
        encoded = tf.numpy_function(lambda name: self._load(name.decode()), [path], tf.string)
        encoded.set_shape([])
        return tf.ensure_shape(self._decode(encoded), self._shape)

    def _decode_all(self) -> np.ndarray:
        images = np.empty((len(self), *self._shape), np.uint8)
        dataset = tf.data.Dataset.from_tensor_slices(self._paths)
        dataset = dataset.map(self._read, num_parallel_calls=tf.data.AUTOTUNE)
        bar = tqdm(dataset, "decoding images", len(self), leave=False, disable=None)
        with readable():
            for position, image in enumerate(bar):
                images[position] = image.numpy()
        return images


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Raise an `ImageError` that came up inside `tf.data` as what it was.

    It does when a file is changed or removed between the manifest and the training.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if said := re.search(r"ImageError: (.*)", str(error)):
            raise ImageError(said[1]) from error
        raise


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches that hold each image once; the last may be smaller."""
    return math.ceil(images / batch_size)


def training_dataset(
    pixels: Pixels,
    labels: Sequence[int],
    *,
    classes: int,
    order: Callable,
    augment: Callable | None,
    image_seed: Callable,
    masks: "MaskTargets | None" = None,
    mix: Callable | None = None,
    tone: Callable,
    **batching: int,
) -> tf.data.Dataset:
    """Return the batches of epochs `first_epoch` to `epochs - 1`, one after the other.

    Args:
        pixels: the images.
        labels: their class ids.
        classes: how many classes there are.
        order: (epoch) to the epoch's draws, int32 [n]; `draw % len(pixels)` is the image.
        augment: (uint8 [B, S, S, 3], seeds int32 [B, 2]) to the same shape and type, or None.
        image_seed: (epoch, draw) to the seed that `augment` and `mix` take.
        masks: of the images' lesions, where they are a target too.
        mix: (model input, targets, seeds int32 [B, 2]) of a batch to both mixed, or made into
            others, as images with hidden patches; or None.
        tone: [B, S, S, 3] of 0 to 255 to model input.
        **batching: from `batch_size` on, the arguments of `epoch_batches`.

    Returns:
        A dataset of (float32 [B, S, S, 3], float32 [B, classes]), and with parts float32 [B]. With
        masks the targets are {"probabilities": that, "evidence": float32 [B, h, w, 2]}.
    """
    labels = tf.constant(labels, tf.int32)

    def example(epoch: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        index, seed = draw % len(pixels), image_seed(epoch, draw)
        drawn = pixels(index), tf.one_hot(tf.gather(labels, index), classes), seed
        return drawn if masks is None else (*drawn, *masks(index))

    def batch(images: tf.Tensor, targets: tf.Tensor, seeds: tf.Tensor, *drawn: tf.Tensor) -> tuple:
        if augment is not None:
            images = augment(images, seeds)
        inputs = tone(tf.cast(images, tf.float32))
        if masks is not None:
            targets = {"probabilities": targets, "evidence": masks.evidence(*drawn, seeds)}
        return (inputs, targets) if mix is None else mix(inputs, targets, seeds)

    return epoch_batches(order, example, batch, **batching)


def epoch_batches(
    order: Callable,
    example: Callable,
    batch: Callable,
    *,
    batch_size: int,
    parts: int = 1,
    first_epoch: int,
    epochs: int,
    parallel_calls: int = tf.data.AUTOTUNE,
    ahead: int = 2,
) -> tf.data.Dataset:
    """Return the batches of several epochs, whatever they are made of.

    No batch reaches across epochs; the last of an epoch may be smaller. Each is cut into the same
    number of parts, as nearly equal as can be. The weights that then come along make the mean over
    the parts' losses that over the batch's images. Where a last batch has fewer images than parts,
    it is filled up with its first image, at weight 0.

    Args:
        order: (epoch) to the epoch's draws, int32 [n].
        example: (epoch, draw) to what is drawn, one tensor or several.
        batch: those of a batch, each [B, ...], to (inputs, targets).
        batch_size: images a batch.
        parts: into how many parts each batch is cut.
        first_epoch: 0, or the epoch at which a resumed run goes on.
        epochs: one past the last epoch.
        parallel_calls: images decoded, and batches augmented, at the same time.
        ahead: batches that wait for the model.
    """

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        examples = tf.data.Dataset.from_tensor_slices(order(epoch)).map(
            lambda draw: example(epoch, draw), num_parallel_calls=parallel_calls
        )
        batches = examples.batch(batch_size).map(batch, num_parallel_calls=parallel_calls)
        return batches if parts == 1 else batches.flat_map(functools.partial(_cut, parts))

    batches = tf.data.Dataset.from_tensor_slices(tf.range(first_epoch, epochs)).flat_map(one_epoch)
    return batches.prefetch(ahead)


def evaluation_dataset(
    pixels: Pixels,
    labels: Sequence[int],
    *,
    classes: int,
    tone: Callable,
    batch_size: int,
    parallel_calls: int = tf.data.AUTOTUNE,
    ahead: int = 2,
) -> tf.data.Dataset:
    """Return the images once, in order, as (float32 [B, S, S, 3], float32 [B, classes])."""
    indices = tf.data.Dataset.range(len(pixels), output_type=tf.int32)
    images = indices.map(pixels, num_parallel_calls=parallel_calls)
    targets = tf.data.Dataset.from_tensor_slices(tf.constant(labels, tf.int32))
    batches = tf.data.Dataset.zip(images, targets).batch(batch_size)
    batches = batches.map(lambda image, label: (tone(image), tf.one_hot(label, classes)))
    return batches.prefetch(ahead)


def _cut(parts: int, inputs, targets) -> tf.data.Dataset:
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
        # A batch's mean is the sum over its images by `size`, a part's that over its own by
        # `count`, and the optimizer divides the sum of the parts' gradients by `parts`.
        weight = tf.cast(count * parts, tf.float32) / tf.cast(size, tf.float32)
        real = tf.cast(tf.range(rows.start, rows.stop) < size, tf.float32)
        return (*tf.nest.map_structure(lambda whole: whole[rows], filled), weight * real)

    return tf.data.Dataset.range(parts, output_type=tf.int32).map(part)
